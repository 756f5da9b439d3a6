//! The fences of attempts: a key per attempt, without which it cannot commit.

use slipway_kv::{Do, KvError, Outcome, Sessions, Txn, When, once};

use super::{ledger::KvLedger, patience::failed};
use crate::StorageError;

/// What the fences hang on.
#[derive(Clone)]
pub enum Attempts {
    /// Nothing: they stay until they are used or cancelled, whatever becomes of who granted them. For coordinators: an
    /// attempt goes on when another coordinator takes over.
    OfCoordinator,
    /// The lease of this process: they end with it. For processes without a coordinator.
    OfProcess(Sessions),
}

/// The fence of an attempt, as a condition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fence(pub(super) When);

impl KvLedger {
    /// Grants an attempt: from now on it may commit, once. Granted again, it stays as it is.
    ///
    /// # Errors
    /// When the store does not answer, or refuses.
    pub async fn grant(&self, attempt: &str) -> Result<Fence, StorageError> {
        let key = self.keys.attempt(attempt);
        loop {
            let standing = self.standing().await?;
            let lease = match &self.attempts {
                Attempts::OfCoordinator => None,
                Attempts::OfProcess(sessions) => {
                    Some(self.patience.call(|| sessions.current()).await.map_err(failed)?.lease())
                }
            };
            let mut when = vec![When::Absent(key.clone()), standing.generation];
            when.extend(self.fences.conditions()?);
            let txn = Txn { when, then: vec![Do::Put(key.clone(), attempt.as_bytes().to_vec(), lease)] };
            match self.patience.call(|| once(&*self.kv, txn.clone())).await {
                Ok(Outcome::Done(created)) => return Ok(Fence(When::CreatedAt(key, created))),
                Ok(Outcome::Refused) | Err(KvError::Unknown(_)) => {
                    if let Some(fence) = self.granted(attempt).await? {
                        return Ok(fence);
                    }
                    self.check_fences().await?;
                    self.forget();
                }
                // The session is over, though it does not know yet: the next one is asked when it does.
                Err(KvError::LeaseGone) => self.end_session().await,
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// The fence of an attempt that was granted and neither used nor cancelled.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn granted(&self, attempt: &str) -> Result<Option<Fence>, StorageError> {
        let key = self.keys.attempt(attempt);
        let found = self.get(key.clone()).await?;
        Ok(found.map(|entry| Fence(When::CreatedAt(key, entry.created))))
    }

    /// Cancels an attempt: it cannot commit any more. One that committed, or was never granted, is no error.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn cancel(&self, attempt: &str) -> Result<(), StorageError> {
        loop {
            let txn = Txn { when: Vec::new(), then: vec![Do::Delete(self.keys.attempt(attempt))] };
            match self.write(txn).await? {
                Some(Outcome::Done(_)) => return Ok(()),
                Some(Outcome::Refused) => self.check_fences().await?,
                None => {}
            }
        }
    }

    /// All attempts that may still commit.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn all_granted(&self) -> Result<Vec<String>, StorageError> {
        let prefix = self.keys.attempts();
        let (entries, _) = self.patience.call(|| slipway_kv::list(&*self.kv, &prefix)).await.map_err(failed)?;
        Ok(entries.iter().filter_map(|entry| Some(entry.key.strip_prefix(&prefix)?.to_owned())).collect())
    }

    async fn end_session(&self) {
        if let Attempts::OfProcess(sessions) = &self.attempts {
            drop(sessions.close().await);
        }
    }
}
