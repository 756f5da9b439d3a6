//! Which worker does what next. Pure: it knows jobs, attempts, workers and leases; not images, digests or git.
//!
//! [`Scheduler::apply`] takes what happened and the time, and answers with effects; [`Scheduler::orders`] says what a
//! worker should be doing right now. Nothing here waits or reads a clock: [`Effect::WakeAt`] says when to come back.
//!
//! Reading order: [`jobs`] and [`attempts`] (the vocabulary), [`queue`] (what waits, in which order), [`workers`],
//! [`placement`] (who gets what), [`reports`] (what workers say), [`ends`] (how attempts and jobs end), [`watch`] (what
//! takes too long), [`estimates`] (how long things take), [`strays`] (what an earlier coordinator gave out),
//! [`explain`] and [`snapshot`] (what people and graphs want to know).

mod attempts;
mod ends;
pub mod estimates;
mod explain;
mod jobs;
mod options;
mod pace;
mod placement;
mod queue;
mod reports;
mod snapshot;
mod strays;
mod timers;
mod watch;
mod workers;

use std::{cmp::Reverse, collections::BTreeSet, time::Duration};

use slipway_protocol::{AttemptId, Failure, Outcome, Report, Uploaded};
use slipway_stages::build::Effort;

use attempts::Attempts;
pub use attempts::{Step, Why};
use estimates::{Class, Estimates};
pub use explain::{AttemptView, Explanation, JobState};
use jobs::{JobNo, Jobs, Waits};
pub use jobs::{Key, Near, Subscriber, Want};
pub use options::Options;
use pace::Pace;
use queue::{Queue, Turn};
pub use snapshot::{Counters, Snapshot, Waited, WorkerView};
use strays::Strays;
use timers::{Alarm, Timers};
use workers::{WorkerNo, Workers};

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// Somebody wants a job done.
    Wanted {
        /// Which: equal keys are one job.
        key: Key,
        /// What it is like.
        want: Want,
        /// Who is told when it ends.
        subscriber: Subscriber,
    },
    /// A subscriber no longer wants a job. Without subscribers it is stopped.
    Dropped {
        /// Which job.
        key: Key,
        /// Who.
        subscriber: Subscriber,
    },
    /// A worker has reported.
    Synced(Report),
    /// An uploaded attempt was published, or lost to another.
    Settled(AttemptId, Outcome),
    /// An uploaded attempt could not be published.
    Unpublished(AttemptId, Failure),
    /// What an attempt has uploaded has vanished before it was published.
    Vanished(AttemptId, Failure),
    /// Time has passed.
    Tick,
}

/// What should happen.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Publish what this attempt has uploaded.
    Commit(AttemptId, Uploaded),
    /// Tell subscribers that their job ended.
    Deliver(Vec<Subscriber>, Key, End),
    /// Tell subscribers something that they should know while they wait.
    Notice(Vec<Subscriber>, String),
    /// A worker's orders have changed.
    Wake(String),
    /// Come back, at the latest when the clock shows this time. Only the last one counts.
    WakeAt(Duration),
}

/// How a job ended.
#[derive(Clone, PartialEq, Debug)]
pub enum End {
    /// With a stored stage.
    Settled(Outcome, Effort),
    /// With a checksum.
    Summed(slipway_digest::Checksum),
    /// With an image where it runs from.
    Delivered,
    /// Without a result.
    Failed(Failure),
}

/// What a worker should be doing.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Orders {
    /// Attempts it should run.
    pub run: Vec<AttemptId>,
    /// Attempts of an earlier coordinator that it should go on with: they may be wanted again.
    pub keep: Vec<AttemptId>,
    /// Attempts that are over.
    pub settled: Vec<(AttemptId, Outcome)>,
    /// Whether it gets no more.
    pub drain: bool,
}

/// Jobs, attempts and workers.
#[derive(Debug)]
pub struct Scheduler {
    options: Options,
    pace: Pace,
    jobs: Jobs,
    attempts: Attempts,
    queue: Queue,
    workers: Workers,
    strays: Strays,
    timers: Timers,
    estimates: Estimates,
    counters: Counters,
    waited: Waited,
    /// Jobs whose attempt takes much longer than expected, and that have no second one.
    slow: BTreeSet<JobNo>,
    /// Since when no worker takes jobs; `None` = one does.
    deserted: Option<Duration>,
    /// Whether anything has happened yet.
    begun: bool,
    /// Nothing is given out yet: workers are first to say what they are doing already.
    settling: bool,
    /// Workers whose orders have changed since the last effects.
    woken: BTreeSet<WorkerNo>,
    /// What has become of attempts by the last event.
    steps: Vec<Step>,
}

impl Scheduler {
    /// A scheduler without jobs. `seed` must be unlike any other's: attempts are named after it.
    pub fn new(seed: String, options: Options, estimates: Estimates) -> Self {
        Self {
            options,
            pace: Pace::default(),
            jobs: Jobs::default(),
            attempts: Attempts::new(seed),
            queue: Queue::default(),
            workers: Workers::default(),
            strays: Strays::default(),
            timers: Timers::default(),
            estimates,
            counters: Counters::default(),
            waited: Waited::default(),
            slow: BTreeSet::new(),
            deserted: None,
            begun: false,
            settling: false,
            woken: BTreeSet::new(),
            steps: Vec::new(),
        }
    }

    /// Takes what happened when the clock showed `clock`, answers what should happen.
    pub fn apply(&mut self, event: Event, clock: Duration) -> Vec<Effect> {
        let now = self.pace.tell(clock);
        self.steps.clear();
        let mut effects = Vec::new();
        self.begin(now);
        self.ring(now, &mut effects);
        match event {
            Event::Wanted { key, want, subscriber } => self.wanted(key, want, subscriber, now, &mut effects),
            Event::Dropped { key, subscriber } => self.dropped(&key, subscriber),
            Event::Synced(report) => self.synced(&report, now, &mut effects),
            Event::Settled(attempt, outcome) => self.settled(&attempt, &outcome, now, &mut effects),
            Event::Unpublished(attempt, failure) => self.unpublished(&attempt, failure, now, &mut effects),
            Event::Vanished(attempt, failure) => self.vanished(&attempt, failure, now, &mut effects),
            Event::Tick => {}
        }
        self.assign(now);
        self.tell_news(&mut effects);
        effects
    }

    /// What a worker should be doing.
    pub fn orders(&self, worker: &str) -> Orders {
        let Some(no) = self.workers.find(worker) else { return Orders::default() };
        let attempts = self.workers.get(no).into_iter().flat_map(|worker| worker.attempts.keys());
        let run = attempts.filter_map(|attempt| Some(self.attempts.get(*attempt)?.id.clone())).collect();
        let drain = self.workers.get(no).is_some_and(|worker| worker.drain);
        Orders { run, keep: self.strays.of(no), settled: self.workers.settled(no), drain }
    }

    /// The attempt whose result is to be uploaded again as this one; `None` = the job is to be done.
    pub fn again(&self, attempt: &AttemptId) -> Option<AttemptId> {
        self.attempts.get(self.attempts.find(attempt)?)?.again.clone()
    }

    /// What has become of attempts by the last event: for whoever shows it; nothing depends on it.
    pub fn steps(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.steps)
    }

    /// Limits and patience.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// How long jobs take.
    pub fn estimates(&self) -> &Estimates {
        &self.estimates
    }

    /// How long jobs have taken since this was last asked.
    pub fn learned(&mut self) -> Vec<(Class, Duration)> {
        self.estimates.take_fresh()
    }

    /// Whether a job is not over.
    pub fn knows(&self, key: &str) -> bool {
        self.jobs.find(key).is_some()
    }

    /// Who waits for a job.
    pub fn subscribers(&self, key: &str) -> &[Subscriber] {
        self.jobs.find(key).and_then(|no| self.jobs.get(no)).map(|job| job.subscribers.as_slice()).unwrap_or_default()
    }

    /// Whether an attempt was given out by an earlier coordinator.
    pub fn is_foreign(&self, attempt: &AttemptId) -> bool {
        !self.attempts.is_own(attempt)
    }

    /// Whether no job is left and every worker has heard how its attempts ended.
    pub fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.workers.all_heard()
    }

    fn wanted(&mut self, key: Key, want: Want, subscriber: Subscriber, now: Duration, effects: &mut Vec<Effect>) {
        if let Some(no) = self.jobs.find(&key) {
            self.counters.joined += 1;
            self.raise(no, want.rank);
            if let Some(job) = self.jobs.get_mut(no) {
                job.subscribers.push(subscriber);
            }
            return;
        }
        self.counters.new += 1;
        let lane = self.queue.enter(&want.requires);
        let no = self.jobs.add(key, want, lane, now);
        if let Some(job) = self.jobs.get_mut(no) {
            job.subscribers.push(subscriber);
        }
        if !self.adopt(no, now, effects) {
            self.enqueue(no, now);
        }
    }

    /// Somebody needs a job sooner than others do.
    fn raise(&mut self, no: JobNo, rank: Duration) {
        let Some(job) = self.jobs.get(no).filter(|job| job.want.rank < rank) else { return };
        let waits = job.waits.clone();
        self.unqueue(no);
        if let Some(job) = self.jobs.get_mut(no) {
            job.want.rank = rank;
        }
        self.queue_as(no, waits);
    }

    /// A job waits from now on.
    fn enqueue(&mut self, no: JobNo, now: Duration) {
        let Some(job) = self.jobs.get_mut(no) else { return };
        (job.since, job.told) = (now, false);
        let (holders, patience) = self.worth_waiting_for(no);
        if holders.is_empty() {
            self.queue_as(no, Waits::Open);
            self.watch_waiting(no, now);
        } else {
            self.queue_as(no, Waits::Parked(holders));
            self.timers.set(Alarm::Job(no), now + patience);
        }
    }

    fn turn(&self, no: JobNo) -> Option<Turn> {
        self.jobs.get(no).map(|job| (Reverse(job.want.rank), no))
    }

    fn queue_as(&mut self, no: JobNo, waits: Waits) {
        let Some(turn) = self.turn(no) else { return };
        let Some(job) = self.jobs.get_mut(no) else { return };
        match &waits {
            Waits::Open => self.queue.push(job.lane, turn),
            Waits::Parked(workers) => workers.iter().for_each(|worker| self.queue.park(*worker, turn)),
            Waits::Not | Waits::BackOff => {}
        }
        job.waits = waits;
    }

    /// Takes a job out of wherever it waits.
    fn unqueue(&mut self, no: JobNo) {
        let Some(turn) = self.turn(no) else { return };
        let Some(job) = self.jobs.get_mut(no) else { return };
        match std::mem::replace(&mut job.waits, Waits::Not) {
            Waits::Open => self.queue.remove(job.lane, turn),
            Waits::Parked(workers) => workers.iter().for_each(|worker| self.queue.unpark(*worker, turn)),
            Waits::Not | Waits::BackOff => {}
        }
    }

    /// Tells whose orders have changed, and when to come back.
    fn tell_news(&mut self, effects: &mut Vec<Effect>) {
        for no in std::mem::take(&mut self.woken) {
            if let Some(worker) = self.workers.get(no) {
                effects.push(Effect::Wake(worker.name.clone()));
            }
        }
        if let Some(at) = self.pace.wake_at(self.timers.next()) {
            effects.push(Effect::WakeAt(at));
        }
    }
}

#[cfg(test)]
mod tests;
