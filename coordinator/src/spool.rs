//! The events of a build, on disk in their order.
//!
//! Who follows a build reads them from there at his own pace: a slow follower holds up nobody. The line of number N is
//! the N-th of the file, so a place to go on from is found without an index of every line.

mod follow;
mod write;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

pub(crate) use follow::Follower;
use tokio::sync::watch;
pub(crate) use write::Writer;

/// A place in the file is remembered for every so many events.
const MARK_EVERY: u64 = 256;

/// How much of a build's events is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Written {
    /// Their number: the number of the last one.
    pub(crate) events: u64,
    /// Their length in the file.
    pub(crate) bytes: u64,
    /// Whether none will come.
    pub(crate) over: bool,
}

/// Where the events of a build are, for who follows it. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Spool {
    path: PathBuf,
    /// Offsets of the events 0, [`MARK_EVERY`], twice that, … A lock for one access, never held over an await.
    marks: Arc<Mutex<Vec<u64>>>,
    written: watch::Receiver<Written>,
}

impl Spool {
    /// How much there is.
    pub(crate) fn written(&self) -> Written {
        *self.written.borrow()
    }

    /// The last mark at or before the end of event `number`: how many events end there, and at which offset.
    fn mark(&self, number: u64) -> (u64, u64) {
        let marks = lock(&self.marks);
        let index = usize::try_from(number / MARK_EVERY).unwrap_or(usize::MAX).min(marks.len().saturating_sub(1));
        let offset = marks.get(index).copied().unwrap_or(0);
        (index as u64 * MARK_EVERY, offset)
    }
}

fn lock(marks: &Mutex<Vec<u64>>) -> MutexGuard<'_, Vec<u64>> {
    marks.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
