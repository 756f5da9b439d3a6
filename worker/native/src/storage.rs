//! The local storage of this backend: stages are names of images in the store of layers.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use slipway_backend::{BackendError, LocalImage};
use slipway_digest::{Millis, StageDigest, StageId};
use slipway_layers::store::NamedImage;
use slipway_oci::{ImageAt, ImageConfig, Platform, Repo};
use slipway_stages::{StageRecord, labels};
use slipway_storage::{StageStorage, StorageError};

use crate::{Shared, error};

/// Stages of one project in the store of this host.
#[derive(Clone)]
pub struct NativeStageStorage {
    shared: Arc<Shared>,
    project: String,
}

impl NativeStageStorage {
    pub(crate) fn new(shared: Arc<Shared>, project: &str) -> Self {
        Self { shared, project: project.to_owned() }
    }

    /// All stages of a digest, whole or not.
    async fn listed(&self, digest: StageDigest) -> Result<Vec<(StageId, NamedImage)>, StorageError> {
        let (store, project) = (self.shared.store.clone(), self.project.clone());
        let listed = self.shared.tasks.blocking(move || store.stages(&project, &digest.to_string())).await;
        let listed =
            listed.map_err(|error| unavailable(error::layers("list the stages of the local storage", error)))?;
        let named = listed.into_iter().filter_map(|found| {
            let id: StageId = format!("{digest}-{}", found.stamp).parse().ok()?;
            Some((id, found))
        });
        let mut all: Vec<_> = named.collect();
        all.sort_by_key(|(id, _)| *id);
        Ok(all)
    }

    /// A stage; `None` when layers of it were evicted.
    async fn record(&self, id: StageId, found: NamedImage) -> Result<Option<StageRecord>, String> {
        let config = ImageConfig::parse(&found.config).map_err(|error| error.to_string())?;
        let given: BTreeMap<String, String> = config.labels().clone();
        let read = labels::read_for(&id, &given).map_err(|error| error.to_string())?;
        let image = LocalImage { id: found.image.clone() };
        let size = match self.shared.image_size(&image).await {
            Ok((_, size)) => size,
            Err(BackendError::Gone(_)) => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        let repo = Repo { host: String::new(), path: self.project.clone() };
        let at = ImageAt { repo, digest: found.image.clone() };
        Ok(Some(labels::record(read, id, at, found.image, size)))
    }
}

#[async_trait]
impl StageStorage for NativeStageStorage {
    fn name(&self) -> String {
        "local native storage".to_owned()
    }

    async fn find(
        &self,
        digest: StageDigest,
        platform: &Platform,
        _fresh: bool,
    ) -> Result<Vec<StageRecord>, StorageError> {
        let mut records = Vec::new();
        for (id, found) in self.listed(digest).await? {
            match self.record(id, found).await {
                Ok(Some(record)) if record.platform == *platform => records.push(record),
                Ok(_) => {}
                Err(why) => {
                    tracing::warn!(stage = %id, project = self.project, why, "a local stage is left out: it is broken");
                }
            }
        }
        Ok(records)
    }

    async fn tag(&self, stage: &StageRecord) -> Result<(), StorageError> {
        let (store, project, image) = (self.shared.store.clone(), self.project.clone(), stage.image_id.clone());
        let (digest, stamp) = (stage.id.digest.to_string(), stage.id.stamp.to_string());
        let tagged = self.shared.tasks.blocking(move || store.tag(&project, &digest, &stamp, &image)).await;
        match tagged.map_err(|error| unavailable(error::layers("name a stage in the local storage", error)))? {
            true => Ok(()),
            false => {
                let why = format!("another image than {} has this name", stage.image_id);
                Err(StorageError::Broken { what: format!("{}:{}", self.project, stage.id), why })
            }
        }
    }

    async fn verify(&self, image: &ImageAt) -> Result<(), StorageError> {
        let found = self.shared.image_size(&LocalImage { id: image.digest.clone() }).await;
        found.map(drop).map_err(|error| match error {
            BackendError::Gone(_) => StorageError::Gone(image.to_string()),
            other => unavailable(other),
        })
    }

    async fn latest(&self, digest: StageDigest) -> Result<Option<Millis>, StorageError> {
        Ok(self.listed(digest).await?.last().map(|(id, _)| id.stamp))
    }
}

fn unavailable(error: BackendError) -> StorageError {
    match error {
        BackendError::Gone(image) => StorageError::Gone(image),
        other => StorageError::Unavailable(other.to_string()),
    }
}
