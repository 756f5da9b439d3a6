//! The scheduler's own time, which stands still while its process does.

use std::time::Duration;

/// A scheduler that was not woken within this time after it asked to be was itself stopped: nobody else is to blame for
/// the silence.
const LATE: Duration = Duration::from_secs(5);

/// Own time: the clock's, less the times during which the process did not run (a debugger, a stopped shell job, a
/// machine that was suspended).
#[derive(Debug, Default)]
pub(super) struct Pace {
    stopped: Duration,
    now: Duration,
    next: Option<Duration>,
}

impl Pace {
    /// The clock shows `clock`; answers the own time.
    pub(super) fn tell(&mut self, clock: Duration) -> Duration {
        let own = clock.saturating_sub(self.stopped);
        if let Some(next) = self.next.filter(|next| own > *next + LATE) {
            self.stopped += own - next;
        }
        self.now = self.at(clock);
        self.now
    }

    /// The own time when the clock shows `clock`.
    pub(super) fn at(&self, clock: Duration) -> Duration {
        self.now.max(clock.saturating_sub(self.stopped))
    }

    /// The own time as it was last told.
    pub(super) fn now(&self) -> Duration {
        self.now
    }

    /// Notes when the scheduler is to be woken by its own time; answers when that is by the clock.
    pub(super) fn wake_at(&mut self, next: Option<Duration>) -> Option<Duration> {
        self.next = next;
        next.map(|next| next + self.stopped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn time_stands_still_while_the_process_does() {
        let mut pace = Pace::default();
        assert_eq!(pace.tell(seconds(1)), seconds(1));
        assert_eq!(pace.wake_at(Some(seconds(10))), Some(seconds(10)));
        assert_eq!(pace.tell(seconds(14)), seconds(14), "a little late");
        assert_eq!(pace.wake_at(Some(seconds(20))), Some(seconds(20)));
        assert_eq!(pace.tell(seconds(120)), seconds(20), "stopped for a hundred seconds");
        assert_eq!(pace.wake_at(Some(seconds(30))), Some(seconds(130)));
        assert_eq!(pace.tell(seconds(125)), seconds(25));
        assert_eq!(pace.wake_at(None), None);
        assert_eq!(pace.tell(seconds(1_125)), seconds(1_025), "nothing was to be done: nobody knows, nobody minds");
    }

    #[test]
    fn time_never_goes_back() {
        let mut pace = Pace::default();
        assert_eq!(pace.tell(seconds(5)), seconds(5));
        assert_eq!(pace.tell(seconds(3)), seconds(5));
    }
}
