//! Jobs that wait for a worker, in the order in which they are given out.
//!
//! Jobs with equal requirements share a lane. A job that waits for a worker that has its base stands, for a while, in
//! that worker's line instead. Everything here costs the logarithm of the number of jobs.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use slipway_protocol::Requirements;

use super::{jobs::JobNo, workers::WorkerNo};

/// Names a lane.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) struct LaneNo(u32);

/// A job's turn: the highest rank first, of equal ranks the one that came first.
pub(super) type Turn = (Reverse<Duration>, JobNo);

#[derive(Debug, Default)]
struct Lane {
    requires: Requirements,
    /// Jobs that are not over, waiting or not: a lane without any is forgotten.
    jobs: usize,
    open: BTreeSet<Turn>,
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Queue {
    by_requirements: BTreeMap<Requirements, LaneNo>,
    lanes: BTreeMap<LaneNo, Lane>,
    parked: HashMap<WorkerNo, BTreeSet<Turn>>,
    counter: u32,
}

impl Queue {
    /// A job with these requirements has come: the lane it will wait in.
    pub(super) fn enter(&mut self, requires: &Requirements) -> LaneNo {
        let known = self.by_requirements.get(requires).copied();
        let no = known.unwrap_or_else(|| {
            self.counter += 1;
            self.by_requirements.insert(requires.clone(), LaneNo(self.counter));
            LaneNo(self.counter)
        });
        let fresh = || Lane { requires: requires.clone(), ..Lane::default() };
        self.lanes.entry(no).or_insert_with(fresh).jobs += 1;
        no
    }

    /// A job of the lane is over.
    pub(super) fn leave(&mut self, no: LaneNo) {
        let Some(lane) = self.lanes.get_mut(&no) else { return };
        lane.jobs -= 1;
        if lane.jobs == 0
            && let Some(lane) = self.lanes.remove(&no)
        {
            self.by_requirements.remove(&lane.requires);
        }
    }

    /// What the jobs of a lane need.
    pub(super) fn requires(&self, no: LaneNo) -> Option<&Requirements> {
        self.lanes.get(&no).map(|lane| &lane.requires)
    }

    /// Lanes in which jobs wait, with what they need.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (LaneNo, &Requirements)> {
        let waiting = self.lanes.iter().filter(|(_, lane)| !lane.open.is_empty());
        waiting.map(|(no, lane)| (*no, &lane.requires))
    }

    /// The jobs that wait in a lane, in turn.
    pub(super) fn open(&self, no: LaneNo) -> impl Iterator<Item = &Turn> {
        self.lanes.get(&no).into_iter().flat_map(|lane| lane.open.iter())
    }

    /// The jobs that wait in a worker's line, in turn.
    pub(super) fn parked(&self, worker: WorkerNo) -> impl Iterator<Item = &Turn> {
        self.parked.get(&worker).into_iter().flatten()
    }

    pub(super) fn push(&mut self, no: LaneNo, turn: Turn) {
        if let Some(lane) = self.lanes.get_mut(&no) {
            lane.open.insert(turn);
        }
    }

    pub(super) fn remove(&mut self, no: LaneNo, turn: Turn) {
        if let Some(lane) = self.lanes.get_mut(&no) {
            lane.open.remove(&turn);
        }
    }

    pub(super) fn park(&mut self, worker: WorkerNo, turn: Turn) {
        self.parked.entry(worker).or_default().insert(turn);
    }

    pub(super) fn unpark(&mut self, worker: WorkerNo, turn: Turn) {
        if let Some(line) = self.parked.get_mut(&worker) {
            line.remove(&turn);
            if line.is_empty() {
                self.parked.remove(&worker);
            }
        }
    }

    /// Whether no job waits, and none could.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty() && self.parked.is_empty()
    }
}
