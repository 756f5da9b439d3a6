//! The meta section: the document with `configVersion`.

use slipway_oci::Platform;

use super::{
    Reader, cleanup, deploy, dockerfile, image, image_spec,
    section::{Section, suggestion},
    stapel,
    value::Written,
};
use crate::{Cleanup, GitWorktree, yaml::shorten};

const KEYS: [&str; 6] = ["configVersion", "project", "build", "deploy", "cleanup", "gitWorktree"];
const BUILD_KEYS: [&str; 4] = ["platform", "cacheVersion", "staged", "imageSpec"];
const WORKTREE_KEYS: [&str; 3] = ["forceShallowClone", "allowUnshallow", "allowFetchOriginBranchesAndTags"];
/// The longest name of a project, in characters.
const LONGEST_PROJECT: usize = 50;

/// What the meta section says.
#[derive(Default)]
pub(crate) struct Meta {
    /// `project`; empty when there is a problem with it.
    pub(crate) project: String,
    /// `build.platform`.
    pub(crate) platforms: Vec<Platform>,
    /// `build.cacheVersion`.
    pub(crate) cache_version: Option<String>,
    /// `build.staged`.
    pub(crate) staged: bool,
    /// `gitWorktree`.
    pub(crate) worktree: GitWorktree,
    /// `cleanup`.
    pub(crate) cleanup: Option<Cleanup>,
    /// `build.imageSpec`.
    pub(crate) spec: Option<image_spec::ImageSpec>,
}

/// Reads the meta section.
pub(super) fn read(reader: &mut Reader<'_>, section: &Section<'_>) -> Meta {
    known(reader, section);
    version(reader, section);
    deploy::check(reader, section);
    let mut meta = Meta { project: project(reader, section), ..Meta::default() };
    meta.cleanup = cleanup::read(reader, section);
    meta.worktree = worktree(reader, section);
    if let Some(build) = reader.subsection(section, "build", &BUILD_KEYS) {
        meta.platforms = platforms(reader, &build, "build.platform");
        meta.cache_version = reader.string(&build, "cacheVersion");
        meta.staged = reader.flag(&build, "staged").unwrap_or(false);
        meta.spec = image_spec::read_global(reader, &build);
    }
    meta
}

/// A problem for every key that is none of the meta section; those of images belong into documents of their own.
fn known(reader: &mut Reader<'_>, section: &Section<'_>) {
    let of_images = [image::COMMON_KEYS.as_slice(), &stapel::KEYS, &dockerfile::KEYS].concat();
    for entry in section.entries().iter().filter(|entry| !KEYS.contains(&entry.key.as_str())) {
        let key = shorten(&entry.key);
        if of_images.contains(&entry.key.as_str()) {
            let message = format!("`{key}` is a key of images, but this document is the meta section");
            reader.refuse(entry.position, message, "write a line `---` between the meta section and every image");
        } else if !reader.is_full() {
            reader.refuse(entry.position, format!("unknown key `{key}`"), suggestion(&entry.key, &KEYS, "keys"));
        }
    }
}

/// The platforms under `platform` of `section`; `directive` is how the user knows the key.
pub(super) fn platforms(reader: &mut Reader<'_>, section: &Section<'_>, directive: &str) -> Vec<Platform> {
    let mut platforms: Vec<Platform> = Vec::new();
    for written in reader.texts(section, "platform") {
        match written.text.parse::<Platform>() {
            Ok(platform) if platforms.contains(&platform) => {
                let message = format!("`{directive}` names {platform} twice");
                reader.refuse(written.position, message, "name every platform once");
            }
            Ok(platform) => platforms.push(platform),
            Err(error) => {
                let message = format!("`{directive}`: {error}");
                reader.refuse(written.position, message, "for example `linux/amd64` or `linux/arm/v7`");
            }
        }
    }
    platforms
}

fn worktree(reader: &mut Reader<'_>, section: &Section<'_>) -> GitWorktree {
    let default = GitWorktree::default();
    let Some(worktree) = reader.subsection(section, "gitWorktree", &WORKTREE_KEYS) else { return default };
    let mut flag = |key, otherwise| reader.flag(&worktree, key).unwrap_or(otherwise);
    GitWorktree {
        force_shallow_clone: flag("forceShallowClone", default.force_shallow_clone),
        allow_unshallow: flag("allowUnshallow", default.allow_unshallow),
        allow_fetch: flag("allowFetchOriginBranchesAndTags", default.allow_fetch),
    }
}

fn version(reader: &mut Reader<'_>, section: &Section<'_>) {
    let hint = "write `configVersion: 1`";
    match reader.text(section, "configVersion") {
        // A float is taken for the integer it equals, as in Go.
        Some(written) if written.text.trim().parse::<f64>().is_ok_and(|version| version == 1.0) => {}
        Some(written) => {
            let message = format!("`configVersion` must be 1, not `{}`", shorten(&written.text));
            reader.refuse(written.position, message, hint);
        }
        // Anything but a scalar was refused by `text` already.
        None if section.get("configVersion").is_none() => reader.missing(section, "configVersion", "", hint),
        None => {}
    }
}

fn project(reader: &mut Reader<'_>, section: &Section<'_>) -> String {
    let Some(Written { text, position }) = reader.text(section, "project") else {
        if section.get("project").is_none() {
            let hint = "write `project: NAME`; the name is part of the names of images, so keep it once it is in use";
            reader.missing(section, "project", "'project' is missing from the meta section", hint);
        }
        return String::new();
    };
    if let Some(fault) = project_name_fault(&text) {
        let hint = "names are up to 50 lower-case letters, digits and dashes, with a letter or digit at both ends";
        reader.refuse(position, fault, hint);
        return String::new();
    }
    text
}

/// What is wrong with `name` as the name of a project.
pub(crate) fn project_name_fault(name: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if name.is_empty() {
        Some("'project' is empty".to_owned())
    } else if name.chars().count() > LONGEST_PROJECT {
        Some(format!("bad project name: `{}` is longer than {LONGEST_PROJECT} characters", shorten(name)))
    } else if !name.chars().all(|c| plain(c) || c == '-') || !name.starts_with(plain) || !name.ends_with(plain) {
        Some(format!("bad project name `{name}`"))
    } else {
        None
    }
}
