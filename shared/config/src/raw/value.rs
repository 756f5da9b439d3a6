//! Values of directives: texts, lists of texts, booleans, numbers. A number or boolean where a text is meant keeps
//! the text it was written as.

use super::{Reader, section::Section};
use crate::{
    Position,
    yaml::{Entry, Kind, Meaning, Node, Scalar, shorten},
};

/// A text and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Written {
    /// The text.
    pub(crate) text: String,
    /// Where it stands.
    pub(crate) position: Position,
}

impl Reader<'_> {
    /// The text under `key`.
    pub(crate) fn text(&mut self, section: &Section<'_>, key: &str) -> Option<Written> {
        let entry = section.get(key)?;
        let Kind::Scalar(scalar) = &entry.value.kind else {
            let message = format!("`{key}` must be a string, not {}", entry.value.describe());
            let hint = match &entry.value.kind {
                Kind::Sequence(_) => format!("write one value: `{key}: VALUE`, without brackets and dashes"),
                Kind::Scalar(_) | Kind::Mapping(_) => format!("write `{key}: VALUE`; quote a value that holds `: `"),
            };
            self.refuse(entry.value.position, message, hint);
            return None;
        };
        self.written(scalar, entry.value.position)
    }

    /// The text under `key`, without its place.
    pub(crate) fn string(&mut self, section: &Section<'_>, key: &str) -> Option<String> {
        self.text(section, key).map(|written| written.text)
    }

    /// The text under `key`, which must not be empty when it is given.
    pub(crate) fn filled(&mut self, section: &Section<'_>, key: &str) -> Option<Written> {
        let written = self.text(section, key)?;
        if written.text.trim().is_empty() {
            self.refuse(written.position, format!("`{key}` is empty"), format!("give `{key}` a value or remove it"));
            return None;
        }
        Some(written)
    }

    /// The texts under `key`: a single one or a list.
    pub(crate) fn texts(&mut self, section: &Section<'_>, key: &str) -> Vec<Written> {
        let Some(entry) = section.get(key) else { return Vec::new() };
        self.node_texts(&entry.value, key)
    }

    /// The texts that `node`, the value of `key`, holds: a single one or a list.
    pub(crate) fn node_texts(&mut self, node: &Node, key: &str) -> Vec<Written> {
        match &node.kind {
            Kind::Scalar(scalar) => self.written(scalar, node.position).into_iter().collect(),
            Kind::Sequence(items) => items.iter().filter_map(|item| self.item(item, key)).collect(),
            Kind::Mapping(_) => {
                let message = format!("`{key}`: single string or array of strings expected, not a mapping");
                self.refuse(node.position, message, "write a string or a list of strings; quote what holds `: `");
                None.into_iter().collect()
            }
        }
    }

    fn item(&mut self, item: &Node, key: &str) -> Option<Written> {
        let hint = match &item.kind {
            Kind::Scalar(_) if item.is_null() => "give the entry a value, or remove it",
            Kind::Scalar(scalar) => return self.written(scalar, item.position),
            Kind::Sequence(_) => "lists do not nest here; write one string per `- `",
            Kind::Mapping(_) => "`: ` inside of a line makes it a mapping; quote the line",
        };
        let message = format!("`{key}`: array of strings expected, but this entry is {}", item.describe());
        self.refuse(item.position, message, hint);
        None
    }

    /// The boolean under `key`, in any spelling of YAML 1.1.
    pub(crate) fn flag(&mut self, section: &Section<'_>, key: &str) -> Option<bool> {
        let entry = section.get(key)?;
        if let Kind::Scalar(scalar) = &entry.value.kind
            && let Meaning::Bool(flag) = scalar.meaning()
        {
            return Some(flag);
        }
        let message = format!("`{key}` must be a boolean, not {}", entry.value.describe());
        self.refuse(entry.value.position, message, format!("write `{key}: true` or `{key}: false`, without quotes"));
        None
    }

    /// The whole number under `key`, not below `least`.
    pub(crate) fn number(&mut self, section: &Section<'_>, key: &str, least: i64) -> Option<i64> {
        let written = self.text(section, key)?;
        let number = written.text.parse::<i64>().ok().filter(|number| *number >= least);
        if number.is_none() {
            let message = format!("`{key}` must be a whole number, not `{}`", shorten(&written.text));
            self.refuse(written.position, message, format!("write a whole number from {least}"));
        }
        number
    }

    /// The mapping of names to texts under `key`. A name without value has the empty text.
    pub(crate) fn text_map(&mut self, section: &Section<'_>, key: &'static str) -> Vec<(Written, String)> {
        let Some(entry) = section.get(key) else { return Vec::new() };
        let Some(below) = self.section(&entry.value, key) else { return Vec::new() };
        below.entries().iter().filter_map(|entry| self.pair(entry, key)).collect()
    }

    fn pair(&mut self, entry: &Entry, key: &str) -> Option<(Written, String)> {
        let name = Written { text: entry.key.clone(), position: entry.position };
        if name.text.is_empty() || name.text.contains(['\0', '=']) && !matches!(key, "LABEL" | "labels") {
            let message = format!("`{key}` holds the name `{}`, which cannot be one", shorten(&name.text));
            self.refuse(entry.position, message, "names are not empty and hold no `=`");
            return None;
        }
        let Kind::Scalar(scalar) = &entry.value.kind else {
            let message = format!("`{key}.{}` must be a string, not {}", shorten(&name.text), entry.value.describe());
            self.refuse(entry.value.position, message, "write a single value; quote one that holds `: `");
            return None;
        };
        if scalar.meaning() == Meaning::Null {
            return Some((name, String::new()));
        }
        if key == "args" {
            // Build arguments are values of any type to werf; everything else is text as it was written.
            let text = scalar.printed();
            let scalar = Scalar { text, ..scalar.clone() };
            return self.written(&scalar, entry.value.position).map(|value| (name, value.text));
        }
        self.written(scalar, entry.value.position).map(|value| (name, value.text))
    }

    fn written(&mut self, scalar: &Scalar, position: Position) -> Option<Written> {
        if scalar.text.contains('\0') {
            self.refuse(position, "the text holds a NUL character", "remove `\\0` from it");
            return None;
        }
        Some(Written { text: scalar.text.clone(), position })
    }
}
