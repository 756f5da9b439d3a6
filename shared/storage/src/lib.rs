//! Stages in their places, and the publish protocol (`docs/reference/publish.md`).
//!
//! Reading order: this file (the traits), [`repo`] (stages in a registry) on [`tags`] (its tags) and [`index`] (what is kept
//! of them between builds), [`beside`] (repositories beside the primary one), [`ledger`] (who was
//! first) and [`journal`] (on one host), [`kv`] (on many), [`publish`] (look → verify → commit → tag), [`records`] (what cleanup and
//! imports will need) and the [`managed`] images under the [`names`] that werf gives them; [`transfer`] (stages from one repository to another); [`cleanup`] (less of a repository). [`memory`] and [`conformance`] are for tests.

pub mod asked;
pub mod beside;
pub mod cleanup;
pub mod conformance;
pub mod index;
pub mod journal;
pub mod kv;
pub mod ledger;
pub mod ledger_records;
pub mod managed;
pub mod memory;
pub mod names;
mod notices;
pub mod publish;
pub mod records;
pub mod repo;
pub mod tags;
mod tiny;
pub mod transfer;

pub use beside::{Beside, CacheRepo, CustomTags, FinalRepo, Indexes, SecondaryRepo};
pub use index::IndexDir;
pub use journal::JournalLedger;
pub use ledger::{Committed, Intent, Ledger, Seen, Winners};
pub use ledger_records::{LedgerRecords, Rejects};
pub use managed::ManagedImages;
pub use memory::MemoryStorage;
pub use publish::{Begun, HostPublisher, Judge, Publisher, Recovered, Remaining, Verdict};
pub use records::{ImportKey, MemoryRecords, Records, RepoRecords};
pub use repo::RepoStorage;

use async_trait::async_trait;
use slipway_digest::{Millis, StageDigest};
use slipway_oci::{ImageAt, Platform};
use slipway_stages::StageRecord;

/// What can go wrong with a storage.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// A stage's image or one of its blobs is not there.
    #[error("{0} is no longer there")]
    Gone(String),
    /// What is stored under a stage's name is no stage.
    #[error("{what} is broken: {why}")]
    Broken {
        /// The image.
        what: String,
        /// What is wrong with it.
        why: String,
    },
    /// The storage refuses: credentials or rights are missing.
    #[error("{0}")]
    Denied(String),
    /// Who asks may not write any more: somebody else has taken over.
    #[error("{0}")]
    Fenced(String),
    /// The storage does not answer.
    #[error("{0}")]
    Unavailable(String),
}

impl StorageError {
    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Gone(_) | Self::Unavailable(_) => true,
            Self::Broken { .. } | Self::Denied(_) | Self::Fenced(_) => false,
        }
    }
}

/// Stages in one place. Live: [`RepoStorage`], the local storages of the backends; test: memory.
#[async_trait]
pub trait StageStorage: Send + Sync {
    /// What users call the place: the repository, or `local docker storage`.
    fn name(&self) -> String;
    /// All stages of a digest and platform, oldest first. `fresh`: from the place itself, not from what is remembered
    /// of it. What is broken is left out with a warning.
    async fn find(
        &self,
        digest: StageDigest,
        platform: &Platform,
        fresh: bool,
    ) -> Result<Vec<StageRecord>, StorageError>;
    /// Gives a committed stage its tag; done again, it does nothing. Never moves a tag of another image.
    async fn tag(&self, stage: &StageRecord) -> Result<(), StorageError>;
    /// Checks that the image and all its blobs are there.
    async fn verify(&self, image: &ImageAt) -> Result<(), StorageError>;
    /// Those of these images that are not there as a whole, with what is missing. A layer that several share is looked for
    /// once, and a config that was read is known to be there.
    async fn not_whole(&self, images: &[ImageAt]) -> Result<Vec<(ImageAt, String)>, StorageError> {
        let mut lost = Vec::new();
        for image in images {
            match self.verify(image).await {
                Ok(()) => {}
                Err(error @ (StorageError::Gone(_) | StorageError::Broken { .. })) => {
                    lost.push((image.clone(), error.to_string()));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(lost)
    }
    /// The latest timestamp under which anything of the digest stands, whether or not it is a stage, as the last
    /// listing showed it. `None` when the place knows no more than [`find`](Self::find) tells.
    async fn latest(&self, digest: StageDigest) -> Result<Option<Millis>, StorageError> {
        let _ = digest;
        Ok(None)
    }
    /// What users should know of the place and were not told yet.
    fn untold(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A built stage that asks to be the stored one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Candidate {
    /// All of the record but its timestamp, which the commit gives (the one inside is ignored).
    pub record: StageRecord,
    /// The timestamp must be greater than this: the parent's.
    pub not_before: Millis,
    /// Which attempt built it.
    pub attempt: String,
}
