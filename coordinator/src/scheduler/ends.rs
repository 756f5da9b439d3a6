//! How attempts and jobs end.

use std::time::Duration;

use slipway_protocol::{AttemptId, Failure, Outcome};
use slipway_stages::build::Effort;

use super::{
    Effect, End, Scheduler, Subscriber,
    attempts::{Attempt, AttemptNo, Stage, Step, Why},
    jobs::{JobNo, Waits},
    reports::lost,
    timers::Alarm,
};

/// A job during which this many workers were lost is not given to another.
const DEADLY: usize = 2;

impl Scheduler {
    pub(super) fn dropped(&mut self, key: &str, subscriber: Subscriber) {
        let Some(no) = self.jobs.find(key) else { return };
        let Some(job) = self.jobs.get_mut(no) else { return };
        job.subscribers.retain(|known| *known != subscriber);
        if !job.subscribers.is_empty() {
            return;
        }
        if self.is_committing(no) {
            // What is being published is let through: the stage is as good as stored. Nothing else is needed.
            let others = self.attempts_where(no, |stage| !matches!(stage, Stage::Committing(_)));
            others.into_iter().for_each(|attempt| self.stop(attempt, Outcome::Dropped));
            self.slow.remove(&no);
        } else {
            self.end(no);
        }
    }

    /// What an attempt has uploaded is published, or was not needed.
    pub(super) fn settled(&mut self, id: &AttemptId, outcome: &Outcome, now: Duration, effects: &mut Vec<Effect>) {
        let Some(no) = self.committing(id) else { return };
        let Some(Attempt { started, stage: Stage::Committing(uploaded), .. }) = self.attempts.get(no) else { return };
        let took = if uploaded.took.is_zero() { now.saturating_sub(*started) } else { uploaded.took };
        if matches!(outcome, Outcome::Superseded(_)) {
            self.counters.discarded += 1;
        }
        let end = End::Settled(outcome.clone(), Effort { took, base_pulled: uploaded.base_pulled });
        self.end_as(no, outcome.clone(), end, effects);
    }

    /// What an attempt has uploaded could not be published.
    pub(super) fn unpublished(&mut self, id: &AttemptId, failure: Failure, now: Duration, effects: &mut Vec<Effect>) {
        if let Some(no) = self.committing(id) {
            self.failed(no, failure, now, effects);
        }
    }

    /// What an attempt has uploaded was not there any more when it was to be published. The worker that still holds the
    /// result uploads it again; without one it is done again as after any failure.
    pub(super) fn vanished(&mut self, id: &AttemptId, failure: Failure, now: Duration, effects: &mut Vec<Effect>) {
        let Some(no) = self.committing(id) else { return };
        let Some(Attempt { job, worker, .. }) = self.attempts.get(no) else { return };
        let (job, worker) = (*job, *worker);
        let holds = self.workers.get(worker).is_some_and(|known| known.alive && known.attempts.contains_key(&no));
        let wanted = self.jobs.get(job).is_some_and(|known| {
            !known.subscribers.is_empty() && known.failures.saturating_add(1) < self.options.tries
        });
        if !holds || !wanted || self.has_uploaded(job) {
            return self.failed(no, failure, now, effects);
        }
        self.stop(no, Outcome::Dropped);
        if let Some(job) = self.jobs.get_mut(job) {
            job.failures += 1;
        }
        self.counters.retried += 1;
        self.start(job, worker, Why::Again, Some(id.clone()), now);
    }

    fn committing(&self, id: &AttemptId) -> Option<AttemptNo> {
        let no = self.attempts.find(id)?;
        matches!(self.attempts.get(no)?.stage, Stage::Committing(_)).then_some(no)
    }

    /// An attempt ended without a result.
    pub(super) fn failed(&mut self, no: AttemptNo, failure: Failure, now: Duration, effects: &mut Vec<Effect>) {
        let Some((job, worker)) = self.attempts.get(no).map(|attempt| (attempt.job, attempt.worker)) else { return };
        let ended = self.attempts.get(no).is_some_and(|attempt| attempt.stage == Stage::Running);
        if ended {
            // It has stopped by itself: its slot is free.
            self.workers.free_slot(worker, no);
        }
        self.stop(no, Outcome::Dropped);
        self.slow.remove(&job);
        if self.is_committing(job) {
            return;
        }
        if !failure.retryable && !self.has_uploaded(job) {
            return self.fail(job, failure, effects);
        }
        if let Some(job) = self.jobs.get_mut(job) {
            job.failures += 1;
            job.failed_on.insert(worker);
        }
        self.try_again(job, failure, now, effects);
    }

    fn has_uploaded(&self, job: JobNo) -> bool {
        !self.attempts_where(job, |stage| matches!(stage, Stage::Uploaded(_))).is_empty()
    }

    /// After a failure that is not the user's: another attempt, unless one is under way or it is to no purpose.
    pub(super) fn try_again(&mut self, no: JobNo, failure: Failure, now: Duration, effects: &mut Vec<Effect>) {
        if self.is_committing(no) || self.commit_another(no, effects) {
            return;
        }
        let under_way = self.attempts_where(no, |stage| *stage == Stage::Running);
        let Some(job) = self.jobs.get(no) else { return };
        if job.subscribers.is_empty() {
            // Nobody wants it any more: what failed is not done again for nobody.
            return self.fail(no, failure, effects);
        }
        if job.deaths.len() >= DEADLY {
            let mut names: Vec<&str> = job.deaths.iter().map(|worker| self.workers.name(*worker)).collect();
            names.sort_unstable();
            let names = names.join(", ");
            let why = format!(
                "{} workers ({names}) were lost while they ran the job, so it is not given to another: see why they \
                 ended, and whether the job takes more memory or disk than they have",
                job.deaths.len()
            );
            return self.fail(no, Failure { retryable: false, ..lost(why) }, effects);
        }
        if !under_way.is_empty() {
            return;
        }
        if job.failures >= self.options.tries {
            let why = format!("{} (tried {} times)", failure.why, job.failures);
            return self.fail(no, Failure { why, ..failure }, effects);
        }
        if job.waits != Waits::Not {
            return;
        }
        self.counters.retried += 1;
        let wait = self.options.back_off(job.failures);
        self.queue_as(no, Waits::BackOff);
        self.timers.set(Alarm::Job(no), now + wait);
    }

    /// A job fails: whoever wants it is told.
    pub(super) fn fail(&mut self, no: JobNo, failure: Failure, effects: &mut Vec<Effect>) {
        if let Some((key, subscribers)) = self.end(no) {
            effects.push(Effect::Deliver(subscribers, key, End::Failed(failure)));
        }
    }

    /// A job ends with what an attempt has found out.
    pub(super) fn end_with(&mut self, no: AttemptNo, end: End, effects: &mut Vec<Effect>) {
        if let Some(worker) = self.attempts.get(no).map(|attempt| attempt.worker) {
            self.workers.free_slot(worker, no);
        }
        self.end_as(no, Outcome::Dropped, end, effects);
    }

    fn end_as(&mut self, no: AttemptNo, outcome: Outcome, end: End, effects: &mut Vec<Effect>) {
        let Some(job) = self.attempts.get(no).map(|attempt| attempt.job) else { return };
        self.stop(no, outcome);
        self.counters.discarded += self.attempts_where(job, |_| true).len() as u64;
        if let Some((key, subscribers)) = self.end(job) {
            effects.push(Effect::Deliver(subscribers, key, end));
        }
    }

    /// A job is over: its attempts are stopped, and nothing of it is left. Who wanted it.
    fn end(&mut self, no: JobNo) -> Option<(super::Key, Vec<Subscriber>)> {
        for attempt in self.attempts_where(no, |_| true) {
            self.stop(attempt, Outcome::Dropped);
        }
        self.unqueue(no);
        self.timers.clear(Alarm::Job(no));
        self.slow.remove(&no);
        let job = self.jobs.remove(no)?;
        self.queue.leave(job.lane);
        Some((job.key, job.subscribers))
    }

    /// An attempt is over: its worker is told.
    pub(super) fn stop(&mut self, no: AttemptNo, outcome: Outcome) {
        let Some(attempt) = self.detach(no) else { return };
        self.workers.settle(attempt.worker, no, attempt.id, outcome);
        self.woken.insert(attempt.worker);
    }

    /// An attempt is lost with the life of its worker, which needs not be told.
    pub(super) fn forget_attempt(&mut self, no: AttemptNo) {
        if let Some(attempt) = self.detach(no) {
            self.workers.forget(attempt.worker, no);
        }
    }

    fn detach(&mut self, no: AttemptNo) -> Option<Attempt> {
        self.timers.clear(Alarm::Attempt(no));
        let attempt = self.attempts.remove(no)?;
        self.steps.push(Step::Over(attempt.id.clone()));
        if let Some(job) = self.jobs.get_mut(attempt.job) {
            job.attempts.retain(|known| *known != no);
        }
        Some(attempt)
    }

    pub(super) fn attempts_where(&self, job: JobNo, is_it: impl Fn(&Stage) -> bool) -> Vec<AttemptNo> {
        let attempts = self.jobs.get(job).map(|job| job.attempts.as_slice()).unwrap_or_default();
        let wanted = |no: &&AttemptNo| self.attempts.get(**no).is_some_and(|attempt| is_it(&attempt.stage));
        attempts.iter().filter(wanted).copied().collect()
    }

    pub(super) fn is_committing(&self, job: JobNo) -> bool {
        !self.attempts_where(job, |stage| matches!(stage, Stage::Committing(_))).is_empty()
    }

    /// An attempt has ended well: how long it took is remembered.
    pub(super) fn learn(&mut self, no: AttemptNo, now: Duration) {
        // Nobody knows when an adopted one began, and one that only uploads says nothing of the job.
        let ran = |attempt: &&Attempt| !matches!(attempt.why, Why::Adopted | Why::Again);
        let Some(attempt) = self.attempts.get(no).filter(ran) else { return };
        let took = now.saturating_sub(attempt.started);
        if let Some(job) = self.jobs.get(attempt.job) {
            self.estimates.learn(&job.want.class, took);
        }
    }
}
