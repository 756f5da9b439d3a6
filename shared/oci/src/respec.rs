//! `imageSpec`: the config of a finished image rewritten, its layers left alone.
//!
//! Unlike a [`ConfigChange`](crate::ConfigChange), which only adds to the base's config, a [`Respec`] also takes away.

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use serde_json::Value;

use crate::{
    change::{ON_BUILD, merged_env, ports, united},
    config::{Healthcheck, ImageConfig, RunConfig},
};

/// What is done to the config of an image. `None`, empty and `false` = leave as it is.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Respec {
    /// New author.
    pub author: Option<String>,
    /// Whether the history goes.
    pub clear_history: bool,
    /// Labels to add or replace.
    pub labels: BTreeMap<String, String>,
    /// Variables to add or replace. `$NAME` and `${NAME}` stand for the base's variables, an unknown one for nothing;
    /// `\$` is a dollar sign.
    pub env: BTreeMap<String, String>,
    /// Volumes to add.
    pub volumes: Vec<String>,
    /// The ports, in place of the base's: `80`, `80/tcp` or `8000-8010/udp`.
    pub expose: Option<Vec<String>>,
    /// New `USER`.
    pub user: Option<String>,
    /// New `CMD`, in exec form. The `ENTRYPOINT` stays.
    pub cmd: Option<Vec<String>>,
    /// New `ENTRYPOINT`, in exec form. Without a new `CMD`, the base's goes.
    pub entrypoint: Option<Vec<String>>,
    /// New working directory.
    pub workdir: Option<String>,
    /// New `STOPSIGNAL`.
    pub stop_signal: Option<String>,
    /// New `HEALTHCHECK`.
    pub healthcheck: Option<Healthcheck>,
    /// Labels of the base that go.
    pub remove_labels: Vec<Removal>,
    /// Variables of the base that go.
    pub remove_env: Vec<Removal>,
    /// Volumes of the base that go.
    pub remove_volumes: Vec<Removal>,
    /// Whether the base's `CMD` goes.
    pub clear_cmd: bool,
    /// Whether the base's `ENTRYPOINT` goes.
    pub clear_entrypoint: bool,
    /// Whether the base's `USER` goes.
    pub clear_user: bool,
    /// Whether the base's working directory goes.
    pub clear_workdir: bool,
}

/// What is taken away: a name, or `/…/` around a regular expression that whole names match.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Removal(String);

impl TryFrom<String> for Removal {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::new(&text)
    }
}

impl From<Removal> for String {
    fn from(removal: Removal) -> Self {
        removal.0
    }
}

impl Removal {
    /// Reads `text`.
    ///
    /// # Errors
    /// What is wrong with the regular expression.
    pub fn new(text: &str) -> Result<Self, String> {
        match expression(text) {
            Some(Err(error)) => Err(error
                .to_string()
                .lines()
                .last()
                .unwrap_or_default()
                .trim_start_matches("error: ")
                .trim()
                .to_owned()),
            Some(Ok(_)) | None => Ok(Self(text.to_owned())),
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it takes `name` away.
    pub fn takes(&self, name: &str) -> bool {
        Taking::of(std::slice::from_ref(self)).takes(name)
    }
}

/// The regular expression in `text`, if it is one.
fn expression(text: &str) -> Option<Result<Regex, regex::Error>> {
    let inner = text.strip_prefix('/')?.strip_suffix('/').filter(|inner| !inner.is_empty())?;
    Some(Regex::new(&format!("^(?:{inner})$")))
}

/// Removals, ready to be asked about many names.
struct Taking {
    names: BTreeSet<String>,
    expressions: Vec<Regex>,
}

impl Taking {
    fn of(removals: &[Removal]) -> Self {
        Self {
            names: removals.iter().map(|removal| removal.0.clone()).collect(),
            expressions: removals.iter().filter_map(|removal| expression(&removal.0)?.ok()).collect(),
        }
    }

    fn takes(&self, name: &str) -> bool {
        self.names.contains(name) || self.expressions.iter().any(|expression| expression.is_match(name))
    }
}

/// The document of `base` rewritten. `own` are labels that nothing takes away and nothing replaces: without them a
/// stored stage could not be read.
///
/// What is taken away goes first; what is given is set then. An `ENTRYPOINT` without a `CMD` resets the base's `CMD`,
/// as in a Dockerfile; an `ENTRYPOINT` given as `[]` is none. Instructions of `ONBUILD` are for direct children and go.
pub fn apply(base: &ImageConfig, respec: &Respec, own: &BTreeMap<String, String>) -> ImageConfig {
    let mut document = base.clone();
    if let Some(author) = &respec.author {
        document.other.insert("author".to_owned(), Value::from(author.as_str()));
    }
    if respec.clear_history {
        document.other.remove("history");
    }
    let run = &base.config;
    let mut other = run.other.clone();
    other.remove(ON_BUILD);
    document.config = RunConfig {
        user: text(&run.user, respec.clear_user, respec.user.as_ref()),
        exposed_ports: match &respec.expose {
            Some(given) => united(None, given.iter().flat_map(|port| ports(port))),
            None => run.exposed_ports.clone(),
        },
        env: env(run, respec),
        entrypoint: entrypoint(run, respec),
        cmd: cmd(run, respec),
        volumes: volumes(run, respec),
        working_dir: text(&run.working_dir, respec.clear_workdir, respec.workdir.as_ref()),
        labels: Some(labels(run, respec, own)),
        stop_signal: respec.stop_signal.clone().or_else(|| run.stop_signal.clone()),
        healthcheck: respec.healthcheck.clone().or_else(|| run.healthcheck.clone()),
        other,
    };
    document
}

fn text(base: &str, clear: bool, given: Option<&String>) -> String {
    match given {
        Some(given) => given.clone(),
        None if clear => String::new(),
        None => base.to_owned(),
    }
}

fn cmd(base: &RunConfig, respec: &Respec) -> Option<Vec<String>> {
    match &respec.cmd {
        Some(given) => Some(given.clone()),
        None if respec.clear_cmd || respec.entrypoint.is_some() => None,
        None => base.cmd.clone(),
    }
}

fn entrypoint(base: &RunConfig, respec: &Respec) -> Option<Vec<String>> {
    match &respec.entrypoint {
        Some(given) => Some(given.clone()).filter(|given| !given.is_empty()),
        None if respec.clear_entrypoint => None,
        None => base.entrypoint.clone(),
    }
}

fn env(base: &RunConfig, respec: &Respec) -> Option<Vec<String>> {
    let taking = Taking::of(&respec.remove_env);
    let kept = base.env.iter().flatten().filter(|entry| !taking.takes(entry.split('=').next().unwrap_or_default()));
    let kept: Vec<String> = kept.cloned().collect();
    let given = respec.env.iter().map(|(name, value)| (name.clone(), expanded(value, base))).collect();
    merged_env(Some(&kept), &given).filter(|entries| !entries.is_empty())
}

/// `value` with the variables of `base` in place of their names.
fn expanded(value: &str, base: &RunConfig) -> String {
    let mut text = String::new();
    let mut rest = value;
    while let Some(at) = rest.find(['$', '\\']) {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("\\$") {
            text.push('$');
            rest = after;
        } else if let Some((name, after)) = variable(rest) {
            text.push_str(base.env(name).unwrap_or_default());
            rest = after;
        } else {
            // A lone dollar sign or backslash, both one byte long, stands for itself.
            text.push_str(&rest[..1]);
            rest = &rest[1..];
        }
    }
    text + rest
}

/// The name that `text`, `$NAME…` or `${NAME}…`, begins with, and what follows.
fn variable(text: &str) -> Option<(&str, &str)> {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if let Some(inner) = text.strip_prefix("${") {
        return inner.split_once('}').filter(|(name, _)| is_name(name));
    }
    let inner = text.strip_prefix('$')?;
    let end = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inner.len());
    Some(inner.split_at(end)).filter(|(name, _)| is_name(name))
}

fn volumes(base: &RunConfig, respec: &Respec) -> Option<BTreeMap<String, Value>> {
    let taking = Taking::of(&respec.remove_volumes);
    let mut kept = base.volumes.clone().unwrap_or_default();
    kept.retain(|path, _| !taking.takes(path));
    united(Some(&kept), respec.volumes.iter().cloned()).filter(|volumes| !volumes.is_empty())
}

fn labels(base: &RunConfig, respec: &Respec, own: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let taking = Taking::of(&respec.remove_labels);
    let kept = base.labels().iter().filter(|(name, _)| !taking.takes(name));
    let all = kept.chain(&respec.labels).chain(own);
    all.map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests;
