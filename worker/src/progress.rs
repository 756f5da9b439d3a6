//! How an attempt shows that something happens.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// A number that grows with every line of output and every finished step of an attempt. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress(Arc<AtomicU64>);

impl Progress {
    /// Something happened.
    pub(crate) fn step(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How much has happened so far.
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
