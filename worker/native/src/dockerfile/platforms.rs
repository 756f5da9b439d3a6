//! Which platform a stage is of, and whether its commands run here.

use std::{collections::BTreeMap, sync::Arc};

use slipway_backend::BackendError;
use slipway_dockerfile::{Head, Origin, Program};
use slipway_oci::Platform;

use super::at;
use crate::{Shared, emulation, error};

/// What a stage on an image is of: what its `FROM` says, else what is built for. The same platform by another name is that.
pub(super) fn of(head: &Head, own: &Platform) -> Result<Platform, BackendError> {
    let Some(text) = &head.platform else { return Ok(own.clone()) };
    let asked: Platform = text.parse().map_err(|error| BackendError::Refused(format!("--platform={text}: {error}")))?;
    Ok(if (&asked.os, &asked.arch) == (&own.os, &own.arch) { own.clone() } else { asked })
}

/// Refuses commands that this host cannot run before any other runs.
pub(super) async fn check(shared: &Arc<Shared>, program: &Program, own: &Platform) -> Result<(), BackendError> {
    let mut known: BTreeMap<usize, Platform> = BTreeMap::new();
    for position in program.needed() {
        // What cannot be read is told where it is built.
        let Ok(head) = program.head(position) else { continue };
        let platform = match &head.base {
            Origin::Stage(below) => known.get(below).unwrap_or(own).clone(),
            Origin::Scratch | Origin::Image(_) => of(&head, own).unwrap_or_else(|_| own.clone()),
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
        Ok(emulation::missing(&asked, room.path()))
    });
    match tried.await.map_err(|error| error::layers("try a program of another platform", error))? {
        None => Ok(()),
        Some(binfmt) => Err(BackendError::Refused(format!(
            "it is of {platform}, and this host cannot run programs of {platform}: register an interpreter as {binfmt} in \
             binfmt_misc (Debian's package qemu-user-static does)"
        ))),
    }
}
