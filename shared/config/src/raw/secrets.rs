//! `secrets`: what a build may read and no image holds. No value is ever shown.

use std::collections::BTreeMap;

use super::{Reader, section::Section};
use crate::{OutsideKind, Position, Secret, SecretSource, yaml::shorten};

const KEYS: [&str; 4] = ["id", "env", "src", "value"];
const SOURCES: [&str; 3] = ["env", "src", "value"];

/// Reads `secrets` of an image.
pub(super) fn read(reader: &mut Reader<'_>, image: &Section<'_>) -> Vec<Secret> {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut secrets = Vec::new();
    for section in reader.subsections(image, "secrets", &KEYS) {
        let Some((source, place)) = source(reader, &section, "a secret") else { continue };
        let Some(id) = identity(reader, &section, &source) else { continue };
        let (kind, place) = match &source {
            SecretSource::Env(name) => (OutsideKind::SecretEnv(name.clone()), place),
            SecretSource::File(path) => (OutsideKind::SecretFile(path.clone()), place),
            SecretSource::Value(_) => (OutsideKind::SecretValue(id.clone()), section.position),
        };
        reader.outside(kind, place);
        if let Some(line) = seen.insert(id.clone(), section.position.line) {
            let message = format!("duplicate secret id `{}`", shorten(&id));
            reader.refuse(section.position, message, format!("it stands in line {line} already; set another `id`"));
        }
        secrets.push(Secret { id, source, position: section.position });
    }
    secrets
}

/// The one source of `what`, and where it stands.
pub(super) fn source(reader: &mut Reader<'_>, section: &Section<'_>, what: &str) -> Option<(SecretSource, Position)> {
    let hint = "write one of `env: NAME`, `src: PATH` and `value: TEXT`";
    let given: Vec<_> = SOURCES.into_iter().filter_map(|key| Some((key, section.get(key)?))).collect();
    match given.as_slice() {
        [("value", entry)] => {
            let value = reader.text(section, "value")?;
            Some((SecretSource::Value(value.text), entry.position))
        }
        [(key, _)] => {
            let written = reader.filled(section, key)?;
            let make = if *key == "env" { SecretSource::Env } else { SecretSource::File };
            Some((make(written.text), written.position))
        }
        [] => {
            reader.refuse(section.position, format!("{what} needs one of `env`, `src` and `value`"), hint);
            None
        }
        [(first, _), (second, entry), ..] => {
            let message = format!("{what} has one source, but `{first}` and `{second}` are given");
            reader.refuse(entry.position, message, hint);
            None
        }
    }
}

/// The id of a secret: given, or the name of its variable or file.
fn identity(reader: &mut Reader<'_>, section: &Section<'_>, source: &SecretSource) -> Option<String> {
    let given = reader.filled(section, "id");
    let is_bad = |id: &str| id.contains(|c: char| matches!(c, '/' | ',') || c.is_whitespace()) || id.starts_with('.');
    if let Some(id) = given.as_ref().filter(|id| is_bad(&id.text)) {
        let message = format!("`id` of a secret cannot be `{}`", shorten(&id.text));
        reader.refuse(id.position, message, "ids are names of files: without blanks, `/` and `,`, and not hidden");
    }
    match (given, source) {
        (Some(id), _) => Some(id.text),
        (None, SecretSource::Env(name)) => Some(name.clone()),
        (None, SecretSource::File(path)) => {
            let name = path.rsplit('/').next().unwrap_or_default();
            if matches!(name, "" | "." | ".." | "~") {
                let message = format!("`src: {}` names no file", shorten(path));
                reader.refuse(section.position, message, "write the path of a file");
                return None;
            }
            Some(name.to_owned())
        }
        (None, SecretSource::Value(_)) => {
            if section.get("id").is_none() {
                reader.refuse(section.position, "a secret given by `value` needs an `id`", "write `id: NAME`");
            }
            None
        }
    }
}
