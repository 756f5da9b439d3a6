//! A repository that is cleaned up, and what its images say.

use std::collections::BTreeMap;

use slipway_cleanup::MadeOf;
use slipway_digest::{StageDigest, StageId};
use slipway_oci::{BlobDigest, Manifest, Repo, manifest::Document};
use slipway_registry::{Client, RawManifest, RegistryError};
use slipway_stages::labels;

use super::Listed;
use crate::{StorageError, names, records::PROJECT, repo::from_registry, tiny};

/// A repository of a project.
#[derive(Clone, Debug)]
pub struct Place {
    pub(super) client: Client,
    pub(super) repo: Repo,
    pub(super) project: String,
    /// Requests that run at once.
    pub(super) at_once: usize,
}

/// A document of the repository.
pub(super) struct Found {
    pub(super) raw: RawManifest,
    /// Its images, when it is an index.
    pub(super) images: Vec<BlobDigest>,
}

impl Place {
    /// The repository `repo` of `project`; at most `at_once` requests run at once.
    pub fn new(client: Client, repo: Repo, project: &str, at_once: usize) -> Self {
        Self { client, repo, project: project.to_owned(), at_once: at_once.max(1) }
    }

    /// The repository.
    pub fn repo(&self) -> &Repo {
        &self.repo
    }

    /// Its tags.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn list(&self) -> Result<Listed, StorageError> {
        Ok(Listed::new(self.client.tags(&self.repo).await.map_err(|error| self.failed(error))?))
    }

    /// The other project that keeps stages here, too; `None` when there is none. Records tell: of the repository as a whole,
    /// and of each image.
    ///
    /// # Errors
    /// When the repository does not answer, or refuses.
    pub async fn other_project(&self, listed: &Listed) -> Result<Option<String>, StorageError> {
        let images = listed.images.iter().map(|image| names::managed_image(image));
        let own = listed.own.iter().filter(|tag| *tag == names::PROJECT).cloned();
        for tag in own.chain(images) {
            let expected = tiny::digest(&tag, self.labels());
            let there = self.client.head_manifest(&self.repo, &tag).await.map_err(|error| self.failed(error))?;
            if there.as_ref().is_none_or(|there| *there == expected) {
                continue;
            }
            let other = self.record(&tag).await?.and_then(|(_, mut labels)| labels.remove(PROJECT));
            if let Some(other) = other.filter(|other| *other != self.project) {
                return Ok(Some(other));
            }
        }
        Ok(None)
    }

    /// The labels of a record without any of its own.
    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        BTreeMap::from([(PROJECT.to_owned(), self.project.clone())])
    }

    /// The digest and the labels of the image under a tag; no labels when they cannot be read. `None` when it is not there.
    pub(super) async fn record(
        &self,
        selector: &str,
    ) -> Result<Option<(BlobDigest, BTreeMap<String, String>)>, StorageError> {
        let Some(raw) = self.get(selector).await? else { return Ok(None) };
        let Ok(manifest) = Manifest::parse(&raw.bytes) else { return Ok(Some((raw.digest, BTreeMap::new()))) };
        let labels = match self.client.blob(&self.repo, &manifest.config.digest).await {
            Ok(bytes) => slipway_oci::ImageConfig::parse(&bytes).map(|config| config.labels().clone()).ok(),
            Err(error) if is_broken(&error) => None,
            Err(error) => return Err(self.failed(error)),
        };
        Ok(Some((raw.digest, labels.unwrap_or_default())))
    }

    /// The document under a tag or digest; `None` when it is not there, or cannot be read.
    pub(super) async fn get(&self, selector: &str) -> Result<Option<RawManifest>, StorageError> {
        match self.client.manifest(&self.repo, selector).await {
            Ok(found) => Ok(found),
            Err(error) if is_broken(&error) => Ok(None),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// The same with the images of an index.
    pub(super) async fn find(&self, selector: &str) -> Result<Option<Found>, StorageError> {
        let Some(raw) = self.get(selector).await? else { return Ok(None) };
        let images = match Document::parse(&raw.bytes, Some(&raw.media_type)) {
            Ok(Document::Index(index)) => index.manifests.into_iter().map(|image| image.digest).collect(),
            Ok(Document::Manifest(_)) | Err(_) => Vec::new(),
        };
        Ok(Some(Found { raw, images }))
    }

    /// The digests of the stages that a tag or digest leads to: none when it is of no stage, or not there.
    pub(super) async fn stage_digests(&self, selector: &str) -> Result<Vec<StageDigest>, StorageError> {
        let Some(found) = self.find(selector).await? else { return Ok(Vec::new()) };
        let mut digests = Vec::new();
        let images = if found.images.is_empty() { vec![found.raw.digest] } else { found.images };
        for image in images {
            let labels = self.record(image.as_str()).await?.map(|(_, labels)| labels).unwrap_or_default();
            digests.extend(labels.get(labels::STAGE_DIGEST).and_then(|text| text.parse::<StageDigest>().ok()));
        }
        Ok(digests)
    }

    pub(super) fn failed(&self, error: RegistryError) -> StorageError {
        from_registry(&self.repo, error)
    }
}

/// Whether the registry answered, and what it has is of no use.
fn is_broken(error: &RegistryError) -> bool {
    matches!(error, RegistryError::NotFound(_) | RegistryError::Corrupt(_))
}

/// What the labels of a stage say of what it is made of. Those of werf's own stages are taken as they are.
pub(super) fn made_of(labels: &BTreeMap<String, String>) -> MadeOf {
    if let Ok(read) = labels::read(labels) {
        let (imports, dependencies) = (read.uses.imports.into_values(), read.uses.dependencies.into_iter());
        return MadeOf { parent: read.parent, imports: imports.collect(), dependencies: dependencies.collect() };
    }
    let named = |prefix: &str| -> Vec<StageId> {
        let values = labels.iter().filter(|(name, _)| name.starts_with(prefix));
        values.filter_map(|(_, value)| value.parse().ok()).collect()
    };
    MadeOf {
        parent: labels.get(labels::PARENT).and_then(|text| text.parse().ok()),
        imports: named(labels::IMPORT_SOURCE_PREFIX),
        dependencies: named(labels::DEPENDENCY_PREFIX),
    }
}
