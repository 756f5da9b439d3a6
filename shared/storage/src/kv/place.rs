//! What a ledger of many hosts needs of the place where the stages are.

use async_trait::async_trait;
use slipway_digest::{Millis, StageId};
use slipway_oci::ImageAt;
use slipway_stages::StageRecord;

use crate::{StageStorage, StorageError};

/// All stages that a place lists.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Listing {
    /// Stages by their tags, sorted.
    pub stages: Vec<StageId>,
    /// Those that are marked as rejected.
    pub rejected: Vec<StageId>,
}

impl Listing {
    /// The latest timestamp in it.
    pub fn latest(&self) -> Option<Millis> {
        self.stages.iter().chain(&self.rejected).map(|id| id.stamp).max()
    }
}

/// What is under a stage's tag.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reading {
    /// A stage, and the attempt that its manifest names.
    Stage(Box<StageRecord>, Option<String>),
    /// No usable stage, and why.
    NoStage(String),
    /// Nothing.
    Absent,
}

/// A storage whose stages a ledger can record. Live: [`RepoStorage`](crate::RepoStorage); test:
/// [`MemoryStorage`](crate::MemoryStorage).
#[async_trait]
pub trait StagePlace: StageStorage {
    /// Lists everything. Expensive: once, when a repository is attached, and for imports.
    async fn list(&self) -> Result<Listing, StorageError>;
    /// Sees that the tag of a stage that was used stands. Should somebody have deleted the tag alone, it is written again.
    ///
    /// # Errors
    /// As [`tag`](StageStorage::tag).
    async fn stands(&self, stage: &StageRecord) -> Result<(), StorageError> {
        self.tag(stage).await
    }
    /// Reads what is under a stage's tag.
    async fn read(&self, id: StageId) -> Result<Reading, StorageError>;
    /// What an untagged image says of itself, which claims to be this stage, and the attempt that its manifest names.
    ///
    /// # Errors
    /// [`StorageError::Gone`] when there is no such image, [`StorageError::Broken`] when it is no stage of that digest.
    async fn identify(&self, claimed: &StageRecord) -> Result<(StageRecord, Option<String>), StorageError>;
    /// Stores the same image once more, untagged, with a manifest of its own that names `attempt`. Config and layers are
    /// not copied.
    ///
    /// # Errors
    /// [`StorageError::Gone`] when there is no such image.
    async fn copy(&self, image: &ImageAt, attempt: &str) -> Result<ImageAt, StorageError>;
    /// Marks a stage as rejected for whoever lists the place, as werf does.
    async fn mark_rejected(&self, id: StageId, why: &str) -> Result<(), StorageError>;
}
