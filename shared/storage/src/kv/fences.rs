//! Who may write: conditions that every transaction carries.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use slipway_kv::When;

use crate::StorageError;

/// Conditions of every transaction of a ledger. They may change at any time: a coordinator sets those of its term when
/// it comes to lead, and closes them when it does not any more. Clones are one.
#[derive(Clone, Debug)]
pub struct Fences {
    conditions: Arc<Mutex<Option<Vec<When>>>>,
    refused: Arc<AtomicU64>,
}

impl Fences {
    /// Nothing is asked: for processes without a coordinator.
    pub fn open() -> Self {
        Self::new(Some(Vec::new()))
    }

    /// Nothing may be written until [`set`](Self::set) says under which conditions.
    pub fn closed() -> Self {
        Self::new(None)
    }

    fn new(conditions: Option<Vec<When>>) -> Self {
        Self { conditions: Arc::new(Mutex::new(conditions)), refused: Arc::default() }
    }

    /// The same, counting in `refused` the writes that are refused because of a fence: that of the leader, or that of an
    /// attempt.
    #[must_use]
    pub fn counting(self, refused: Arc<AtomicU64>) -> Self {
        Self { refused, ..self }
    }

    /// A write was refused because of a fence.
    pub(super) fn refused_one(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// From now on these conditions must hold.
    pub fn set(&self, conditions: Vec<When>) {
        *self.conditions.lock().unwrap_or_else(PoisonError::into_inner) = Some(conditions);
    }

    /// From now on nothing may be written.
    pub fn close(&self) {
        *self.conditions.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The conditions of now.
    ///
    /// # Errors
    /// [`StorageError::Fenced`] when nothing may be written.
    pub fn conditions(&self) -> Result<Vec<When>, StorageError> {
        let conditions = self.conditions.lock().unwrap_or_else(PoisonError::into_inner).clone();
        conditions.ok_or_else(|| StorageError::Fenced("this process does not lead".to_owned()))
    }
}
