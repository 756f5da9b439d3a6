//! Variables that are in force somewhere in a file.

use std::collections::BTreeMap;

/// What is known of a variable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Value {
    /// It has this value.
    Set(String),
    /// It has none.
    Unset,
    /// The base image has a part in it.
    Unknown,
}

impl Value {
    /// Bytes of its text.
    pub(crate) fn size(&self) -> usize {
        match self {
            Self::Set(text) => text.len(),
            Self::Unset | Self::Unknown => 0,
        }
    }
}

/// The variables in force at one instruction: of `ARG` and `ENV`, whichever came last.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Scope {
    values: BTreeMap<String, Value>,
    /// Whether a base image may set further variables.
    open: bool,
}

impl Scope {
    /// The scope of a stage on an image from elsewhere.
    pub(crate) fn open() -> Self {
        Self { open: true, ..Self::default() }
    }

    /// The scope of a stage on an image that sets these variables, and no others.
    pub(crate) fn on(env: &[String]) -> Self {
        let pairs = env.iter().filter_map(|entry| entry.split_once('='));
        let values = pairs.map(|(name, value)| (name.to_owned(), Value::Set(value.to_owned()))).collect();
        Self { values, open: false }
    }

    /// What is known of `name`.
    pub(crate) fn find(&self, name: &str) -> &Value {
        let nowhere = if self.open { &Value::Unknown } else { &Value::Unset };
        self.values.get(name).unwrap_or(nowhere)
    }

    /// Declares an argument; an unset one leaves an earlier value as it is.
    pub(crate) fn declare(&mut self, name: &str, value: Value) {
        match value {
            Value::Unset => {
                self.values.entry(name.to_owned()).or_insert(value);
            }
            Value::Set(_) | Value::Unknown => self.set(name, value),
        }
    }

    /// Sets a variable.
    pub(crate) fn set(&mut self, name: &str, value: Value) {
        self.values.insert(name.to_owned(), value);
    }

    /// Bytes of all names and values.
    pub(crate) fn size(&self) -> usize {
        self.values.iter().map(|(name, value)| name.len() + value.size()).sum()
    }
}
