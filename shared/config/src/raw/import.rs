//! `import`: files of another image.

use super::{
    Link, LinkKind, Reader, Wants,
    section::{Section, suggestion},
    shell::STAGES,
    value::Written,
};
use crate::{ImageName, Import, ImportMoment, ImportSource, UserStage, yaml::shorten};

const KEYS: [&str; 12] = [
    "image",
    "artifact",
    "from",
    "stage",
    "before",
    "after",
    "add",
    "to",
    "includePaths",
    "excludePaths",
    "owner",
    "group",
];
/// The directives that name the source.
const SOURCES: [(&str, &str, Wants); 3] = [
    ("image", "import.image", Wants::Image),
    ("artifact", "import.artifact", Wants::Artifact),
    ("from", "import.from", Wants::Anything),
];

/// Reads `import` of an image: the imports, and a link for each.
pub(super) fn read(reader: &mut Reader<'_>, image: &Section<'_>) -> (Vec<Import>, Vec<Link>) {
    let (mut imports, mut links) = (Vec::new(), Vec::new());
    for section in reader.subsections(image, "import", &KEYS) {
        let source = source(reader, &section, imports.len());
        if let Some((import, link)) = one(reader, &section, source) {
            imports.push(import);
            links.push(link);
        }
    }
    (imports, links)
}

fn one(reader: &mut Reader<'_>, section: &Section<'_>, source: Option<Link>) -> Option<(Import, Link)> {
    let stage = source_stage(reader, section);
    let moment = moment(reader, section, "an import");
    let include = reader.globs(section, "includePaths");
    let exclude = reader.globs(section, "excludePaths");
    let add = path(reader, section, "add");
    if section.get("add").is_none() {
        reader.missing(section, "add", "`add` is missing: which files are imported?", "write `add: /path/in/source`");
    }
    if add.as_deref() == Some("/") && include.is_empty() && section.get("includePaths").is_none() {
        let message = "`add: /` without `includePaths` would import the whole image";
        reader.refuse(section.position, message, "name a directory by `add`, or the wanted paths by `includePaths`");
    }
    let to = if section.get("to").is_some() { path(reader, section, "to") } else { add.clone() };
    let owner = reader.filled(section, "owner").map(|written| written.text);
    let group = reader.filled(section, "group").map(|written| written.text);
    let link = source?;
    // Whether it is one of this file is known when all documents are read.
    let source = ImportSource::Image(ImageName(link.name.text.clone()));
    let (add, to, moment, position) = (add?, to?, moment?, section.position);
    Some((Import { source, stage, add, to, include, exclude, owner, group, moment, position }, link))
}

/// The one directive that names the source of the import with index `index`.
fn source(reader: &mut Reader<'_>, section: &Section<'_>, index: usize) -> Option<Link> {
    let given: Vec<_> = SOURCES.iter().filter_map(|source| Some((*source, section.get(source.0)?))).collect();
    if let [((first, ..), _), ((second, ..), entry), ..] = given.as_slice() {
        let message = format!("an import has one source, but `{first}` and `{second}` are given");
        reader.refuse(entry.position, message, format!("keep one of `{first}` and `{second}`"));
        return None;
    }
    let Some(((key, directive, wants), _)) = given.first().copied() else {
        let message = "an import needs a source: `image`, `artifact` or `from`";
        reader.refuse(section.position, message, "write `image: NAME`, where NAME is an image of this file");
        return None;
    };
    let name = reader.filled(section, key)?;
    Some(Link { kind: LinkKind::Import(index), directive, name, wants })
}

fn source_stage(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<UserStage> {
    let written = reader.text(section, "stage")?;
    let names = STAGES.map(|(name, ..)| name);
    let stage = STAGES.iter().find(|(name, ..)| *name == written.text).map(|(.., stage)| *stage);
    if stage.is_none() {
        let message = format!("`stage` of an import cannot be `{}`", shorten(&written.text));
        let hint = suggestion(&written.text, &names, "stages");
        reader.refuse(written.position, message, hint);
    }
    stage
}

/// `before` or `after` of `what`, exactly one of them.
pub(super) fn moment(reader: &mut Reader<'_>, section: &Section<'_>, what: &str) -> Option<ImportMoment> {
    let hint = "write `before: install`, `after: install`, `before: setup` or `after: setup`";
    let (before, after) = (reader.text(section, "before"), reader.text(section, "after"));
    match (before, after) {
        (Some(_), Some(after)) => {
            let message = format!("{what} has either `before` or `after`, not both");
            reader.refuse(after.position, message, hint);
            None
        }
        (Some(stage), None) => {
            named(reader, &stage, "before", [ImportMoment::BeforeInstall, ImportMoment::BeforeSetup])
        }
        (None, Some(stage)) => named(reader, &stage, "after", [ImportMoment::AfterInstall, ImportMoment::AfterSetup]),
        (None, None) => {
            if section.get("before").is_none() && section.get("after").is_none() {
                let message = format!("{what} needs a stage: `before` or `after`");
                reader.refuse(section.position, message, hint);
            }
            None
        }
    }
}

fn named(
    reader: &mut Reader<'_>,
    stage: &Written,
    key: &str,
    [install, setup]: [ImportMoment; 2],
) -> Option<ImportMoment> {
    match stage.text.as_str() {
        "install" => Some(install),
        "setup" => Some(setup),
        other => {
            let message = format!("`{key}` must be `install` or `setup`, not `{}`", shorten(other));
            reader.refuse(stage.position, message, format!("write `{key}: install` or `{key}: setup`"));
            None
        }
    }
}

fn path(reader: &mut Reader<'_>, section: &Section<'_>, key: &str) -> Option<String> {
    let written = reader.text(section, key)?;
    reader.absolute(&written, key)
}
