//! A Stapel image or artifact: the document with `image` or `artifact` and no `dockerfile`.

use super::{
    Draft, Link, LinkKind, Reader, Wants, ansible,
    dependencies::{self, Conveyor},
    docker, dockerfile, git,
    image::{Common, known_keys},
    image_spec, import, mount, secrets,
    section::Section,
    shell,
};
use crate::{
    Base, ImageKind, Position, StapelImage,
    yaml::{Entry, shorten},
};

/// Keys that Stapel images have beside the common ones.
pub(super) const KEYS: [&str; 17] = [
    "artifact",
    "from",
    "fromLatest",
    "fromImage",
    "fromArtifact",
    "fromCacheVersion",
    "disableGitAfterPatch",
    "git",
    "shell",
    "ansible",
    "docker",
    "import",
    "mount",
    "dependencies",
    "network",
    "secrets",
    "imageSpec",
];
/// The directives that name a base.
const BASES: [(&str, Wants); 3] =
    [("from", Wants::Anything), ("fromImage", Wants::Image), ("fromArtifact", Wants::Artifact)];
/// Directives that an artifact does not have.
const NOT_FOR_ARTIFACTS: [&str; 5] = ["final", "docker", "imageSpec", "disableGitAfterPatch", "dependencies"];

/// Reads a Stapel image.
pub(super) fn read(reader: &mut Reader<'_>, section: &Section<'_>, common: Common) -> Draft {
    let why = "is for images with a `dockerfile`, which this one has not";
    let instead = "remove it, or write `dockerfile: Dockerfile` instead of `from`";
    known_keys(reader, section, &KEYS, (&dockerfile::KEYS, why, instead));
    exclusive(reader, section, "shell", "ansible");
    exclusive(reader, section, "docker", "imageSpec");
    if common.is_artifact() {
        refuse_for_artifact(reader, section);
    }
    let base = base(reader, section);
    let git = git::read(reader, section);
    let (imports, mut links) = import::read(reader, section);
    let (dependencies, dependency_links) = dependencies::read(reader, section, Conveyor::Stapel);
    links.extend(dependency_links);
    let spec = image_spec::read(reader, section);
    let secrets = secrets::read(reader, section);
    let patches_disabled = reader.flag(section, "disableGitAfterPatch").unwrap_or(false);
    let (docker, exact_values) = docker::read(reader, section);
    let stapel = StapelImage {
        base: Base::Reference(base.as_ref().map(|link| link.name.text.clone()).unwrap_or_default()),
        from_latest: from_latest(reader, section),
        from_cache_version: reader.string(section, "fromCacheVersion"),
        git,
        shell: shell::read(reader, section),
        ansible: ansible::read(reader, section),
        mounts: mount::read(reader, section),
        inherited_mounts: Vec::new(),
        network: reader.filled(section, "network").map(|network| network.text),
        docker,
        exact_values,
        imports,
        patches_after_setup: !common.is_artifact() && !patches_disabled,
    };
    let mut draft = common.into_draft(ImageKind::Stapel(Box::new(stapel)));
    draft.image.dependencies = dependencies;
    draft.image.secrets = secrets;
    draft.spec = spec;
    draft.links = base.into_iter().chain(links).collect();
    draft
}

/// The one directive that names the base.
fn base(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<Link> {
    let given: Vec<(&'static str, Wants, &Entry)> =
        BASES.iter().filter_map(|(key, wants)| Some((*key, *wants, section.get(key)?))).collect();
    if let [first, second, ..] = given.as_slice() {
        let message = format!("conflict between `{}` and `{}`: an image has one base", first.0, second.0);
        reader.refuse(second.2.position, message, format!("remove one of them; `{}` stands above", first.0));
    }
    let Some((directive, wants, _)) = given.first().copied() else {
        let hint = "write `from: IMAGE:TAG`, or `fromImage: NAME` for an image of this file";
        let message = "one of `from`, `fromImage` and `fromArtifact` is required: the image has no base";
        let empty = BASES.iter().map(|(key, _)| *key).find(|key| section.has(key));
        reader.missing(section, empty.unwrap_or("from"), message, hint);
        return None;
    };
    let name = reader.filled(section, directive)?;
    if name.text.contains(char::is_whitespace) {
        let message = format!("`{directive}` holds blanks: `{}`", shorten(&name.text));
        reader.refuse(name.position, message, "write a single image name, without blanks");
        return None;
    }
    Some(Link { kind: LinkKind::Base, directive, name, wants })
}

fn exclusive(reader: &mut Reader<'_>, section: &Section<'_>, one: &str, other: &str) {
    if let (Some(_), Some(entry)) = (section.get(one), section.get(other)) {
        let message = format!("`{one}` and `{other}` cannot stand together");
        reader.refuse(entry.position, message, format!("keep one of `{one}` and `{other}`"));
    }
}

fn refuse_for_artifact(reader: &mut Reader<'_>, section: &Section<'_>) {
    for key in NOT_FOR_ARTIFACTS {
        if let Some(entry) = section.get(key) {
            let hint = "remove it, or write `image` with `final: false` instead of `artifact`";
            reader.refuse(entry.position, format!("an artifact cannot have `{key}`"), hint);
        }
    }
}

/// Where `fromLatest: true` stands.
fn from_latest(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<Position> {
    let entry = section.get("fromLatest")?;
    reader.flag(section, "fromLatest").unwrap_or(false).then_some(entry.position)
}
