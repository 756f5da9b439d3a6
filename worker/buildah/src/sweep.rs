//! What dead processes left behind.

use std::collections::BTreeSet;

use serde::Deserialize;
use slipway_backend::{
    BackendError,
    attempt::{attempt_of, container_name, known, take_over},
};

use crate::{
    container::{place_of, remove},
    dockerfile,
    memory::memory_of,
    program::Program,
};

#[derive(Deserialize)]
struct Listed {
    containername: String,
}

/// Removes build containers whose owner is dead, with their files, and lock files without a container; answers how many
/// containers went.
pub(crate) async fn sweep(program: &Program) -> Result<u32, BackendError> {
    let doing = "look for leftovers of dead builds";
    let directory = program.attempts.clone();
    let attempts = program.tasks.blocking(move || known(&directory)).await;
    let attempts = attempts.map_err(|error| BackendError::Engine(format!("{doing}: {error}")))?;
    if attempts.is_empty() {
        return Ok(0);
    }
    let said = program.ask(doing, &["containers", "--json"]).await?;
    let listed: Option<Vec<Listed>> =
        serde_json::from_str(&said).map_err(|error| BackendError::Engine(format!("{doing}: {error}")))?;
    let listed = listed.unwrap_or_default();
    let containers: BTreeSet<&str> = listed.iter().filter_map(|found| attempt_of(&found.containername)).collect();
    let mut gone = 0;
    for attempt in attempts {
        // Alive, or taken by another sweep.
        let Ok(Some(dead)) = take_over(&program.attempts, &attempt) else { continue };
        if let Err(error) = dockerfile::sweep(program, &place_of(program, &attempt)).await {
            tracing::debug!("{doing}: {error}");
            continue;
        }
        // It is not there but of a build with secrets that was killed.
        let _ = std::fs::remove_dir_all(memory_of(&attempt));
        if remove(program, &container_name(&attempt)?, &place_of(program, &attempt)).await {
            dead.end();
            gone += u32::from(containers.contains(attempt.as_str()));
        }
    }
    Ok(gone)
}
