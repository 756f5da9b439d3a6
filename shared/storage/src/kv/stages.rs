//! Look-ups by records: what builds see of a repository whose stages are in the ledger.

use std::sync::Arc;

use async_trait::async_trait;
use slipway_digest::{Millis, StageDigest, StageId};
use slipway_oci::{ImageAt, Platform};
use slipway_stages::StageRecord;

use super::{ledger::KvLedger, publish::SharedPublisher};
use crate::{Rejects, StageStorage, StorageError};

/// The stages of the ledger, as a storage. Its tags are never listed; of a stage that is looked up, it is seen that it is still
/// there. One that is not is left out, and out of use when another is published in its place.
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
        let mut stages = self.0.read_wanted(digest).await?.usable(platform);
        let mut standing = Vec::with_capacity(stages.len());
        for stage in stages.drain(..) {
            match self.0.place.stands(&stage).await {
                Ok(()) | Err(StorageError::Broken { .. }) => standing.push(stage),
                Err(StorageError::Gone(_)) => self.0.notices.deleted(&self.0.repo, stage.id),
                Err(error) => return Err(error),
            }
        }
        Ok(standing)
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

    fn untold(&self) -> Vec<String> {
        let mut untold = self.0.notices.take();
        untold.extend(self.0.place.untold());
        untold
    }
}

#[async_trait]
impl Rejects for SharedPublisher {
    async fn reject(&self, stage: StageId, why: &str) -> Result<bool, StorageError> {
        self.reject_lost(stage, why).await
    }
}
