//! Jobs: who wants them, and how far they are.

use std::{collections::BTreeMap, time::Duration};

use slipway_protocol::AttemptId;

/// Names a job; equal jobs have equal keys.
pub type Key = String;

/// Who is told of a job's end. The engine knows what stands behind the number.
pub type Subscriber = u64;

/// How far a job is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum State {
    /// It waits for a worker.
    Queued,
    /// A worker runs it.
    Running { worker: String, attempt: AttemptId },
    /// What a worker has uploaded is being published.
    Committing { worker: String, attempt: AttemptId, took: Duration },
}

#[derive(Debug)]
struct Job {
    rank: usize,
    /// Order of arrival, among equal ranks.
    order: u64,
    tries: u32,
    subscribers: Vec<Subscriber>,
    state: State,
}

/// All jobs that are not over.
#[derive(Debug)]
pub(super) struct Jobs {
    jobs: BTreeMap<Key, Job>,
    seed: String,
    counter: u64,
}

impl Jobs {
    pub(super) fn new(seed: String) -> Self {
        Self { jobs: BTreeMap::new(), seed, counter: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
    }

    pub(super) fn has(&self, key: &Key) -> bool {
        self.jobs.contains_key(key)
    }

    pub(super) fn want(&mut self, key: Key, rank: usize, subscriber: Subscriber) {
        self.counter += 1;
        let order = self.counter;
        let fresh = || Job { rank, order, tries: 0, subscribers: Vec::new(), state: State::Queued };
        let job = self.jobs.entry(key).or_insert_with(fresh);
        job.rank = job.rank.max(rank);
        job.subscribers.push(subscriber);
    }

    /// Takes a subscriber off a job; answers the attempt to stop when nobody is left.
    pub(super) fn unsubscribe(&mut self, key: &Key, subscriber: Subscriber) -> Option<(String, AttemptId)> {
        let job = self.jobs.get_mut(key)?;
        job.subscribers.retain(|known| *known != subscriber);
        if !job.subscribers.is_empty() || matches!(job.state, State::Committing { .. }) {
            return None;
        }
        match self.jobs.remove(key)?.state {
            State::Running { worker, attempt } => Some((worker, attempt)),
            State::Queued | State::Committing { .. } => None,
        }
    }

    pub(super) fn is_running(&self, attempt: &AttemptId) -> bool {
        self.find(attempt).is_some_and(|job| matches!(job.state, State::Running { .. }))
    }

    /// Whether anybody is told when the job of an attempt ends.
    pub(super) fn is_wanted(&self, attempt: &AttemptId) -> bool {
        self.find(attempt).is_some_and(|job| !job.subscribers.is_empty())
    }

    pub(super) fn is_committing(&self, attempt: &AttemptId) -> bool {
        self.find(attempt).is_some_and(|job| matches!(job.state, State::Committing { .. }))
    }

    pub(super) fn worker_of(&self, attempt: &AttemptId) -> Option<String> {
        match &self.find(attempt)?.state {
            State::Running { worker, .. } | State::Committing { worker, .. } => Some(worker.clone()),
            State::Queued => None,
        }
    }

    pub(super) fn uploaded(&mut self, attempt: &AttemptId, took: Duration) {
        if let Some(job) = self.find_mut(attempt)
            && let State::Running { worker, attempt } = job.state.clone()
        {
            job.state = State::Committing { worker, attempt, took };
        }
    }

    pub(super) fn requeue(&mut self, attempt: &AttemptId) {
        if let Some(job) = self.find_mut(attempt) {
            job.state = State::Queued;
        }
    }

    /// Ends a job: who is to be told, and how long its attempt took.
    pub(super) fn finish(&mut self, attempt: &AttemptId) -> Option<(Key, Vec<Subscriber>, Duration)> {
        self.find(attempt)?;
        let job = self.jobs.remove(&attempt.job)?;
        let took = match job.state {
            State::Committing { took, .. } => took,
            State::Queued | State::Running { .. } => Duration::ZERO,
        };
        Some((attempt.job.clone(), job.subscribers, took))
    }

    /// Starts the queued job of the highest rank on a worker; `false` when none is queued.
    pub(super) fn start_next(&mut self, worker: &str) -> bool {
        let queued = self.jobs.iter_mut().filter(|(_, job)| job.state == State::Queued);
        let Some((key, job)) = queued.min_by_key(|(_, job)| (std::cmp::Reverse(job.rank), job.order)) else {
            return false;
        };
        self.counter += 1;
        job.tries += 1;
        let id = format!("{}-{}", self.seed, self.counter);
        let attempt = AttemptId { job: key.clone(), number: job.tries, id };
        job.state = State::Running { worker: worker.to_owned(), attempt };
        true
    }

    /// The attempts that a worker runs, or whose result it must keep until it is published.
    pub(super) fn held_by(&self, worker: &str) -> Vec<AttemptId> {
        let held = self.jobs.values().filter_map(|job| match &job.state {
            State::Running { worker: on, attempt } | State::Committing { worker: on, attempt, .. } if on == worker => {
                Some(attempt.clone())
            }
            State::Queued | State::Running { .. } | State::Committing { .. } => None,
        });
        held.collect()
    }

    /// How many slots of a worker are taken. Publishing takes none.
    pub(super) fn running_on(&self, worker: &str) -> usize {
        let running = |job: &&Job| matches!(&job.state, State::Running { worker: on, .. } if on == worker);
        self.jobs.values().filter(running).count()
    }

    fn find(&self, attempt: &AttemptId) -> Option<&Job> {
        self.jobs.get(&attempt.job).filter(|job| job.state.holds(attempt))
    }

    fn find_mut(&mut self, attempt: &AttemptId) -> Option<&mut Job> {
        self.jobs.get_mut(&attempt.job).filter(|job| job.state.holds(attempt))
    }
}
