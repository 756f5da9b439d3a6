//! `git`: files of a repository that go into the image.

use std::collections::BTreeMap;

use slipway_paths::TreePath;

use super::{Reader, paths::clean_absolute, section::Section, value::Written};
use crate::{GitMapping, OutsideKind, UserStage, problem::without_credentials, yaml::shorten};

const KEYS: [&str; 12] = [
    "url",
    "branch",
    "tag",
    "commit",
    "basicAuth",
    "add",
    "to",
    "includePaths",
    "excludePaths",
    "owner",
    "group",
    "stageDependencies",
];
const STAGES: [(&str, UserStage); 3] =
    [("install", UserStage::Install), ("beforeSetup", UserStage::BeforeSetup), ("setup", UserStage::Setup)];

/// The mappings of an image.
pub(super) struct Mappings {
    /// Those of the project's own repository.
    pub(super) local: Vec<GitMapping>,
    /// Those with a `url`.
    pub(super) remote: Vec<GitMapping>,
}

/// Reads `git` of an image.
pub(super) fn read(reader: &mut Reader<'_>, image: &Section<'_>) -> Mappings {
    let mut mappings = Mappings { local: Vec::new(), remote: Vec::new() };
    for section in reader.subsections(image, "git", &KEYS) {
        let remote = repository(reader, &section);
        let Some(mapping) = mapping(reader, &section) else { continue };
        if remote { mappings.remote.push(mapping) } else { mappings.local.push(mapping) }
    }
    mappings
}

/// Checks what names the repository and its commit. True = another one than the project's.
fn repository(reader: &mut Reader<'_>, section: &Section<'_>) -> bool {
    let url = reader.filled(section, "url");
    let revisions: Vec<_> =
        ["branch", "tag", "commit"].into_iter().filter_map(|key| Some((key, section.get(key)?))).collect();
    for (key, entry) in &revisions {
        reader.filled(section, key);
        if section.get("url").is_none() {
            let message = format!("`{key}` is for `git` with a `url`: the project's own files come from its commit");
            reader.refuse(entry.position, message, format!("remove `{key}`, or name the repository by `url`"));
        }
    }
    for (_, entry) in revisions.iter().filter(|(key, _)| *key == "branch") {
        reader.outside(OutsideKind::GitBranch, entry.position);
    }
    if let [(first, _), (second, entry), ..] = revisions.as_slice() {
        let message = format!("`{first}` and `{second}` cannot stand together");
        reader.refuse(entry.position, message, "keep one of `branch`, `tag` and `commit`");
    }
    if let Some(auth) = reader.subsection(section, "basicAuth", &["username", "password"]) {
        reader.text(&auth, "username");
        reader.subsection(&auth, "password", &["env", "src", "value"]);
    }
    if let Some(url) = &url
        && url.text.contains(char::is_whitespace)
    {
        let message = format!("`url` holds blanks: `{}`", shorten(&without_credentials(&url.text)));
        reader.refuse(url.position, message, "write the address as `git clone` takes it");
    }
    if let Some(entry) = section.get("url") {
        reader.unsupported("git.url", entry.position);
    }
    section.get("url").is_some()
}

fn mapping(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<GitMapping> {
    let add = add(reader, section);
    let to = target(reader, section);
    let mapping = GitMapping {
        add: add?,
        to: to?,
        include: reader.globs(section, "includePaths"),
        exclude: reader.globs(section, "excludePaths"),
        owner: reader.filled(section, "owner").map(|written| written.text),
        group: reader.filled(section, "group").map(|written| written.text),
        stage_dependencies: stage_dependencies(reader, section),
        position: section.position,
    };
    Some(mapping)
}

/// `add`, the root of the repository when it is absent.
fn add(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<TreePath> {
    let Some(written) = reader.text(section, "add") else {
        return section.get("add").is_none().then(TreePath::root);
    };
    let path = reader.absolute(&written, "add")?;
    TreePath::new(path).ok()
}

fn target(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<String> {
    let Some(written) = reader.text(section, "to") else {
        if section.get("to").is_none() {
            let message = "`to` is missing: where in the image do the files go?";
            reader.refuse(section.position, message, "write `to: /app`");
        }
        return None;
    };
    let path = reader.absolute(&written, "to")?;
    if written.text.len() > 1 && written.text.ends_with('/') {
        warn_slash(reader, &written);
    }
    Some(path)
}

fn warn_slash(reader: &mut Reader<'_>, to: &Written) {
    let path = clean_absolute(&to.text).unwrap_or_default();
    let message = format!("`to` ends in a slash, which has no meaning; write `to: {}`", shorten(&path));
    reader.warn(to.position, &message);
}

fn stage_dependencies(reader: &mut Reader<'_>, section: &Section<'_>) -> BTreeMap<UserStage, Vec<String>> {
    let known = STAGES.map(|(key, _)| key);
    let Some(below) = reader.subsection(section, "stageDependencies", &known) else { return BTreeMap::new() };
    let mut dependencies = BTreeMap::new();
    for (key, stage) in STAGES {
        let globs = reader.globs(&below, key);
        if !globs.is_empty() {
            dependencies.insert(stage, globs);
        }
    }
    dependencies
}
