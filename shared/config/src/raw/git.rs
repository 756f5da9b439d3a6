//! `git`: files of a repository that go into the image.

use std::collections::BTreeMap;

use slipway_paths::TreePath;

use super::{Reader, paths::clean_absolute, remote, section::Section, value::Written};
use crate::{GitMapping, UserStage, yaml::shorten};

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

/// Reads `git` of an image.
pub(super) fn read(reader: &mut Reader<'_>, image: &Section<'_>) -> Vec<GitMapping> {
    let sections = reader.subsections(image, "git", &KEYS);
    sections.iter().filter_map(|section| mapping(reader, section)).collect()
}

fn mapping(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<GitMapping> {
    let remote = remote::read(reader, section);
    let add = add(reader, section);
    let to = target(reader, section);
    let mapping = GitMapping {
        remote,
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
            reader.missing(section, "to", message, "write `to: /app`");
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
