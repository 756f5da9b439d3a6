//! `mount`: directories of the host in build containers. Read and checked, not built.

use std::collections::BTreeMap;

use super::{Reader, section::Section};
use crate::{OutsideKind, yaml::shorten};

const KEYS: [&str; 3] = ["from", "fromPath", "to"];

/// Checks `mount` of an image.
pub(super) fn check(reader: &mut Reader<'_>, image: &Section<'_>) {
    if let Some(entry) = image.get("mount") {
        reader.unsupported("mount", entry.position);
    }
    let mut targets: BTreeMap<String, u32> = BTreeMap::new();
    for mount in reader.subsections(image, "mount", &KEYS) {
        check_source(reader, &mount);
        let Some(written) = reader.text(&mount, "to") else {
            if mount.get("to").is_none() {
                reader.refuse(mount.position, "`to` of a mount is missing", "write `to: /path/in/container`");
            }
            continue;
        };
        let Some(to) = reader.absolute(&written, "to") else { continue };
        if let Some(line) = targets.insert(to.clone(), written.position.line) {
            let message = format!("conflict between mounts: two have `to: {}`", shorten(&to));
            reader.refuse(written.position, message, format!("the other one stands in line {line}; change one"));
        }
    }
}

fn check_source(reader: &mut Reader<'_>, mount: &Section<'_>) {
    let (from, path) = (reader.filled(mount, "from"), reader.filled(mount, "fromPath"));
    let hint = "write `from: tmp_dir`, `from: build_dir` or `fromPath: PATH`";
    match (from, path) {
        (Some(_), Some(path)) => {
            let message = "a mount has either `from` or `fromPath`, not both";
            reader.refuse(path.position, message, hint);
        }
        (Some(from), None) if !matches!(from.text.as_str(), "tmp_dir" | "build_dir") => {
            let message = format!("unknown `from` of a mount: `{}`", shorten(&from.text));
            reader.refuse(from.position, message, hint);
        }
        (None, None) if mount.get("from").is_none() && mount.get("fromPath").is_none() => {
            reader.refuse(mount.position, "a mount has neither `from` nor `fromPath`", hint);
        }
        (Some(from), None) if from.text == "build_dir" => reader.outside(OutsideKind::MountBuildDir, from.position),
        (None, Some(path)) => reader.outside(OutsideKind::MountFromPath(path.text), path.position),
        (Some(_), None) | (None, None) => {}
    }
}
