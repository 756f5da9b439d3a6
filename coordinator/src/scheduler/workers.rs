//! Workers: how much they can do, and what they have yet to hear.

use std::collections::BTreeMap;

use slipway_protocol::{AttemptId, Outcome, Report};

#[derive(Debug, Default)]
struct Worker {
    slots: u16,
    /// How attempts ended, until the worker no longer reports them.
    settled: Vec<(AttemptId, Outcome)>,
}

/// All workers that have reported.
#[derive(Debug, Default)]
pub(super) struct Workers(BTreeMap<String, Worker>);

impl Workers {
    /// A worker says what it has: what it no longer holds needs no telling.
    pub(super) fn reported(&mut self, report: &Report) {
        let worker = self.0.entry(report.worker.clone()).or_default();
        worker.slots = report.slots;
        worker.settled.retain(|(attempt, _)| report.attempts.iter().any(|(held, _)| held == attempt));
    }

    pub(super) fn settle(&mut self, worker: &str, attempt: AttemptId, outcome: Outcome) {
        if !self.is_settled(worker, &attempt) {
            self.0.entry(worker.to_owned()).or_default().settled.push((attempt, outcome));
        }
    }

    pub(super) fn is_settled(&self, worker: &str, attempt: &AttemptId) -> bool {
        self.0.get(worker).is_some_and(|worker| worker.settled.iter().any(|(settled, _)| settled == attempt))
    }

    pub(super) fn settled(&self, worker: &str) -> Vec<(AttemptId, Outcome)> {
        self.0.get(worker).map(|worker| worker.settled.clone()).unwrap_or_default()
    }

    pub(super) fn all_heard(&self) -> bool {
        self.0.values().all(|worker| worker.settled.is_empty())
    }

    pub(super) fn slots(&self) -> Vec<(String, u16)> {
        self.0.iter().map(|(name, worker)| (name.clone(), worker.slots)).collect()
    }
}
