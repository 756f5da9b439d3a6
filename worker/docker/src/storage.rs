//! The local storage of a Docker engine: stages are its images `PROJECT:DIGEST-TIMESTAMP_MILLISEC`.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use bollard::{models::ImageSummary, query_parameters::ListImagesOptions};
use slipway_backend::{BackendError, LocalImage};
use slipway_digest::{Millis, StageDigest, StageId};
use slipway_oci::{BlobDigest, ImageAt, Platform, Repo};
use slipway_stages::{StageRecord, labels};
use slipway_storage::{StageStorage, StorageError};

use crate::{engine::Engine, error::failed, images};

/// Stages of one project in a Docker engine.
#[derive(Clone, Debug)]
pub struct DockerStageStorage {
    engine: Engine,
    project: String,
}

impl DockerStageStorage {
    pub(crate) fn new(engine: Engine, project: &str) -> Self {
        Self { engine, project: project.to_owned() }
    }

    /// Where the images of this storage are: no registry has them.
    fn repo(&self) -> Repo {
        Repo { host: String::new(), path: self.project.clone() }
    }

    /// All names of a digest's stages with their images.
    async fn listed(&self, digest: StageDigest) -> Result<Vec<(StageId, ImageSummary)>, StorageError> {
        let pattern = format!("{}:{digest}-*", self.project);
        let filters = HashMap::from([("reference".to_owned(), vec![pattern])]);
        let options = ListImagesOptions { filters: Some(filters), ..ListImagesOptions::default() };
        let listed = self.engine.docker.list_images(Some(options)).await;
        let listed = listed.map_err(|error| unavailable(failed("list the stages in the Docker engine", error)))?;
        let prefix = format!("{}:", self.project);
        let mut found = Vec::new();
        for image in listed {
            let tags = image.repo_tags.iter().filter_map(|tag| tag.strip_prefix(&prefix));
            let ids = tags.filter_map(|tag| tag.parse::<StageId>().ok()).filter(|id| id.digest == digest);
            found.extend(ids.map(|id| (id, image.clone())));
        }
        found.sort_by_key(|(id, _)| *id);
        Ok(found)
    }

    fn record(&self, id: StageId, image: ImageSummary) -> Result<StageRecord, String> {
        let given: BTreeMap<String, String> = image.labels.into_iter().collect();
        let read = labels::read_for(&id, &given).map_err(|error| error.to_string())?;
        let config: BlobDigest = image.id.parse().map_err(|error: slipway_oci::DigestError| error.to_string())?;
        let at = ImageAt { repo: self.repo(), digest: config.clone() };
        Ok(labels::record(read, id, at, config, u64::try_from(image.size).unwrap_or_default()))
    }
}

#[async_trait]
impl StageStorage for DockerStageStorage {
    fn name(&self) -> String {
        "local docker storage".to_owned()
    }

    async fn find(
        &self,
        digest: StageDigest,
        platform: &Platform,
        _fresh: bool,
    ) -> Result<Vec<StageRecord>, StorageError> {
        let mut records = Vec::new();
        for (id, image) in self.listed(digest).await? {
            match self.record(id, image) {
                Ok(record) if record.platform == *platform => records.push(record),
                Ok(_) => {}
                Err(why) => {
                    tracing::warn!(stage = %id, project = self.project, why, "a local stage is left out: it is broken")
                }
            }
        }
        Ok(records)
    }

    async fn tag(&self, stage: &StageRecord) -> Result<(), StorageError> {
        let name = format!("{}:{}", self.project, stage.id);
        if let Some(found) = images::inspect(&self.engine, &name).await.map_err(unavailable)? {
            return match images::local(&found).map_err(unavailable)?.id == stage.image_id {
                true => Ok(()),
                false => {
                    let why = format!("another image than {} has this name", stage.image_id);
                    Err(StorageError::Broken { what: name, why })
                }
            };
        }
        let image = LocalImage { id: stage.image_id.clone() };
        images::tag(&self.engine, &image, &self.project, &stage.id.to_string()).await.map_err(unavailable)
    }

    async fn verify(&self, image: &ImageAt) -> Result<(), StorageError> {
        // The engine has all layers of an image that it has.
        match images::inspect(&self.engine, image.digest.as_str()).await.map_err(unavailable)? {
            Some(_) => Ok(()),
            None => Err(StorageError::Gone(image.to_string())),
        }
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
