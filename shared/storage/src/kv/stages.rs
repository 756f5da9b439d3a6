//! Look-ups by records: what builds see of a repository whose stages are in the ledger.

use std::sync::Arc;

use async_trait::async_trait;
use slipway_digest::{Millis, StageDigest, StageId};
use slipway_oci::{ImageAt, Platform};
use slipway_stages::StageRecord;
use tokio::time::timeout;

use super::{
    ledger::KvLedger,
    publish::{MAX_LATE, SharedPublisher, too_late},
};
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
        for _ in 0..MAX_LATE {
            if let Some(standing) = standing(&self.0, digest, platform).await? {
                return Ok(standing);
            }
        }
        Err(too_late(&self.0, digest))
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

/// The stages whose tags stand; `None` when a tag that was missing was not written in time.
async fn standing(
    ledger: &KvLedger,
    digest: StageDigest,
    platform: &Platform,
) -> Result<Option<Vec<StageRecord>>, StorageError> {
    let mut standing = Vec::new();
    for stage in ledger.read_wanted(digest).await?.usable(platform) {
        let Ok(stands) = timeout(ledger.tag_time, ledger.place.stands(&stage)).await else { return Ok(None) };
        match stands {
            Ok(()) | Err(StorageError::Broken { .. }) => standing.push(stage),
            Err(StorageError::Gone(_)) => ledger.notices.deleted(&ledger.repo, stage.id),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(standing))
}

#[async_trait]
impl Rejects for SharedPublisher {
    async fn reject(&self, stage: StageId, why: &str) -> Result<bool, StorageError> {
        self.reject_lost(stage, why).await
    }
}
