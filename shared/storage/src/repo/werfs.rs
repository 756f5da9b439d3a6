//! A repository that werf has written: its stages look like ours, and are found by other digests.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use slipway_digest::StageId;
use slipway_oci::ImageConfig;
use slipway_registry::RegistryError;
use slipway_stages::labels;

use super::{AT_ONCE, RepoStorage, parse};
use crate::StorageError;

/// How many stages are looked at, spread over all: to read each of many would take long.
const LOOKED_AT: usize = 20;

impl RepoStorage {
    /// Tells how many of these stages are werf's: exactly when there are few, and else by the share of those that were looked at.
    pub(super) async fn look_for_werfs(&self, stages: &[StageId]) -> Result<(), StorageError> {
        let each = stages.len().div_ceil(LOOKED_AT).max(1);
        let looked_at: Vec<StageId> = stages.iter().step_by(each).copied().collect();
        let looks = stream::iter(looked_at.iter().copied()).map(|id| self.is_werfs(id));
        let found: Vec<bool> = looks.buffered(AT_ONCE).try_collect().await?;
        let werfs = found.iter().filter(|is_werfs| **is_werfs).count();
        if werfs > 0 {
            self.notices.werfs(&self.repo, (stages.len() * werfs).div_ceil(looked_at.len()));
        }
        Ok(())
    }

    /// Whether werf has stored a stage. What cannot be read is nobody's.
    async fn is_werfs(&self, id: StageId) -> Result<bool, StorageError> {
        let unreadable =
            |error: &RegistryError| !matches!(error, RegistryError::Unavailable(_) | RegistryError::Denied(_));
        let raw = match self.client.manifest(&self.repo, &id.to_string()).await {
            Ok(Some(raw)) => raw,
            Ok(None) => return Ok(false),
            Err(error) if unreadable(&error) => return Ok(false),
            Err(error) => return Err(self.failed(error)),
        };
        let Ok(manifest) = parse(&raw) else { return Ok(false) };
        let bytes = match self.client.blob(&self.repo, &manifest.config.digest).await {
            Ok(bytes) => bytes,
            Err(error) if unreadable(&error) => return Ok(false),
            Err(error) => return Err(self.failed(error)),
        };
        let Ok(config) = serde_json::from_slice::<ImageConfig>(&bytes) else { return Ok(false) };
        let has = |label: &str| config.config.labels.as_ref().is_some_and(|labels| labels.contains_key(label));
        Ok(has(labels::STAGE_DIGEST) && !has(labels::SCHEME))
    }
}
