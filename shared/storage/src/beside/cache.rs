//! A repository near the builder that has what builds stored and used.
//!
//! It is never needed: whatever goes wrong with it is told once, and then it is left alone for a while. It holds the
//! manifests of the primary repository, byte for byte and under the same tags, so that an image has one name in both.

use std::{
    future::Future,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use slipway_digest::{StageDigest, StageId};
use slipway_oci::{BlobDigest, ImageAt, Platform, Repo};
use slipway_process::Clock;
use slipway_registry::{Client, CopyError};
use slipway_stages::StageRecord;

use super::copy;
use crate::{RepoStorage, StageStorage as _, repo::from_registry};

/// How long a cache that failed is left alone.
const REST: Duration = Duration::from_secs(300);
/// How long a look into it may take: there is another way.
const PATIENCE: Duration = Duration::from_secs(30);

/// One cache repository.
pub struct CacheRepo {
    client: Client,
    stages: RepoStorage,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// On the monotonic clock: until when it is left alone.
    resting: Duration,
    /// What went wrong and was not told yet.
    untold: Option<String>,
}

impl std::fmt::Debug for CacheRepo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CacheRepo").field("stages", &self.stages).finish_non_exhaustive()
    }
}

impl CacheRepo {
    /// The cache in `repo`.
    pub fn new(client: Client, repo: Repo, clock: Arc<dyn Clock>) -> Self {
        Self { stages: RepoStorage::new(client.clone(), repo), client, clock, state: Mutex::default() }
    }

    /// The repository.
    pub fn repo(&self) -> &Repo {
        self.stages.repo()
    }

    /// All stages of a digest and platform, oldest first; none when it cannot tell.
    pub async fn find(&self, digest: StageDigest, platform: &Platform) -> Vec<StageRecord> {
        let found = self.tried(async { self.stages.find(digest, platform, false).await.map_err(|e| e.to_string()) });
        found.await.unwrap_or_default()
    }

    /// Whether it has this manifest; `false` when it cannot tell.
    pub async fn has(&self, manifest: &BlobDigest) -> bool {
        let look = async {
            let looked = self.client.head_manifest(self.repo(), manifest.as_str()).await;
            looked.map(|found| found.is_some()).map_err(|error| from_registry(self.repo(), error).to_string())
        };
        self.tried(look).await.unwrap_or(false)
    }

    /// Brings an image of the primary repository here, under `tag` when that is known. Its blobs are read from `blobs`.
    pub async fn fill(&self, image: &ImageAt, blobs: &Repo, tag: Option<StageId>) {
        if self.is_resting() {
            return;
        }
        let tag = tag.map(|id| id.to_string());
        match copy::as_it_is(&self.client, (image, blobs), self.repo(), tag.as_deref()).await {
            Ok(()) => {}
            // No fault of the cache: it is filled another time.
            Err(CopyError::Source(error)) => tracing::debug!("bring {image} to the cache {}: {error}", self.repo()),
            Err(CopyError::Target(error)) => self.failed(&from_registry(self.repo(), error).to_string()),
        }
    }

    /// Gives what was brought here untagged the tag that it has in the primary repository.
    pub async fn tag(&self, stage: &StageRecord) {
        let here = StageRecord { at: self.repo().at(stage.at.digest.clone()), ..stage.clone() };
        self.tried(async { self.stages.tag(&here).await.map_err(|error| error.to_string()) }).await;
    }

    /// Something went wrong with it, here or where else it is used: it is left alone for a while.
    pub fn failed(&self, why: &str) {
        let now = self.clock.monotonic();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now >= state.resting {
            let rest = REST.as_secs();
            state.untold = Some(format!("the cache repository {} is not used for {rest} s: {why}", self.repo()));
            state.resting = now + REST;
        }
    }

    /// What went wrong since this was last asked.
    pub fn untold(&self) -> Option<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).untold.take()
    }

    /// Whether it is left alone.
    pub fn is_resting(&self) -> bool {
        self.clock.monotonic() < self.state.lock().unwrap_or_else(PoisonError::into_inner).resting
    }

    /// What a request to it gives; `None` when it is left alone, or fails.
    async fn tried<T>(&self, request: impl Future<Output = Result<T, String>>) -> Option<T> {
        if self.is_resting() {
            return None;
        }
        let why = match tokio::time::timeout(PATIENCE, request).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(why)) => why,
            Err(_) => format!("it did not answer within {} s", PATIENCE.as_secs()),
        };
        self.failed(&why);
        None
    }
}
