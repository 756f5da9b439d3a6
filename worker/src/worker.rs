//! The sync loop: state up, desired state down.

use std::{sync::Arc, time::Duration};

use slipway_backend::ContainerBackend;
use slipway_process::{Clock, Tasks};
use slipway_protocol::{Capabilities, CoordinatorLink, Desired, Outcome, Report};
use tokio_util::sync::CancellationToken;

use crate::{attempts::Attempts, job::Runner, sources::Sources};

/// How long a worker waits before it asks again when the coordinator is away.
const AWAY: Duration = Duration::from_secs(1);

/// What a worker is made of.
pub struct Setup {
    /// Its name.
    pub name: String,
    /// Its life: unlike that of any other start.
    pub boot: String,
    /// How many jobs it runs at once.
    pub slots: u16,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Who tells it what to do.
    pub link: Arc<dyn CoordinatorLink>,
    /// What runs its jobs.
    pub backend: Arc<dyn ContainerBackend>,
    /// Where sources are.
    pub sources: Arc<dyn Sources>,
    /// Time.
    pub clock: Arc<dyn Clock>,
}

/// One worker.
pub struct Worker {
    name: String,
    boot: String,
    slots: u16,
    capabilities: Capabilities,
    link: Arc<dyn CoordinatorLink>,
    attempts: Attempts,
}

impl Worker {
    /// A worker that runs its jobs in `tasks`.
    pub fn new(setup: Setup, tasks: Tasks) -> Self {
        let Setup { name, boot, slots, capabilities, link, backend, sources, clock } = setup;
        let runner = Runner { backend, sources, clock, tasks: tasks.clone(), link: Arc::clone(&link) };
        Self { name, boot, slots, capabilities, link, attempts: Attempts::new(Arc::new(runner), tasks) }
    }

    /// Works until `stop` is cancelled, or until it is told that no more work will come.
    pub async fn run(&self, stop: CancellationToken) {
        let mut seq = 0;
        loop {
            seq += 1;
            let report = self.report(seq);
            let holds_none = report.attempts.is_empty();
            let desired = tokio::select! {
                () = stop.cancelled() => return self.attempts.stop_all(),
                // What has just ended is reported at once; the sync under way is abandoned.
                () = self.attempts.changed() => continue,
                desired = self.link.sync(report) => desired,
            };
            match desired {
                Ok(desired) if desired.drain && desired.run.is_empty() && holds_none => return,
                Ok(desired) => self.obey(desired),
                Err(error) => {
                    tracing::debug!("{error}");
                    tokio::time::sleep(AWAY).await;
                }
            }
        }
    }

    fn report(&self, seq: u64) -> Report {
        Report {
            worker: self.name.clone(),
            boot: self.boot.clone(),
            seq,
            slots: self.slots,
            capabilities: self.capabilities.clone(),
            attempts: self.attempts.phases(),
            ..Report::default()
        }
    }

    fn obey(&self, desired: Desired) {
        for (attempt, outcome) in &desired.settled {
            let lost = matches!(outcome, Outcome::Superseded(_) | Outcome::Dropped);
            self.attempts.settle(attempt, lost);
        }
        let wanted = |attempt: &_| {
            desired.run.iter().any(|assignment| assignment.attempt == *attempt)
                || desired.settled.iter().any(|(settled, _)| settled == attempt)
        };
        self.attempts.keep_only(wanted);
        for assignment in &desired.run {
            self.attempts.start(assignment);
        }
    }
}
