//! Which worker does what next. Pure: it knows jobs, attempts and workers; not images, digests or git.
//!
//! [`Scheduler::apply`] takes what happened and answers with effects; [`Scheduler::orders`] says what a worker should
//! be doing right now. Nothing here waits or reads a clock.

mod jobs;
mod workers;

use slipway_protocol::{AttemptId, Failure, Outcome, Phase, Report, Uploaded};

use jobs::{Jobs, State};
pub use jobs::{Key, Subscriber};
use workers::Workers;

/// How often a job is tried when the infrastructure fails it.
const TRIES: u32 = 3;

/// What happened.
#[derive(Debug)]
pub enum Event {
    /// Somebody wants a job done.
    Wanted {
        /// Which: equal keys are one job.
        key: Key,
        /// The higher, the sooner.
        rank: usize,
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
}

/// What should happen.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Publish what this attempt has uploaded.
    Commit(AttemptId, Uploaded),
    /// Tell subscribers that their job ended.
    Deliver(Vec<Subscriber>, Key, End),
    /// A worker's orders have changed.
    Wake(String),
}

/// How a job ended.
#[derive(Clone, PartialEq, Debug)]
pub enum End {
    /// With a stored stage.
    Settled(Outcome, std::time::Duration),
    /// With a checksum.
    Summed(slipway_digest::Checksum),
    /// Without a result.
    Failed(Failure),
}

/// What a worker should be doing.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Orders {
    /// Attempts it should run.
    pub run: Vec<AttemptId>,
    /// Attempts that are over.
    pub settled: Vec<(AttemptId, Outcome)>,
}

/// Jobs, attempts and workers.
#[derive(Debug)]
pub struct Scheduler {
    jobs: Jobs,
    workers: Workers,
}

impl Scheduler {
    /// A scheduler without jobs. `seed` must be unlike any other's: attempts are named after it.
    pub fn new(seed: String) -> Self {
        Self { jobs: Jobs::new(seed), workers: Workers::default() }
    }

    /// Takes what happened, answers what should happen.
    pub fn apply(&mut self, event: Event) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Wanted { key, rank, subscriber } => self.jobs.want(key, rank, subscriber),
            Event::Dropped { key, subscriber } => self.dropped(&key, subscriber, &mut effects),
            Event::Synced(report) => self.synced(&report, &mut effects),
            Event::Settled(attempt, outcome) => self.settled(&attempt, outcome, &mut effects),
            Event::Unpublished(attempt, failure) => self.failed(&attempt, failure, &mut effects),
        }
        self.assign(&mut effects);
        effects
    }

    /// What a worker should be doing.
    pub fn orders(&self, worker: &str) -> Orders {
        Orders { run: self.jobs.held_by(worker), settled: self.workers.settled(worker) }
    }

    /// Whether a job is not over.
    pub fn knows(&self, key: &Key) -> bool {
        self.jobs.has(key)
    }

    /// Whether no job is left and every worker has heard how its attempts ended.
    pub fn is_idle(&self) -> bool {
        self.jobs.is_empty() && self.workers.all_heard()
    }

    fn dropped(&mut self, key: &Key, subscriber: Subscriber, effects: &mut Vec<Effect>) {
        // What is being published is let through: the stage is as good as stored.
        if let Some((worker, attempt)) = self.jobs.unsubscribe(key, subscriber) {
            self.workers.settle(&worker, attempt, Outcome::Dropped);
            effects.push(Effect::Wake(worker));
        }
    }

    fn synced(&mut self, report: &Report, effects: &mut Vec<Effect>) {
        self.workers.reported(report);
        for (attempt, phase) in &report.attempts {
            if !self.jobs.is_running(attempt) {
                if !self.jobs.is_committing(attempt) && !self.workers.is_settled(&report.worker, attempt) {
                    self.workers.settle(&report.worker, attempt.clone(), Outcome::Dropped);
                }
                continue;
            }
            match phase {
                Phase::Running { .. } => {}
                Phase::Uploaded(uploaded) => {
                    self.jobs.uploaded(attempt, uploaded.took);
                    effects.push(Effect::Commit(attempt.clone(), uploaded.clone()));
                }
                Phase::Summed(checksum) => {
                    self.workers.settle(&report.worker, attempt.clone(), Outcome::Dropped);
                    self.deliver(attempt, |_| End::Summed(*checksum), effects);
                }
                Phase::Failed(failure) => self.failed(attempt, failure.clone(), effects),
            }
        }
    }

    fn settled(&mut self, attempt: &AttemptId, outcome: Outcome, effects: &mut Vec<Effect>) {
        if let Some(worker) = self.jobs.worker_of(attempt) {
            self.workers.settle(&worker, attempt.clone(), outcome.clone());
            effects.push(Effect::Wake(worker));
        }
        self.deliver(attempt, |took| End::Settled(outcome, took), effects);
    }

    fn failed(&mut self, attempt: &AttemptId, failure: Failure, effects: &mut Vec<Effect>) {
        if let Some(worker) = self.jobs.worker_of(attempt) {
            self.workers.settle(&worker, attempt.clone(), Outcome::Dropped);
            effects.push(Effect::Wake(worker));
        }
        // Nobody may want it any more: what failed to be published is not built again for nobody.
        if failure.retryable && attempt.number < TRIES && self.jobs.is_wanted(attempt) {
            self.jobs.requeue(attempt);
        } else {
            self.deliver(attempt, |_| End::Failed(failure), effects);
        }
    }

    fn deliver(
        &mut self,
        attempt: &AttemptId,
        end: impl FnOnce(std::time::Duration) -> End,
        effects: &mut Vec<Effect>,
    ) {
        if let Some((key, subscribers, took)) = self.jobs.finish(attempt) {
            effects.push(Effect::Deliver(subscribers, key, end(took)));
        }
    }

    /// Hands queued jobs to workers with free slots, highest rank first.
    fn assign(&mut self, effects: &mut Vec<Effect>) {
        for (worker, slots) in self.workers.slots() {
            let mut free = usize::from(slots).saturating_sub(self.jobs.running_on(&worker));
            let mut woken = false;
            while free > 0 && self.jobs.start_next(&worker) {
                free -= 1;
                woken = true;
            }
            if woken {
                effects.push(Effect::Wake(worker));
            }
        }
    }
}

impl State {
    /// Whether the job's attempt is this one.
    fn holds(&self, attempt: &AttemptId) -> bool {
        match self {
            Self::Queued => false,
            Self::Running { attempt: held, .. } | Self::Committing { attempt: held, .. } => held == attempt,
        }
    }
}

#[cfg(test)]
mod tests;
