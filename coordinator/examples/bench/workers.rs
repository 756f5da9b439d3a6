//! Workers that sleep as long as a stage's command says, and store next to nothing.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::FutureExt as _;
use slipway_process::Tasks;
use slipway_protocol::{Assignment, AttemptId, CoordinatorLink, Desired, Job, Phase, Report};
use slipway_stages::{StageBody, StagePlan};
use tokio::sync::Notify;

use crate::{shelf::Shelf, time::Time};

/// When jobs were begun, by key.
pub(crate) type Starts = Arc<Mutex<HashMap<String, Duration>>>;

/// One worker.
#[derive(Clone)]
pub(crate) struct Worker {
    link: Arc<dyn CoordinatorLink>,
    shelf: Shelf,
    time: Time,
    starts: Starts,
    tasks: Tasks,
    held: Arc<Mutex<BTreeMap<AttemptId, Phase>>>,
    changed: Arc<Notify>,
}

impl Worker {
    pub(crate) fn new(
        link: Arc<dyn CoordinatorLink>,
        shelf: Shelf,
        (time, starts, tasks): (&Time, &Starts, &Tasks),
    ) -> Self {
        Self {
            link,
            shelf,
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
        let attempt = assignment.attempt.clone();
        lock(&self.starts).insert(attempt.job.clone(), self.time.clock().monotonic());
        let time = match &assignment.job {
            Job::Stage(plan) => sleeps(plan),
            Job::Checksum(_) | Job::Deliver(_) => Duration::ZERO,
        };
        self.held().insert(attempt.clone(), Phase::Running { progress: 0 });
        let worker = self.clone();
        let work = async move {
            if !time.is_zero() {
                worker.time.sleep(time).await;
            }
            let phase = worker.shelf.result(&assignment).await;
            worker.finish(&attempt, phase);
        };
        // What takes no time is done before the next report.
        let mut work = Box::pin(work);
        if work.as_mut().now_or_never().is_none() {
            self.tasks.spawn(work);
        }
    }

    fn finish(&self, attempt: &AttemptId, phase: Phase) {
        if let Some(held) = self.held().get_mut(attempt) {
            *held = phase;
            self.time.did(1);
        }
        self.changed.notify_one();
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
