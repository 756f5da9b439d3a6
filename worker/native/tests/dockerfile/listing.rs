//! Trees and configurations as lines that can be compared.

use std::{collections::BTreeMap, io::Read as _};

use serde_json::Value;

/// Times before this are those of sources; later ones are of the build.
const OF_SOURCES: u64 = 1_700_000_000;
/// What of a configuration is compared.
const KEYS: [&str; 12] = [
    "Cmd",
    "Entrypoint",
    "Env",
    "ExposedPorts",
    "Healthcheck",
    "Labels",
    "OnBuild",
    "Shell",
    "StopSignal",
    "User",
    "Volumes",
    "WorkingDir",
];

/// The files of an archive by their first segment, or all under one when that is given; sorted, each a line.
pub(crate) fn trees(archive: &[u8], one: Option<&str>) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut reader = tar::Archive::new(archive);
    for entry in reader.entries().expect("an archive") {
        let mut entry = entry.expect("an entry");
        let path = String::from_utf8_lossy(&entry.path_bytes()).trim_start_matches("./").trim_matches('/').to_owned();
        let (first, rest) = match one {
            Some(name) => (name, path.as_str()),
            None => path.split_once('/').unwrap_or((&path, "")),
        };
        let lines = found.entry(first.to_owned()).or_default();
        if rest.is_empty() {
            continue;
        }
        let mut text = Vec::new();
        entry.read_to_end(&mut text).expect("content");
        let header = entry.header();
        let link = entry.link_name_bytes().map(|link| String::from_utf8_lossy(&link).into_owned());
        let (kind, more) = match header.entry_type() {
            tar::EntryType::Directory => ('d', String::new()),
            tar::EntryType::Symlink => ('l', format!(" -> {}", link.unwrap_or_default())),
            tar::EntryType::Link => {
                let link = link.unwrap_or_default();
                let link = link.trim_start_matches("./").trim_start_matches('/');
                let inner = if one.is_some() { link } else { link.split_once('/').map_or(link, |(_, rest)| rest) };
                ('h', format!(" = {inner}"))
            }
            tar::EntryType::Regular => ('f', content(&text, header.mtime().expect("a time"))),
            other => ('?', format!(" {other:?}")),
        };
        let (uid, gid) = (header.uid().expect("a number"), header.gid().expect("a number"));
        let mode = header.mode().expect("a mode") & 0o7777;
        lines.push(format!("{kind} {mode:04o} {uid}:{gid} {rest}{more}"));
    }
    found.values_mut().for_each(|lines| lines.sort());
    found
}

fn content(text: &[u8], time: u64) -> String {
    let dated = if time > 1 && time < OF_SOURCES { " dated" } else { "" };
    // Programs and archives by their size.
    if text.len() > 200 {
        return format!(" {} bytes{dated}", text.len());
    }
    format!(" {}{dated}", String::from_utf8_lossy(text).escape_debug())
}

/// What matters of a configuration: one line for each value, lists in their order.
pub(crate) fn config(config: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for key in KEYS {
        match config.get(key) {
            None | Some(Value::Null) => {}
            Some(Value::Object(map)) if key != "Healthcheck" => {
                lines.extend(map.iter().map(|(name, value)| format!("{key} {name}={value}")));
            }
            Some(Value::Array(list)) if key == "Env" => lines.extend(list.iter().map(|value| format!("{key} {value}"))),
            Some(Value::Array(list)) if list.is_empty() => {}
            Some(Value::String(text)) if text.is_empty() => {}
            Some(value) => lines.push(format!("{key} {value}")),
        }
    }
    lines.sort();
    lines
}
