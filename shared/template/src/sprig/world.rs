//! What functions need from outside: the time and randomness.

/// The clock and the source of randomness that functions use.
pub trait World: Send + Sync {
    /// Now: seconds since 1970-01-01 UTC, and nanoseconds within the second.
    fn now(&self) -> (i64, u32);

    /// Fills `bytes` with random ones, fit for secrets.
    fn fill_random(&self, bytes: &mut [u8]);
}

/// A world in which nothing happens: always the same time, and bytes counting up from zero. For tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct Frozen {
    /// Seconds since 1970-01-01 UTC.
    pub now: i64,
}

impl World for Frozen {
    fn now(&self) -> (i64, u32) {
        (self.now, 0)
    }

    fn fill_random(&self, bytes: &mut [u8]) {
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = at as u8;
        }
    }
}
