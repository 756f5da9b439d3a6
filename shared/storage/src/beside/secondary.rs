//! The primary repository of others. Nothing here can write to it.

use slipway_digest::StageDigest;
use slipway_oci::{Platform, Repo};
use slipway_registry::Client;
use slipway_stages::StageRecord;

use crate::{IndexDir, RepoStorage, StageStorage as _, StorageError};

/// Stages of others, which are only read.
#[derive(Debug)]
pub struct SecondaryRepo(RepoStorage);

impl SecondaryRepo {
    /// The stages of `repo`.
    pub fn new(client: Client, repo: Repo) -> Self {
        Self(RepoStorage::new(client, repo))
    }

    /// The same, with what `place` keeps of it between builds.
    pub fn kept(client: Client, repo: Repo, place: &IndexDir) -> Self {
        Self(RepoStorage::kept(client, repo, place, false))
    }

    /// The repository.
    pub fn repo(&self) -> &Repo {
        self.0.repo()
    }

    /// All stages of a digest and platform, oldest first. The tags are listed at most once in the life of this value.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn find(&self, digest: StageDigest, platform: &Platform) -> Result<Vec<StageRecord>, StorageError> {
        self.0.find(digest, platform, false).await
    }
}
