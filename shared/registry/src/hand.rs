//! A clock that a test turns by hand.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use slipway_process::Clock;

/// Stands still until it is set.
#[derive(Default)]
pub(crate) struct Hand(AtomicU64);

impl Hand {
    /// Seconds since the beginning.
    pub(crate) fn set(&self, seconds: u64) {
        self.0.store(seconds, Ordering::SeqCst);
    }
}

impl Clock for Hand {
    fn unix_millis(&self) -> u64 {
        0
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}
