//! Container to image, with exactly the config that is wanted.
//!
//! The engine merges the container's own config into the one it is given: what is empty there comes from the
//! container, and lists are united. So the container is created with as little as possible (see
//! [`workspace`](crate::workspace)), and the rest is defeated here.

use std::collections::HashMap;

use bollard::{
    models::{ContainerConfig, HealthConfig},
    query_parameters::CommitContainerOptions,
};
use serde_json::Value;
use slipway_backend::{BackendError, LocalImage};
use slipway_oci::{
    BlobDigest,
    config::{Healthcheck, RunConfig},
};

use crate::{
    container::Container,
    error::{failed, is_missing},
};

/// What the engine takes for times of a health check that are not given, in nanoseconds.
const DEFAULT_TIME: i64 = 30_000_000_000;
/// What it takes for the number of failures.
const DEFAULT_RETRIES: i64 = 3;
/// The shortest time that it can be told.
const SHORTEST_TIME: i64 = 1_000_000;

/// Makes an image of a container whose base has the config `base`.
pub(crate) async fn commit(
    container: &Container,
    base: &RunConfig,
    wanted: RunConfig,
) -> Result<LocalImage, BackendError> {
    let doing = "commit a stage";
    let options = CommitContainerOptions {
        container: Some(container.name().to_owned()),
        pause: false,
        ..CommitContainerOptions::default()
    };
    let committed = container.engine().docker.commit_container(options, given(base, wanted)).await;
    let committed = committed.map_err(|error| match &error {
        _ if is_missing(&error) => BackendError::Engine(format!("{doing}: the container is gone: {error}")),
        _ => failed(doing, error),
    })?;
    let id: BlobDigest = committed.id.parse().map_err(|error| BackendError::Engine(format!("{doing}: {error}")))?;
    container.engine().uses.note(&id);
    Ok(LocalImage { id })
}

/// The config to give to the engine so that `wanted` comes out.
fn given(base: &RunConfig, wanted: RunConfig) -> ContainerConfig {
    let keys = |map: std::collections::BTreeMap<String, Value>| map.into_keys().collect::<Vec<_>>();
    let healthcheck = wanted.healthcheck.map(|check| own_times(check, base.healthcheck.as_ref()));
    ContainerConfig {
        user: Some(wanted.user),
        exposed_ports: wanted.exposed_ports.map(keys),
        env: wanted.env,
        cmd: wanted.cmd,
        // Absent would mean the container's, which is the build shell; empty is no entrypoint.
        entrypoint: Some(wanted.entrypoint.unwrap_or_default()),
        healthcheck: healthcheck.map(|check| HealthConfig {
            test: Some(check.test),
            interval: Some(check.interval),
            timeout: Some(check.timeout),
            start_period: Some(check.start_period),
            retries: Some(check.retries),
            start_interval: (check.start_interval != 0).then_some(check.start_interval),
        }),
        volumes: wanted.volumes.map(keys),
        working_dir: Some(wanted.working_dir),
        labels: wanted.labels.map(HashMap::from_iter),
        stop_signal: wanted.stop_signal,
        on_build: words(wanted.other.get("OnBuild")),
        shell: words(wanted.other.get("Shell")),
        ..ContainerConfig::default()
    }
}

/// A default that is not spelled out would be filled with the base's value.
fn own_times(check: Healthcheck, base: Option<&Healthcheck>) -> Healthcheck {
    let Some(base) = base.filter(|base| **base != check) else { return check };
    let spelled = |wanted: i64, inherited: i64, default: i64| match (wanted, inherited) {
        (0, inherited) if inherited != 0 => default,
        (wanted, _) => wanted,
    };
    Healthcheck {
        interval: spelled(check.interval, base.interval, DEFAULT_TIME),
        timeout: spelled(check.timeout, base.timeout, DEFAULT_TIME),
        start_period: spelled(check.start_period, base.start_period, SHORTEST_TIME),
        retries: spelled(check.retries, base.retries, DEFAULT_RETRIES),
        start_interval: check.start_interval,
        test: check.test,
    }
}

fn words(value: Option<&Value>) -> Option<Vec<String>> {
    let list = value?.as_array()?;
    Some(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}
