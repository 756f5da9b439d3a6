//! What workers say.

use std::time::Duration;

use slipway_protocol::{AttemptId, Failure, Phase, Report, Uploaded};

use super::{
    Effect, End, Scheduler,
    attempts::{AttemptNo, Stage, Step},
    timers::Alarm,
    workers::WorkerNo,
};

/// How a worker was lost that was given a job.
struct Death<'t> {
    worker: WorkerNo,
    /// It had the job: only then can it have died of it.
    accepted: bool,
    how: &'t str,
}

impl Scheduler {
    pub(super) fn synced(&mut self, report: &Report, now: Duration, effects: &mut Vec<Effect>) {
        let (no, same_life) = self.workers.meet(report);
        if !same_life {
            self.life_lost(no, now, effects);
            self.workers.reborn(no, &report.boot);
        } else if self.workers.get(no).is_some_and(|worker| report.seq < worker.seq) {
            // It came late: what it says is not so any more.
            return;
        }
        let before = self.workers.get(no).map(|worker| (worker.is_available(), worker.capabilities.clone()));
        let was_away = self.workers.get(no).is_some_and(|worker| !worker.alive);
        self.workers.reported(no, report, now);
        if let Some(lease) = self.options.lease {
            self.timers.set_if_none(Alarm::Worker(no), now + lease);
        }
        if was_away {
            self.came_back(no, report, now);
            if let Some(lease) = self.options.lease {
                self.timers.set(Alarm::Worker(no), now + lease);
            }
        }
        self.strays.keep_held(no, report);
        for (attempt, phase) in &report.attempts {
            match self.attempts.find(attempt).filter(|own| self.runs_on(*own, no)) {
                Some(own) => self.heard(own, phase, now, effects),
                None => self.stranger(no, attempt, phase, now, effects),
            }
        }
        let after = self.workers.get(no).map(|worker| (worker.is_available(), worker.capabilities.clone()));
        if before != after {
            self.workers_changed(now);
        }
    }

    fn runs_on(&self, attempt: AttemptNo, worker: WorkerNo) -> bool {
        self.attempts.get(attempt).is_some_and(|attempt| attempt.worker == worker)
    }

    pub(super) fn heard(&mut self, no: AttemptNo, phase: &Phase, now: Duration, effects: &mut Vec<Effect>) {
        let Some(attempt) = self.attempts.get_mut(no) else { return };
        if !std::mem::replace(&mut attempt.accepted, true) {
            self.steps.push(Step::Accepted(attempt.id.clone()));
        }
        match &attempt.stage {
            Stage::Running | Stage::Away => {}
            // The same was said before.
            Stage::Uploaded(_) | Stage::Committing(_) => return,
        }
        match phase {
            Phase::Running { progress } => {
                if *progress != attempt.progress {
                    (attempt.progress, attempt.moved) = (*progress, now);
                }
            }
            Phase::Uploaded(uploaded) => self.uploaded(no, uploaded, now, effects),
            Phase::Summed(checksum) => {
                self.learn(no, now);
                self.end_with(no, End::Summed(*checksum), effects);
            }
            Phase::Delivered => {
                self.learn(no, now);
                self.end_with(no, End::Delivered, effects);
            }
            Phase::Failed(failure) => self.failed(no, failure.clone(), now, effects),
        }
    }

    fn uploaded(&mut self, no: AttemptNo, uploaded: &Uploaded, now: Duration, effects: &mut Vec<Effect>) {
        self.learn(no, now);
        self.timers.clear(Alarm::Attempt(no));
        let Some(attempt) = self.attempts.get_mut(no) else { return };
        let (job, worker, id) = (attempt.job, attempt.worker, attempt.id.clone());
        attempt.stage = Stage::Uploaded(uploaded.clone());
        self.workers.free_slot(worker, no);
        self.unqueue(job);
        self.timers.clear(Alarm::Job(job));
        self.slow.remove(&job);
        self.remember_images(worker, job, &uploaded.at.digest);
        if !self.is_committing(job) {
            self.commit(no, id, uploaded.clone(), effects);
        }
    }

    fn commit(&mut self, no: AttemptNo, id: AttemptId, uploaded: Uploaded, effects: &mut Vec<Effect>) {
        if let Some(attempt) = self.attempts.get_mut(no) {
            attempt.stage = Stage::Committing(uploaded.clone());
            effects.push(Effect::Commit(id, uploaded));
        }
    }

    /// Publishes what another attempt at the job has uploaded meanwhile; whether there is one.
    pub(super) fn commit_another(&mut self, job: super::JobNo, effects: &mut Vec<Effect>) -> bool {
        let attempts = self.jobs.get(job).map(|job| job.attempts.clone()).unwrap_or_default();
        let another = attempts.into_iter().find_map(|no| match self.attempts.get(no)? {
            super::attempts::Attempt { stage: Stage::Uploaded(uploaded), id, .. } => {
                Some((no, id.clone(), uploaded.clone()))
            }
            _ => None,
        });
        let Some((no, id, uploaded)) = another else { return false };
        self.commit(no, id, uploaded, effects);
        true
    }

    /// A worker was silent and is back: what it still has goes on; what it has not need not be done again there.
    fn came_back(&mut self, no: WorkerNo, report: &Report, now: Duration) {
        let attempts: Vec<AttemptNo> =
            self.workers.get(no).map(|worker| worker.attempts.keys().copied().collect()).unwrap_or_default();
        for attempt in attempts {
            let Some(known) = self.attempts.get_mut(attempt).filter(|known| known.stage == Stage::Away) else {
                continue;
            };
            let job = known.job;
            if report.attempts.iter().any(|(held, _)| *held == known.id) {
                (known.stage, known.moved) = (Stage::Running, now);
                self.watch_attempt(attempt);
                // It is no longer lost, so the job did not kill it.
                if let Some(job) = self.jobs.get_mut(job) {
                    job.failures = job.failures.saturating_sub(1);
                    job.deaths.remove(&no);
                    job.failed_on.remove(&no);
                }
                self.stop_waiting(job);
            } else {
                self.forget_attempt(attempt);
            }
        }
    }

    /// A job that waits to be done again is being done after all.
    fn stop_waiting(&mut self, job: super::JobNo) {
        self.unqueue(job);
        self.timers.clear(Alarm::Job(job));
    }

    /// A worker began a new life: nobody runs what its earlier one ran.
    fn life_lost(&mut self, no: WorkerNo, now: Duration, effects: &mut Vec<Effect>) {
        self.strays.lose(no);
        let attempts: Vec<AttemptNo> =
            self.workers.get(no).map(|worker| worker.attempts.keys().copied().collect()).unwrap_or_default();
        for attempt in attempts {
            match self.attempts.get(attempt).map(|attempt| &attempt.stage) {
                Some(Stage::Running) => {
                    let known = self.attempts.get(attempt).map(|attempt| (attempt.job, attempt.accepted));
                    self.forget_attempt(attempt);
                    if let Some((job, accepted)) = known {
                        let how = if accepted { "has restarted while it ran the job" } else { "has restarted" };
                        self.worker_died(job, &Death { worker: no, accepted, how }, now, effects);
                    }
                }
                // The loss was counted when the worker fell silent.
                Some(Stage::Away) => self.forget_attempt(attempt),
                // What is uploaded can be published without the worker; it is not to be done again there.
                Some(Stage::Uploaded(_) | Stage::Committing(_)) | None => self.workers.forget(no, attempt),
            }
        }
    }

    /// The lease of a worker has ended.
    pub(super) fn silent(&mut self, no: WorkerNo, now: Duration, effects: &mut Vec<Effect>) {
        // Who said that it would end, and had nothing left, is not missed.
        let left = self.workers.get(no).is_some_and(|worker| worker.drain && worker.attempts.is_empty());
        self.counters.leases_lost += u64::from(!left);
        self.workers.change(no, |worker| worker.alive = false);
        let attempts: Vec<AttemptNo> =
            self.workers.get(no).map(|worker| worker.attempts.keys().copied().collect()).unwrap_or_default();
        for attempt in attempts {
            let Some(known) = self.attempts.get_mut(attempt).filter(|known| known.stage == Stage::Running) else {
                continue;
            };
            known.stage = Stage::Away;
            let (job, accepted) = (known.job, known.accepted);
            self.timers.clear(Alarm::Attempt(attempt));
            let how = if accepted {
                "has not been heard from while it ran the job"
            } else {
                "has not been heard from since it was given the job"
            };
            self.worker_died(job, &Death { worker: no, accepted, how }, now, effects);
        }
        self.workers_changed(now);
    }

    /// A worker is lost that was given a job.
    fn worker_died(&mut self, no: super::JobNo, death: &Death<'_>, now: Duration, effects: &mut Vec<Effect>) {
        let Death { worker, accepted, how } = *death;
        let name = self.workers.name(worker).to_owned();
        let Some(job) = self.jobs.get_mut(no) else { return };
        if accepted {
            job.deaths.insert(worker);
        }
        job.failed_on.insert(worker);
        job.failures += 1;
        self.slow.remove(&no);
        let why = format!("the worker {name} {how}");
        self.try_again(no, lost(why), now, effects);
    }
}

/// A failure that is nobody's but the infrastructure's.
pub(super) fn lost(why: String) -> Failure {
    Failure { retryable: true, why, exit: None, line: None, tail: Vec::new(), lost: None }
}
