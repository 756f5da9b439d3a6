//! `dependencies`: images that must be built first and whose names are handed over. Read and checked, not built.

use std::collections::BTreeSet;

use super::{Link, LinkKind, Reader, Wants, import, section::Section, value::Written};
use crate::yaml::shorten;

const KEYS: [&str; 5] = ["image", "from", "imports", "before", "after"];
const IMPORT_KEYS: [&str; 3] = ["type", "targetEnv", "targetBuildArg"];
const TYPES: [&str; 5] = ["ImageName", "ImageTag", "ImageRepo", "ImageID", "ImageDigest"];

/// How the image that has the dependencies is built.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Conveyor {
    /// From a Dockerfile: values become build arguments.
    Dockerfile,
    /// As Stapel image: values become variables, before or after a stage.
    Stapel,
}

/// Reads `dependencies`: a link for each, and the targets of their imports.
pub(super) fn read(reader: &mut Reader<'_>, image: &Section<'_>, conveyor: Conveyor) -> (Vec<Link>, Vec<Written>) {
    let (mut links, mut targets) = (Vec::new(), Vec::new());
    if let Some(entry) = image.get("dependencies") {
        reader.unsupported("dependencies", entry.position);
    }
    for section in reader.subsections(image, "dependencies", &KEYS) {
        links.extend(source(reader, &section));
        moment(reader, &section, conveyor);
        targets.extend(imports(reader, &section, conveyor));
    }
    (links, targets)
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
            reader.refuse(section.position, message, "keep `image`");
            return None;
        }
    };
    let name = reader.filled(section, key)?;
    Some(Link { kind: LinkKind::Dependency, directive: "dependencies", name, wants: Wants::LocalImage })
}

fn moment(reader: &mut Reader<'_>, section: &Section<'_>, conveyor: Conveyor) {
    match conveyor {
        Conveyor::Stapel => drop(import::moment(reader, section, "a dependency")),
        Conveyor::Dockerfile => {
            for key in ["before", "after"] {
                if let Some(entry) = section.get(key) {
                    let message = format!("a dependency of a `dockerfile` image has no `{key}`");
                    reader.refuse(entry.position, message, format!("remove `{key}`: the image is one stage"));
                }
            }
        }
    }
}

fn imports(reader: &mut Reader<'_>, section: &Section<'_>, conveyor: Conveyor) -> Vec<Written> {
    let mut seen = BTreeSet::new();
    let mut targets = Vec::new();
    for import in reader.subsections(section, "imports", &IMPORT_KEYS) {
        check_type(reader, &import);
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
        if !seen.insert(target.text.clone()) {
            let message = format!("`{wanted}: {}` stands twice in one dependency", shorten(&target.text));
            reader.refuse(target.position, message, "give every value a name of its own");
        }
        targets.push(target);
    }
    targets
}

fn check_type(reader: &mut Reader<'_>, import: &Section<'_>) {
    let hint = format!("types: {}", TYPES.join(", "));
    match reader.text(import, "type") {
        Some(kind) if TYPES.contains(&kind.text.as_str()) => {}
        Some(kind) => {
            let message = format!("unknown `type` `{}` of a dependency's import", shorten(&kind.text));
            let hint = super::nearest(&kind.text, &TYPES).map_or(hint, |near| format!("did you mean `{near}`?"));
            reader.refuse(kind.position, message, hint);
        }
        None => {
            if import.get("type").is_none() {
                reader.refuse(import.position, "an import of a dependency has no `type`", hint);
            }
        }
    }
}
