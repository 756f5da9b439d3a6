//! A repository as the place of a ledger of many hosts.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use slipway_digest::StageId;
use slipway_oci::{ATTEMPT_ANNOTATION, ImageAt};
use slipway_registry::RawManifest;
use slipway_stages::StageRecord;

use super::{RepoStorage, parse};
use crate::{
    StorageError,
    kv::{Listing, Reading, StagePlace},
    names,
    records::REJECTED_WHY,
    tiny,
};

/// What is kept of a reason, in characters.
const MAX_REASON: usize = 500;

#[async_trait]
impl StagePlace for RepoStorage {
    async fn list(&self) -> Result<Listing, StorageError> {
        let tags = self.client.tags(&self.repo).await.map_err(|error| self.failed(error))?;
        let recorded = tags.iter().any(|tag| tag == names::PROJECT);
        let mut listing = Listing::default();
        for tag in tags {
            if let Ok(id) = tag.parse() {
                listing.stages.push(id);
            } else if let Some(id) = tag.strip_suffix(names::REJECTED_SUFFIX).and_then(|rest| rest.parse().ok()) {
                listing.rejected.push(id);
            }
        }
        listing.stages.sort();
        listing.rejected.sort();
        if !recorded {
            self.look_for_werfs(&listing.stages).await?;
        }
        Ok(listing)
    }

    async fn stands(&self, stage: &StageRecord) -> Result<(), StorageError> {
        match self.write_tag(stage).await? {
            true => self.tags.announce().await.map_err(|error| self.failed(error)),
            // Nothing has changed.
            false => Ok(()),
        }
    }

    async fn read(&self, id: StageId) -> Result<Reading, StorageError> {
        let raw = self.client.manifest(&self.repo, &id.to_string()).await.map_err(|error| self.failed(error));
        let raw = match raw {
            Ok(Some(raw)) => raw,
            Ok(None) | Err(StorageError::Gone(_)) => return Ok(Reading::Absent),
            Err(StorageError::Broken { why, .. }) => return Ok(Reading::NoStage(why)),
            Err(error) => return Err(error),
        };
        match self.read_stage(id, &raw).await {
            Ok((stage, _)) => Ok(Reading::Stage(Box::new(stage), attempt(&raw))),
            Err(StorageError::Broken { why, .. }) => Ok(Reading::NoStage(why)),
            Err(error) => Err(error),
        }
    }

    async fn identify(&self, claimed: &StageRecord) -> Result<(StageRecord, Option<String>), StorageError> {
        let raw = self.get(&claimed.at).await?;
        Ok((self.read_stage(claimed.id, &raw).await?.0, attempt(&raw)))
    }

    async fn copy(&self, image: &ImageAt, attempt: &str) -> Result<ImageAt, StorageError> {
        let raw = self.get(image).await?;
        let manifest = parse(&raw).map_err(|why| StorageError::Broken { what: image.to_string(), why })?;
        let annotations = BTreeMap::from([(ATTEMPT_ANNOTATION.to_owned(), attempt.to_owned())]);
        let (bytes, media_type) = manifest.to_oci_annotated(&annotations);
        let digest = slipway_oci::BlobDigest::of(&bytes);
        let put = self.client.put_manifest(&self.repo, digest.as_str(), media_type, Bytes::from(bytes)).await;
        put.map_err(|error| self.failed(error))?;
        Ok(self.repo.at(digest))
    }

    async fn mark_rejected(&self, id: StageId, why: &str) -> Result<(), StorageError> {
        let why = why.chars().take(MAX_REASON).collect();
        let labels = BTreeMap::from([(REJECTED_WHY.to_owned(), why)]);
        let put = tiny::put(&self.client, &self.repo, &names::rejected(id), labels).await;
        put.map_err(|error| self.failed(error))?;
        self.tags.announce().await.map_err(|error| self.failed(error))
    }
}

/// The attempt that a manifest names.
fn attempt(raw: &RawManifest) -> Option<String> {
    parse(raw).ok().and_then(|manifest| manifest.annotations.get(ATTEMPT_ANNOTATION).cloned())
}
