//! A worker that does as its script says.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use slipway_coordinator::{Engine, LocalLink};
use slipway_digest::{Encoder, Millis, StageId};
use slipway_oci::{BlobDigest, ImageAt, Repo};
use slipway_process::Tasks;
use slipway_protocol::{
    Assignment, AttemptId, Capabilities, CoordinatorLink, Desired, Failure, Job, Phase, Report, Uploaded,
};
use slipway_stages::{StageKind, StagePlan, StageRecord};
use slipway_storage::MemoryStorage;
use tokio::sync::Notify;

/// What becomes of an attempt.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Act {
    /// It ends well.
    Succeed,
    /// It goes on until it is told to stop, or the script is changed.
    Hang,
    /// It fails; whether another try may help.
    Fail(bool),
}

/// What was given to the worker: kind of the stage (`None` = a checksum) and number of the attempt.
type Given = (Option<StageKind>, u32);

/// Says what becomes of an attempt.
type Script = Box<dyn Fn(Given) -> Act + Send>;

struct State {
    script: Script,
    held: BTreeMap<AttemptId, (Assignment, Phase)>,
    given: Vec<Given>,
    stopped: Vec<Given>,
    reports: u64,
}

/// A worker in a task of its own.
#[derive(Clone)]
pub(crate) struct ScriptedWorker {
    name: String,
    capabilities: Capabilities,
    state: Arc<Mutex<State>>,
    changed: Arc<Notify>,
    link: Arc<LocalLink>,
    storage: MemoryStorage,
}

impl ScriptedWorker {
    pub(crate) fn start(
        tasks: &Tasks,
        engine: &Engine,
        storage: &MemoryStorage,
        script: impl Fn(Given) -> Act + Send + 'static,
    ) -> Self {
        Self::start_as("scripted", Capabilities::default(), tasks, (engine, storage), script)
    }

    /// A worker with a name that can do something in particular.
    pub(crate) fn start_as(
        name: &str,
        capabilities: Capabilities,
        tasks: &Tasks,
        (engine, storage): (&Engine, &MemoryStorage),
        script: impl Fn(Given) -> Act + Send + 'static,
    ) -> Self {
        let state = State {
            script: Box::new(script),
            held: BTreeMap::new(),
            given: Vec::new(),
            stopped: Vec::new(),
            reports: 0,
        };
        let worker = Self {
            name: name.to_owned(),
            capabilities,
            state: Arc::new(Mutex::new(state)),
            changed: Arc::default(),
            link: Arc::new(LocalLink::new(engine.clone())),
            storage: storage.clone(),
        };
        let running = worker.clone();
        tasks.spawn(async move { running.run().await });
        worker
    }

    /// From now on this becomes of attempts, of those under way too.
    pub(crate) fn follow(&self, script: impl Fn(Given) -> Act + Send + 'static) {
        self.state().script = Box::new(script);
        self.changed.notify_one();
    }

    /// All that it was given so far.
    pub(crate) fn given(&self) -> Vec<Given> {
        self.state().given.clone()
    }

    /// How often it has reported.
    pub(crate) fn reports(&self) -> u64 {
        self.state().reports
    }

    /// What it was told to stop while it was under way.
    pub(crate) fn stopped(&self) -> Vec<Given> {
        self.state().stopped.clone()
    }

    async fn run(&self) {
        let mut seq = 0;
        loop {
            seq += 1;
            self.state().reports = seq;
            self.play().await;
            let attempts = self.state().held.iter().map(|(id, (_, phase))| (id.clone(), phase.clone())).collect();
            let (worker, capabilities) = (self.name.clone(), self.capabilities.clone());
            let boot = "first".to_owned();
            let report = Report { worker, boot, seq, slots: 4, capabilities, attempts, ..Report::default() };
            let desired = tokio::select! {
                () = self.changed.notified() => continue,
                desired = self.link.sync(report) => desired,
            };
            match desired {
                Ok(desired) => self.obey(desired),
                Err(_) => return,
            }
        }
    }

    fn obey(&self, desired: Desired) {
        let mut state = self.state();
        let held = std::mem::take(&mut state.held);
        for (attempt, (assignment, phase)) in held {
            if desired.run.iter().any(|wanted| wanted.attempt == attempt) {
                state.held.insert(attempt, (assignment, phase));
            } else if matches!(phase, Phase::Running { .. }) {
                state.stopped.push(given(&assignment));
            }
        }
        for assignment in desired.run {
            if !state.held.contains_key(&assignment.attempt) {
                state.given.push(given(&assignment));
                state.held.insert(assignment.attempt.clone(), (assignment, Phase::Running { progress: 0 }));
            }
        }
    }

    /// Lets every attempt that is under way end as the script wants it.
    async fn play(&self) {
        let running = |(_, phase): &&(Assignment, Phase)| matches!(phase, Phase::Running { .. });
        let under_way: Vec<Assignment> =
            self.state().held.values().filter(running).map(|held| held.0.clone()).collect();
        for assignment in under_way {
            self.say_once(&assignment).await;
            let act = (self.state().script)(given(&assignment));
            let phase = match act {
                Act::Hang => continue,
                Act::Fail(retryable) => Phase::Failed(failure(retryable)),
                Act::Succeed => match &assignment.job {
                    Job::Deliver(_) => Phase::Delivered,
                    Job::Checksum(input) => Phase::Summed(Encoder::new("files").text(&input.add).finish()),
                    Job::Stage(plan) => {
                        let line = format!("building {}", plan.kind).into_bytes();
                        self.link.log(&assignment.attempt, line).await.expect("the engine takes lines");
                        Phase::Uploaded(self.upload(plan, &assignment.attempt))
                    }
                },
            };
            self.state().held.insert(assignment.attempt.clone(), (assignment, phase));
        }
    }

    /// Every stage has a line of output from its beginning.
    async fn say_once(&self, assignment: &Assignment) {
        let said = Phase::Running { progress: 1 };
        let mut fresh = false;
        if let Some((_, phase)) = self.state().held.get_mut(&assignment.attempt) {
            fresh = std::mem::replace(phase, said.clone()) != said;
        }
        if let (true, Job::Stage(plan)) = (fresh, &assignment.job) {
            let line = format!("starting {}", plan.kind).into_bytes();
            self.link.log(&assignment.attempt, line).await.expect("the engine takes lines");
        }
    }

    fn upload(&self, plan: &StagePlan, attempt: &AttemptId) -> Uploaded {
        let digest = BlobDigest::of(attempt.id.as_bytes());
        let at = ImageAt { repo: Repo { host: "registry".to_owned(), path: "p".to_owned() }, digest: digest.clone() };
        self.storage.upload(&StageRecord {
            id: StageId { digest: plan.digest, stamp: Millis(0) },
            platform: plan.platform.clone(),
            at: at.clone(),
            image_id: digest.clone(),
            commits: plan.commits.clone(),
            content: plan.content,
            parent: plan.parent,
            size: 1,
        });
        Uploaded {
            at,
            image_id: digest,
            size: 1,
            took: Duration::from_secs(1),
            base_pulled: false,
            caches_failed: Vec::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no script panics")
    }
}

fn given(assignment: &Assignment) -> Given {
    let kind = match &assignment.job {
        Job::Stage(plan) => Some(plan.kind),
        Job::Checksum(_) | Job::Deliver(_) => None,
    };
    (kind, assignment.attempt.number)
}

fn failure(retryable: bool) -> Failure {
    Failure { retryable, why: "broken".to_owned(), exit: None, line: None, tail: Vec::new(), lost: None }
}
