//! Who may write: conditions that every transaction carries.

use std::sync::{Arc, Mutex, PoisonError};

use slipway_kv::When;

use crate::StorageError;

/// Conditions of every transaction of a ledger. They may change at any time: a coordinator sets those of its term when
/// it comes to lead, and closes them when it does not any more. Clones are one.
#[derive(Clone, Debug)]
pub struct Fences(Arc<Mutex<Option<Vec<When>>>>);

impl Fences {
    /// Nothing is asked: for processes without a coordinator.
    pub fn open() -> Self {
        Self(Arc::new(Mutex::new(Some(Vec::new()))))
    }

    /// Nothing may be written until [`set`](Self::set) says under which conditions.
    pub fn closed() -> Self {
        Self(Arc::new(Mutex::new(None)))
    }

    /// From now on these conditions must hold.
    pub fn set(&self, conditions: Vec<When>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(conditions);
    }

    /// From now on nothing may be written.
    pub fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The conditions of now.
    ///
    /// # Errors
    /// [`StorageError::Fenced`] when nothing may be written.
    pub fn conditions(&self) -> Result<Vec<When>, StorageError> {
        let conditions = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        conditions.ok_or_else(|| StorageError::Fenced("this process does not lead".to_owned()))
    }
}
