//! How a job is done.

mod covered;
mod failure;
mod git;
mod imports;
mod instruction;
mod logs;
mod shell;
mod stage;
mod stored;
mod upload;

use std::sync::Arc;

use slipway_ansible::Controller;
use slipway_backend::{ContainerBackend, LocalImage};
use slipway_oci::BlobDigest;
use slipway_process::{Clock, Tasks};
use slipway_protocol::{Assignment, CoordinatorLink, Job, Phase, Uploaded};

use crate::{
    agents::Agents,
    caches::Caches,
    holds::Holds,
    introspect::Introspect,
    mounts::Mounts,
    progress::Progress,
    sources::Sources,
    traces::{self, Traces},
};

/// Where containers see the directory of an ssh agent's socket.
const AGENT_DIRECTORY: &str = "/.werf/tmp";

/// What jobs are run with.
pub(crate) struct Runner {
    pub(crate) backend: Arc<dyn ContainerBackend>,
    pub(crate) ansible: Controller,
    pub(crate) sources: Arc<dyn Sources>,
    pub(crate) mounts: Arc<Mounts>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tasks: Tasks,
    pub(crate) link: Arc<dyn CoordinatorLink>,
    pub(crate) traces: Traces,
    pub(crate) holds: Holds,
    pub(crate) agents: Agents,
    pub(crate) caches: Caches,
    pub(crate) introspect: Option<Arc<dyn Introspect>>,
}

impl Runner {
    /// Does a job and answers how it ended. A `result` that is there is only uploaded again.
    pub(crate) async fn run(&self, assignment: &Assignment, result: Option<&Uploaded>, progress: &Progress) -> Phase {
        let started = self.clock.monotonic();
        let result = match (&assignment.job, result) {
            (Job::Stage(plan), Some(result)) => {
                stage::upload_again(self, assignment, plan, result).await.map(Phase::Uploaded)
            }
            (Job::Stage(plan), None) => {
                stage::build(self, assignment, plan, started, progress).await.map(Phase::Uploaded)
            }
            (Job::Checksum(input), _) => {
                let span = self.traces.begin("run", assignment);
                let summed = imports::checksum(self, &assignment.caches, input).await;
                traces::end(span, summed.as_ref().err());
                summed.map(Phase::Summed)
            }
            (Job::Deliver(delivery), _) => {
                let span = self.traces.begin("upload", assignment);
                let delivered = upload::delivered(self, delivery).await;
                traces::end(span, delivered.as_ref().err());
                delivered.map(|()| Phase::Delivered)
            }
        };
        result.unwrap_or_else(Phase::Failed)
    }

    /// Looks which images of an earlier process the engine still has.
    pub(crate) async fn take_up(&self) {
        let mut found = Vec::new();
        for image in self.holds.noted().await {
            if self.backend.config(&LocalImage { id: image.id.clone() }).await.is_ok() {
                found.push(image);
            }
        }
        self.holds.take_up(found);
    }

    /// Removes what a lost attempt has built. Failing to is not worth a failure: cleaning up comes again.
    pub(crate) async fn discard(&self, image: &BlobDigest) {
        self.holds.forget(image).await;
        if let Err(error) = self.backend.remove(&LocalImage { id: image.clone() }).await {
            tracing::debug!("remove the image {} of a lost attempt: {error}", image.short());
        }
    }
}
