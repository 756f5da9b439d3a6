//! Look-ups by records: what builds see of a repository whose stages are in the ledger.

use std::sync::Arc;

use async_trait::async_trait;
use slipway_digest::{Millis, StageDigest, StageId};
use slipway_oci::{ImageAt, Platform};
use slipway_stages::StageRecord;

use super::{ledger::KvLedger, publish::SharedPublisher};
use crate::{Rejects, StageStorage, StorageError};

/// The stages of the ledger, as a storage. Its tags are never listed.
#[derive(Clone)]
pub struct SharedStages(pub Arc<KvLedger>);

#[async_trait]
impl StageStorage for SharedStages {
    fn name(&self) -> String {
        self.0.place.name()
    }

    async fn find(
        &self,
        digest: StageDigest,
        platform: &Platform,
        _fresh: bool,
    ) -> Result<Vec<StageRecord>, StorageError> {
        Ok(self.0.read(digest).await?.usable(platform))
    }

    async fn tag(&self, stage: &StageRecord) -> Result<(), StorageError> {
        self.0.place.tag(stage).await
    }

    async fn verify(&self, image: &ImageAt) -> Result<(), StorageError> {
        self.0.place.verify(image).await
    }

    async fn not_whole(&self, images: &[ImageAt]) -> Result<Vec<(ImageAt, String)>, StorageError> {
        self.0.place.not_whole(images).await
    }

    async fn latest(&self, digest: StageDigest) -> Result<Option<Millis>, StorageError> {
        Ok(self.0.read(digest).await?.last)
    }
}

#[async_trait]
impl Rejects for SharedPublisher {
    async fn reject(&self, stage: StageId, why: &str) -> Result<bool, StorageError> {
        self.reject_lost(stage, why).await
    }
}
