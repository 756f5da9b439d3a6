//! The sync loop: state up, desired state down.

use std::{path::PathBuf, sync::Arc, time::Duration};

use slipway_ansible::Controller;
use slipway_backend::ContainerBackend;
use slipway_process::{Clock, Tasks};
use slipway_protocol::{Capabilities, CoordinatorLink, Desired, LinkError, Outcome, Phase, Report};
use slipway_registry::Client;
use slipway_telemetry::Tracer;
use tokio_util::sync::CancellationToken;

use crate::{
    agents::Agents, attempts::Attempts, caches::Caches, contact::Contact, health::Status, holds::Holds,
    introspect::Introspect, job::Runner, mounts::Mounts, sources::Sources, traces::Traces,
};

/// How long a worker waits before it asks again when the coordinator is away.
const AWAY: Duration = Duration::from_secs(1);
/// How long the engine may take to say which images of an earlier process it has.
const LOOK: Duration = Duration::from_secs(5);
/// How long a worker that has nothing left tries to say that it ends.
const FAREWELL: Duration = Duration::from_secs(2);

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
    /// How long it goes on without hearing from a coordinator; zero = as the coordinator says.
    pub hold: Duration,
    /// Who tells it what to do.
    pub link: Arc<dyn CoordinatorLink>,
    /// How repositories are spoken to that stages are copied between.
    pub registry: Client,
    /// What runs its jobs.
    pub backend: Arc<dyn ContainerBackend>,
    /// What runs tasks of Ansible.
    pub ansible: Controller,
    /// Where sources are.
    pub sources: Arc<dyn Sources>,
    /// Directories of the host that commands see.
    pub mounts: Mounts,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where the spans of its jobs go.
    pub tracer: Tracer,
    /// The file in which it keeps which images it has at hand; `None` = it does not tell.
    pub holds: Option<PathBuf>,
    /// What commands of its jobs reach by ssh.
    pub agents: Agents,
    /// Who lends a terminal to shells in stages; `None` = nobody.
    pub introspect: Option<Arc<dyn Introspect>>,
}

/// How a worker is asked to end.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Take no more work, finish what runs, end.
    pub drain: CancellationToken,
    /// Give up what runs and end.
    pub now: CancellationToken,
}

/// One worker.
pub struct Worker {
    name: String,
    boot: String,
    slots: u16,
    capabilities: Capabilities,
    hold: Duration,
    link: Arc<dyn CoordinatorLink>,
    clock: Arc<dyn Clock>,
    attempts: Attempts,
    runner: Arc<Runner>,
    status: Arc<Status>,
}

impl Worker {
    /// A worker that runs its jobs in `tasks`.
    pub fn new(setup: Setup, tasks: Tasks) -> Self {
        let Setup { name, boot, slots, capabilities, hold, link, clock, .. } = setup;
        let status = Arc::new(Status::new(slots));
        let traces = Traces::new(&setup.tracer, &name, &capabilities.backend);
        let runner = Arc::new(Runner {
            backend: setup.backend,
            ansible: setup.ansible,
            sources: setup.sources,
            mounts: Arc::new(setup.mounts),
            clock: Arc::clone(&clock),
            tasks: tasks.clone(),
            link: link.clone(),
            traces,
            holds: Holds::new(setup.holds),
            agents: setup.agents,
            caches: Caches::new(setup.registry, Arc::clone(&clock)),
            introspect: setup.introspect,
        });
        let attempts = Attempts::new(Arc::clone(&runner), tasks);
        Self { name, boot, slots, capabilities, hold, link, clock, attempts, runner, status }
    }

    /// What it tells of itself.
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status)
    }

    /// Works until it is asked to end, or is told that no more work will come.
    pub async fn run(&self, stop: Stop) {
        // Known before the first report: the first jobs may go by it.
        let _ = tokio::time::timeout(LOOK, self.runner.take_up()).await;
        let mut contact = Contact::new(self.clock.monotonic(), self.hold);
        let mut seq = 0;
        loop {
            seq += 1;
            let draining = stop.drain.is_cancelled();
            let report = self.report(seq, draining);
            let holds_none = report.attempts.is_empty();
            if draining && holds_none {
                // Whether it is heard or not: nothing is lost with this worker.
                let _ = tokio::time::timeout(FAREWELL, self.link.sync(report)).await;
                return;
            }
            let said = tokio::select! {
                () = stop.now.cancelled() => return self.attempts.stop_all(),
                // What has just ended is reported at once; the sync under way is abandoned.
                () = self.attempts.changed() => continue,
                () = stop.drain.cancelled(), if !draining => continue,
                said = within(contact.report_within(), self.link.sync(report)) => said,
            };
            match said {
                Some(Ok(desired)) if desired.drain && desired.run.is_empty() && holds_none => return,
                Some(Ok(desired)) => {
                    if contact.answered(self.clock.monotonic(), desired.lease, desired.hold) {
                        tracing::info!("the coordinator is back");
                    }
                    self.obey(desired);
                }
                // A coordinator of the same process may end at the same moment: it is not missed.
                Some(Err(_)) if stop.now.is_cancelled() => return self.attempts.stop_all(),
                Some(Err(error)) => self.without(&mut contact, &error).await,
                None => contact.quiet(self.clock.monotonic()),
            }
            self.status.silent_for(contact.silence(self.clock.monotonic()));
        }
    }

    /// The coordinator is away: what runs goes on for a while.
    async fn without(&self, contact: &mut Contact, error: &LinkError) {
        if contact.failed() {
            tracing::warn!("{error}; what runs goes on");
        } else {
            tracing::debug!("{error}");
        }
        let now = self.clock.monotonic();
        if contact.is_over(now) && !self.attempts.is_empty() {
            let silence = contact.silence(now).as_secs();
            tracing::warn!("no coordinator was heard for {silence} s: what runs is given up");
            self.attempts.keep_only(|_| false);
        }
        tokio::time::sleep(AWAY).await;
    }

    fn report(&self, seq: u64, drain: bool) -> Report {
        let attempts = self.attempts.phases();
        let running = attempts.iter().filter(|(_, phase)| matches!(phase, Phase::Running { .. })).count();
        self.status.holds(running, attempts.len());
        Report {
            worker: self.name.clone(),
            boot: self.boot.clone(),
            seq,
            slots: self.slots,
            capabilities: self.capabilities.clone(),
            attempts,
            holds: self.runner.holds.list(),
            drain,
        }
    }

    fn obey(&self, desired: Desired) {
        // What takes over the result of another attempt does so before that is settled and its result removed.
        for assignment in desired.run.iter().filter(|assignment| assignment.again.is_some()) {
            self.attempts.start(assignment);
        }
        for (attempt, outcome) in &desired.settled {
            let lost = matches!(outcome, Outcome::Superseded(_) | Outcome::Dropped);
            self.attempts.settle(attempt, lost);
        }
        let wanted = |attempt: &_| {
            desired.run.iter().any(|assignment| assignment.attempt == *attempt)
                || desired.keep.contains(attempt)
                || desired.settled.iter().any(|(settled, _)| settled == attempt)
        };
        self.attempts.keep_only(wanted);
        for assignment in &desired.run {
            self.attempts.start(assignment);
        }
    }
}

/// What a call answers within `limit`; `None` when it is still held then.
async fn within<T>(limit: Option<Duration>, call: impl Future<Output = T>) -> Option<T> {
    match limit {
        Some(limit) => tokio::time::timeout(limit, call).await.ok(),
        None => Some(call.await),
    }
}
