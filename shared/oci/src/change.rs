//! What a stage does to its base's config, and the rules for `CMD` and `ENTRYPOINT`.

use std::collections::BTreeMap;

use crate::config::{Healthcheck, RunConfig};

/// A change of a config: what a stage adds to or sets over its base. `None` and empty = leave as it is.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct ConfigChange {
    /// Labels to add or replace.
    pub labels: BTreeMap<String, String>,
    /// Variables to add or replace.
    pub env: BTreeMap<String, String>,
    /// Volumes to add.
    pub volumes: Vec<String>,
    /// Ports to add, `80` or `80/tcp`.
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

/// The config that a stage with `base` below it and `change` in it is stored with (DESIGN §9):
/// base sets neither `CMD` nor `ENTRYPOINT` → `Cmd: []`, `Entrypoint: [""]`; a given `CMD` without `ENTRYPOINT`
/// resets the base's entrypoint to `[""]`; a given `ENTRYPOINT` without `CMD` makes `Cmd` `[]`.
pub fn apply(_base: &RunConfig, _change: &ConfigChange) -> RunConfig {
    unimplemented!("helper")
}
