//! Short locks.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The lock of `mutex`. The state behind our locks is whole after every statement, so a panic of another holder does
/// not spoil it.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
