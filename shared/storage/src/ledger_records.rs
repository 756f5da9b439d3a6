//! Records beside stages whose fate a ledger decides.

use std::sync::Arc;

use async_trait::async_trait;
use slipway_digest::{Checksum, CommitId, StageId};
use slipway_oci::Repo;

use crate::{ImportKey, Records, StorageError};

/// Takes stages out of use.
#[async_trait]
pub trait Rejects: Send + Sync {
    /// As [`Records::reject`]; `false` also when the stage's image is not lost.
    async fn reject(&self, stage: StageId, why: &str) -> Result<bool, StorageError>;
}

/// Records, whose rejections go through a ledger.
#[derive(Clone)]
pub struct LedgerRecords<R> {
    /// The records.
    pub records: Arc<dyn Records>,
    /// The ledger.
    pub ledger: R,
}

#[async_trait]
impl<R: Rejects> Records for LedgerRecords<R> {
    async fn add_image(&self, image: &str) -> Result<bool, StorageError> {
        self.records.add_image(image).await
    }

    async fn add_image_commit(&self, image: &str, commit: CommitId, stage: StageId) -> Result<bool, StorageError> {
        self.records.add_image_commit(image, commit, stage).await
    }

    async fn import(&self, key: ImportKey) -> Result<Option<Checksum>, StorageError> {
        self.records.import(key).await
    }

    async fn add_import(
        &self,
        key: ImportKey,
        source: Option<StageId>,
        checksum: Checksum,
    ) -> Result<bool, StorageError> {
        self.records.add_import(key, source, checksum).await
    }

    async fn final_repo(&self) -> Result<Option<String>, StorageError> {
        self.records.final_repo().await
    }

    async fn set_final_repo(&self, repo: &Repo) -> Result<(), StorageError> {
        self.records.set_final_repo(repo).await
    }

    async fn reject(&self, stage: StageId, why: &str) -> Result<bool, StorageError> {
        self.ledger.reject(stage, why).await
    }
}
