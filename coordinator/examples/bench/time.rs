//! Time that passes by itself, or only when nobody has anything to do.
//!
//! Schedules are compared in time of the second kind: then it does not matter how busy the machine is, and an hour of
//! sleep costs nothing. The engine does not know the difference: it asks its clock.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use slipway_process::{Clock, SystemClock};
use tokio::sync::oneshot;

/// So many rounds of the runtime without news from a worker mean that everybody waits for time to pass: news passes
/// through far fewer tasks than this.
const ROUNDS: u32 = 200;

/// How time passes.
#[derive(Clone)]
pub(crate) enum Time {
    /// By itself.
    Real(Arc<SystemClock>),
    /// When nobody has anything to do.
    Idle(Arc<IdleTime>),
}

/// A clock that stands still as long as anybody does anything.
#[derive(Default)]
pub(crate) struct IdleTime {
    state: Mutex<State>,
    /// Grows with everything that workers do.
    deeds: AtomicU64,
    /// Results of workers that are not yet published.
    results: AtomicI64,
}

#[derive(Default)]
struct State {
    now: Duration,
    counter: u64,
    sleepers: BTreeMap<(Duration, u64), oneshot::Sender<()>>,
}

impl Time {
    pub(crate) fn real() -> Self {
        Self::Real(Arc::new(SystemClock::new(None)))
    }

    pub(crate) fn idle() -> Self {
        Self::Idle(Arc::default())
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        match self {
            Self::Real(clock) => Arc::clone(clock) as Arc<dyn Clock>,
            Self::Idle(time) => Arc::clone(time) as Arc<dyn Clock>,
        }
    }

    pub(crate) async fn sleep(&self, time: Duration) {
        match self {
            Self::Real(_) => tokio::time::sleep(time).await,
            // An end of the benchmark wakes nobody.
            Self::Idle(idle) => drop(idle.sleep(time).await),
        }
    }

    /// A worker has done something; `results` more of its results wait to be published than before.
    pub(crate) fn did(&self, results: i64) {
        if let Self::Idle(time) = self {
            time.results.fetch_add(results, Ordering::AcqRel);
            time.deeds.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Lets time pass, for ever.
    pub(crate) async fn pass(self) {
        let Self::Idle(time) = self else { return };
        loop {
            time.wait_for_idleness().await;
            time.advance();
        }
    }
}

impl IdleTime {
    fn sleep(&self, time: Duration) -> oneshot::Receiver<()> {
        let (wake, woken) = oneshot::channel();
        let mut state = self.state();
        state.counter += 1;
        let place = (state.now + time, state.counter);
        state.sleepers.insert(place, wake);
        woken
    }

    async fn wait_for_idleness(&self) {
        let mut seen = self.deeds.load(Ordering::Acquire);
        let mut rounds = 0;
        while rounds < ROUNDS {
            tokio::task::yield_now().await;
            let deeds = self.deeds.load(Ordering::Acquire);
            // What is published passes through other threads, which are not seen here.
            let is_idle = deeds == seen && self.results.load(Ordering::Acquire) == 0;
            rounds = if is_idle { rounds + 1 } else { 0 };
            seen = deeds;
        }
    }

    /// The next moment at which somebody wakes.
    fn advance(&self) {
        let mut state = self.state();
        let Some(((at, _), wake)) = state.sleepers.pop_first() else { return };
        state.now = at;
        // Who was stopped meanwhile sleeps no more.
        let _ = wake.send(());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for IdleTime {
    fn unix_millis(&self) -> u64 {
        u64::try_from(self.monotonic().as_millis()).unwrap_or(u64::MAX)
    }

    fn monotonic(&self) -> Duration {
        self.state().now
    }
}
