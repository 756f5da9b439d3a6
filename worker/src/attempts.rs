//! The attempts that a worker holds: running ones, and results that are not yet settled.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use slipway_process::{Tasks, caught};
use slipway_protocol::{Assignment, AttemptId, Failure, Phase};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::job::Runner;

struct Held {
    phase: Phase,
    cancel: CancellationToken,
}

/// A worker's attempts. The lock is for map look-ups only and never held over an await.
pub(crate) struct Attempts {
    held: Arc<Mutex<BTreeMap<AttemptId, Held>>>,
    changed: Arc<Notify>,
    runner: Arc<Runner>,
    tasks: Tasks,
}

impl Attempts {
    pub(crate) fn new(runner: Arc<Runner>, tasks: Tasks) -> Self {
        Self { held: Arc::default(), changed: Arc::default(), runner, tasks }
    }

    /// How far each attempt is.
    pub(crate) fn phases(&self) -> Vec<(AttemptId, Phase)> {
        self.lock().iter().map(|(attempt, held)| (attempt.clone(), held.phase.clone())).collect()
    }

    /// Waits until an attempt has ended since this was last called.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Starts an attempt, unless it is held already.
    pub(crate) fn start(&self, assignment: &Assignment) {
        let cancel = CancellationToken::new();
        let fresh = Held { phase: Phase::Running { progress: 0 }, cancel: cancel.clone() };
        match self.lock().entry(assignment.attempt.clone()) {
            std::collections::btree_map::Entry::Occupied(_) => return,
            std::collections::btree_map::Entry::Vacant(place) => drop(place.insert(fresh)),
        }
        let (runner, held, changed) = (Arc::clone(&self.runner), Arc::clone(&self.held), Arc::clone(&self.changed));
        let assignment = assignment.clone();
        self.tasks.spawn(async move {
            let ended = cancel.run_until_cancelled(caught(runner.run(&assignment))).await;
            let Some(phase) = ended.map(|ended| ended.unwrap_or_else(|panicked| broken(&panicked.to_string()))) else {
                return;
            };
            let late = match held.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&assignment.attempt) {
                Some(attempt) => {
                    attempt.phase = phase;
                    None
                }
                None => Some(phase),
            };
            match late {
                // It was given up at the very moment it ended: nobody will ask for what it has built.
                Some(Phase::Uploaded(uploaded)) => runner.discard(&uploaded.image_id).await,
                Some(Phase::Running { .. } | Phase::Summed(_) | Phase::Failed(_)) => {}
                None => changed.notify_one(),
            }
        });
    }

    /// Forgets an attempt whose end was heard. What a lost one has built is removed.
    pub(crate) fn settle(&self, attempt: &AttemptId, lost: bool) {
        let Some(held) = self.lock().remove(attempt) else { return };
        held.cancel.cancel();
        if let (true, Phase::Uploaded(uploaded)) = (lost, held.phase) {
            let runner = Arc::clone(&self.runner);
            self.tasks.spawn(async move { runner.discard(&uploaded.image_id).await });
        }
        // The coordinator keeps telling until it hears that the attempt is gone.
        self.changed.notify_one();
    }

    /// Stops every attempt that is not wanted.
    pub(crate) fn keep_only(&self, wanted: impl Fn(&AttemptId) -> bool) {
        let unwanted: Vec<AttemptId> = self.lock().keys().filter(|attempt| !wanted(attempt)).cloned().collect();
        unwanted.iter().for_each(|attempt| self.settle(attempt, true));
    }

    /// Stops everything.
    pub(crate) fn stop_all(&self) {
        std::mem::take(&mut *self.lock()).into_values().for_each(|held| held.cancel.cancel());
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<AttemptId, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of an attempt that panicked.
fn broken(why: &str) -> Phase {
    let why = format!("run the job: {why}");
    Phase::Failed(Failure { retryable: false, why, exit: None, line: None, tail: Vec::new(), lost: None })
}
