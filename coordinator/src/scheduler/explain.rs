//! Why a job runs where it runs, or waits.

use std::{cmp::Reverse, time::Duration};

use slipway_protocol::AttemptId;

use super::{
    Scheduler,
    attempts::{AttemptNo, Stage, Why},
    jobs::{Job, JobNo, Key, Waits},
    watch::seconds,
};

/// How far a job is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It waits for a worker.
    Queued,
    /// It waits for a worker that has what it starts from.
    Parked,
    /// It waits for its next try.
    BackingOff,
    /// It is being done.
    Running,
    /// Its result is being published.
    Publishing,
}

/// One attempt at a job.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct AttemptView {
    /// Which.
    pub attempt: AttemptId,
    /// Where.
    pub worker: String,
    /// Whether the worker is being heard.
    pub alive: bool,
    /// Why there.
    pub why: Why,
    /// For how long.
    pub running: Duration,
    /// For how long without progress.
    pub silent: Duration,
}

/// Why a job runs where it runs, or waits.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Explanation {
    /// Which job.
    pub key: Key,
    /// How far it is.
    pub state: JobState,
    /// How long everything that waits for it is expected to take.
    pub rank: Duration,
    /// How many want it.
    pub wanted_by: usize,
    /// How often the infrastructure failed it.
    pub failures: u32,
    /// How many jobs are before it, when it waits for a worker.
    pub before: Option<usize>,
    /// What is being done.
    pub attempts: Vec<AttemptView>,
    /// The same in words.
    pub text: String,
}

impl Scheduler {
    /// Why a job runs where it runs, or waits, when the clock shows `clock`; `None` when it is over, or never was.
    pub fn explain(&self, key: &str, clock: Duration) -> Option<Explanation> {
        let now = self.pace.at(clock);
        let no = self.jobs.find(key)?;
        let job = self.jobs.get(no)?;
        let attempts: Vec<AttemptView> = job.attempts.iter().filter_map(|attempt| self.view(*attempt, now)).collect();
        let state = self.state(no, job);
        Some(Explanation {
            key: job.key.clone(),
            state,
            rank: job.want.rank,
            wanted_by: job.subscribers.len(),
            failures: job.failures,
            before: (state == JobState::Queued).then(|| self.before(no, job)),
            text: self.text(no, job, &attempts, now),
            attempts,
        })
    }

    pub(super) fn state(&self, no: JobNo, job: &Job) -> JobState {
        match &job.waits {
            Waits::Open => JobState::Queued,
            Waits::Parked(_) => JobState::Parked,
            Waits::BackOff => JobState::BackingOff,
            Waits::Not if self.is_committing(no) => JobState::Publishing,
            Waits::Not => JobState::Running,
        }
    }

    fn view(&self, no: AttemptNo, now: Duration) -> Option<AttemptView> {
        let attempt = self.attempts.get(no)?;
        Some(AttemptView {
            attempt: attempt.id.clone(),
            worker: self.workers.name(attempt.worker).to_owned(),
            alive: attempt.stage != Stage::Away,
            why: attempt.why,
            running: now.saturating_sub(attempt.started),
            silent: now.saturating_sub(attempt.moved),
        })
    }

    fn before(&self, no: JobNo, job: &Job) -> usize {
        let own = (Reverse(job.want.rank), no);
        self.queue.open(job.lane).take_while(|turn| **turn < own).count()
    }

    fn text(&self, no: JobNo, job: &Job, attempts: &[AttemptView], now: Duration) -> String {
        let (state, waited) = (self.state(no, job), seconds(now.saturating_sub(job.since)));
        match state {
            JobState::Queued if self.settling => {
                "it waits until workers have said what they are doing already".to_owned()
            }
            JobState::Queued if self.deserted.is_some() => format!("it waits for {waited}: no worker is connected"),
            JobState::Queued => self.queued_text(no, job, &waited),
            JobState::Parked => {
                let Waits::Parked(workers) = &job.waits else { return String::new() };
                let names: Vec<&str> = workers.iter().map(|worker| self.workers.name(*worker)).collect();
                format!("it waits for {waited}: {} has what it starts from, and is busy", names.join(" or "))
            }
            JobState::BackingOff => {
                format!("it waits before its next try; it has failed {} times", job.failures)
            }
            JobState::Running | JobState::Publishing => {
                let one = |view: &AttemptView| {
                    let away = if view.alive { "" } else { ", which is not heard from" };
                    let time = seconds(view.running);
                    format!("it runs on {}{away} for {time}, because {}", view.worker, view.why.text())
                };
                let all: Vec<String> = attempts.iter().map(one).collect();
                let publishing = if state == JobState::Publishing { "; its result is being published" } else { "" };
                format!("{}{publishing}", all.join("; "))
            }
        }
    }

    fn queued_text(&self, no: JobNo, job: &Job, waited: &str) -> String {
        let capable = self.workers.available().filter(|worker| {
            let requires = &job.want.requires;
            requires.missing(&worker.capabilities).is_empty()
        });
        match capable.count() {
            0 => self.nobody_can(no),
            capable => {
                let before = self.before(no, job);
                format!(
                    "it waits for {waited}: all {capable} workers that can take it are busy, and {before} jobs are \
                         before it"
                )
            }
        }
    }
}
