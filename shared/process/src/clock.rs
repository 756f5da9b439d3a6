//! Time, behind a trait so that tests can hold it still.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Tells time.
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch, UTC. May jump.
    fn unix_millis(&self) -> u64;
    /// Time since some fixed moment. Never goes back.
    fn monotonic(&self) -> Duration;
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
    frozen: Option<u64>,
}

impl SystemClock {
    /// The machine's clock; `frozen`, when given, is what [`Clock::unix_millis`] always answers (for tests of
    /// timestamps).
    #[expect(clippy::disallowed_methods, reason = "this is where time enters the program")]
    pub fn new(frozen: Option<u64>) -> Self {
        Self { start: Instant::now(), frozen }
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is where time enters the program")]
    fn unix_millis(&self) -> u64 {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.frozen.unwrap_or_else(|| u64::try_from(now().as_millis()).unwrap_or(u64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }
}
