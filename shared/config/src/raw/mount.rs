//! `mount`: directories of the host in build containers.

use std::collections::BTreeMap;

use super::{Reader, section::Section};
use crate::{Mount, MountSource, OutsideKind, yaml::shorten};

const KEYS: [&str; 3] = ["from", "fromPath", "to"];

/// Reads `mount` of an image.
pub(super) fn read(reader: &mut Reader<'_>, image: &Section<'_>) -> Vec<Mount> {
    let mut targets: BTreeMap<String, u32> = BTreeMap::new();
    let mut mounts = Vec::new();
    for section in reader.subsections(image, "mount", &KEYS) {
        let source = source(reader, &section);
        let Some(written) = reader.text(&section, "to") else {
            if section.get("to").is_none() {
                reader.missing(&section, "to", "`to` of a mount is missing", "write `to: /path/in/container`");
            }
            continue;
        };
        let Some(to) = reader.absolute(&written, "to") else { continue };
        if let Some(line) = targets.insert(to.clone(), written.position.line) {
            let message = format!("conflict between mounts: two have `to: {}`", shorten(&to));
            reader.refuse(written.position, message, format!("the other one stands in line {line}; change one"));
        }
        mounts.extend(source.map(|source| Mount { source, to, position: section.position }));
    }
    mounts
}

fn source(reader: &mut Reader<'_>, mount: &Section<'_>) -> Option<MountSource> {
    let (from, path) = (reader.filled(mount, "from"), reader.filled(mount, "fromPath"));
    let hint = "write `from: tmp_dir`, `from: build_dir` or `fromPath: PATH`";
    match (from, path) {
        (Some(_), Some(path)) => {
            reader.refuse(path.position, "a mount has either `from` or `fromPath`, not both", hint);
            None
        }
        (None, Some(path)) => {
            reader.outside(OutsideKind::MountFromPath(path.text.clone()), path.position);
            Some(MountSource::Path(path.text))
        }
        (Some(from), None) => match from.text.as_str() {
            "tmp_dir" => Some(MountSource::TmpDir),
            "build_dir" => {
                reader.outside(OutsideKind::MountBuildDir, from.position);
                Some(MountSource::BuildDir)
            }
            other => {
                let message = format!("unknown `from` of a mount: `{}`", shorten(other));
                let near = super::nearest(other, &["tmp_dir", "build_dir"]);
                let hint = near.map_or(hint.to_owned(), |near| format!("did you mean `{near}`?"));
                reader.refuse(from.position, message, hint);
                None
            }
        },
        (None, None) => {
            if mount.get("from").is_none() && mount.get("fromPath").is_none() {
                reader.refuse(mount.position, "a mount has neither `from` nor `fromPath`", hint);
            }
            None
        }
    }
}
