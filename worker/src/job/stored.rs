//! Stored stages on their way to this host: from a cache when one has them, from the primary repository when none has,
//! and then the caches get them, too.

use std::sync::Arc;

use slipway_backend::{BackendError, LocalImage};
use slipway_digest::StageId;
use slipway_oci::{BlobDigest, ImageAt, Repo};
use slipway_storage::CacheRepo;

use super::Runner;

/// A stage as jobs name it.
#[derive(Clone, Copy)]
pub(super) struct Stored<'a> {
    /// Its tag.
    pub(super) id: StageId,
    /// Where it is.
    pub(super) at: &'a ImageAt,
    /// Digest of its config.
    pub(super) image_id: &'a BlobDigest,
}

/// A stage as a local image: by its id when the engine has it, else pulled; and whether it was.
pub(super) async fn have(
    runner: &Runner,
    caches: &[Repo],
    stage: Stored<'_>,
) -> Result<(LocalImage, bool), BackendError> {
    let image = LocalImage { id: stage.image_id.clone() };
    let (image, pulled) = match runner.backend.config(&image).await {
        Ok(_) => (image, false),
        Err(_) => (pull(runner, caches, stage).await?, true),
    };
    runner.holds.note(&stage.at.digest, &image.id).await;
    Ok((image, pulled))
}

/// Where a stage is read from best. A cache that lacks it is given it first.
pub(super) async fn nearest(runner: &Runner, caches: &[Repo], id: StageId, at: &ImageAt) -> ImageAt {
    let caches = runner.caches.named(caches);
    fill(&caches, id, at).await;
    for cache in &caches {
        if cache.has(&at.digest).await {
            return cache.repo().at(at.digest.clone());
        }
    }
    at.clone()
}

async fn pull(runner: &Runner, caches: &[Repo], stage: Stored<'_>) -> Result<LocalImage, BackendError> {
    let Stored { id, at, .. } = stage;
    let caches = runner.caches.named(caches);
    for (position, cache) in caches.iter().enumerate() {
        if !cache.has(&at.digest).await {
            continue;
        }
        match runner.backend.pull(&cache.repo().at(at.digest.clone())).await {
            Ok(image) => {
                // Those before it have just said that they lack it.
                fill(&caches[..position], id, at).await;
                return Ok(image);
            }
            Err(error) => cache.failed(&format!("read {at} from it: {error}")),
        }
    }
    let image = runner.backend.pull(at).await?;
    fill(&caches, id, at).await;
    Ok(image)
}

/// Brings a stage to the caches that lack it.
async fn fill(caches: &[Arc<CacheRepo>], id: StageId, at: &ImageAt) {
    for cache in caches {
        if !cache.has(&at.digest).await {
            cache.fill(at, &at.repo, Some(id)).await;
        }
    }
}
