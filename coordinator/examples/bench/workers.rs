//! Workers that sleep as long as a stage's command says, and store nothing.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use slipway_coordinator::{Engine, LocalLink};
use slipway_digest::{Encoder, Millis, StageId};
use slipway_oci::{BlobDigest, ImageAt, Repo};
use slipway_process::Tasks;
use slipway_protocol::{Assignment, AttemptId, CoordinatorLink, Desired, Job, Phase, Report, Uploaded};
use slipway_stages::{StageBody, StagePlan, StageRecord};
use slipway_storage::MemoryStorage;
use tokio::sync::Notify;

use crate::time::Time;

/// When jobs were begun, by key.
pub(crate) type Starts = Arc<Mutex<HashMap<String, Duration>>>;

/// One worker.
#[derive(Clone)]
pub(crate) struct Worker {
    link: Arc<LocalLink>,
    storage: MemoryStorage,
    time: Time,
    starts: Starts,
    tasks: Tasks,
    held: Arc<Mutex<BTreeMap<AttemptId, Phase>>>,
    changed: Arc<Notify>,
}

impl Worker {
    pub(crate) fn new(engine: &Engine, storage: &MemoryStorage, time: &Time, starts: &Starts, tasks: &Tasks) -> Self {
        Self {
            link: Arc::new(LocalLink::new(engine.clone())),
            storage: storage.clone(),
            time: time.clone(),
            starts: Arc::clone(starts),
            tasks: tasks.clone(),
            held: Arc::default(),
            changed: Arc::default(),
        }
    }

    /// Works until the engine ends.
    pub(crate) async fn run(self, name: String, slots: u16) {
        let mut report = Report { worker: name, boot: "1".to_owned(), slots, ..Report::default() };
        loop {
            report.seq += 1;
            report.attempts = self.held().iter().map(|(attempt, phase)| (attempt.clone(), phase.clone())).collect();
            let desired = tokio::select! {
                () = self.changed.notified() => continue,
                desired = self.link.sync(report.clone()) => desired,
            };
            match desired {
                Ok(desired) => self.obey(desired),
                Err(_) => return,
            }
        }
    }

    fn obey(&self, desired: Desired) {
        let over = |attempt: &AttemptId| desired.settled.iter().any(|(settled, _)| settled == attempt);
        let mut published = 0;
        self.held().retain(|attempt, phase| {
            let wanted = !over(attempt) && desired.run.iter().any(|assignment| assignment.attempt == *attempt);
            published += i64::from(!wanted && !matches!(phase, Phase::Running { .. }));
            wanted
        });
        self.time.did(-published);
        for assignment in desired.run {
            if !self.held().contains_key(&assignment.attempt) {
                self.begin(assignment);
            }
        }
    }

    fn begin(&self, assignment: Assignment) {
        let attempt = assignment.attempt;
        lock(&self.starts).insert(attempt.job.clone(), self.time.clock().monotonic());
        let time = match &assignment.job {
            Job::Stage(plan) => sleeps(plan),
            Job::Checksum(_) => Duration::ZERO,
        };
        self.held().insert(attempt.clone(), Phase::Running { progress: 0 });
        if time.is_zero() {
            return self.finish(&attempt, &assignment.job);
        }
        let worker = self.clone();
        self.tasks.spawn(async move {
            worker.time.sleep(time).await;
            worker.finish(&attempt, &assignment.job);
        });
    }

    fn finish(&self, attempt: &AttemptId, job: &Job) {
        let phase = match job {
            Job::Stage(plan) => Phase::Uploaded(self.upload(plan, attempt)),
            Job::Checksum(input) => Phase::Summed(Encoder::new("files").text(&input.add).finish()),
        };
        if let Some(held) = self.held().get_mut(attempt) {
            *held = phase;
            self.time.did(1);
        }
        self.changed.notify_one();
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
        Uploaded { at, image_id: digest, size: 1, took: Duration::ZERO }
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<AttemptId, Phase>> {
        lock(&self.held)
    }
}

/// How long a stage sleeps: its command is `sleep MICROSECONDS of IMAGE`.
fn sleeps(plan: &StagePlan) -> Duration {
    let StageBody::Shell { commands, .. } = &plan.body else { return Duration::ZERO };
    let number = |text: &str| text.split(' ').nth(1).and_then(|number| number.parse::<u64>().ok());
    let micros = commands.iter().filter_map(|command| number(&command.text)).sum();
    Duration::from_micros(micros)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
