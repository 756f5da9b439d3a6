//! How the value of a flag is found.

use std::collections::BTreeMap;

use clap::{ArgMatches, parser::ValueSource};
use slipway_process::Environment;

use super::{
    flag::{CommandName, Flag, Kind, Support},
    table,
};

/// A flag or variable that cannot be obeyed. The text says which and what to write instead.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct FlagError(pub(crate) String);

/// A value.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Value {
    Switch(bool),
    Text(Option<String>),
    Number(Option<i64>),
    List(Vec<String>),
}

/// Where a value comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Origin {
    CommandLine,
    Variable(String),
    Default,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Resolved {
    value: Value,
    origin: Origin,
}

/// The values of all flags of a command.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Values {
    values: BTreeMap<&'static str, Resolved>,
    /// What the user should change although it is obeyed; each once.
    pub(crate) warnings: Vec<String>,
    /// What is accepted without effect; for `--log-verbose`.
    pub(crate) notes: Vec<String>,
}

impl Values {
    /// Whether a switch is on.
    pub(crate) fn switch(&self, flag: &Flag) -> bool {
        matches!(self.value(flag), Some(Value::Switch(true)))
    }

    /// The value of a text or choice; `None` when there is none.
    pub(crate) fn text(&self, flag: &Flag) -> Option<String> {
        match self.value(flag) {
            Some(Value::Text(text)) => text.clone(),
            Some(Value::Switch(_) | Value::Number(_) | Value::List(_)) | None => None,
        }
    }

    /// The value of a number; `None` when there is none.
    pub(crate) fn number(&self, flag: &Flag) -> Option<i64> {
        match self.value(flag) {
            Some(Value::Number(number)) => *number,
            Some(Value::Switch(_) | Value::Text(_) | Value::List(_)) | None => None,
        }
    }

    /// The values of a list or of words.
    pub(crate) fn list(&self, flag: &Flag) -> Vec<String> {
        match self.value(flag) {
            Some(Value::List(list)) => list.clone(),
            Some(Value::Switch(_) | Value::Text(_) | Value::Number(_)) | None => Vec::new(),
        }
    }

    /// Whether the value was given rather than being the default.
    pub(crate) fn is_given(&self, flag: &Flag) -> bool {
        self.values.get(flag.name).is_some_and(|resolved| resolved.origin != Origin::Default)
    }

    /// How the user spelled the flag: `--name`, or the name of the variable.
    pub(crate) fn spelling(&self, flag: &Flag) -> String {
        match self.values.get(flag.name).map(|resolved| &resolved.origin) {
            Some(Origin::Variable(name)) => name.clone(),
            Some(Origin::CommandLine | Origin::Default) | None => format!("--{}", flag.name),
        }
    }

    fn value(&self, flag: &Flag) -> Option<&Value> {
        self.values.get(flag.name).map(|resolved| &resolved.value)
    }

    fn note_support(&mut self, flag: &Flag, resolved: &Resolved) -> Result<(), FlagError> {
        if resolved.origin == Origin::Default || !is_active(flag, &resolved.value) {
            return Ok(());
        }
        let (spelled, variable) = match &resolved.origin {
            Origin::Variable(name) => (name.clone(), format!(" (set by the variable {name})")),
            Origin::CommandLine | Origin::Default => (format!("--{}", flag.name), String::new()),
        };
        match flag.support {
            Support::Here => {}
            Support::NotYet => return Err(FlagError(format!("not supported yet: --{}{variable}", flag.name))),
            Support::Unneeded => self.notes.push(format!("{spelled} has no effect: {}", lower_first(flag.help))),
            Support::Renamed(new) => self.warnings.push(format!("{spelled} is an old name: use --{new}")),
        }
        Ok(())
    }
}

/// The values of all flags of `command`.
///
/// # Errors
/// Every value that is malformed or not supported, one per line.
pub(crate) fn resolve(
    command: CommandName,
    matches: &ArgMatches,
    environment: &Environment,
) -> Result<Values, FlagError> {
    let mut values = Values::default();
    let mut problems: Vec<String> = Vec::new();
    for flag in table::of(command) {
        match resolve_one(flag, matches, environment) {
            Ok(resolved) => {
                if let Err(problem) = values.note_support(flag, &resolved) {
                    problems.push(problem.0);
                }
                values.values.insert(flag.name, resolved);
            }
            Err(problem) => problems.push(problem.0),
        }
    }
    if problems.is_empty() { Ok(values) } else { Err(FlagError(problems.join("\n"))) }
}

fn resolve_one(flag: &Flag, matches: &ArgMatches, environment: &Environment) -> Result<Resolved, FlagError> {
    let given = on_command_line(flag, matches);
    if flag.kind == Kind::List {
        return Ok(sum_up(flag, given.unwrap_or_default(), environment));
    }
    if let Some(given) = given {
        let value = parse(flag, &format!("--{}", flag.name), &given)?;
        return Ok(Resolved { value, origin: Origin::CommandLine });
    }
    for name in flag.variables() {
        if let Some(text) = environment.non_empty(&name) {
            let value = parse(flag, &name, &[text.to_owned()])?;
            return Ok(Resolved { value, origin: Origin::Variable(name) });
        }
    }
    let default: Vec<String> = flag.default.iter().map(|default| (*default).to_owned()).collect();
    Ok(Resolved { value: parse(flag, flag.name, &default)?, origin: Origin::Default })
}

fn on_command_line(flag: &Flag, matches: &ArgMatches) -> Option<Vec<String>> {
    (matches.value_source(flag.name) == Some(ValueSource::CommandLine))
        .then(|| matches.get_many::<String>(flag.name).unwrap_or_default().cloned().collect())
}

/// A list: the variables of werf, those of Slipway, the command line.
fn sum_up(flag: &Flag, given: Vec<String>, environment: &Environment) -> Resolved {
    let mut names: Vec<String> = Vec::new();
    for variable in flag.werf_variable().into_iter().chain([flag.slipway_variable()]) {
        let below = format!("{variable}_");
        let numbered = environment.with_prefix(&below).map(|(name, _)| name.to_owned());
        names.extend(
            std::iter::once(variable.clone()).chain(numbered).filter(|name| environment.non_empty(name).is_some()),
        );
    }
    let origin = match (given.is_empty(), names.first()) {
        (false, _) => Origin::CommandLine,
        (true, Some(name)) => Origin::Variable(name.clone()),
        (true, None) => Origin::Default,
    };
    let from_variables = names.iter().filter_map(|name| environment.non_empty(name)).map(str::to_owned);
    let given = given.into_iter().filter(|value| !value.is_empty());
    Resolved { value: Value::List(from_variables.chain(given).collect()), origin }
}

/// Reads the texts that `spelled` (a flag or variable) was given; the last one counts, but for words.
fn parse(flag: &Flag, spelled: &str, texts: &[String]) -> Result<Value, FlagError> {
    let text = texts.last().map(String::as_str).filter(|text| !text.is_empty());
    match flag.kind {
        Kind::Switch => Ok(Value::Switch(text.map_or(Ok(false), |text| parse_switch(spelled, text))?)),
        Kind::Text => Ok(Value::Text(text.map(str::to_owned))),
        Kind::Number => Ok(Value::Number(text.map(|text| parse_number(spelled, text)).transpose()?)),
        Kind::Choice(words) => Ok(Value::Text(text.map(|text| parse_choice(spelled, text, words)).transpose()?)),
        Kind::List | Kind::Words => {
            let words = texts.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|word| !word.is_empty());
            Ok(Value::List(words.map(str::to_owned).collect()))
        }
    }
}

/// The words for yes and no.
pub(super) fn switch_word(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" => Some(true),
        "0" | "false" | "no" => Some(false),
        _ => None,
    }
}

fn parse_switch(spelled: &str, text: &str) -> Result<bool, FlagError> {
    let refuse = || FlagError(format!("{spelled}: `{}` is neither yes nor no; write true or false", shown(text)));
    switch_word(text).ok_or_else(refuse)
}

fn parse_number(spelled: &str, text: &str) -> Result<i64, FlagError> {
    text.trim().parse().map_err(|_| FlagError(format!("{spelled}: `{}` is no whole number", shown(text))))
}

fn parse_choice(spelled: &str, text: &str, words: &[&str]) -> Result<String, FlagError> {
    let refuse = || FlagError(format!("{spelled}: `{}` is none of: {}", shown(text), words.join(", ")));
    words.iter().find(|word| **word == text).map(|word| (*word).to_owned()).ok_or_else(refuse)
}

/// Whether a value asks for something.
fn is_active(flag: &Flag, value: &Value) -> bool {
    match value {
        Value::Switch(on) => *on,
        Value::Text(text) => text.as_deref().is_some_and(|text| Some(text) != flag.default),
        Value::Number(number) => number.is_some(),
        Value::List(list) => !list.is_empty(),
    }
}

/// A value in a message: bounded, on one line.
fn shown(text: &str) -> String {
    text.chars().take(100).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn lower_first(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or(String::new(), |first| first.to_lowercase().chain(characters).collect())
}

#[cfg(test)]
mod tests;
