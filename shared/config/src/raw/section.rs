//! A mapping under a known directive, and its unknown keys.

use super::Reader;
use crate::{
    Position,
    yaml::{Entry, Kind, Node, shorten},
};

/// A mapping that stands under a directive.
#[derive(Clone, Copy)]
pub(crate) struct Section<'n> {
    /// The directive, for messages (`git`, `import`).
    pub(crate) name: &'static str,
    /// Where it starts.
    pub(crate) position: Position,
    entries: &'n [Entry],
}

impl<'n> Section<'n> {
    /// The entry of `key`, unless its value is nothing.
    pub(crate) fn get(&self, key: &str) -> Option<&'n Entry> {
        self.entry(key).filter(|entry| !entry.value.is_null())
    }

    /// The entry of `key`, be its value nothing.
    pub(crate) fn entry(&self, key: &str) -> Option<&'n Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// Whether `key` is there, be its value nothing.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.entry(key).is_some()
    }

    /// All entries.
    pub(crate) fn entries(&self) -> &'n [Entry] {
        self.entries
    }
}

impl Reader<'_> {
    /// `node` as a mapping; a problem when it is none.
    pub(crate) fn section<'n>(&mut self, node: &'n Node, name: &'static str) -> Option<Section<'n>> {
        match &node.kind {
            Kind::Mapping(entries) => Some(Section { name, position: node.position, entries }),
            Kind::Scalar(_) | Kind::Sequence(_) => {
                let hint = format!("write `key: value` lines under `{name}`, indented by two spaces");
                let message = match name {
                    "document" => format!("a document must be a mapping, not {}", node.describe()),
                    _ => format!("`{name}` must be a mapping, not {}", node.describe()),
                };
                let hint = if name == "document" { "write `key: value` lines".to_owned() } else { hint };
                self.refuse(node.position, message, hint);
                None
            }
        }
    }

    /// The mapping under `key` of `section`, its keys checked against `known`.
    pub(crate) fn subsection<'n>(
        &mut self,
        section: &Section<'n>,
        key: &'static str,
        known: &[&str],
    ) -> Option<Section<'n>> {
        let below = self.section(&section.get(key)?.value, key)?;
        self.known(&below, known);
        Some(below)
    }

    /// The mappings listed under `key` of `section`, keys checked against `known`.
    pub(crate) fn subsections<'n>(
        &mut self,
        section: &Section<'n>,
        key: &'static str,
        known: &[&str],
    ) -> Vec<Section<'n>> {
        let Some(entry) = section.get(key) else { return Vec::new() };
        let Kind::Sequence(items) = &entry.value.kind else {
            let message = format!("`{key}` must be a list, not {}", entry.value.describe());
            self.refuse(entry.value.position, message, format!("begin every entry of `{key}` with `- `"));
            return Vec::new();
        };
        let sections: Vec<Section<'n>> = items.iter().filter_map(|item| self.item_section(item, key, known)).collect();
        for section in &sections {
            self.known(section, known);
        }
        sections
    }

    fn item_section<'n>(&mut self, item: &'n Node, key: &'static str, known: &[&str]) -> Option<Section<'n>> {
        if let Kind::Mapping(entries) = &item.kind {
            return Some(Section { name: key, position: item.position, entries });
        }
        let message = format!("an entry of `{key}` must be a mapping, not {}", item.describe());
        self.refuse(item.position, message, format!("write `- key: value`; keys: {}", known.join(", ")));
        None
    }

    /// A problem for `key`, which `section` must have: at the key when it stands there without a value, else at the
    /// beginning of the section, with `message`.
    pub(crate) fn missing(&mut self, section: &Section<'_>, key: &str, message: &str, hint: impl Into<String>) {
        match section.entry(key) {
            Some(entry) => self.refuse(entry.position, format!("`{key}` has no value"), hint),
            None => self.refuse(section.position, message, hint),
        }
    }

    /// A problem for every key of `section` that is not in `known`.
    pub(crate) fn known(&mut self, section: &Section<'_>, known: &[&str]) {
        for entry in section.entries {
            if !known.contains(&entry.key.as_str()) && !self.is_full() {
                let place = if section.name == "document" { String::new() } else { format!(" in `{}`", section.name) };
                let message = format!("unknown key `{}`{place}", shorten(&entry.key));
                self.refuse(entry.position, message, suggestion(&entry.key, known, "keys"));
            }
        }
    }
}

/// Names that are listed in a hint.
const LISTED: usize = 25;

/// A hint for a name that is not among `known`: the nearest one, or all, or the first when they are many.
pub(crate) fn suggestion(name: &str, known: &[&str], what: &str) -> String {
    match nearest(name, known) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => format!("there are no {what}"),
        None if known.len() <= LISTED => format!("{what}: {}", known.join(", ")),
        None => format!("{what}: {}, and {} more", known[..LISTED].join(", "), known.len() - LISTED),
    }
}

/// The one of `known` that `name` was probably meant to be.
pub(crate) fn nearest<'k>(name: &str, known: &[&'k str]) -> Option<&'k str> {
    // Distances cost the product of the lengths: neither long names nor endless lists are compared.
    if name.len() > 100 || name.is_empty() {
        return None;
    }
    let lower = name.to_lowercase();
    let distance = |candidate: &str| match candidate.to_lowercase() {
        same if same == lower => 0,
        _ if candidate.len() > 200 => usize::MAX,
        other => strsim::damerau_levenshtein(&lower, &other),
    };
    let allowed = ((name.chars().count() + 1) / 3).min(3);
    let candidates = || known.iter().take(500).copied();
    let scored = candidates().map(|candidate| (distance(candidate), candidate));
    let near = scored.filter(|(distance, _)| *distance <= allowed).min_by_key(|(distance, _)| *distance);
    // Half a word is what people remember: `fromLatest` of `allowFromLatest`.
    let holding = || candidates().filter(|candidate| lower.len() >= 4 && candidate.to_lowercase().contains(&lower));
    near.map(|(_, near)| near).or_else(|| holding().min_by_key(|candidate| candidate.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_suggested() {
        let known = ["install", "beforeInstall", "setup", "beforeSetup"];
        for (name, near) in [
            ("Install", Some("install")),
            ("instal", Some("install")),
            ("beforeinstall", Some("beforeInstall")),
            ("sutep", Some("setup")),
            ("before", Some("beforeSetup")),
            ("run", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, &known), near, "{name}");
        }
        assert_eq!(suggestion("x", &["a", "b"], "images"), "images: a, b");
        assert_eq!(suggestion("x", &[], "images"), "there are no images");
    }
}
