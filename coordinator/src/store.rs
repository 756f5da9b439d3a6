//! Builds in the shared store: what a new leader goes on with.
//!
//! `build/NAME` says what a build is and how far it is; a request or a result that is too long for one value lies in
//! pieces beside it, which are written before and deleted after it. Every write is fenced by the leader's term.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use slipway_kv::{Do, Kv, KvError, LeaseId, Outcome, Txn, When};
use slipway_process::random_id;
use slipway_protocol::{BuildName, BuildSummary};

const BUILDS: &str = "build/";
const PIECES: &str = "piece/";
const LIVE: &str = "live/";
const CANCELLED: &str = "cancelled/";
/// Longest text that stands in the record itself, and longest piece, in bytes.
const PIECE: usize = 256 * 1024;
/// How often a write is tried again whose outcome is unknown or that did not reach the store.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(200);

/// Why a write was not made.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum StoreError {
    /// Another coordinator leads.
    #[error("this coordinator does not lead any more")]
    Deposed,
    /// The store does not answer, or refuses.
    #[error("{0}")]
    Unavailable(String),
}

/// A text in the store.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Text {
    Here(String),
    Pieces { id: String, number: usize },
}

/// A build as it is stored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// What is told of it.
    pub(crate) summary: BuildSummary,
    /// Checksum of what was submitted: equal submits are one build.
    pub(crate) fingerprint: String,
    /// Whether somebody has given it up. A key of its own, so that it never overwrites how the build ended.
    #[serde(skip)]
    pub(crate) cancelled: bool,
    request: Text,
    result: Option<Text>,
}

impl Kept {
    /// The same without texts, which are read from the store when they are asked for: many builds are known at once.
    pub(crate) fn light(self) -> Self {
        Self { request: self.request.light(), result: self.result.map(Text::light), ..self }
    }
}

impl Text {
    fn light(self) -> Self {
        match self {
            Self::Here(_) => Self::Here(String::new()),
            Self::Pieces { .. } => self,
        }
    }
}

/// How a submit ended.
#[derive(Debug)]
pub(crate) enum Created {
    /// The build is new.
    New(Box<Kept>),
    /// There is a build of this name.
    There(Box<Kept>),
}

/// The builds, written by the leader of one term.
#[derive(Clone)]
pub(crate) struct Store {
    kv: Arc<dyn Kv>,
    fence: Vec<When>,
    lease: LeaseId,
    /// Counts writes that are refused because of the fence.
    refused: Arc<AtomicU64>,
}

impl Store {
    /// The store as a leader has it: everything is written under the conditions of `fence`; `lease` ends with the term.
    pub(crate) fn new(kv: Arc<dyn Kv>, fence: Vec<When>, lease: LeaseId) -> Self {
        Self { kv, fence, lease, refused: Arc::default() }
    }

    /// The same, counting in `refused` the writes that are refused because of the fence.
    pub(crate) fn counting(self, refused: Arc<AtomicU64>) -> Self {
        Self { refused, ..self }
    }

    /// All builds.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) async fn list(&self) -> Result<Vec<Kept>, StoreError> {
        let (given_up, _) = slipway_kv::list(&*self.kv, CANCELLED).await.map_err(unavailable)?;
        let given_up: HashSet<&str> = given_up.iter().filter_map(|entry| entry.key.strip_prefix(CANCELLED)).collect();
        let (entries, _) = slipway_kv::list(&*self.kv, BUILDS).await.map_err(unavailable)?;
        let read = |entry: slipway_kv::Entry| match serde_json::from_slice::<Kept>(&entry.value) {
            Ok(kept) => Some(Kept { cancelled: given_up.contains(kept.summary.build.as_str()), ..kept }),
            Err(error) => {
                tracing::warn!("the record {} of a build cannot be read; it is left out: {error}", entry.key);
                None
            }
        };
        Ok(entries.into_iter().filter_map(read).collect())
    }

    /// Stores a build unless there is one of its name.
    ///
    /// # Errors
    /// When it is not known to be stored.
    pub(crate) async fn create(
        &self,
        summary: BuildSummary,
        fingerprint: String,
        request: String,
    ) -> Result<Created, StoreError> {
        let key = key(&summary.build);
        if let Some(kept) = self.get(&key).await? {
            return Ok(Created::There(Box::new(kept)));
        }
        let name = summary.build.clone();
        let request = self.put_text(&name, &request).await?;
        let kept = Kept { summary, fingerprint, cancelled: false, request, result: None };
        let live = Do::Put(format!("{LIVE}{name}"), Vec::new(), Some(self.lease));
        let txn = self.txn(Some(When::Absent(key.clone())), vec![Do::put(key.clone(), encode(&kept)), live]);
        match self.write(txn).await {
            Ok(()) => return Ok(Created::New(Box::new(kept))),
            Err(StoreError::Deposed) => {}
            Err(error) => return Err(error),
        }
        // Refused: there is one meanwhile (it may be ours, when a reply was lost), or the term is over.
        match self.get(&key).await? {
            Some(there) => {
                if there.request != kept.request {
                    self.drop_text(&name, &kept.request).await?;
                    return Ok(Created::There(Box::new(there)));
                }
                Ok(Created::New(Box::new(there)))
            }
            None => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                Err(StoreError::Deposed)
            }
        }
    }

    /// Marks a build that goes on in this term.
    ///
    /// # Errors
    /// When that is not known to be stored.
    pub(crate) async fn revive(&self, name: &BuildName) -> Result<(), StoreError> {
        self.write(self.txn(None, vec![Do::Put(format!("{LIVE}{name}"), Vec::new(), Some(self.lease))])).await
    }

    /// What was submitted.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) async fn request(&self, name: &BuildName) -> Result<String, StoreError> {
        let missing = || StoreError::Unavailable(format!("build {name} is not stored"));
        let kept = self.get(&key(name)).await?.ok_or_else(missing)?;
        self.get_text(name, &kept.request).await
    }

    /// How it ended; `None` when it has not.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) async fn result(&self, name: &BuildName) -> Result<Option<String>, StoreError> {
        match self.get(&key(name)).await?.and_then(|kept| kept.result) {
            None => Ok(None),
            Some(text) => self.get_text(name, &text).await.map(Some),
        }
    }

    /// Remembers that a build was given up: should the leader change, it is not taken up again.
    ///
    /// # Errors
    /// When that is not known to be stored.
    pub(crate) async fn cancel(&self, name: &BuildName) -> Result<(), StoreError> {
        self.write(self.txn(None, vec![Do::put(format!("{CANCELLED}{name}"), Vec::new())])).await
    }

    /// Stores how a build ended.
    ///
    /// # Errors
    /// When that is not known to be stored.
    pub(crate) async fn finish(&self, kept: &Kept, summary: BuildSummary, result: &str) -> Result<Kept, StoreError> {
        let name = summary.build.clone();
        let result = Some(self.put_text(&name, result).await?);
        // What was submitted is not needed any more.
        let ended = Kept { summary, result, request: Text::Here(String::new()), ..kept.clone() };
        let mut done = vec![Do::put(key(&name), encode(&ended))];
        done.extend(marks(&name));
        self.write(self.txn(None, done)).await?;
        self.drop_text(&name, &kept.request).await?;
        Ok(ended)
    }

    /// Forgets a build.
    ///
    /// # Errors
    /// When that is not known to be stored.
    pub(crate) async fn forget(&self, kept: &Kept) -> Result<(), StoreError> {
        let name = &kept.summary.build;
        self.write(self.txn(None, std::iter::once(Do::Delete(key(name))).chain(marks(name)).collect())).await?;
        for text in std::iter::once(&kept.request).chain(&kept.result) {
            self.drop_text(name, text).await?;
        }
        Ok(())
    }

    /// Deletes pieces that no build needs: a leader that ended in the middle of a submit leaves some.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) async fn sweep(&self, builds: &[Kept]) -> Result<(), StoreError> {
        let (entries, _) = slipway_kv::list(&*self.kv, PIECES).await.map_err(unavailable)?;
        let used: HashSet<String> = builds
            .iter()
            .flat_map(|kept| std::iter::once(&kept.request).chain(&kept.result).map(|text| (&kept.summary.build, text)))
            .filter_map(|(name, text)| match text {
                Text::Here(_) => None,
                Text::Pieces { id, .. } => Some(format!("{PIECES}{name}/{id}/")),
            })
            .collect();
        for entry in entries {
            let owner = entry.key.rfind('/').map_or("", |end| &entry.key[..=end]);
            if !used.contains(owner) {
                self.write(self.txn(None, vec![Do::Delete(entry.key.clone())])).await?;
            }
        }
        Ok(())
    }

    async fn put_text(&self, name: &BuildName, text: &str) -> Result<Text, StoreError> {
        if text.len() <= PIECE {
            return Ok(Text::Here(text.to_owned()));
        }
        let id = random_id();
        let pieces: Vec<&[u8]> = text.as_bytes().chunks(PIECE).collect();
        for (number, piece) in pieces.iter().enumerate() {
            self.write(self.txn(None, vec![Do::put(piece_key(name, &id, number), *piece)])).await?;
        }
        Ok(Text::Pieces { id, number: pieces.len() })
    }

    async fn get_text(&self, name: &BuildName, text: &Text) -> Result<String, StoreError> {
        let (id, number) = match text {
            Text::Here(text) => return Ok(text.clone()),
            Text::Pieces { id, number } => (id, *number),
        };
        let missing = || StoreError::Unavailable(format!("a part of what is stored of build {name} is missing"));
        let mut bytes = Vec::new();
        for index in 0..number {
            let entry = slipway_kv::get(&*self.kv, &piece_key(name, id, index)).await.map_err(unavailable)?;
            bytes.extend(entry.ok_or_else(missing)?.value);
        }
        String::from_utf8(bytes).map_err(|_| missing())
    }

    async fn drop_text(&self, name: &BuildName, text: &Text) -> Result<(), StoreError> {
        let Text::Pieces { id, number } = text else { return Ok(()) };
        for index in 0..*number {
            self.write(self.txn(None, vec![Do::Delete(piece_key(name, id, index))])).await?;
        }
        Ok(())
    }

    async fn get(&self, key: &str) -> Result<Option<Kept>, StoreError> {
        let Some(entry) = slipway_kv::get(&*self.kv, key).await.map_err(unavailable)? else { return Ok(None) };
        let broken = |error| StoreError::Unavailable(format!("the record {key} of a build cannot be read: {error}"));
        serde_json::from_slice(&entry.value).map(Some).map_err(broken)
    }

    fn txn(&self, when: Option<When>, then: Vec<Do>) -> Txn {
        Txn { when: self.fence.iter().cloned().chain(when).collect(), then }
    }

    /// Writes, again and again for a second or so: each of these writes may be made twice.
    async fn write(&self, txn: Txn) -> Result<(), StoreError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match slipway_kv::once(&*self.kv, txn.clone()).await {
                Ok(Outcome::Done(_)) => return Ok(()),
                Ok(Outcome::Refused) => {
                    // With more conditions than the fence it is not known which of them did not hold.
                    if txn.when == self.fence {
                        self.refused.fetch_add(1, Ordering::Relaxed);
                    }
                    return Err(StoreError::Deposed);
                }
                Err(KvError::LeaseGone) => return Err(StoreError::Deposed),
                Err(error) if error.is_retryable() && tries < TRIES => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(unavailable(error)),
            }
        }
    }
}

/// What stands beside the record of a build that is not over.
fn marks(name: &BuildName) -> [Do; 2] {
    [Do::Delete(format!("{LIVE}{name}")), Do::Delete(format!("{CANCELLED}{name}"))]
}

fn key(name: &BuildName) -> String {
    format!("{BUILDS}{name}")
}

fn piece_key(name: &BuildName, id: &str, number: usize) -> String {
    format!("{PIECES}{name}/{id}/{number:06}")
}

fn encode(kept: &Kept) -> Vec<u8> {
    serde_json::to_vec(kept).expect("a record has only keys that are text")
}

fn unavailable(error: KvError) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

#[cfg(test)]
mod tests;
