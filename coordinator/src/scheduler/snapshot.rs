//! Everything in numbers: for lists and graphs.

use std::time::Duration;

use super::{JobState, Scheduler};

/// What has been counted since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Counters {
    /// Jobs that nobody wanted before.
    pub new: u64,
    /// Wishes for a job that somebody else wanted already.
    pub joined: u64,
    /// Results that were thrown away because another was first, and attempts that were stopped for that reason.
    pub discarded: u64,
    /// Leases of workers that ended.
    pub leases_lost: u64,
    /// Attempts after a failure of the infrastructure.
    pub retried: u64,
    /// Second attempts at slow jobs.
    pub doubled: u64,
    /// Attempts that were stopped because they led nowhere.
    pub stuck: u64,
    /// Jobs that no worker could take.
    pub impossible: u64,
    /// Attempts that were taken over from an earlier coordinator.
    pub adopted: u64,
}

/// Upper ends of the buckets, in milliseconds.
const BUCKETS: [u64; 12] = [1, 2, 5, 10, 25, 50, 100, 250, 1_000, 5_000, 30_000, 300_000];

/// How long jobs have waited until they were given out.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Waited {
    buckets: [u64; BUCKETS.len()],
    count: u64,
    sum: Duration,
}

impl Waited {
    pub(super) fn note(&mut self, waited: Duration) {
        self.count += 1;
        self.sum += waited;
        let within = |end: &u64| waited <= Duration::from_millis(*end);
        if let Some(bucket) = BUCKETS.iter().position(within) {
            self.buckets[bucket] += 1;
        }
    }

    /// Each bucket's upper end, and how many waited at most so long.
    pub fn buckets(&self) -> impl Iterator<Item = (Duration, u64)> {
        let ends = BUCKETS.iter().map(|end| Duration::from_millis(*end));
        let mut so_far = 0;
        let up_to = self.buckets.iter().map(move |count| {
            so_far += count;
            so_far
        });
        ends.zip(up_to)
    }

    /// How many were given out.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// How long they have waited together.
    pub fn sum(&self) -> Duration {
        self.sum
    }
}

/// One worker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WorkerView {
    /// Its name.
    pub name: String,
    /// What runs its jobs.
    pub backend: String,
    /// How many jobs it runs at once.
    pub slots: u16,
    /// How many slots are taken.
    pub taken: u64,
    /// Whether it is being heard.
    pub alive: bool,
    /// Whether it takes no more.
    pub drain: bool,
    /// How long ago it was heard.
    pub silent: Duration,
}

/// Everything in numbers.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    /// Jobs that wait for a worker.
    pub queued: usize,
    /// Jobs that wait for a worker that has what they start from.
    pub parked: usize,
    /// Jobs that wait for their next try.
    pub backing_off: usize,
    /// Jobs that are being done.
    pub running: usize,
    /// Jobs whose results are being published.
    pub publishing: usize,
    /// All workers that are known.
    pub workers: Vec<WorkerView>,
    /// What has been counted.
    pub counters: Counters,
    /// How long jobs have waited until they were given out.
    pub waited: Waited,
}

impl Scheduler {
    /// Everything in numbers, when the clock shows `clock`.
    pub fn snapshot(&self, clock: Duration) -> Snapshot {
        let now = self.pace.at(clock);
        let workers = self.workers.iter().map(|(_, worker)| WorkerView {
            name: worker.name.clone(),
            backend: worker.capabilities.backend.clone(),
            slots: worker.slots,
            taken: worker.taken(),
            alive: worker.alive,
            drain: worker.drain,
            silent: now.saturating_sub(worker.seen),
        });
        let mut snapshot = Snapshot {
            workers: workers.collect(),
            counters: self.counters,
            waited: self.waited.clone(),
            ..Snapshot::default()
        };
        for (no, job) in self.jobs.iter() {
            let count = match self.state(no, job) {
                JobState::Queued => &mut snapshot.queued,
                JobState::Parked => &mut snapshot.parked,
                JobState::BackingOff => &mut snapshot.backing_off,
                JobState::Running => &mut snapshot.running,
                JobState::Publishing => &mut snapshot.publishing,
            };
            *count += 1;
        }
        snapshot
    }

    /// Whether nothing is left of any job.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.jobs.is_empty()
            && self.attempts.is_empty()
            && self.queue.is_empty()
            && self.slow.is_empty()
            && self.strays.is_empty()
    }
}
