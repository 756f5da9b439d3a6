//! Questions about stored stages.

use slipway_digest::{Millis, StageDigest};
use slipway_oci::Platform;
use slipway_stages::{Answer, Place};

use crate::outside::Outside;

/// The stages of a digest in a place that are younger than `not_before`.
pub(super) async fn answer(
    outside: &Outside,
    place: Place,
    digest: StageDigest,
    platform: &Platform,
    not_before: Millis,
) -> Result<Answer, String> {
    let (storage, floor) = match place {
        Place::Primary => (Some(&outside.primary), not_before),
        // A copy gets a fresh timestamp: that of the original says nothing about what it stands on here.
        Place::Local => (outside.local.as_ref(), Millis(0)),
    };
    let Some(storage) = storage else { return Ok(Answer::Stored(Vec::new())) };
    let found = storage.find(digest, platform, false).await;
    let mut found = found.map_err(|error| format!("look for stage {digest} in {}: {error}", storage.name()))?;
    found.retain(|record| record.id.stamp > floor);
    found.sort_by_key(|record| record.id.stamp);
    Ok(Answer::Stored(found))
}
