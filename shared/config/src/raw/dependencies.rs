//! `dependencies`: images that must be built first and whose names are handed over.

use std::collections::BTreeSet;

use super::{Link, LinkKind, Reader, Wants, import, section::Section, value::Written};
use crate::{Dependency, DependencyImport, DependencyKind, ImageName, ImportMoment, yaml::shorten};

const KEYS: [&str; 5] = ["image", "from", "imports", "before", "after"];
const IMPORT_KEYS: [&str; 3] = ["type", "targetEnv", "targetBuildArg"];
const TYPES: [(&str, DependencyKind); 5] = [
    ("ImageName", DependencyKind::ImageName),
    ("ImageTag", DependencyKind::ImageTag),
    ("ImageRepo", DependencyKind::ImageRepo),
    ("ImageID", DependencyKind::ImageId),
    ("ImageDigest", DependencyKind::ImageDigest),
];

/// How the image that has the dependencies is built.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Conveyor {
    /// From a Dockerfile: values become build arguments.
    Dockerfile,
    /// As Stapel image: values become variables, before or after a stage.
    Stapel,
}

/// Reads `dependencies`, with a link for each.
pub(super) fn read(reader: &mut Reader<'_>, image: &Section<'_>, conveyor: Conveyor) -> (Vec<Dependency>, Vec<Link>) {
    let (mut dependencies, mut links) = (Vec::new(), Vec::new());
    for section in reader.subsections(image, "dependencies", &KEYS) {
        let link = source(reader, &section);
        let moment = moment(reader, &section, conveyor);
        let imports = imports(reader, &section, conveyor);
        if let Some(link) = link {
            let image = ImageName(link.name.text.clone());
            dependencies.push(Dependency { image, imports, moment, position: section.position });
            links.push(link);
        }
    }
    (dependencies, links)
}

fn source(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<Link> {
    let given: Vec<&str> = ["image", "from"].into_iter().filter(|key| section.get(key).is_some()).collect();
    let key = match given.as_slice() {
        [key] => *key,
        [] => {
            let message = "a dependency has no `image`";
            reader.refuse(section.position, message, "write `image: NAME`, where NAME is an image of this file");
            return None;
        }
        _ => {
            let message = "a dependency names one image, but `image` and `from` are given";
            let position = section.get("from").map_or(section.position, |entry| entry.position);
            reader.refuse(position, message, "keep one of `image` and `from`");
            return None;
        }
    };
    let name = reader.filled(section, key)?;
    Some(Link { kind: LinkKind::Dependency, directive: "dependencies", name, wants: Wants::LocalImage })
}

fn moment(reader: &mut Reader<'_>, section: &Section<'_>, conveyor: Conveyor) -> Option<ImportMoment> {
    match conveyor {
        Conveyor::Stapel => import::moment(reader, section, "a dependency"),
        Conveyor::Dockerfile => {
            for key in ["before", "after"] {
                if let Some(entry) = section.get(key) {
                    let message = format!("a dependency of a `dockerfile` image has no `{key}`");
                    reader.refuse(entry.position, message, format!("remove `{key}`: the image is one stage"));
                }
            }
            None
        }
    }
}

fn imports(reader: &mut Reader<'_>, section: &Section<'_>, conveyor: Conveyor) -> Vec<DependencyImport> {
    let mut seen = BTreeSet::new();
    let mut imports = Vec::new();
    for import in reader.subsections(section, "imports", &IMPORT_KEYS) {
        let kind = kind(reader, &import);
        let (wanted, refused) = match conveyor {
            Conveyor::Stapel => ("targetEnv", "targetBuildArg"),
            Conveyor::Dockerfile => ("targetBuildArg", "targetEnv"),
        };
        if let Some(entry) = import.get(refused) {
            let message = format!("`{refused}` is not for this kind of image");
            reader.refuse(entry.position, message, format!("write `{wanted}` instead"));
        }
        let Some(target) = reader.filled(&import, wanted) else {
            if import.get(wanted).is_none() && import.get(refused).is_none() {
                let message = format!("an import of a dependency has no `{wanted}`");
                reader.refuse(import.position, message, format!("write `{wanted}: NAME`"));
            }
            continue;
        };
        if target.text.contains(|c: char| c == '=' || c.is_whitespace()) {
            let message = format!("`{wanted}` cannot be `{}`", shorten(&target.text));
            reader.refuse(target.position, message, "write the name of a variable, without blanks and `=`");
        }
        if !seen.insert(target.text.clone()) {
            let message = format!("`{wanted}: {}` stands twice in one dependency", shorten(&target.text));
            reader.refuse(target.position, message, "give every value a name of its own");
        }
        let Written { text: target, position } = target;
        imports.extend(kind.map(|kind| DependencyImport { kind, target, position }));
    }
    imports
}

fn kind(reader: &mut Reader<'_>, import: &Section<'_>) -> Option<DependencyKind> {
    let names = TYPES.map(|(name, _)| name);
    let hint = format!("types: {}", names.join(", "));
    let Some(written) = reader.text(import, "type") else {
        if import.get("type").is_none() {
            reader.missing(import, "type", "an import of a dependency has no `type`", hint);
        }
        return None;
    };
    let known = TYPES.iter().find(|(name, _)| *name == written.text);
    if known.is_none() {
        let message = format!("unknown `type` `{}` of a dependency's import", shorten(&written.text));
        let hint = super::nearest(&written.text, &names).map_or(hint, |near| format!("did you mean `{near}`?"));
        reader.refuse(written.position, message, hint);
    }
    known.map(|(_, kind)| *kind)
}
