//! How patient a scheduler is.

use std::time::Duration;

/// Limits and patience. [`Options::embedded`] and [`Options::cluster`] are the two sets that are used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// A worker that was not heard for this long is taken for lost; `None` = never.
    pub lease: Option<Duration>,
    /// How long a worker goes on without hearing from a coordinator; zero = for ever.
    pub hold: Duration,
    /// An attempt without progress for this long is stopped and tried elsewhere; `None` = never.
    pub quiet: Option<Duration>,
    /// The longest that an attempt may run; `None` = any time.
    pub deadline: Option<Duration>,
    /// How long a job waits for a worker that can take it, while others are there, before it fails.
    pub nobody_can: Duration,
    /// How long a job waits while no worker is there at all, before it fails; `None` = for ever.
    pub no_worker: Option<Duration>,
    /// How often a job is tried when the infrastructure fails it.
    pub tries: u32,
    /// Wait before the second try; doubled before each further one.
    pub back_off: Duration,
    /// The longest that a job waits for a worker that has its base, before it goes elsewhere.
    pub patience: Duration,
    /// Bytes per second at which images are expected to reach a worker: a job waits no longer for a worker that has its
    /// base than the transfer would take.
    pub transfer_rate: u64,
    /// No attempt is doubled before it has run this long, however short it used to be.
    pub doubled_after: Duration,
    /// The same for attempts of which nothing is known.
    pub unknown_doubled_after: Duration,
    /// How long attempts that an earlier coordinator gave out are kept for builds that will want them again.
    pub adopt: Duration,
    /// How long no job is given out after the start, so that workers can first say what they are doing already.
    pub settle: Duration,
}

impl Options {
    /// One worker in the same process: it cannot be lost, and how long commands may be silent is the user's business.
    pub fn embedded() -> Self {
        Self {
            lease: None,
            hold: Duration::ZERO,
            quiet: None,
            deadline: None,
            nobody_can: Duration::from_secs(10),
            no_worker: None,
            tries: 3,
            back_off: Duration::from_millis(200),
            patience: Duration::from_secs(2),
            transfer_rate: 100_000_000,
            doubled_after: Duration::from_secs(1),
            unknown_doubled_after: Duration::from_secs(60),
            adopt: Duration::ZERO,
            settle: Duration::ZERO,
        }
    }

    /// Workers in processes of their own.
    pub fn cluster() -> Self {
        Self {
            lease: Some(Duration::from_secs(15)),
            hold: Duration::from_secs(600),
            quiet: Some(Duration::from_secs(600)),
            deadline: Some(Duration::from_secs(6 * 3600)),
            no_worker: Some(Duration::from_secs(600)),
            back_off: Duration::from_secs(1),
            adopt: Duration::from_secs(60),
            ..Self::embedded()
        }
    }

    /// The same after another coordinator: its workers are listened to before a job is given out, or what one of them is
    /// doing already would be done twice.
    pub fn taking_over() -> Self {
        Self { settle: Duration::from_secs(3), ..Self::cluster() }
    }

    /// How long to wait before a try, when `failures` tries have failed.
    pub(super) fn back_off(&self, failures: u32) -> Duration {
        self.back_off * 2_u32.pow(failures.saturating_sub(1).min(16))
    }

    /// How long a job waits for a worker that has `bytes` of what it needs.
    pub(super) fn patience(&self, bytes: u64) -> Duration {
        let transfer = Duration::from_millis(bytes.saturating_mul(1000) / self.transfer_rate.max(1));
        transfer.min(self.patience)
    }
}
