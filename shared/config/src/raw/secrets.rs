//! `secrets`: what a build may read and no image holds. Read and checked, not built. No value is ever shown.

use std::collections::BTreeMap;

use super::{Reader, section::Section};
use crate::{OutsideKind, yaml::shorten};

const KEYS: [&str; 4] = ["id", "env", "src", "value"];

/// Checks `secrets` of an image.
pub(super) fn check(reader: &mut Reader<'_>, image: &Section<'_>) {
    if let Some(entry) = image.get("secrets") {
        reader.unsupported("secrets", entry.position);
    }
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for secret in reader.subsections(image, "secrets", &KEYS) {
        let Some(id) = identity(reader, &secret) else { continue };
        if let Some(line) = seen.insert(id.clone(), secret.position.line) {
            let message = format!("duplicate secret id `{}`", shorten(&id));
            reader.refuse(secret.position, message, format!("it stands in line {line} already; set another `id`"));
        }
    }
}

/// The id of a secret: given, or the name of its variable or file.
fn identity(reader: &mut Reader<'_>, secret: &Section<'_>) -> Option<String> {
    let hint = "write one of `env: NAME`, `src: PATH` and `value: TEXT`";
    let given: Vec<&str> = ["env", "src", "value"].into_iter().filter(|key| secret.get(key).is_some()).collect();
    let source = match given.as_slice() {
        [source] => *source,
        [] => {
            reader.refuse(secret.position, "a secret needs one of `env`, `src` and `value`", hint);
            return None;
        }
        [first, second, ..] => {
            let message = format!("a secret has one source, but `{first}` and `{second}` are given");
            reader.refuse(secret.position, message, hint);
            return None;
        }
    };
    let id = reader.filled(secret, "id").map(|written| written.text);
    if source == "value" {
        reader.text(secret, "value");
        if id.is_none() && secret.get("id").is_none() {
            reader.refuse(secret.position, "a secret given by `value` needs an `id`", "write `id: NAME`");
        }
        if let Some(id) = &id {
            reader.outside(OutsideKind::SecretValue(id.clone()), secret.position);
        }
        return id;
    }
    let written = reader.filled(secret, source)?;
    let origin = written.text;
    let kind = if source == "env" { OutsideKind::SecretEnv } else { OutsideKind::SecretFile };
    reader.outside(kind(origin.clone()), written.position);
    id.or_else(|| origin.rsplit('/').find(|part| !part.is_empty()).map(str::to_owned))
}
