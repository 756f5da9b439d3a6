//! A ledger and locks in memory, which cost nothing: the engine is measured, not the disk.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use slipway_digest::{Millis, StageDigest, StageId};
use slipway_locks::{Lease, LockError, LockManager};
use slipway_registry::RawManifest;
use slipway_stages::StageRecord;
use slipway_storage::{Candidate, Committed, Intent, Ledger, Seen, StorageError, Winners};

/// The latest timestamp of each digest, and what is not tagged yet.
#[derive(Default)]
pub(crate) struct MemoryLedger {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    latest: HashMap<StageDigest, Millis>,
    pending: HashMap<StageId, Intent>,
}

impl MemoryLedger {
    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Ledger for MemoryLedger {
    async fn winners(&self, digest: StageDigest) -> Result<Winners, StorageError> {
        Ok(self.with(|state| Winners { revision: state.latest.get(&digest).copied(), pending: Vec::new() }))
    }

    async fn commit(
        &self,
        candidate: &Candidate,
        held: Option<RawManifest>,
        seen: Seen,
        now: Millis,
    ) -> Result<Committed, StorageError> {
        let digest = candidate.record.id.digest;
        Ok(self.with(|state| {
            let latest = state.latest.get(&digest).copied();
            if latest != seen.revision {
                return Committed::LookAgain;
            }
            let after = latest.max(seen.latest).max(Some(candidate.not_before));
            let stamp = now.max(Millis(after.map_or(0, |after| after.0 + 1)));
            let record = StageRecord { id: StageId { digest, stamp }, ..candidate.record.clone() };
            state.latest.insert(digest, stamp);
            state.pending.insert(record.id, Intent { stage: record.clone(), held });
            Committed::Won(Box::new(record))
        }))
    }

    async fn tagged(&self, stage: StageId) -> Result<(), StorageError> {
        self.with(|state| state.pending.remove(&stage));
        Ok(())
    }

    async fn reject(&self, stage: StageId, _why: &str) -> Result<(), StorageError> {
        self.tagged(stage).await
    }

    async fn pending(&self) -> Result<Vec<Intent>, StorageError> {
        Ok(self.with(|state| state.pending.values().cloned().collect()))
    }
}

/// Nobody else is there to be locked out.
pub(crate) struct NoLocks;

#[derive(Debug)]
struct NoLease;

impl Lease for NoLease {}

#[async_trait]
impl LockManager for NoLocks {
    async fn acquire(&self, _key: &str, _wait: Duration) -> Result<Box<dyn Lease>, LockError> {
        Ok(Box::new(NoLease))
    }
}
