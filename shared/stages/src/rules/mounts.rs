//! `mount`: directories of the host that commands see. Where they are counts in the digest of `from`, what is in them
//! nowhere.

use std::collections::BTreeMap;

use slipway_config::{Image, ImageKind, Mount, MountSource};
use slipway_digest::Encoder;

use crate::{
    kind::StageKind,
    plan::{MountedFrom, PlanMount},
    scene::Scene,
};

/// Adds the mounts of the image itself; nothing when there are none. Those of images below count in their digests.
pub(super) fn count(encoder: Encoder, mounts: &[Mount]) -> Encoder {
    if mounts.is_empty() {
        return encoder;
    }
    let mut sorted: Vec<&Mount> = mounts.iter().collect();
    sorted.sort_by(|left, right| left.to.cmp(&right.to));
    encoder.text("mounts").list(sorted.into_iter(), |encoder, mount| {
        let (kind, path) = match &mount.source {
            MountSource::TmpDir => ("tmp_dir", String::new()),
            MountSource::BuildDir => ("build_dir", String::new()),
            MountSource::Path(path) => ("custom_dir", cleaned(path)),
        };
        encoder.text(kind).text(&path).text(&mount.to)
    })
}

/// The mounts of a stage: in `from`, which makes their places, those of the image itself.
pub(crate) fn of(scene: Scene<'_>, kind: StageKind) -> Vec<PlanMount> {
    let ImageKind::Stapel(stapel) = &scene.image.kind else { return Vec::new() };
    let inherited = if kind == StageKind::From { [].as_slice() } else { stapel.inherited_mounts.as_slice() };
    stapel.mounts.iter().chain(inherited).map(|mount| planned(scene, mount)).collect()
}

fn planned(scene: Scene<'_>, mount: &Mount) -> PlanMount {
    let from = match &mount.source {
        MountSource::TmpDir => {
            MountedFrom::Temporary { run: scene.settings.run.clone(), image: scene.image.name().to_string() }
        }
        MountSource::BuildDir => MountedFrom::Shared,
        MountSource::Path(path) => MountedFrom::Path(path.clone()),
    };
    PlanMount { from, to: mount.to.clone(), line: mount.position.line }
}

/// The labels that tell of mounts; images built on the stage inherit them, as they do the mounts.
pub(crate) fn labels(image: &Image, kind: StageKind) -> BTreeMap<String, String> {
    let mut labels: BTreeMap<String, String> = BTreeMap::new();
    let ImageKind::Stapel(stapel) = &image.kind else { return labels };
    if kind != StageKind::From || stapel.mounts.is_empty() {
        return labels;
    }
    let mut all: Vec<&Mount> = stapel.mounts.iter().chain(&stapel.inherited_mounts).collect();
    all.sort_by(|left, right| left.to.cmp(&right.to));
    for mount in all {
        let name = match &mount.source {
            MountSource::TmpDir => "werf-mount-type-tmp-dir".to_owned(),
            MountSource::BuildDir => "werf-mount-type-build-dir".to_owned(),
            MountSource::Path(path) => format!("werf-mount-type-custom-dir-{}", cleaned(path).replace('/', "-->")),
        };
        let places = labels.entry(name).or_default();
        if !places.is_empty() {
            places.push(';');
        }
        places.push_str(&mount.to);
    }
    labels
}

/// A path without `.`, doubled slashes and what `..` takes back; `.` when nothing is left.
fn cleaned(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let absolute = path.starts_with('/');
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." if segments.last().is_some_and(|last| *last != "..") => drop(segments.pop()),
            ".." if absolute => {}
            other => segments.push(other),
        }
    }
    match (absolute, segments.is_empty()) {
        (true, _) => format!("/{}", segments.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => segments.join("/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_they_are_read() {
        for (path, expected) in [
            ("./", "."),
            ("", "."),
            ("a//b/./c/", "a/b/c"),
            ("a/../../b", "../b"),
            ("/../x", "/x"),
            ("/", "/"),
            ("~/cache/../x", "~/x"),
        ] {
            assert_eq!(cleaned(path), expected, "{path}");
        }
    }
}
