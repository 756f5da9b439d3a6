//! `docker`: what the image's config is set to.

use std::collections::BTreeMap;

use slipway_oci::ConfigChange;

use super::{Reader, healthcheck, section::Section, value::Written};
use crate::yaml::{Entry, Kind, shorten};

const KEYS: [&str; 10] =
    ["VOLUME", "EXPOSE", "ENV", "LABEL", "CMD", "ENTRYPOINT", "WORKDIR", "USER", "HEALTHCHECK", "exactValues"];

/// Reads `docker` of an image, and whether its values are exact. `None` = it sets nothing.
pub(super) fn read(reader: &mut Reader<'_>, image: &Section<'_>) -> (Option<ConfigChange>, bool) {
    let Some(section) = reader.subsection(image, "docker", &KEYS) else { return (None, false) };
    let exact = reader.flag(&section, "exactValues").unwrap_or(false);
    let change = ConfigChange {
        labels: pairs(reader, &section, "LABEL"),
        env: pairs(reader, &section, "ENV"),
        volumes: volumes(reader, &section),
        expose: ports(reader, &section, "EXPOSE"),
        user: reader.filled(&section, "USER").map(|written| written.text),
        workdir: reader.filled(&section, "WORKDIR").map(|written| written.text),
        cmd: command(reader, &section, "CMD"),
        entrypoint: command(reader, &section, "ENTRYPOINT"),
        healthcheck: healthcheck::read(reader, &section),
    };
    ((change != ConfigChange::default()).then_some(change), exact)
}

fn pairs(reader: &mut Reader<'_>, section: &Section<'_>, key: &'static str) -> BTreeMap<String, String> {
    reader.text_map(section, key).into_iter().map(|(name, value)| (name.text, value)).collect()
}

/// `CMD` or `ENTRYPOINT`: a list is the exec form; a text is run by the shell unless it is a JSON array.
fn command(reader: &mut Reader<'_>, section: &Section<'_>, key: &str) -> Option<Vec<String>> {
    let entry = section.get(key)?;
    let words = reader.node_texts(&entry.value, key);
    match &entry.value.kind {
        Kind::Sequence(_) => Some(words.into_iter().map(|written| written.text).collect()),
        Kind::Scalar(_) => words.into_iter().next().map(|written| shell_form(reader, &written, key)),
        Kind::Mapping(_) => None,
    }
}

fn shell_form(reader: &mut Reader<'_>, written: &Written, key: &str) -> Vec<String> {
    let text = written.text.trim();
    if text.is_empty() {
        return Vec::new();
    }
    if let Ok(words) = serde_json::from_str::<Vec<String>>(text) {
        return words;
    }
    if text.starts_with('[') && text.ends_with(']') && text.contains('"') {
        // A list that is not quite JSON would be handed to the shell, which looks for a program named `[`.
        let message = format!("`{key}` looks like a list but is not one: `{}`", shorten(text));
        reader.refuse(written.position, message, format!("write a YAML list: `{key}: [\"program\", \"argument\"]`"));
    }
    vec!["/bin/sh".to_owned(), "-c".to_owned(), text.to_owned()]
}

/// The words of `key`: every text is a JSON array or is split at blanks.
fn words(reader: &mut Reader<'_>, section: &Section<'_>, key: &str) -> Vec<Written> {
    let texts = section.get(key).map(|entry: &Entry| reader.node_texts(&entry.value, key)).unwrap_or_default();
    let mut words = Vec::new();
    for Written { text, position } in texts {
        let split = serde_json::from_str::<Vec<String>>(text.trim())
            .unwrap_or_else(|_| text.split_whitespace().map(str::to_owned).collect());
        words.extend(split.into_iter().map(|text| Written { text, position }));
    }
    words
}

fn volumes(reader: &mut Reader<'_>, section: &Section<'_>) -> Vec<String> {
    let mut volumes: Vec<String> = Vec::new();
    for volume in words(reader, section, "VOLUME") {
        let Some(path) = reader.absolute(&volume, "VOLUME") else { continue };
        if !volumes.contains(&path) {
            volumes.push(path);
        }
    }
    volumes
}

/// `PORT[-PORT][/PROTOCOL]`, ranges written out.
pub(super) fn ports(reader: &mut Reader<'_>, section: &Section<'_>, key: &str) -> Vec<String> {
    let mut ports: Vec<String> = Vec::new();
    for written in words(reader, section, key) {
        let Some((first, last, protocol)) = port_range(&written.text) else {
            let message = format!("`{key}` holds `{}`, which is no port", shorten(&written.text));
            reader.refuse(written.position, message, "write `8080`, `53/udp` or `3000-3005`");
            continue;
        };
        for port in first..=last {
            let port = protocol.map_or_else(|| port.to_string(), |protocol| format!("{port}/{protocol}"));
            if !ports.contains(&port) {
                ports.push(port);
            }
        }
    }
    ports
}

fn port_range(text: &str) -> Option<(u16, u16, Option<&str>)> {
    let (range, protocol) = match text.split_once('/') {
        Some((range, protocol)) if matches!(protocol, "tcp" | "udp" | "sctp") => (range, Some(protocol)),
        Some(_) => return None,
        None => (text, None),
    };
    let number = |digits: &str| digits.parse::<u16>().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()));
    let (first, last) = match range.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(range)?, number(range)?),
    };
    // A range of thousands of ports is a mistake, and every port is a line in the image's config.
    (first <= last && last - first < 1000).then_some((first, last, protocol))
}
