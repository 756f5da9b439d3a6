//! Running builds: a key per build while it runs, on the lease of its process.

use std::sync::Arc;

use slipway_kv::{Do, KvError, Outcome, Sessions, Txn, When, once};

use super::{ledger::KvLedger, patience::failed};
use crate::StorageError;

/// Tells the ledger of builds that run in this process.
#[derive(Clone)]
pub struct LiveBuilds {
    ledger: Arc<KvLedger>,
    sessions: Sessions,
}

/// A build that runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LiveBuild {
    key: String,
    there: When,
}

impl LiveBuilds {
    /// Builds on the sessions of this process.
    pub fn new(ledger: Arc<KvLedger>, sessions: Sessions) -> Self {
        Self { ledger, sessions }
    }

    /// A build of this id begins; `note` says to operators what it is, and holds no secret.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn begin(&self, build: &str, note: &str) -> Result<LiveBuild, StorageError> {
        let key = self.ledger.keys.live(build);
        loop {
            let session = self.ledger.patience.call(|| self.sessions.current()).await.map_err(failed)?;
            let put = Do::Put(key.clone(), note.as_bytes().to_vec(), Some(session.lease()));
            let txn = Txn { when: vec![When::Absent(key.clone())], then: vec![put] };
            let created = match self.ledger.patience.call(|| once(&*self.ledger.kv, txn.clone())).await {
                Ok(Outcome::Done(created)) => created,
                Ok(Outcome::Refused) | Err(KvError::Unknown(_)) => match self.ledger.get(key.clone()).await? {
                    Some(entry) => entry.created,
                    None => continue,
                },
                Err(KvError::LeaseGone) => {
                    drop(self.sessions.close().await);
                    continue;
                }
                Err(error) => return Err(failed(error)),
            };
            return Ok(LiveBuild { key: key.clone(), there: When::CreatedAt(key, created) });
        }
    }

    /// A build ends. Whether its key was there all the time: if not, stages that it used may have been cleaned up
    /// meanwhile, and must be verified before it may be said that it succeeded.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn end(&self, build: &LiveBuild) -> Result<bool, StorageError> {
        let txn = Txn { when: vec![build.there.clone()], then: vec![Do::Delete(build.key.clone())] };
        match self.ledger.patience.call(|| once(&*self.ledger.kv, txn.clone())).await {
            Ok(Outcome::Done(_)) => Ok(true),
            // Unknown counts as gone: verifying once too often does no harm.
            Ok(Outcome::Refused) | Err(KvError::Unknown(_)) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }
}
