//! Publishing: how a built stage becomes the stored one.
//!
//! Reading order: this file, [`host`] (on one host), [`kv::publish`](crate::kv::publish) (on many),
//! [`asked`](crate::asked) (through somebody who does).

pub mod host;

use std::sync::Arc;

use async_trait::async_trait;
use slipway_digest::StageId;
use slipway_locks::LockManager;
use slipway_oci::Repo;
use slipway_process::Clock;
use slipway_registry::Client;
use slipway_stages::StageRecord;

pub use host::{Begun, FAILPOINTS, HostPublisher, Remaining};

use crate::{Candidate, Ledger, StageStorage, StorageError, asked::AskedPublisher, kv::SharedPublisher};

/// Decides which of the stored stages is suitable: the oldest one whose commits are ancestors of the one being built.
#[async_trait]
pub trait Judge: Send + Sync {
    /// The suitable one of `candidates`, which are of one digest and platform, oldest first.
    async fn choose(&self, candidates: &[StageRecord]) -> Result<Option<StageRecord>, StorageError>;
    /// Those of `candidates` of which it cannot be known here whether they are suitable: their history is cut.
    async fn unknown(&self, candidates: &[StageRecord]) -> Result<Vec<StageId>, StorageError> {
        let _ = candidates;
        Ok(Vec::new())
    }
}

/// Which stage is the stored one now. Either way it is committed, tagged, and may be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The one that was to be published.
    Won(StageRecord),
    /// An earlier one. The new image is not used by anybody.
    Lost(StageRecord),
}

impl Verdict {
    /// The stored stage.
    pub fn stage(&self) -> &StageRecord {
        match self {
            Self::Won(stage) | Self::Lost(stage) => stage,
        }
    }
}

/// What became of the intents that killed processes had left.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Recovered {
    /// Stages that have their tag now.
    pub tagged: usize,
    /// Commits that were taken back: their images are lost, or others have been stored since.
    pub dropped: usize,
    /// Intents that are still there: their publishers live, or the storage did not answer.
    pub kept: usize,
}

/// Publishes the stages of one storage.
#[derive(Clone)]
pub struct Publisher(Way);

/// Who else publishes to the storage.
#[derive(Clone)]
enum Way {
    Host(HostPublisher),
    Shared(SharedPublisher),
    Asked(AskedPublisher),
}

impl Publisher {
    /// A publisher for processes of this host; all that publish to `storage` must use the same ledger and locks.
    pub fn new(
        storage: Arc<dyn StageStorage>,
        ledger: Arc<dyn Ledger>,
        locks: Arc<dyn LockManager>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self(Way::Host(HostPublisher::new(storage, ledger, locks, clock)))
    }

    /// Lets `client` hold the manifests of images in `repo` until they are published. Where others finish what this
    /// process leaves, it does nothing: they see no more of an image than the repository has.
    #[must_use]
    pub fn holding(self, client: Client, repo: &Repo) -> Self {
        match self.0 {
            Way::Host(publisher) => Self(Way::Host(publisher.holding(client, repo))),
            way @ (Way::Shared(_) | Way::Asked(_)) => Self(way),
        }
    }

    /// A publisher among others on many hosts.
    pub fn shared(publisher: SharedPublisher) -> Self {
        Self(Way::Shared(publisher))
    }

    /// A publisher whose ledger another process keeps.
    pub fn asked(publisher: AskedPublisher) -> Self {
        Self(Way::Asked(publisher))
    }

    /// Lets an attempt commit, once; a coordinator says so of each result that it takes. Where attempts need no leave,
    /// it does nothing.
    ///
    /// # Errors
    /// [`StorageError::Fenced`] when this process does not lead.
    pub async fn admit(&self, attempt: &str) -> Result<(), StorageError> {
        match &self.0 {
            Way::Host(_) | Way::Asked(_) => Ok(()),
            Way::Shared(publisher) => publisher.ledger().grant(attempt).await.map(drop),
        }
    }

    /// Lets an attempt not commit any more. One that has committed is no error.
    ///
    /// # Errors
    /// As [`admit`](Self::admit).
    pub async fn dismiss(&self, attempt: &str) -> Result<(), StorageError> {
        match &self.0 {
            Way::Host(_) | Way::Asked(_) => Ok(()),
            Way::Shared(publisher) => publisher.ledger().cancel(attempt).await,
        }
    }

    /// Makes the candidate, whose image is in the storage without a tag, the stored stage, unless `judge` finds another
    /// one that is suitable.
    ///
    /// # Errors
    /// [`StorageError::Gone`] when the candidate's image is not there (any more): it must be uploaded again;
    /// [`StorageError::Fenced`] when its attempt may not commit.
    pub async fn publish(&self, candidate: &Candidate, judge: &dyn Judge) -> Result<Verdict, StorageError> {
        match &self.0 {
            Way::Host(publisher) => publisher.publish(candidate, judge).await,
            Way::Shared(publisher) => publisher.publish(candidate, judge).await,
            Way::Asked(publisher) => publisher.publish(candidate, judge).await,
        }
    }

    /// The same, as far as a stage is committed and what stands on it may be built. Where others finish what this process leaves,
    /// it goes to the end.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub async fn begin(&self, candidate: Candidate, judge: Arc<dyn Judge>) -> Result<Begun, StorageError> {
        match &self.0 {
            Way::Host(publisher) => publisher.begin(candidate, judge).await,
            Way::Shared(_) | Way::Asked(_) => {
                self.publish(&candidate, judge.as_ref()).await.map(|verdict| Begun::Done(Box::new(verdict)))
            }
        }
    }

    /// Finishes or takes back what killed processes had committed but not tagged. To be called on start; a bounded
    /// number is dealt with.
    ///
    /// # Errors
    /// When the ledger or the locks cannot be used; a storage that does not answer only keeps the intents.
    pub async fn recover(&self) -> Result<Recovered, StorageError> {
        match &self.0 {
            Way::Host(publisher) => publisher.recover().await,
            Way::Shared(publisher) => publisher.recover().await,
            // Who keeps the ledger does so.
            Way::Asked(_) => Ok(Recovered::default()),
        }
    }
}
