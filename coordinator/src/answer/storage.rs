//! Questions about stored stages.

use std::sync::Arc;

use slipway_digest::{Checksum, Millis, StageDigest};
use slipway_oci::Platform;
use slipway_stages::{Answer, Place, StageRecord, facts::Foreseen};
use slipway_storage::{StageStorage, StorageError};

use crate::outside::Outside;

/// The stages of a digest in a place. In the primary storage only those that are younger than `not_before`: a copy gets a
/// fresh timestamp, so that of the original says nothing about what it stands on here.
pub(super) async fn answer(
    outside: &Outside,
    place: &Place,
    digest: StageDigest,
    platform: &Platform,
    not_before: Millis,
) -> Result<Answer, String> {
    let beside = &outside.beside;
    let mut found = match place {
        Place::Primary => find(&outside.primary, digest, platform).await?,
        Place::Local => match &outside.local {
            Some(local) => find(local, digest, platform).await?,
            None => Vec::new(),
        },
        Place::Cache(repo) => match beside.caches.iter().find(|cache| cache.repo() == repo) {
            Some(cache) => cache.find(digest, platform).await,
            None => Vec::new(),
        },
        Place::Secondary(repo) => match beside.secondaries.iter().find(|secondary| secondary.repo() == repo) {
            Some(secondary) => {
                let found = secondary.find(digest, platform).await;
                found.map_err(|error| failed(digest, &format!("the secondary repository {repo}"), &error))?
            }
            None => Vec::new(),
        },
    };
    if *place == Place::Primary {
        found.retain(|record| record.id.stamp > not_before);
    }
    found.sort_by_key(|record| record.id.stamp);
    Ok(Answer::Stored(found))
}

/// What is noted of an image, and stored under the digests of its stages. It is only a hint: what goes wrong here is said by the
/// look-ups that follow.
pub(super) async fn foreseen(outside: &Outside, key: &Checksum, platform: &Platform) -> Answer {
    let Some(images) = &outside.images else { return Answer::Foreseen(Foreseen::default()) };
    let foreseen = images.foresee(key, platform).await.unwrap_or_else(|error| {
        tracing::debug!("look for the stages of image {key} at once: {error}");
        Foreseen::default()
    });
    Answer::Foreseen(foreseen)
}

async fn find(
    storage: &Arc<dyn StageStorage>,
    digest: StageDigest,
    platform: &Platform,
) -> Result<Vec<StageRecord>, String> {
    let found = storage.find(digest, platform, false).await;
    found.map_err(|error| failed(digest, &storage.name(), &error))
}

fn failed(digest: StageDigest, place: &str, error: &StorageError) -> String {
    format!("look for stage {digest} in {place}: {error}")
}
