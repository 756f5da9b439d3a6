//! How far a long command has come, said now and then.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use slipway_process::Clock;
use slipway_storage::cleanup::Progress;

use crate::{commands::session::Session, output::Printer};

/// Time between two words.
const SILENCE: Duration = Duration::from_secs(5);

/// Says it.
pub(super) struct Meter {
    printer: Arc<Printer>,
    clock: Arc<dyn Clock>,
    said: Mutex<Said>,
}

struct Said {
    at: Duration,
    /// When the first tag was deleted.
    began: Option<Duration>,
}

impl Meter {
    /// A meter that begins now.
    pub(super) fn new(session: &Session) -> Self {
        let clock = Arc::clone(&session.world.clock);
        let said = Mutex::new(Said { at: clock.monotonic(), began: None });
        Self { printer: Arc::clone(&session.printer), clock, said }
    }

    /// Something was done.
    pub(super) fn tell(&self, progress: Progress) {
        let now = self.clock.monotonic();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let began = match progress {
            Progress::Removed { .. } => *said.began.get_or_insert(now),
            Progress::Read(_) => now,
        };
        if now.saturating_sub(said.at) < SILENCE {
            return;
        }
        said.at = now;
        drop(said);
        self.printer.info(&text(progress, now.saturating_sub(began)));
    }
}

fn text(progress: Progress, spent: Duration) -> String {
    match progress {
        Progress::Read(number) => format!("Read {number} images and records"),
        Progress::Removed { done, of } => {
            let left = of.saturating_sub(done) as u64;
            let seconds = spent.as_secs().saturating_mul(left) / (done as u64).max(1);
            format!("Deleted {done} of {of} tags, some {seconds} s left")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_guessed_by_what_was_done() {
        let spent = Duration::from_secs(10);
        assert_eq!(text(Progress::Removed { done: 20, of: 100 }, spent), "Deleted 20 of 100 tags, some 40 s left");
        assert_eq!(text(Progress::Removed { done: 0, of: 9 }, spent), "Deleted 0 of 9 tags, some 90 s left");
        assert_eq!(text(Progress::Read(7), spent), "Read 7 images and records");
    }
}
