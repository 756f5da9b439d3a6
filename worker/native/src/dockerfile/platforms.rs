//! Which platform a stage is of, and whether its commands run here.

use std::{collections::BTreeMap, sync::Arc};

use slipway_backend::{
    BackendError,
    dockerfile::{at, platform_of},
    emulation,
};
use slipway_dockerfile::{Origin, Program};
use slipway_oci::Platform;

use crate::{Shared, error};

/// Refuses commands that this host cannot run before any other runs.
pub(super) async fn check(shared: &Arc<Shared>, program: &Program, own: &Platform) -> Result<(), BackendError> {
    let mut known: BTreeMap<usize, Platform> = BTreeMap::new();
    for position in program.needed() {
        // What cannot be read is told where it is built.
        let Ok(head) = program.head(position) else { continue };
        let platform = match &head.base {
            Origin::Stage(below) => known.get(below).unwrap_or(own).clone(),
            Origin::Scratch | Origin::Image(_) => platform_of(&head, own).unwrap_or_else(|_| own.clone()),
        };
        if let Some(written) = program.steps(position).iter().find(|written| written.runs()) {
            runs(shared, &platform).await.map_err(|error| at(written.line, &written.text, error))?;
        }
        known.insert(position, platform);
    }
    Ok(())
}

/// Refuses a command of a platform whose programs this host cannot run.
pub(super) async fn runs(shared: &Arc<Shared>, platform: &Platform) -> Result<(), BackendError> {
    if Platform::host().covers(platform) {
        return Ok(());
    }
    let (store, asked) = (shared.store.clone(), platform.clone());
    let tried = shared.tasks.blocking(move || {
        let room = store.work(&format!("trial-{}", slipway_process::random_id()))?;
        Ok(emulation::refusal(&asked, room.path()))
    });
    match tried.await.map_err(|error| error::layers("try a program of another platform", error))? {
        None => Ok(()),
        Some(why) => Err(BackendError::Refused(why)),
    }
}
