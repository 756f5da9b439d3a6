//! The attempts that a worker holds: running ones, and results that are not yet settled.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use slipway_oci::BlobDigest;
use slipway_process::{Tasks, caught};
use slipway_protocol::{Assignment, AttemptId, Failure, Phase, Uploaded};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{job::Runner, progress::Progress};

struct Held {
    /// How it ended; `None` = it is under way.
    end: Option<Phase>,
    /// What an earlier attempt has built, and this one uploads again.
    result: Option<Uploaded>,
    progress: Progress,
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
        self.lock().iter().map(|(attempt, held)| (attempt.clone(), held.phase())).collect()
    }

    /// Waits until an attempt has ended since this was last called.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Starts an attempt, unless it is held already. It takes over the result of the attempt that it is to upload again,
    /// if that is held.
    pub(crate) fn start(&self, assignment: &Assignment) {
        let cancel = CancellationToken::new();
        let progress = Progress::default();
        let result = {
            let mut held = self.lock();
            if held.contains_key(&assignment.attempt) {
                return;
            }
            let result = assignment.again.as_ref().and_then(|again| take_result(&mut held, again));
            let fresh = Held { end: None, result: result.clone(), progress: progress.clone(), cancel: cancel.clone() };
            held.insert(assignment.attempt.clone(), fresh);
            result
        };
        if let (Some(_), Some(again)) = (&result, &assignment.again) {
            self.say_ended(again);
        }
        let (runner, held, changed) = (Arc::clone(&self.runner), Arc::clone(&self.held), Arc::clone(&self.changed));
        let assignment = assignment.clone();
        self.tasks.spawn(async move {
            let running = Box::pin(run(&runner, &assignment, result, &progress));
            let ended = cancel.run_until_cancelled(running).await;
            let Some(phase) = ended else { return };
            let late = match held.lock().unwrap_or_else(PoisonError::into_inner).get_mut(&assignment.attempt) {
                Some(attempt) => {
                    attempt.end = Some(phase);
                    None
                }
                None => Some(phase),
            };
            match late {
                // It was given up at the very moment it ended: nobody will ask for what it has built.
                Some(Phase::Uploaded(uploaded)) => runner.discard(&uploaded.image_id).await,
                Some(Phase::Running { .. } | Phase::Summed(_) | Phase::Delivered | Phase::Failed(_)) => {}
                None => changed.notify_one(),
            }
        });
    }

    /// Forgets an attempt whose end was heard. What a lost one has built is removed.
    pub(crate) fn settle(&self, attempt: &AttemptId, lost: bool) {
        let Some(held) = self.lock().remove(attempt) else { return };
        held.cancel.cancel();
        self.say_ended(attempt);
        if let (true, Some(image)) = (lost, held.image()) {
            let runner = Arc::clone(&self.runner);
            self.tasks.spawn(async move { runner.discard(&image).await });
        }
        // The coordinator keeps telling until it hears that the attempt is gone.
        self.changed.notify_one();
    }

    /// No more output of an attempt will come.
    fn say_ended(&self, attempt: &AttemptId) {
        let (link, ended) = (Arc::clone(&self.runner.link), attempt.clone());
        self.tasks.spawn(async move { link.ended(&ended).await });
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

    /// Whether it holds none.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<AttemptId, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn phase(&self) -> Phase {
        self.end.clone().unwrap_or_else(|| Phase::Running { progress: self.progress.count() })
    }

    /// The image that was built, if there is one.
    fn image(self) -> Option<BlobDigest> {
        let uploaded = match self.end {
            Some(Phase::Uploaded(uploaded)) => Some(uploaded),
            Some(Phase::Running { .. } | Phase::Summed(_) | Phase::Delivered | Phase::Failed(_)) | None => self.result,
        };
        uploaded.map(|uploaded| uploaded.image_id)
    }
}

/// Takes what an attempt has built away from it, and forgets the attempt.
fn take_result(held: &mut BTreeMap<AttemptId, Held>, attempt: &AttemptId) -> Option<Uploaded> {
    let Some(Phase::Uploaded(uploaded)) = &held.get(attempt)?.end else { return None };
    let uploaded = uploaded.clone();
    held.remove(attempt);
    Some(uploaded)
}

/// Runs an attempt to its end, or to its deadline.
async fn run(runner: &Runner, assignment: &Assignment, result: Option<Uploaded>, progress: &Progress) -> Phase {
    let running = caught(Box::pin(runner.run(assignment, result.as_ref(), progress)));
    let ended = match assignment.deadline {
        Some(deadline) => tokio::time::timeout(deadline, running).await,
        None => Ok(running.await),
    };
    match ended {
        Ok(ended) => ended.unwrap_or_else(|panicked| broken(&panicked.to_string())),
        Err(_) => {
            let deadline = assignment.deadline.unwrap_or_default().as_secs();
            let why = format!("run the job: it was not done within {deadline} s, which is the limit, and was stopped");
            // What takes that long here takes as long elsewhere.
            Phase::Failed(Failure { retryable: false, why, exit: None, line: None, tail: Vec::new(), lost: None })
        }
    }
}

/// The end of an attempt that panicked.
fn broken(why: &str) -> Phase {
    let why = format!("run the job: {why}");
    Phase::Failed(Failure { retryable: false, why, exit: None, line: None, tail: Vec::new(), lost: None })
}
