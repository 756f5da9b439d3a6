//! The store in memory: for tests, and for a coordinator without etcd.

mod state;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use tokio::{
    sync::watch,
    time::{Instant, timeout_at},
};

use crate::{Changed, Changes, Granted, Kv, KvError, LeaseId, Outcome, Page, Range, Revision, Txn, check};
use state::State;

/// A store in memory. Clones are one store. Leases end by tokio's clock, which tests may hold.
#[derive(Clone, Debug)]
pub struct MemoryKv {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// The revision, for who waits for news.
    news: watch::Sender<Revision>,
}

impl Default for MemoryKv {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryKv {
    /// An empty store.
    pub fn new() -> Self {
        let shared = Shared { state: Mutex::default(), news: watch::Sender::new(Revision(1)) };
        Self { shared: Arc::new(shared) }
    }

    /// Forgets all changes up to and including `revision`, as etcd does from time to time.
    pub fn compact(&self, revision: Revision) {
        self.with(|state| state.compact(revision));
    }

    /// A copy of everything, as a snapshot restores it: leases live for their whole time again.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        let state = self.with(|state| state.copy(Instant::now()));
        let news = watch::Sender::new(state.revision());
        Self { shared: Arc::new(Shared { state: Mutex::new(state), news }) }
    }

    /// The store becomes what `snapshot` is, as after a restore; watches on it end.
    pub fn restore(&self, snapshot: &Self) {
        let copy = snapshot.with(|state| state.copy(Instant::now()));
        self.with(|state| state.replace(copy));
    }

    /// Ends what has ended, does `work`, and tells who waits.
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.expire(Instant::now());
        let result = work(&mut state);
        let revision = state.revision();
        drop(state);
        self.shared.news.send_if_modified(|known| std::mem::replace(known, revision) != revision);
        result
    }

    /// The next changes under `prefix` after `revision`; `None` when there are none yet.
    fn changes(&self, prefix: &str, after: Revision, store: u64) -> Result<Option<Changed>, KvError> {
        self.with(|state| state.changes(prefix, after, store))
    }

    /// Waits until there may be something new after `revision`.
    async fn news(&self, after: Revision) {
        let mut news = self.shared.news.subscribe();
        let deadline = self.with(|state| state.next_deadline());
        let changed = news.wait_for(|revision| *revision != after);
        match deadline {
            Some(deadline) => drop(timeout_at(deadline, changed).await),
            None => drop(changed.await),
        }
    }
}

#[async_trait]
impl Kv for MemoryKv {
    async fn range(&self, range: &Range) -> Result<Page, KvError> {
        self.with(|state| state.range(range))
    }

    async fn txn(&self, parts: &[Txn]) -> Result<Vec<Outcome>, KvError> {
        check(parts)?;
        self.with(|state| state.txn(parts))
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Changes, KvError> {
        let store = self.with(|state| state.store());
        let start = (self.clone(), prefix.to_owned(), Some(after));
        let changes = stream::unfold(start, move |(kv, prefix, after)| async move {
            let mut seen = after?;
            loop {
                match kv.changes(&prefix, seen, store) {
                    Ok(Some(changed)) if changed.changes.is_empty() => seen = changed.revision,
                    Ok(Some(changed)) => {
                        let next = Some(changed.revision);
                        return Some((Ok(changed), (kv, prefix, next)));
                    }
                    Ok(None) => kv.news(seen).await,
                    Err(error) => return Some((Err(error), (kv, prefix, None))),
                }
            }
        });
        Ok(changes.boxed())
    }

    async fn grant(&self, ttl: Duration) -> Result<Granted, KvError> {
        let ttl = Duration::from_secs(ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0)).max(Duration::from_secs(1));
        let lease = self.with(|state| state.grant(ttl, Instant::now()));
        Ok(Granted { lease, ttl })
    }

    async fn renew(&self, lease: LeaseId) -> Result<Duration, KvError> {
        self.with(|state| state.renew(lease, Instant::now())).ok_or(KvError::LeaseGone)
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), KvError> {
        self.with(|state| state.revoke(lease));
        Ok(())
    }
}
