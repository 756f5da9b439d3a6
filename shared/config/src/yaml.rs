//! A YAML document as a tree in which every node knows its place.
//!
//! Anchors, aliases and merge keys are resolved here; scalars keep their source text, because what a scalar means
//! (`yes`, `0755`, `1.10`) depends on the directive it is given to.

mod build;

use serde_json::{Map, Value};

use crate::{
    Position,
    value::{self, YamlValue},
};

pub(crate) use build::{Budget, TAB_REPAIRS, read, repair_tab, shorten, tab};

/// One node of a document.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Node {
    /// Where it starts; for an absent value, where its key stands.
    pub(crate) position: Position,
    /// What it is.
    pub(crate) kind: Kind,
}

/// What a node is.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Kind {
    /// A text, number, bool or null.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>),
    /// A mapping; its keys are unique, merge keys are resolved.
    Mapping(Vec<Entry>),
}

/// A scalar as it was written.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Scalar {
    /// Its text, quotes and escapes resolved.
    pub(crate) text: String,
    /// Whether it was written without quotes and not as a block.
    pub(crate) plain: bool,
    /// The suffix of its tag (`str` of `!!str`).
    pub(crate) tag: Option<String>,
}

/// A key with its value.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Entry {
    /// The key.
    pub(crate) key: String,
    /// Where the key stands.
    pub(crate) position: Position,
    /// The value.
    pub(crate) value: Node,
}

/// What YAML 1.1 takes a scalar for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Meaning {
    /// `~`, `null` or nothing.
    Null,
    /// `true`, `yes`, `on`, … and their opposites.
    Bool(bool),
    /// A number in any notation.
    Number,
    /// Anything else.
    Text,
}

impl Scalar {
    /// What YAML 1.1 takes it for, a `!!str` tag and quotes counting.
    pub(crate) fn meaning(&self) -> Meaning {
        if !self.plain || self.tag.as_deref() == Some("str") {
            return Meaning::Text;
        }
        match value::plain(&self.text) {
            YamlValue::Null => Meaning::Null,
            YamlValue::Bool(flag) => Meaning::Bool(flag),
            YamlValue::Int(_) | YamlValue::Uint(_) | YamlValue::Float(_) => Meaning::Number,
            YamlValue::Text(_) | YamlValue::List(_) | YamlValue::Mapping(_) => Meaning::Text,
        }
    }
}

impl Scalar {
    /// What a program that reads YAML 1.1 prints of it: `true` of `yes`, `493` of `0755`, `1.1` of `1.10`. Texts stay, and
    /// nothing is the empty text.
    pub(crate) fn printed(&self) -> String {
        match self.meaning() {
            Meaning::Null => String::new(),
            Meaning::Bool(flag) => flag.to_string(),
            Meaning::Number => match value::plain(&self.text) {
                YamlValue::Int(number) => number.to_string(),
                YamlValue::Uint(number) => number.to_string(),
                YamlValue::Float(number) => float(number),
                _ => self.text.clone(),
            },
            Meaning::Text => self.text.clone(),
        }
    }
}

/// A float as Go prints it: the shortest digits, with an exponent when it is very large or small.
fn float(number: f64) -> String {
    let size = number.abs();
    if number.is_nan() {
        return "NaN".to_owned();
    } else if number.is_infinite() {
        return if number > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() };
    } else if size == 0.0 || (1e-4..1e21).contains(&size) {
        return number.to_string();
    }
    let text = format!("{number:e}");
    let Some((digits, exponent)) = text.split_once('e') else { return text };
    let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |rest| ('-', rest));
    format!("{digits}e{sign}{exponent:0>2}")
}

impl Node {
    /// Whether it holds nothing (`key:`, `~`, `null`).
    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(scalar) if scalar.meaning() == Meaning::Null)
    }

    /// What YAML 1.1 takes it for, in JSON. Numbers that JSON has not (`.inf`) stay texts.
    pub(crate) fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Scalar(scalar) => match scalar.meaning() {
                Meaning::Null => Value::Null,
                Meaning::Bool(flag) => Value::Bool(flag),
                Meaning::Number => number(&scalar.text).unwrap_or_else(|| Value::from(scalar.text.as_str())),
                Meaning::Text => Value::from(scalar.text.as_str()),
            },
            Kind::Sequence(items) => items.iter().map(Self::to_json).collect(),
            Kind::Mapping(entries) => {
                entries.iter().map(|entry| (entry.key.clone(), entry.value.to_json())).collect::<Map<_, _>>().into()
            }
        }
    }

    /// What it is, for messages.
    pub(crate) fn describe(&self) -> &'static str {
        match &self.kind {
            Kind::Scalar(scalar) => match scalar.meaning() {
                Meaning::Null => "nothing",
                Meaning::Bool(_) => "a boolean",
                Meaning::Number => "a number",
                Meaning::Text => "a string",
            },
            Kind::Sequence(_) => "a list",
            Kind::Mapping(_) => "a mapping",
        }
    }
}

/// The number that YAML 1.1 reads `text` as, when JSON has it.
fn number(text: &str) -> Option<Value> {
    match value::plain(text) {
        YamlValue::Int(number) => Some(Value::from(number)),
        YamlValue::Uint(number) => Some(Value::from(number)),
        YamlValue::Float(number) => serde_json::Number::from_f64(number).map(Value::Number),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
