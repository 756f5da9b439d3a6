//! What a stage does to its base's config, and the rules for `CMD` and `ENTRYPOINT`.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::config::{Healthcheck, RunConfig};

/// Working directory of an image that sets none.
const ROOT: &str = "/";
/// Field of a config that holds instructions for the next build; they are meant for direct children only.
pub(crate) const ON_BUILD: &str = "OnBuild";

/// A change of a config: what a stage adds to or sets over its base. `None` and empty = leave as it is.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct ConfigChange {
    /// Labels to add or replace.
    pub labels: BTreeMap<String, String>,
    /// Variables to add or replace.
    pub env: BTreeMap<String, String>,
    /// Volumes to add.
    pub volumes: Vec<String>,
    /// Ports to add, `80`, `80/tcp` or `8000-8010/udp`.
    pub expose: Vec<String>,
    /// New `USER`.
    pub user: Option<String>,
    /// New `WORKDIR`.
    pub workdir: Option<String>,
    /// New `CMD`, in exec form.
    pub cmd: Option<Vec<String>>,
    /// New `ENTRYPOINT`, in exec form.
    pub entrypoint: Option<Vec<String>>,
    /// New `HEALTHCHECK`.
    pub healthcheck: Option<Healthcheck>,
}

/// The config that a stage with `base` below it and `change` in it is stored with.
///
/// `CMD` and `ENTRYPOINT` (an `Entrypoint` of `[""]` or `[]` and a `Cmd` of `[]` count as not set, so that a stage on
/// top of a stored stage gets what that one got):
///
/// | the change gives | stored `Cmd` | stored `Entrypoint` |
/// |---|---|---|
/// | both | as given | as given |
/// | `CMD` alone | as given | `[""]`: the base's is reset |
/// | `ENTRYPOINT` alone | `[]`: the base's is reset | as given |
/// | neither, and the base sets neither | `[]` | `[""]` |
/// | neither, and the base sets one or both | the base's, unset stays unset | the base's, unset stays unset |
///
/// An `ENTRYPOINT` given as `[]` is stored as `[""]`: both mean "none", and only the second is kept by all engines.
///
/// Variables and labels are merged by name: the base's order stays, new variables follow sorted. Volumes and ports are
/// united, a port without a protocol is `tcp`. The working directory is never left empty: without one it is `/`.
/// Everything else is the base's, except its `ONBUILD` instructions: they are for its direct children alone.
pub fn apply(base: &RunConfig, change: &ConfigChange) -> RunConfig {
    let (cmd, entrypoint) = command(base, change);
    let mut other = base.other.clone();
    other.remove(ON_BUILD);
    RunConfig {
        user: change.user.clone().unwrap_or_else(|| base.user.clone()),
        exposed_ports: united(base.exposed_ports.as_ref(), change.expose.iter().flat_map(|port| ports(port))),
        env: merged_env(base.env.as_ref(), &change.env),
        entrypoint,
        cmd,
        volumes: united(base.volumes.as_ref(), change.volumes.iter().cloned()),
        working_dir: working_dir(base, change),
        labels: merged_labels(base.labels.as_ref(), &change.labels),
        stop_signal: base.stop_signal.clone(),
        healthcheck: change.healthcheck.clone().or_else(|| base.healthcheck.clone()),
        other,
    }
}

/// `Cmd` and `Entrypoint`, by the table above.
fn command(base: &RunConfig, change: &ConfigChange) -> (Option<Vec<String>>, Option<Vec<String>>) {
    let no_entrypoint = || vec![String::new()];
    let given_entrypoint =
        change.entrypoint.clone().map(|given| if given.is_empty() { no_entrypoint() } else { given });
    match (change.cmd.clone(), given_entrypoint) {
        (Some(cmd), Some(entrypoint)) => (Some(cmd), Some(entrypoint)),
        (Some(cmd), None) => (Some(cmd), Some(no_entrypoint())),
        (None, Some(entrypoint)) => (Some(Vec::new()), Some(entrypoint)),
        (None, None) if sets_cmd(base) || sets_entrypoint(base) => (base.cmd.clone(), base.entrypoint.clone()),
        (None, None) => (Some(Vec::new()), Some(no_entrypoint())),
    }
}

fn sets_cmd(base: &RunConfig) -> bool {
    base.cmd.as_ref().is_some_and(|cmd| !cmd.is_empty())
}

fn sets_entrypoint(base: &RunConfig) -> bool {
    base.entrypoint.as_ref().is_some_and(|entrypoint| !entrypoint.iter().all(String::is_empty))
}

fn working_dir(base: &RunConfig, change: &ConfigChange) -> String {
    let chosen = change.workdir.as_ref().unwrap_or(&base.working_dir);
    if chosen.is_empty() { ROOT.to_owned() } else { chosen.clone() }
}

/// The base's entries with replaced values in place, then the new ones, sorted by name.
pub(crate) fn merged_env(base: Option<&Vec<String>>, change: &BTreeMap<String, String>) -> Option<Vec<String>> {
    let mut left = change.clone();
    let mut entries = Vec::new();
    for entry in base.into_iter().flatten() {
        let name = entry.split('=').next().unwrap_or_default();
        match (left.remove(name), change.contains_key(name)) {
            (Some(value), _) => entries.push(format!("{name}={value}")),
            (None, false) => entries.push(entry.clone()),
            // A second entry of a name that was replaced: it would win over the new value.
            (None, true) => {}
        }
    }
    entries.extend(left.into_iter().map(|(name, value)| format!("{name}={value}")));
    (base.is_some() || !entries.is_empty()).then_some(entries)
}

fn merged_labels(
    base: Option<&BTreeMap<String, String>>,
    change: &BTreeMap<String, String>,
) -> Option<BTreeMap<String, String>> {
    let mut labels = base.cloned().unwrap_or_default();
    labels.extend(change.clone());
    (base.is_some() || !labels.is_empty()).then_some(labels)
}

/// The keys of `base` and `more`, each with its value or `{}`.
pub(crate) fn united(
    base: Option<&BTreeMap<String, Value>>,
    more: impl Iterator<Item = String>,
) -> Option<BTreeMap<String, Value>> {
    let mut all = base.cloned().unwrap_or_default();
    for key in more {
        all.entry(key).or_insert_with(|| Value::Object(Map::new()));
    }
    (base.is_some() || !all.is_empty()).then_some(all)
}

/// The keys for one `EXPOSE` word: `80` is `80/tcp`, a range is each of its ports. What is no port is kept as it is.
pub fn ports(text: &str) -> Vec<String> {
    let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) if first <= last => (first..=last).map(|port| format!("{port}/{protocol}")).collect(),
        (Ok(_) | Err(_), Ok(_) | Err(_)) => vec![format!("{numbers}/{protocol}")],
    }
}

#[cfg(test)]
mod tests;
