//! Jobs: who wants them, and what has become of them so far.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use slipway_oci::BlobDigest;
use slipway_protocol::Requirements;

use super::{attempts::AttemptNo, estimates::Class, queue::LaneNo, workers::WorkerNo};

/// Names a job; equal jobs have equal keys.
pub type Key = Arc<str>;

/// Who is told of a job's end. The engine knows what stands behind the number.
pub type Subscriber = u64;

/// A job as somebody wants it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Want {
    /// How long everything that waits for the job will take, itself included: the longer, the sooner it is given out.
    pub rank: Duration,
    /// What it is like.
    pub class: Class,
    /// What it needs of a worker.
    pub requires: Requirements,
    /// Images that it starts from.
    pub near: Vec<Near>,
}

/// An image that a job starts from: a worker that has it need not fetch it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Near {
    /// The digest under which the job names it.
    pub image: BlobDigest,
    /// Its size in bytes.
    pub bytes: u64,
}

/// A job's place among all; grows with every job, so it tells which came first.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct JobNo(pub(super) u64);

/// Whether and for what a job waits.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Waits {
    /// It does not: it has attempts.
    Not,
    /// For any worker.
    Open,
    /// For one of these workers, which have its base, for a while.
    Parked(Vec<WorkerNo>),
    /// For the time of its next try.
    BackOff,
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) key: Key,
    pub(super) want: Want,
    pub(super) lane: LaneNo,
    pub(super) subscribers: Vec<Subscriber>,
    pub(super) waits: Waits,
    /// Since when it waits, or has waited when it was last given out.
    pub(super) since: Duration,
    /// Whether those who want it were told that nobody can take it for now.
    pub(super) told: bool,
    /// Attempts that may still lead to a result.
    pub(super) attempts: Vec<AttemptNo>,
    /// How many attempts there have been.
    pub(super) number: u32,
    /// How many of them the infrastructure failed.
    pub(super) failures: u32,
    /// Workers on which it failed.
    pub(super) failed_on: BTreeSet<WorkerNo>,
    /// Workers that were lost while they ran it.
    pub(super) deaths: BTreeSet<WorkerNo>,
}

/// All jobs that are not over.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    by_key: HashMap<Key, JobNo>,
    all: HashMap<JobNo, Job>,
    counter: u64,
}

impl Jobs {
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn find(&self, key: &str) -> Option<JobNo> {
        self.by_key.get(key).copied()
    }

    pub(super) fn get(&self, no: JobNo) -> Option<&Job> {
        self.all.get(&no)
    }

    pub(super) fn get_mut(&mut self, no: JobNo) -> Option<&mut Job> {
        self.all.get_mut(&no)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (JobNo, &Job)> {
        self.all.iter().map(|(no, job)| (*no, job))
    }

    pub(super) fn add(&mut self, key: Key, want: Want, lane: LaneNo, now: Duration) -> JobNo {
        self.counter += 1;
        let no = JobNo(self.counter);
        self.by_key.insert(key.clone(), no);
        let job = Job {
            key,
            want,
            lane,
            subscribers: Vec::new(),
            waits: Waits::Not,
            since: now,
            told: false,
            attempts: Vec::new(),
            number: 0,
            failures: 0,
            failed_on: BTreeSet::new(),
            deaths: BTreeSet::new(),
        };
        self.all.insert(no, job);
        no
    }

    pub(super) fn remove(&mut self, no: JobNo) -> Option<Job> {
        let job = self.all.remove(&no)?;
        self.by_key.remove(&job.key);
        Some(job)
    }
}
