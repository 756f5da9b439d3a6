//! Locks in a shared store, between the processes of many hosts.
//!
//! Who wants a lock puts a key of his own under it, on the lease of his process, and has it when no older key is there.
//! Until then he watches the key just before his: one waiter wakes up per release, in the order in which they came.
//! The key's creation is the lock's fence: it grows from holder to holder. A process that dies lets go when its lease
//! ends; one that is stopped longer than its lease goes on unaware, so nothing that must be safe rests on this.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::StreamExt as _;
use slipway_digest::Encoder;
use slipway_kv::{Do, Entry, Kv, KvError, Outcome, Revision, Session, Sessions, Txn, When, get, list, once};
use slipway_process::{Tasks, random_id};
use tokio::time::{Instant, timeout_at};

use crate::{Lease, LockError, LockManager};

/// Who waits longer than this is told for whom.
const SILENCE: Duration = Duration::from_secs(1);
/// Longest name of a lock that is kept for messages, in bytes.
const MAX_NOTE: usize = 300;

/// Locks in a store. Clones and other handles on the same store exclude each other.
#[derive(Clone)]
pub struct KvLocks {
    kv: Arc<dyn Kv>,
    sessions: Sessions,
    /// Who we are, for messages of others.
    holder: String,
    tasks: Tasks,
}

/// A key in the queue of a lock.
struct Place {
    key: String,
    created: Revision,
    session: Arc<Session>,
}

impl KvLocks {
    /// Locks of `kv`, on the sessions of this process; `holder` tells others who has one: a host and a process.
    pub fn new(kv: Arc<dyn Kv>, sessions: Sessions, holder: &str) -> Self {
        Self { kv, sessions, holder: holder.to_owned(), tasks: Tasks::new() }
    }

    fn prefix(key: &str) -> String {
        format!("lock/{}/", Encoder::new("lock").text(key).finish())
    }

    /// Stands in line.
    async fn stand(&self, key: &str) -> Result<Place, KvError> {
        let own = format!("{}{}", Self::prefix(key), random_id());
        let session = self.sessions.current().await?;
        let name: String = key.chars().take(MAX_NOTE).collect();
        let note = format!("{}\n{name}", self.holder).into_bytes();
        let txn = Txn {
            when: vec![When::Absent(own.clone())],
            then: vec![Do::Put(own.clone(), note, Some(session.lease()))],
        };
        let created = match once(&*self.kv, txn).await {
            Ok(Outcome::Done(created)) => created,
            Ok(Outcome::Refused) | Err(KvError::Unknown(_)) => match get(&*self.kv, &own).await? {
                Some(entry) => entry.created,
                None => return Err(KvError::Unavailable("the place in the queue of a lock was not taken".to_owned())),
            },
            Err(error) => return Err(error),
        };
        Ok(Place { key: own, created, session })
    }

    /// Those who stand before a place, and the revision at which they do; the last of them is watched.
    async fn before(&self, prefix: &str, place: &Place) -> Result<(Option<Entry>, Revision), KvError> {
        let (mut queue, revision) = list(&*self.kv, prefix).await?;
        if !queue.iter().any(|entry| entry.key == place.key) {
            return Err(KvError::LeaseGone);
        }
        queue.retain(|entry| entry.created < place.created);
        Ok((queue.into_iter().max_by_key(|entry| entry.created), revision))
    }

    /// Waits until nobody stands before the place. `Some`: time is over, and who stands there.
    async fn wait(&self, key: &str, place: &Place, deadline: Instant) -> Result<Option<String>, KvError> {
        let prefix = Self::prefix(key);
        let mut tell_at = Some(Instant::now() + SILENCE);
        loop {
            let (predecessor, revision) = self.before(&prefix, place).await?;
            let Some(predecessor) = predecessor else { return Ok(None) };
            let holder = holder_of(&predecessor);
            let mut changes = self.kv.watch(&predecessor.key, revision).await?;
            loop {
                let until = tell_at.unwrap_or(deadline).min(deadline);
                match timeout_at(until, changes.next()).await {
                    // It went, or the watch broke: look who is there.
                    Ok(_) => break,
                    Err(_) if Instant::now() >= deadline => return Ok(Some(holder)),
                    Err(_) => {
                        tell_at = None;
                        tracing::info!("waiting for the lock `{key}`, which {holder} holds");
                    }
                }
            }
        }
    }

    /// Leaves the queue.
    async fn leave(kv: &dyn Kv, place: &Place) -> Result<(), KvError> {
        let when = vec![When::CreatedAt(place.key.clone(), place.created)];
        once(kv, Txn { when, then: vec![Do::Delete(place.key.clone())] }).await.map(drop)
    }

    async fn try_acquire(&self, key: &str, wait: Duration, deadline: Instant) -> Result<Box<dyn Lease>, Trouble> {
        let place = self.stand(key).await.map_err(Trouble::Store)?;
        // Dropped before it is had, the place is left, too.
        let lease = KvLease { kv: self.kv.clone(), place, tasks: self.tasks.clone() };
        match self.wait(key, &lease.place, deadline).await {
            Ok(None) if !lease.place.session.is_lost() => Ok(Box::new(lease)),
            Ok(None) => Err(Trouble::Store(KvError::LeaseGone)),
            Ok(Some(holder)) => {
                drop(Self::leave(&*self.kv, &lease.place).await);
                Err(Trouble::Lock(LockError::TimedOut { key: key.to_owned(), holder, waited: wait }))
            }
            Err(error) => Err(Trouble::Store(error)),
        }
    }
}

/// Why an attempt did not take the lock.
enum Trouble {
    Lock(LockError),
    Store(KvError),
}

#[async_trait]
impl LockManager for KvLocks {
    async fn acquire(&self, key: &str, wait: Duration) -> Result<Box<dyn Lease>, LockError> {
        // A wait longer than the clock can count is a wait of a year.
        let deadline = Instant::now() + wait.min(Duration::from_secs(365 * 24 * 3600));
        let mut again = true;
        loop {
            match self.try_acquire(key, wait, deadline).await {
                Ok(lease) => return Ok(lease),
                Err(Trouble::Lock(error)) => return Err(error),
                // The lease ended under way: once more, on another.
                Err(Trouble::Store(KvError::LeaseGone)) if again => {
                    again = false;
                    drop(self.sessions.close().await);
                }
                Err(Trouble::Store(error)) => {
                    return Err(LockError::Unavailable(format!("take the lock `{key}`: {error}")));
                }
            }
        }
    }
}

fn holder_of(entry: &Entry) -> String {
    let note = String::from_utf8_lossy(&entry.value);
    note.lines().next().filter(|line| !line.is_empty()).unwrap_or("another process").to_owned()
}

/// A lock that is held, or a place in its queue.
struct KvLease {
    kv: Arc<dyn Kv>,
    place: Place,
    tasks: Tasks,
}

impl std::fmt::Debug for KvLease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KvLease").field("fence", &self.place.created).finish()
    }
}

impl Lease for KvLease {
    fn fence(&self) -> Option<u64> {
        u64::try_from(self.place.created.0).ok()
    }
}

impl Drop for KvLease {
    fn drop(&mut self) {
        let place =
            Place { key: self.place.key.clone(), created: self.place.created, session: self.place.session.clone() };
        let kv = self.kv.clone();
        // If it does not arrive, the key goes with the lease.
        drop(self.tasks.spawn(async move { KvLocks::leave(&*kv, &place).await }));
    }
}

#[cfg(test)]
mod tests;
