//! How often a store is asked.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;

use crate::{Changes, Granted, Kv, KvError, LeaseId, Outcome, Page, Range, Revision, Txn};

/// Calls so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Reads.
    pub ranges: u64,
    /// Calls that write: each is one proposal to the store, whatever the number of its parts.
    pub txns: u64,
    /// Transactions in those calls.
    pub parts: u64,
    /// Transactions that were refused.
    pub refused: u64,
    /// Calls whose outcome is unknown.
    pub unknown: u64,
}

/// A store that counts the calls it passes on. Clones count together.
#[derive(Clone)]
pub struct Counted {
    kv: Arc<dyn Kv>,
    numbers: Arc<Numbers>,
}

#[derive(Default)]
struct Numbers {
    ranges: AtomicU64,
    txns: AtomicU64,
    parts: AtomicU64,
    refused: AtomicU64,
    unknown: AtomicU64,
}

impl Counted {
    /// Counts what is asked of `kv`.
    pub fn new(kv: Arc<dyn Kv>) -> Self {
        Self { kv, numbers: Arc::default() }
    }

    /// The numbers so far.
    pub fn counts(&self) -> Counts {
        let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Counts {
            ranges: read(&self.numbers.ranges),
            txns: read(&self.numbers.txns),
            parts: read(&self.numbers.parts),
            refused: read(&self.numbers.refused),
            unknown: read(&self.numbers.unknown),
        }
    }
}

fn add(number: &AtomicU64, more: usize) {
    number.fetch_add(more as u64, Ordering::Relaxed);
}

#[async_trait]
impl Kv for Counted {
    async fn range(&self, range: &Range) -> Result<Page, KvError> {
        add(&self.numbers.ranges, 1);
        self.kv.range(range).await
    }

    async fn txn(&self, parts: &[Txn]) -> Result<Vec<Outcome>, KvError> {
        add(&self.numbers.txns, 1);
        add(&self.numbers.parts, parts.len());
        let outcomes = self.kv.txn(parts).await;
        match &outcomes {
            Ok(outcomes) => {
                let refused = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Refused)).count();
                add(&self.numbers.refused, refused);
            }
            Err(KvError::Unknown(_)) => add(&self.numbers.unknown, 1),
            Err(_) => {}
        }
        outcomes
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Changes, KvError> {
        self.kv.watch(prefix, after).await
    }

    async fn grant(&self, ttl: Duration) -> Result<Granted, KvError> {
        self.kv.grant(ttl).await
    }

    async fn renew(&self, lease: LeaseId) -> Result<Duration, KvError> {
        self.kv.renew(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), KvError> {
        self.kv.revoke(lease).await
    }
}
