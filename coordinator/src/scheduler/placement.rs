//! Who gets what: the highest rank first, on a worker that has the job's base when there is one.

use std::{collections::BTreeMap, time::Duration};

use slipway_oci::BlobDigest;
use slipway_protocol::Requirements;

use super::{
    Scheduler,
    attempts::{Attempt, Step, Why},
    jobs::{Job, JobNo, Waits},
    queue::Turn,
    timers::Alarm,
    workers::WorkerNo,
};

/// The most workers in whose lines a job stands.
const LINES: usize = 8;
/// An attempt is much slower than expected when it takes this many times the slowest of its class.
const SLOWER: u32 = 2;
/// The same for classes of which too little is known, in usual durations of the project.
const SLOWER_THAN_USUAL: u32 = 3;

/// A job and the worker that gets it.
struct Match {
    turn: Turn,
    worker: WorkerNo,
    why: Why,
}

impl Scheduler {
    /// Hands waiting jobs to workers with free slots; what slots are left then go to second attempts at slow jobs.
    pub(super) fn assign(&mut self, now: Duration) {
        if self.settling {
            return;
        }
        while let Some(Match { turn: (_, job), worker, why }) = self.next_match() {
            self.unqueue(job);
            self.start(job, worker, why, None, now);
        }
        self.double_slow_ones(now);
    }

    fn next_match(&self) -> Option<Match> {
        self.workers.free().next()?;
        let lanes = self.queue.waiting().filter_map(|(lane, requires)| {
            // Without a worker for the lane its jobs need not be looked at one by one.
            self.workers.free().find(|worker| self.fits(*worker, requires))?;
            self.queue.open(lane).find_map(|turn| self.match_open(*turn))
        });
        let lines = self.workers.free().filter_map(|worker| {
            let why = Why::HasBase;
            let mine = self.queue.parked(worker).find(|(_, job)| self.takes(worker, *job));
            mine.map(|turn| Match { turn: *turn, worker, why })
        });
        lanes.chain(lines).min_by_key(|found| found.turn)
    }

    fn match_open(&self, turn: Turn) -> Option<Match> {
        let job = self.jobs.get(turn.1)?;
        let mut best: Option<((u64, u64), WorkerNo)> = None;
        for (worker, bytes) in self.holders(job) {
            // Of several that have as much, the freest.
            let free = self.workers.get(worker).map(super::workers::Worker::free).unwrap_or_default();
            if best.is_none_or(|(most, _)| (bytes, free) > most) && self.takes(worker, turn.1) {
                best = Some(((bytes, free), worker));
            }
        }
        let found = match best {
            Some((_, worker)) => Some((worker, Why::HasBase)),
            None => self.workers.free().find(|worker| self.takes(*worker, turn.1)).map(|worker| (worker, Why::Room)),
        };
        let (worker, why) = found?;
        let why = if job.failures > 0 { Why::Retry } else { why };
        Some(Match { turn, worker, why })
    }

    fn fits(&self, worker: WorkerNo, requires: &Requirements) -> bool {
        self.workers.get(worker).is_some_and(|worker| worker.is_available() && worker.fits(requires))
    }

    /// Whether a worker may get a job right now: never two attempts at once, and none where it failed as long as there
    /// are others.
    fn takes(&self, no: WorkerNo, job: JobNo) -> bool {
        let (Some(worker), Some(job)) = (self.workers.get(no), self.jobs.get(job)) else { return false };
        let is_there = |attempt: &_| self.attempts.get(*attempt).is_some_and(|attempt| attempt.worker == no);
        self.fits(no, &job.want.requires)
            && !job.attempts.iter().any(is_there)
            && !worker.is_stopping(&job.key)
            && (!job.failed_on.contains(&no) || !self.could_go_elsewhere(job))
    }

    fn could_go_elsewhere(&self, job: &Job) -> bool {
        let fresh = |(no, worker): (WorkerNo, &super::workers::Worker)| {
            worker.is_available()
                && !job.failed_on.contains(&no)
                && job.want.requires.missing(&worker.capabilities).is_empty()
        };
        self.workers.iter().any(fresh)
    }

    /// Workers that have something of what a job starts from, with how many bytes.
    fn holders(&self, job: &Job) -> BTreeMap<WorkerNo, u64> {
        let mut holders = BTreeMap::new();
        for near in &job.want.near {
            for worker in self.workers.holders(&near.image) {
                *holders.entry(worker).or_default() += near.bytes;
            }
        }
        holders
    }

    /// Workers in whose lines a job should wait because they have its base and are busy, and for how long at most.
    pub(super) fn worth_waiting_for(&self, no: JobNo) -> (Vec<WorkerNo>, Duration) {
        let nothing = (Vec::new(), Duration::ZERO);
        let Some(job) = self.jobs.get(no).filter(|job| job.failures == 0) else { return nothing };
        let holders = self.holders(job);
        let patience = self.options.patience(holders.values().copied().max().unwrap_or_default());
        let could = |worker: &WorkerNo| {
            self.workers.get(*worker).is_some_and(|worker| {
                worker.is_available() && job.want.requires.missing(&worker.capabilities).is_empty()
            })
        };
        if patience.is_zero() || holders.keys().any(|worker| self.takes(*worker, no)) {
            return nothing;
        }
        (holders.into_keys().filter(could).take(LINES).collect(), patience)
    }

    /// A job waits for a worker that has its base no longer.
    pub(super) fn open(&mut self, no: JobNo, now: Duration) {
        self.unqueue(no);
        self.queue_as(no, Waits::Open);
        self.timers.clear(Alarm::Job(no));
        self.watch_waiting(no, now);
    }

    /// A worker is given a job; `again` is the attempt whose result it has already.
    pub(super) fn start(
        &mut self,
        no: JobNo,
        worker: WorkerNo,
        why: Why,
        again: Option<slipway_protocol::AttemptId>,
        now: Duration,
    ) {
        let Some(job) = self.jobs.get_mut(no) else { return };
        job.number += 1;
        let id = self.attempts.fresh_id(&job.key, job.number);
        if !matches!(why, Why::Doubled | Why::Again) {
            self.waited.note(now.saturating_sub(job.since));
        }
        let name = self.workers.name(worker).to_owned();
        self.steps.push(Step::Given { attempt: id.clone(), worker: name, why });
        let slow_at = now + self.slow_after(no);
        let attempt = Attempt { again, ..Attempt::new(id, (no, worker), why, (now, slow_at)) };
        let attempt = self.attempts.add(attempt);
        self.timers.clear(Alarm::Job(no));
        if let Some(job) = self.jobs.get_mut(no) {
            job.attempts.push(attempt);
            self.workers.give(worker, attempt, &job.want.requires);
        }
        if why == Why::Again {
            // It runs nothing: it takes no slot.
            self.workers.free_slot(worker, attempt);
        }
        self.woken.insert(worker);
        self.watch_attempt(attempt);
    }

    /// After which time an attempt counts as much slower than expected.
    pub(super) fn slow_after(&self, no: JobNo) -> Duration {
        let Some(job) = self.jobs.get(no) else { return Duration::MAX };
        let class = &job.want.class;
        match (self.estimates.slowest(class), self.estimates.usual(&class.project)) {
            (Some(slowest), _) => (slowest * SLOWER).max(self.options.doubled_after),
            (None, Some(usual)) => (usual * SLOWER_THAN_USUAL).max(self.options.unknown_doubled_after),
            (None, None) => self.options.unknown_doubled_after,
        }
    }

    /// Gives slow jobs a second attempt on workers that have nothing else to do.
    fn double_slow_ones(&mut self, now: Duration) {
        if self.slow.is_empty() || self.workers.free().next().is_none() {
            return;
        }
        for no in self.slow.clone() {
            let idle = self.workers.free().find(|worker| self.takes(*worker, no) && !self.is_awaited(*worker));
            if let Some(worker) = idle {
                self.slow.remove(&no);
                self.counters.doubled += 1;
                self.start(no, worker, Why::Doubled, None, now);
            }
        }
    }

    /// Whether a job waits that the worker may get.
    fn is_awaited(&self, worker: WorkerNo) -> bool {
        self.queue.parked(worker).next().is_some()
            || self.queue.waiting().any(|(_, requires)| self.fits(worker, requires))
    }

    /// A worker has the result of a job, and what the job started from.
    pub(super) fn remember_images(&mut self, worker: WorkerNo, job: JobNo, result: &BlobDigest) {
        self.workers.hold(worker, result);
        let near = self.jobs.get(job).map(|job| job.want.near.clone()).unwrap_or_default();
        near.iter().for_each(|near| self.workers.hold(worker, &near.image));
    }
}
