//! Named locks between processes.
//!
//! They save double work and keep output in order; nothing that must be safe rests on them alone: a process that is
//! stopped for long may go on unaware. Reading order: this file (the trait), [`files`] (flock), [`kv`] (in a store that many hosts
//! share), [`conformance`].

pub mod conformance;
pub mod files;
pub mod kv;

use std::{fmt, time::Duration};

use async_trait::async_trait;

pub use files::FileLocks;
pub use kv::KvLocks;

/// Why a lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Somebody else kept it for as long as the caller was ready to wait.
    #[error("waited {} s for the lock `{key}`, which {holder} holds", waited.as_secs())]
    TimedOut {
        /// The lock's name.
        key: String,
        /// Who has it, as far as is known.
        holder: String,
        /// How long the caller waited.
        waited: Duration,
    },
    /// Locks cannot be taken at all.
    #[error("{0}")]
    Unavailable(String),
}

impl LockError {
    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::TimedOut { .. } => true,
            Self::Unavailable(_) => false,
        }
    }
}

/// A lock that is held. It is released when dropped, and when the process ends in whatever way.
pub trait Lease: Send + Sync + fmt::Debug {
    /// A number greater than that of every earlier holder of the same lock, where the locks have one.
    fn fence(&self) -> Option<u64> {
        None
    }
}

/// Hands out locks by name. Live: [`FileLocks`], [`KvLocks`].
#[async_trait]
pub trait LockManager: Send + Sync {
    /// Takes the lock `key`, alone, waiting at most `wait` for it; zero = only if it is free.
    ///
    /// One process may ask twice: the second request waits for the first lease to be dropped.
    ///
    /// # Errors
    /// [`LockError::TimedOut`] when it was held all the time.
    async fn acquire(&self, key: &str, wait: Duration) -> Result<Box<dyn Lease>, LockError>;
}
