//! Attempts that an earlier coordinator gave out. Builds that were under way then are submitted again, and will want
//! the same jobs: until that has had time to happen, the workers go on with them.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use slipway_protocol::{AttemptId, Phase, Report};

use super::{
    Effect, Scheduler,
    attempts::{Attempt, AttemptNo, Step, Why},
    jobs::{JobNo, Key},
    timers::Alarm,
    workers::WorkerNo,
};

#[derive(Debug)]
struct Stray {
    id: AttemptId,
    worker: WorkerNo,
    /// How far it was when the worker last said so.
    phase: Phase,
    until: Duration,
}

/// Attempts of an earlier coordinator, by job.
#[derive(Debug, Default)]
pub(super) struct Strays(HashMap<Key, Vec<Stray>>);

impl Strays {
    pub(super) fn of(&self, worker: WorkerNo) -> Vec<AttemptId> {
        let mine = self.0.values().flatten().filter(|stray| stray.worker == worker);
        let mut ids: Vec<AttemptId> = mine.map(|stray| stray.id.clone()).collect();
        ids.sort_unstable();
        ids
    }

    /// A worker has lost what it had.
    pub(super) fn lose(&mut self, worker: WorkerNo) {
        self.0.values_mut().for_each(|strays| strays.retain(|stray| stray.worker != worker));
        self.0.retain(|_, strays| !strays.is_empty());
    }

    /// A worker holds no others than those that it reports: of one worker there are never more than in one report.
    pub(super) fn keep_held(&mut self, worker: WorkerNo, report: &Report) {
        if self.0.is_empty() {
            return;
        }
        let held: HashSet<&AttemptId> = report.attempts.iter().map(|(held, _)| held).collect();
        self.0.values_mut().for_each(|strays| strays.retain(|one| one.worker != worker || held.contains(&one.id)));
        self.0.retain(|_, strays| !strays.is_empty());
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn find(&mut self, id: &AttemptId) -> Option<&mut Stray> {
        self.0.get_mut(id.job.as_str())?.iter_mut().find(|stray| stray.id == *id)
    }
}

impl Scheduler {
    /// A worker holds an attempt of which nothing is known here.
    pub(super) fn stranger(
        &mut self,
        worker: WorkerNo,
        id: &AttemptId,
        phase: &Phase,
        now: Duration,
        effects: &mut Vec<Effect>,
    ) {
        if self.workers.get(worker).is_some_and(|worker| worker.is_settled(id)) {
            return;
        }
        if let Some(known) = self.strays.find(id) {
            known.phase = phase.clone();
            return;
        }
        let runs = matches!(phase, Phase::Running { .. });
        let of_interest = runs || matches!(phase, Phase::Uploaded(_));
        if self.options.adopt.is_zero() || self.attempts.is_own(id) || !of_interest {
            self.workers.refuse(worker, id, runs);
            self.woken.insert(worker);
            return;
        }
        if runs {
            self.workers.keep_stray(worker, id);
        }
        let until = now + self.options.adopt;
        let stray = Stray { id: id.clone(), worker, phase: phase.clone(), until };
        self.strays.0.entry(id.job.as_str().into()).or_default().push(stray);
        self.timers.set_if_none(Alarm::Strays, until);
        // The build may have been submitted before the worker was heard.
        let waiting = self.jobs.find(&id.job);
        let waiting = waiting.filter(|job| self.jobs.get(*job).is_some_and(|job| job.attempts.is_empty()));
        if let Some(job) = waiting {
            self.unqueue(job);
            self.timers.clear(Alarm::Job(job));
            self.adopt(job, now, effects);
        }
    }

    /// A job is wanted: if an attempt of an earlier coordinator is under way, it is this job's now.
    pub(super) fn adopt(&mut self, job: JobNo, now: Duration, effects: &mut Vec<Effect>) -> bool {
        let Some(key) = self.jobs.get(job).map(|job| job.key.clone()) else { return false };
        let strays = self.strays.0.remove(&key).unwrap_or_default();
        let is_there = |stray: &Stray| self.workers.get(stray.worker).is_some_and(|worker| worker.alive);
        let (there, _): (Vec<Stray>, Vec<Stray>) = strays.into_iter().partition(is_there);
        let mut there = there.into_iter();
        let Some(first) = there.next() else { return false };
        for Stray { id, worker, phase, .. } in there {
            self.workers.refuse(worker, &id, matches!(phase, Phase::Running { .. }));
            self.woken.insert(worker);
        }
        let Stray { id, worker, phase, .. } = first;
        self.workers.release_stray(worker, &id);
        self.woken.insert(worker);
        let attempt = self.take_in(job, id, worker, now);
        self.heard(attempt, &phase, now, effects);
        true
    }

    fn take_in(&mut self, no: JobNo, id: AttemptId, worker: WorkerNo, now: Duration) -> AttemptNo {
        let why = Why::Adopted;
        let slow_at = now + self.slow_after(no);
        let number = id.number;
        let name = self.workers.name(worker).to_owned();
        self.steps.push(Step::Given { attempt: id.clone(), worker: name, why });
        let attempt = Attempt::new(id, (no, worker), why, (now, slow_at));
        let attempt = self.attempts.add(attempt);
        if let Some(job) = self.jobs.get_mut(no) {
            job.number = job.number.max(number);
            job.attempts.push(attempt);
            self.workers.give(worker, attempt, &job.want.requires);
        }
        self.counters.adopted += 1;
        self.watch_attempt(attempt);
        attempt
    }

    /// Nobody has wanted these in time.
    pub(super) fn look_at_strays(&mut self, now: Duration) {
        let mut refused = Vec::new();
        for strays in self.strays.0.values_mut() {
            refused.extend(strays.extract_if(.., |stray| stray.until <= now));
        }
        self.strays.0.retain(|_, strays| !strays.is_empty());
        for stray in refused {
            self.workers.refuse(stray.worker, &stray.id, matches!(stray.phase, Phase::Running { .. }));
            self.woken.insert(stray.worker);
        }
        if let Some(next) = self.strays.0.values().flatten().map(|stray| stray.until).min() {
            self.timers.set(Alarm::Strays, next);
        }
    }
}
