//! A state that follows the store: listed once, then kept up to date by a watch; listed again when the watch breaks or
//! the store has forgotten what it would begin with.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures::StreamExt as _;
use tokio::time::sleep;

use crate::{Change, Changes, Entry, Kv, KvError, Revision, list};

/// Pauses between attempts at a store that does not answer.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// All entries under a prefix, as the store had them at [`revision`](Self::revision).
pub struct Watched {
    kv: Arc<dyn Kv>,
    prefix: String,
    state: BTreeMap<String, Entry>,
    revision: Revision,
    changes: Option<Changes>,
    /// Changes that a listing showed and that were not handed out yet.
    waiting: VecDeque<Change>,
}

impl Watched {
    /// Lists `prefix` and follows it from there.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn open(kv: Arc<dyn Kv>, prefix: &str) -> Result<Self, KvError> {
        let (entries, revision) = list(&*kv, prefix).await?;
        let state = entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
        Ok(Self { kv, prefix: prefix.to_owned(), state, revision, changes: None, waiting: VecDeque::new() })
    }

    /// The entries by key.
    pub fn state(&self) -> &BTreeMap<String, Entry> {
        &self.state
    }

    /// As of when.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Waits for the next changes; [`state`](Self::state) has them when it returns. A store that is away is waited for.
    /// What happened in between is told as the difference: of several changes of one key, the last. May be dropped
    /// and called again.
    ///
    /// # Errors
    /// Only what waiting does not cure: the store refuses.
    pub async fn next(&mut self) -> Result<Vec<Change>, KvError> {
        let mut pause = FIRST_PAUSE;
        loop {
            if !self.waiting.is_empty() {
                return Ok(self.waiting.drain(..).collect());
            }
            match self.step().await {
                Ok(changes) if changes.is_empty() => pause = FIRST_PAUSE,
                Ok(changes) => return Ok(changes),
                Err(KvError::Unknown(why) | KvError::Unavailable(why)) => {
                    tracing::debug!("following `{}` is interrupted: {why}", self.prefix);
                    sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn step(&mut self) -> Result<Vec<Change>, KvError> {
        let changes = match &mut self.changes {
            Some(changes) => changes,
            None => {
                let begun = self.kv.watch(&self.prefix, self.revision).await?;
                self.changes.insert(begun)
            }
        };
        let next = changes.next().await.unwrap_or_else(|| Err(KvError::Unavailable("the watch ended".to_owned())));
        match next {
            Ok(changed) => {
                self.revision = self.revision.max(changed.revision);
                changed.changes.iter().for_each(|change| apply(&mut self.state, change));
                Ok(changed.changes)
            }
            Err(KvError::Compacted) => {
                self.changes = None;
                self.list_again().await.map(|()| Vec::new())
            }
            Err(error) => {
                self.changes = None;
                Err(error)
            }
        }
    }

    async fn list_again(&mut self) -> Result<(), KvError> {
        let (entries, revision) = list(&*self.kv, &self.prefix).await?;
        let fresh: BTreeMap<String, Entry> = entries.into_iter().map(|entry| (entry.key.clone(), entry)).collect();
        let gone = self.state.keys().filter(|key| !fresh.contains_key(*key)).cloned().map(Change::Deleted);
        let put = fresh.values().filter(|entry| self.state.get(&entry.key) != Some(entry)).cloned().map(Change::Put);
        self.waiting = gone.chain(put).collect();
        self.state = fresh;
        self.revision = revision;
        Ok(())
    }
}

fn apply(state: &mut BTreeMap<String, Entry>, change: &Change) {
    match change {
        Change::Put(entry) => drop(state.insert(entry.key.clone(), entry.clone())),
        Change::Deleted(key) => drop(state.remove(key)),
    }
}
