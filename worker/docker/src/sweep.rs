//! What dead processes left behind.

use std::collections::{BTreeSet, HashMap};

use bollard::query_parameters::ListContainersOptions;
use slipway_backend::{
    BackendError,
    attempt::{attempt_of, known, take_over},
};

use crate::{container::remove, engine::Engine, error::failed};

/// Removes build containers whose owner is dead, and lock files without a container; answers how many containers went.
pub(crate) async fn sweep(engine: &Engine) -> Result<u32, BackendError> {
    let directory = engine.attempts.clone();
    let listed = engine.cleanups.blocking(move || known(&directory)).await;
    let attempts = listed.map_err(|error| BackendError::Engine(format!("list the attempts of builds: {error}")))?;
    if attempts.is_empty() {
        return Ok(0);
    }
    let containers = build_containers(engine).await?;
    let mut gone = 0;
    for attempt in attempts {
        // Alive, or taken by another sweep.
        let Ok(Some(dead)) = take_over(&engine.attempts, &attempt) else { continue };
        let exists = containers.contains(&attempt);
        if !exists || remove(engine, &format!("werf.build.{attempt}")).await {
            dead.end();
            gone += u32::from(exists);
        }
    }
    Ok(gone)
}

/// Attempts that have a container.
async fn build_containers(engine: &Engine) -> Result<BTreeSet<String>, BackendError> {
    let filters = HashMap::from([("name".to_owned(), vec!["^/werf\\.build\\.".to_owned()])]);
    let options = ListContainersOptions { all: true, filters: Some(filters), ..ListContainersOptions::default() };
    let listed = engine.docker.list_containers(Some(options)).await;
    let listed = listed.map_err(|error| failed("list build containers", error))?;
    let names = listed.iter().flat_map(|container| container.names.iter().flatten());
    Ok(names.filter_map(|name| attempt_of(name)).map(str::to_owned).collect())
}
