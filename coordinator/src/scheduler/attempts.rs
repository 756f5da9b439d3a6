//! Attempts that may still lead to a result.

use std::{collections::HashMap, time::Duration};

use slipway_protocol::{AttemptId, Uploaded};

use super::{jobs::JobNo, workers::WorkerNo};

/// An attempt's place among all.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct AttemptNo(pub(super) u64);

/// How far an attempt is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// A worker runs it.
    Running,
    /// The worker that ran it is lost; should it come back, so does the attempt.
    Away,
    /// It has uploaded a result, and another attempt at the job is being published.
    Uploaded(Uploaded),
    /// Its result is being published.
    Committing(Uploaded),
}

/// Why an attempt runs where it does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The worker has an image that the job starts from.
    HasBase,
    /// The worker had the most room.
    Room,
    /// The job had failed on other workers.
    Retry,
    /// The first attempt takes much longer than expected.
    Doubled,
    /// The worker ran it already when this coordinator took over.
    Adopted,
    /// The worker still has a result whose upload has vanished: it is only uploaded again.
    Again,
}

impl Why {
    /// In a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::HasBase => "has_base",
            Self::Room => "room",
            Self::Retry => "retry",
            Self::Doubled => "doubled",
            Self::Adopted => "adopted",
            Self::Again => "again",
        }
    }

    /// In words.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::HasBase => "it has what the job starts from",
            Self::Room => "it had the most room",
            Self::Retry => "the job had failed elsewhere",
            Self::Doubled => "the first attempt takes much longer than expected",
            Self::Adopted => "it ran the job already when this coordinator took over",
            Self::Again => "it still has the result, which has vanished from the repository",
        }
    }
}

/// What becomes of an attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// It was given to a worker.
    Given {
        /// Which.
        attempt: AttemptId,
        /// To whom.
        worker: String,
        /// Why there.
        why: Why,
    },
    /// Its worker says that it has it.
    Accepted(AttemptId),
    /// It is over.
    Over(AttemptId),
}

#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) id: AttemptId,
    pub(super) job: JobNo,
    pub(super) worker: WorkerNo,
    pub(super) why: Why,
    /// The attempt whose result is to be uploaded again.
    pub(super) again: Option<AttemptId>,
    pub(super) started: Duration,
    pub(super) stage: Stage,
    /// Whether its worker has ever said that it has it: one that has not can be lost without having run it.
    pub(super) accepted: bool,
    /// The progress that the worker last reported, and when it last moved.
    pub(super) progress: u64,
    pub(super) moved: Duration,
    /// When it counts as much slower than expected.
    pub(super) slow_at: Duration,
}

impl Attempt {
    /// One that a worker is to run from now on. An adopted one is run already.
    pub(super) fn new(
        id: AttemptId,
        (job, worker): (JobNo, WorkerNo),
        why: Why,
        (now, slow_at): (Duration, Duration),
    ) -> Self {
        let (stage, accepted) = (Stage::Running, why == Why::Adopted);
        Self { id, job, worker, why, again: None, started: now, stage, accepted, progress: 0, moved: now, slow_at }
    }
}

/// All attempts of jobs that are not over.
#[derive(Debug)]
pub(super) struct Attempts {
    seed: String,
    counter: u64,
    by_id: HashMap<String, AttemptNo>,
    all: HashMap<AttemptNo, Attempt>,
}

impl Attempts {
    pub(super) fn new(seed: String) -> Self {
        Self { seed, counter: 0, by_id: HashMap::new(), all: HashMap::new() }
    }

    /// An id that no attempt has had, ever.
    pub(super) fn fresh_id(&mut self, job: &str, number: u32) -> AttemptId {
        self.counter += 1;
        AttemptId { job: job.to_owned(), number, id: format!("{}-{}", self.seed, self.counter) }
    }

    /// Whether the attempt was given out by this scheduler.
    pub(super) fn is_own(&self, id: &AttemptId) -> bool {
        id.id.strip_prefix(&self.seed).is_some_and(|rest| rest.starts_with('-'))
    }

    pub(super) fn add(&mut self, attempt: Attempt) -> AttemptNo {
        self.counter += 1;
        let no = AttemptNo(self.counter);
        self.by_id.insert(attempt.id.id.clone(), no);
        self.all.insert(no, attempt);
        no
    }

    pub(super) fn find(&self, id: &AttemptId) -> Option<AttemptNo> {
        self.by_id.get(&id.id).copied()
    }

    pub(super) fn get(&self, no: AttemptNo) -> Option<&Attempt> {
        self.all.get(&no)
    }

    pub(super) fn get_mut(&mut self, no: AttemptNo) -> Option<&mut Attempt> {
        self.all.get_mut(&no)
    }

    pub(super) fn remove(&mut self, no: AttemptNo) -> Option<Attempt> {
        let attempt = self.all.remove(&no)?;
        self.by_id.remove(&attempt.id.id);
        Some(attempt)
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}
