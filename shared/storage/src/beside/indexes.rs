//! What leads to images for several platforms: an index beside their stages in the primary repository.

use bytes::Bytes;
use slipway_oci::{
    ImageAt, Platform, Repo,
    manifest::{Descriptor, Index, OCI_INDEX},
};
use slipway_registry::Client;
use slipway_stages::{StageRecord, build::ImageIndex, digest};

use crate::{StorageError, repo::from_registry};

/// Writes indexes.
#[derive(Clone, Debug)]
pub struct Indexes(Client);

impl Indexes {
    /// Indexes that this client writes.
    pub fn new(client: Client) -> Self {
        Self(client)
    }

    /// Has an index lead to these images, which are in `repo`, one for each platform. Its tag is a digest over theirs, and
    /// it lists them in the order of their platforms: whoever writes it writes the same, and what is there already stays.
    ///
    /// # Errors
    /// When the repository does not answer, or refuses; when one of the images is not there.
    pub async fn put(&self, repo: &Repo, images: &[(&Platform, &StageRecord)]) -> Result<ImageIndex, StorageError> {
        let mut images = images.to_vec();
        images.sort_by_key(|(platform, _)| platform.to_string());
        let mut manifests = Vec::with_capacity(images.len());
        for (platform, record) in &images {
            manifests.push(self.described(repo, platform, record).await?);
        }
        let tag = digest::index(images.iter().map(|(platform, record)| (*platform, &record.id))).to_string();
        let bytes = Bytes::from(Index::new(manifests).to_bytes());
        let at = repo.at(slipway_oci::BlobDigest::of(&bytes));
        let failed = |error| from_registry(repo, error);
        if self.0.head_manifest(repo, &tag).await.map_err(failed)?.as_ref() != Some(&at.digest) {
            self.0.put_manifest(repo, &tag, OCI_INDEX, bytes).await.map_err(failed)?;
        }
        Ok(ImageIndex { tag, at })
    }

    async fn described(
        &self,
        repo: &Repo,
        platform: &Platform,
        record: &StageRecord,
    ) -> Result<Descriptor, StorageError> {
        let at: &ImageAt = &record.at;
        let found = self.0.manifest(repo, at.digest.as_str()).await.map_err(|error| from_registry(repo, error))?;
        let found = found.ok_or_else(|| StorageError::Gone(at.to_string()))?;
        let entry = Descriptor::new(&found.media_type, found.digest, found.bytes.len() as u64);
        Ok(entry.with_platform(platform))
    }
}
