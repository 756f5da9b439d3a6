//! The local storage of this backend: stages are images `PROJECT:DIGEST-TIMESTAMP_MILLISEC` of the program's storage.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use slipway_backend::{BackendError, LocalImage};
use slipway_digest::{Millis, StageDigest, StageId};
use slipway_oci::{ImageAt, Platform, Repo};
use slipway_stages::{StageRecord, labels};
use slipway_storage::{StageStorage, StorageError};

use crate::{
    document::{Kept, inspect},
    images::{self, LOCAL, list},
    program::Program,
};

/// Stages of one project in the storage of buildah.
#[derive(Clone)]
pub struct BuildahStageStorage {
    program: Arc<Program>,
    project: String,
}

impl BuildahStageStorage {
    pub(crate) fn new(program: Arc<Program>, project: &str) -> Self {
        Self { program, project: project.to_owned() }
    }

    fn name_of(&self, id: StageId) -> String {
        format!("{LOCAL}{}:{id}", self.project)
    }

    /// The names of a digest's stages.
    async fn listed(&self, digest: StageDigest) -> Result<Vec<StageId>, StorageError> {
        let filter = format!("reference={LOCAL}{}:{digest}-*", self.project);
        let listed = list(&self.program, "list the stages in the storage of buildah", &["--filter", &filter]).await;
        let listed = listed.map_err(unavailable)?;
        let prefix = format!("{LOCAL}{}:", self.project);
        let names = listed.iter().flat_map(images::Listed::names).filter_map(|name| name.strip_prefix(&prefix));
        let ids = names.filter_map(|tag| tag.parse::<StageId>().ok()).filter(|id| id.digest == digest);
        let mut ids: Vec<StageId> = ids.collect();
        ids.sort();
        Ok(ids)
    }

    fn record(&self, id: StageId, kept: &Kept) -> Result<StageRecord, String> {
        let given: BTreeMap<String, String> = kept.config.labels().clone();
        let read = labels::read_for(&id, &given).map_err(|error| error.to_string())?;
        let repo = Repo { host: String::new(), path: self.project.clone() };
        let at = ImageAt { repo, digest: kept.image.id.clone() };
        Ok(labels::record(read, id, at, kept.image.id.clone(), kept.size()))
    }
}

#[async_trait]
impl StageStorage for BuildahStageStorage {
    fn name(&self) -> String {
        "local buildah storage".to_owned()
    }

    async fn find(
        &self,
        digest: StageDigest,
        platform: &Platform,
        _fresh: bool,
    ) -> Result<Vec<StageRecord>, StorageError> {
        let mut records = Vec::new();
        for id in self.listed(digest).await? {
            // Its name may have gone meanwhile.
            let Some(kept) = inspect(&self.program, &self.name_of(id)).await.map_err(unavailable)? else { continue };
            match self.record(id, &kept) {
                Ok(record) if record.platform == *platform => records.push(record),
                Ok(_) => {}
                Err(why) => {
                    tracing::warn!(stage = %id, project = self.project, why, "a local stage is left out: it is broken");
                }
            }
        }
        Ok(records)
    }

    async fn tag(&self, stage: &StageRecord) -> Result<(), StorageError> {
        let name = self.name_of(stage.id);
        if let Some(found) = inspect(&self.program, &name).await.map_err(unavailable)? {
            return match found.image.id == stage.image_id {
                true => Ok(()),
                false => {
                    let why = format!("another image than {} has this name", stage.image_id);
                    Err(StorageError::Broken { what: name, why })
                }
            };
        }
        let image = LocalImage { id: stage.image_id.clone() };
        images::tag(&self.program, &image, &name).await.map_err(unavailable)?;
        images::kept(&self.program, &image).await;
        Ok(())
    }

    async fn verify(&self, image: &ImageAt) -> Result<(), StorageError> {
        match inspect(&self.program, image.digest.as_str()).await.map_err(unavailable)? {
            Some(_) => Ok(()),
            None => Err(StorageError::Gone(image.to_string())),
        }
    }

    async fn latest(&self, digest: StageDigest) -> Result<Option<Millis>, StorageError> {
        Ok(self.listed(digest).await?.last().map(|id| id.stamp))
    }
}

fn unavailable(error: BackendError) -> StorageError {
    match error {
        BackendError::Gone(image) => StorageError::Gone(image),
        other => StorageError::Unavailable(other.to_string()),
    }
}
