//! Waiting for a store that does not answer, and saying so.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use slipway_kv::KvError;
use tokio::time::{Instant, sleep};

use crate::StorageError;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// How long an absent store is waited for. One message says that it is, and one that it is over, however many wait.
#[derive(Debug)]
pub(super) struct Patience {
    longest: Duration,
    waiting: AtomicU64,
}

impl Patience {
    pub(super) fn new(longest: Duration) -> Self {
        Self { longest, waiting: AtomicU64::new(0) }
    }

    /// Calls until the store answers, or refuses, or time is over. An unknown outcome is an answer.
    pub(super) async fn call<T, F>(&self, run: impl Fn() -> F) -> Result<T, KvError>
    where
        F: Future<Output = Result<T, KvError>>,
    {
        let first = match run().await {
            Err(KvError::Unavailable(why)) => why,
            answer => return answer,
        };
        let _waiting = Waiting::begin(&self.waiting, &first);
        let deadline = Instant::now() + self.longest;
        let mut pause = FIRST_PAUSE;
        loop {
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            match run().await {
                Err(KvError::Unavailable(_)) if Instant::now() < deadline => {}
                answer => return answer,
            }
        }
    }
}

/// One who waits.
struct Waiting<'a>(&'a AtomicU64);

impl<'a> Waiting<'a> {
    fn begin(waiting: &'a AtomicU64, why: &str) -> Self {
        if waiting.fetch_add(1, Ordering::SeqCst) == 0 {
            tracing::warn!("waiting for the store of stage records: {why}");
        }
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.0.fetch_sub(1, Ordering::SeqCst) == 1 {
            tracing::warn!("no longer waiting for the store of stage records");
        }
    }
}

/// What a store's refusal means for a build.
pub(super) fn failed(error: KvError) -> StorageError {
    match error {
        KvError::Denied(why) => StorageError::Denied(why),
        KvError::Invalid(why) => StorageError::Broken { what: "the store of stage records".to_owned(), why },
        error @ (KvError::Unknown(_) | KvError::Unavailable(_) | KvError::Compacted | KvError::LeaseGone) => {
            StorageError::Unavailable(error.to_string())
        }
    }
}
