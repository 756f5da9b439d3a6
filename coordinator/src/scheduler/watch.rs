//! What takes too long: silent workers, attempts without progress, jobs that nobody can take.

use std::time::Duration;

use slipway_protocol::Failure;

use super::{
    Effect, Scheduler,
    attempts::{AttemptNo, Stage},
    jobs::{JobNo, Waits},
    reports::lost,
    timers::Alarm,
    workers::WorkerNo,
};

impl Scheduler {
    /// The first event ever: from now on time counts.
    pub(super) fn begin(&mut self, now: Duration) {
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        self.deserted = Some(now);
        if !self.options.settle.is_zero() {
            self.settling = true;
            self.timers.set(Alarm::Begin, now + self.options.settle);
        }
    }

    /// Looks at everything whose time has come.
    pub(super) fn ring(&mut self, now: Duration, effects: &mut Vec<Effect>) {
        while let Some(alarm) = self.timers.pop(now) {
            match alarm {
                Alarm::Job(job) => self.look_at_job(job, now, effects),
                Alarm::Attempt(attempt) => self.look_at_attempt(attempt, now, effects),
                Alarm::Worker(worker) => self.look_at_worker(worker, now, effects),
                Alarm::Strays => self.look_at_strays(now),
                Alarm::Begin => self.settling = false,
            }
        }
    }

    fn look_at_worker(&mut self, no: WorkerNo, now: Duration, effects: &mut Vec<Effect>) {
        let (Some(lease), Some(worker)) = (self.options.lease, self.workers.get(no)) else { return };
        let until = worker.seen + lease;
        if worker.alive && until > now {
            return self.timers.set(Alarm::Worker(no), until);
        }
        if worker.alive {
            self.silent(no, now, effects);
        } else if worker.attempts.is_empty() {
            // It was away for long, and nothing of it is of interest.
            return self.workers.remove(no);
        }
        self.timers.set(Alarm::Worker(no), now + self.options.hold.max(lease));
    }

    fn look_at_job(&mut self, no: JobNo, now: Duration, effects: &mut Vec<Effect>) {
        let Some(job) = self.jobs.get(no) else { return };
        match &job.waits {
            Waits::Not => {}
            Waits::BackOff => self.enqueue(no, now),
            Waits::Parked(_) => self.open(no, now),
            Waits::Open => self.look_for_worker(no, now, effects),
        }
    }

    /// Whether a worker is there that can take the job, be it busy or not.
    fn somebody_can(&self, no: JobNo) -> bool {
        let Some(job) = self.jobs.get(no) else { return true };
        let requires = self.queue.requires(job.lane).unwrap_or(&job.want.requires);
        self.workers.available().any(|worker| requires.missing(&worker.capabilities).is_empty())
    }

    /// Whether workers are connected, and none that is known runs programs of a platform: one that is away for a moment counts.
    pub(crate) fn nobody_runs(&self, platform: &str) -> bool {
        let runs = |worker: &super::workers::Worker| worker.capabilities.runs(platform);
        !self.settling
            && self.workers.available().next().is_some()
            && !self.workers.iter().any(|(_, worker)| runs(worker))
    }

    /// A job waits: should nobody be able to take it, it does not wait for ever.
    pub(super) fn watch_waiting(&mut self, no: JobNo, now: Duration) {
        if !self.somebody_can(no) {
            self.timers.set(Alarm::Job(no), now + self.options.nobody_can);
        }
    }

    /// A worker came, went, or can do something else than before.
    pub(super) fn workers_changed(&mut self, now: Duration) {
        match (self.workers.available().next().is_some(), self.deserted) {
            (true, _) => self.deserted = None,
            (false, None) => self.deserted = Some(now),
            (false, Some(_)) => {}
        }
        let lines: Vec<WorkerNo> =
            self.workers.iter().filter(|(_, worker)| !worker.is_available()).map(|(no, _)| no).collect();
        for worker in lines {
            let parked: Vec<JobNo> = self.queue.parked(worker).map(|(_, job)| *job).collect();
            parked.into_iter().for_each(|job| self.open(job, now));
        }
        let unserved: Vec<JobNo> = {
            let lanes = self.queue.waiting().filter(|(_, requires)| {
                !self.workers.available().any(|worker| requires.missing(&worker.capabilities).is_empty())
            });
            lanes.flat_map(|(lane, _)| self.queue.open(lane).map(|(_, job)| *job)).collect()
        };
        for job in unserved {
            self.timers.set_if_none(Alarm::Job(job), now + self.options.nobody_can);
        }
    }

    /// A job has waited for a while and there was nobody who could take it.
    fn look_for_worker(&mut self, no: JobNo, now: Duration, effects: &mut Vec<Effect>) {
        if self.somebody_can(no) {
            return;
        }
        let Some(job) = self.jobs.get_mut(no) else { return };
        let Some(deserted) = self.deserted else {
            let why = self.nobody_can(no);
            self.counters.impossible += 1;
            return self.fail(no, Failure { retryable: false, ..lost(why) }, effects);
        };
        if !std::mem::replace(&mut job.told, true) {
            let subscribers = job.subscribers.clone();
            let limit = self.options.no_worker.map(|limit| format!(", for at most {}", seconds(limit)));
            let text = format!("no worker is connected; waiting for one{}", limit.unwrap_or_default());
            effects.push(Effect::Notice(subscribers, text));
        }
        let Some(limit) = self.options.no_worker else { return };
        let Some(job) = self.jobs.get(no) else { return };
        let until = deserted.max(job.since) + limit;
        if now < until {
            return self.timers.set(Alarm::Job(no), until);
        }
        self.counters.impossible += 1;
        let why = format!("no worker has been connected for {}; start one with `slipway worker`", seconds(limit));
        self.fail(no, Failure { retryable: false, ..lost(why) }, effects);
    }

    /// Why no worker can take a job: what each of them lacks.
    pub(super) fn nobody_can(&self, no: JobNo) -> String {
        const SHOWN: usize = 5;
        let Some(job) = self.jobs.get(no) else { return String::new() };
        let missing = |worker: &super::workers::Worker| {
            format!("{} lacks {}", worker.name, job.want.requires.missing(&worker.capabilities).join(" and "))
        };
        let all: Vec<String> = self.workers.available().map(missing).collect();
        let more = all.len().checked_sub(SHOWN).filter(|more| *more > 0);
        let more = more.map(|more| format!("; and {more} more")).unwrap_or_default();
        let shown: Vec<String> = all.into_iter().take(SHOWN).collect();
        format!("no connected worker can take the job: {}{more}", shown.join("; "))
    }

    /// Looks at an attempt again when it may have become too slow.
    pub(super) fn watch_attempt(&mut self, no: AttemptNo) {
        let Some(attempt) = self.attempts.get(no) else { return };
        let now = self.pace.now();
        let quiet = self.options.quiet.map(|quiet| attempt.moved + quiet);
        let deadline = self.options.deadline.map(|deadline| attempt.started + deadline);
        let slow = (attempt.slow_at > now).then_some(attempt.slow_at);
        if let Some(at) = [quiet, deadline, slow].into_iter().flatten().min() {
            self.timers.set(Alarm::Attempt(no), at);
        }
    }

    fn look_at_attempt(&mut self, no: AttemptNo, now: Duration, effects: &mut Vec<Effect>) {
        let Some(attempt) = self.attempts.get(no).filter(|attempt| attempt.stage == Stage::Running) else { return };
        let (job, worker) = (attempt.job, attempt.worker);
        if let Some(deadline) = self.options.deadline.filter(|deadline| attempt.started + *deadline <= now) {
            self.counters.stuck += 1;
            let why = format!("the job was stopped: it ran for {}, which is the limit", seconds(deadline));
            return self.fail(job, Failure { retryable: false, ..lost(why) }, effects);
        }
        if let Some(quiet) = self.options.quiet.filter(|quiet| attempt.moved + *quiet <= now) {
            self.counters.stuck += 1;
            let name = self.workers.name(worker);
            let why = format!("the job was stopped on {name}: it showed no sign of progress for {}", seconds(quiet));
            return self.stuck(no, lost(why), now, effects);
        }
        if attempt.slow_at <= now && self.attempts_where(job, |_| true).len() == 1 {
            self.slow.insert(job);
        }
        self.watch_attempt(no);
    }

    /// An attempt is stopped because it leads nowhere.
    fn stuck(&mut self, no: AttemptNo, failure: Failure, now: Duration, effects: &mut Vec<Effect>) {
        let Some((job, worker)) = self.attempts.get(no).map(|attempt| (attempt.job, attempt.worker)) else { return };
        self.stop(no, slipway_protocol::Outcome::Dropped);
        self.slow.remove(&job);
        if let Some(job) = self.jobs.get_mut(job) {
            job.failures += 1;
            job.failed_on.insert(worker);
        }
        self.try_again(job, failure, now, effects);
    }
}

/// A time in words.
pub(super) fn seconds(time: Duration) -> String {
    match time.as_secs() {
        0 => format!("{} ms", time.as_millis()),
        whole if whole >= 120 && whole % 60 == 0 => format!("{} minutes", whole / 60),
        whole => format!("{whole} s"),
    }
}
