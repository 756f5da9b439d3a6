//! What is to be looked at when.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use super::{attempts::AttemptNo, jobs::JobNo, workers::WorkerNo};

/// Something that is looked at when its time comes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(super) enum Alarm {
    /// A job waits for something, but not for ever.
    Job(JobNo),
    /// An attempt may have become too slow.
    Attempt(AttemptNo),
    /// A worker may have been silent for too long.
    Worker(WorkerNo),
    /// Attempts that an earlier coordinator gave out are kept no longer.
    Strays,
    /// Workers have had time to say what they are doing.
    Begin,
}

/// At most one time for each alarm.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeSet<(Duration, Alarm)>,
    set: HashMap<Alarm, Duration>,
}

impl Timers {
    /// Sets an alarm to another time, or for the first time.
    pub(super) fn set(&mut self, alarm: Alarm, at: Duration) {
        if let Some(before) = self.set.insert(alarm, at) {
            self.due.remove(&(before, alarm));
        }
        self.due.insert((at, alarm));
    }

    /// Sets an alarm that may be set already; then it stays as it is.
    pub(super) fn set_if_none(&mut self, alarm: Alarm, at: Duration) {
        if !self.set.contains_key(&alarm) {
            self.set(alarm, at);
        }
    }

    pub(super) fn clear(&mut self, alarm: Alarm) {
        if let Some(before) = self.set.remove(&alarm) {
            self.due.remove(&(before, alarm));
        }
    }

    /// The next alarm whose time has come; it is set no more.
    pub(super) fn pop(&mut self, now: Duration) -> Option<Alarm> {
        let (at, alarm) = *self.due.first()?;
        if at > now {
            return None;
        }
        self.clear(alarm);
        Some(alarm)
    }

    /// When the next alarm is due.
    pub(super) fn next(&self) -> Option<Duration> {
        self.due.first().map(|(at, _)| *at)
    }
}
