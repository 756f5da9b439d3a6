//! Running builds: a key per build while it runs, on the lease of its process.

use std::{sync::Arc, time::Duration};

use slipway_kv::{Do, KvError, LeaseId, Outcome, Revision, Sessions, Txn, When, once};

use super::{ledger::KvLedger, patience::failed};
use crate::StorageError;

/// How often a key is put anew whose lease ends at once.
const MAX_ROUNDS: u32 = 10;

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

impl KvLedger {
    /// A build whose process has no access to the store runs: its key stands for `ttl` from now on. Answers since when
    /// it has stood without a gap.
    ///
    /// # Errors
    /// When the store does not answer, or [`StorageError::Fenced`].
    pub async fn keep_live(&self, build: &str, note: &str, ttl: Duration) -> Result<Revision, StorageError> {
        let key = self.keys.live(build);
        for _ in 0..MAX_ROUNDS {
            if let Some(entry) = self.get(key.clone()).await? {
                let Some(lease) = entry.lease else { return Ok(entry.created) };
                match self.patience.call(|| self.kv.renew(lease)).await {
                    Ok(_) => return Ok(entry.created),
                    // Its key goes with it.
                    Err(KvError::LeaseGone) => continue,
                    Err(error) => return Err(failed(error)),
                }
            }
            let lease = self.patience.call(|| self.kv.grant(ttl)).await.map_err(failed)?.lease;
            let then = vec![Do::Put(key.clone(), note.as_bytes().to_vec(), Some(lease))];
            match self.write(Txn { when: vec![When::Absent(key.clone())], then }).await? {
                Some(Outcome::Done(created)) => return Ok(created),
                Some(Outcome::Refused) => {
                    self.check_fences().await?;
                    self.revoke(lease).await;
                }
                None => {}
            }
        }
        Err(StorageError::Unavailable(format!("note that build {build} runs: its lease ends at once; build again")))
    }

    /// A build has ended that was kept by [`keep_live`](Self::keep_live). Answers since when its key had stood.
    ///
    /// # Errors
    /// As there.
    pub async fn end_live(&self, build: &str) -> Result<Option<Revision>, StorageError> {
        let key = self.keys.live(build);
        let Some(entry) = self.get(key.clone()).await? else { return Ok(None) };
        let when = vec![When::CreatedAt(key.clone(), entry.created)];
        if self.write(Txn { when, then: vec![Do::Delete(key)] }).await? == Some(Outcome::Refused) {
            self.check_fences().await?;
        }
        if let Some(lease) = entry.lease {
            self.revoke(lease).await;
        }
        Ok(Some(entry.created))
    }

    /// Ends a lease that nobody needs; without it, it ends by itself.
    async fn revoke(&self, lease: LeaseId) {
        if let Err(error) = self.kv.revoke(lease).await {
            tracing::debug!("end the lease of a build: {error}");
        }
    }
}
