//! Whether the coordinator is there: when it was last heard, and how long a worker goes on without it.
//!
//! Pure: the time is an argument.

use std::time::Duration;

/// Least time between reports while nothing happens.
const OFTEN: Duration = Duration::from_secs(2);

/// What is known of the coordinator.
#[derive(Debug)]
pub(crate) struct Contact {
    /// When it was last heard.
    heard: Duration,
    /// Whether the last call failed.
    away: bool,
    /// How long the worker's owner wants it to go on; zero = as the coordinator says.
    own_hold: Duration,
    /// How long the coordinator wants it to go on; zero = for ever.
    hold: Duration,
    /// After how long without a report the coordinator takes the worker for lost; zero = never.
    lease: Duration,
}

impl Contact {
    /// As if it had just been heard.
    pub(crate) fn new(now: Duration, own_hold: Duration) -> Self {
        Self { heard: now, away: false, own_hold, hold: Duration::ZERO, lease: Duration::ZERO }
    }

    /// It answered. Tells whether it was away before.
    pub(crate) fn answered(&mut self, now: Duration, lease: Duration, hold: Duration) -> bool {
        (self.heard, self.lease, self.hold) = (now, lease, hold);
        std::mem::take(&mut self.away)
    }

    /// It was time to report again, and it had no news. One that is away is not believed to be back: it may be one
    /// that takes connections and never answers.
    pub(crate) fn quiet(&mut self, now: Duration) {
        if self.away {
            self.away = false;
        } else {
            self.heard = now;
        }
    }

    /// It did not answer. Tells whether that is new.
    pub(crate) fn failed(&mut self) -> bool {
        !std::mem::replace(&mut self.away, true)
    }

    /// How long a call may be held before it is time to report again; `None` = as long as the coordinator likes.
    pub(crate) fn report_within(&self) -> Option<Duration> {
        (!self.lease.is_zero()).then(|| (self.lease / 3).max(OFTEN))
    }

    /// How long it has not been heard.
    pub(crate) fn silence(&self, now: Duration) -> Duration {
        now.saturating_sub(self.heard)
    }

    /// Whether it has not been heard for so long that what runs is given up.
    pub(crate) fn is_over(&self, now: Duration) -> bool {
        let hold = if self.own_hold.is_zero() { self.hold } else { self.own_hold };
        !hold.is_zero() && self.silence(now) >= hold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn reports_come_three_times_in_a_lease() {
        let mut contact = Contact::new(s(0), s(0));
        assert_eq!(contact.report_within(), None);
        for (lease, within) in [(15, 5), (3, 2)] {
            contact.answered(s(0), s(lease), s(0));
            assert_eq!(contact.report_within(), Some(s(within)));
        }
    }

    #[test]
    fn a_worker_goes_on_for_as_long_as_its_owner_or_the_coordinator_says() {
        for (own, said, over_at) in [(0, 0, None), (0, 600, Some(600)), (30, 600, Some(30)), (30, 0, Some(30))] {
            let mut contact = Contact::new(s(0), s(own));
            contact.answered(s(0), s(15), s(said));
            contact.failed();
            let over = (0..1000).find(|second| contact.is_over(s(*second)));
            assert_eq!(over, over_at, "own {own}, said {said}");
        }
    }

    #[test]
    fn one_that_has_no_news_is_there() {
        let mut contact = Contact::new(s(0), s(30));
        for second in (5..100).step_by(5) {
            contact.quiet(s(second));
        }
        assert!(!contact.is_over(s(100)));
    }

    #[test]
    fn one_that_takes_connections_and_never_answers_is_not_there() {
        let mut contact = Contact::new(s(0), s(30));
        // A call is given up, the next one finds no sign of life.
        for second in (5..60).step_by(10) {
            contact.quiet(s(second));
            contact.failed();
        }
        assert!(contact.is_over(s(60)));
    }

    #[test]
    fn coming_and_going_is_said_once() {
        let mut contact = Contact::new(s(0), s(30));
        assert_eq!((contact.failed(), contact.failed()), (true, false));
        assert_eq!((contact.answered(s(1), s(0), s(0)), contact.answered(s(2), s(0), s(0))), (true, false));
    }
}
