//! Further tags of images that run, of the user's choice.

use std::collections::BTreeMap;

use slipway_oci::{ImageAt, Repo};
use slipway_registry::{Client, RegistryError};

use crate::{StorageError, names, records::PROJECT, repo::from_registry, tiny};

/// What stands in a tag for `DIGEST-TIMESTAMP`, which is known last.
pub const CONTENT_BASED_TAG: &str = "%image_content_based_tag%";
/// The label that says to which stage or index a tag was given.
pub(crate) const STAGE: &str = "stage-id";
/// The label that says which tag it is.
pub(crate) const TAG: &str = "tag";

/// The further tags of the images of one build.
#[derive(Clone, Debug)]
pub struct CustomTags {
    client: Client,
    project: String,
    /// Where stages are stored, and what is recorded.
    primary: Repo,
    /// Where the images run from: there they are tagged.
    to: Repo,
    wanted: Vec<(String, String)>,
}

impl CustomTags {
    /// Tags in `to` of images that are stored in `primary`: pairs of an image's name and a tag, in which
    /// [`CONTENT_BASED_TAG`] may stand.
    pub fn new(client: Client, project: &str, (primary, to): (Repo, Repo), wanted: Vec<(String, String)>) -> Self {
        Self { client, project: project.to_owned(), primary, to, wanted }
    }

    /// Where the images are tagged.
    pub fn repo(&self) -> &Repo {
        &self.to
    }

    /// The tags of an image whose content-based tag is this.
    pub fn of(&self, image: &str, content: &str) -> Vec<String> {
        let own = self.wanted.iter().filter(|(name, _)| name == image);
        own.map(|(_, tag)| fill(tag, content)).collect()
    }

    /// Whether a tag leads to an image.
    ///
    /// # Errors
    /// When the repository does not answer, or refuses.
    pub async fn leads_to(&self, tag: &str, image: &ImageAt) -> Result<bool, StorageError> {
        let there = self.client.head_manifest(&self.to, tag).await;
        Ok(there.map_err(|error| from_registry(&self.to, error))?.as_ref() == Some(&image.digest))
    }

    /// Gives an image, whose content-based tag is `content`, a tag, which may have been another's, and records that in
    /// the primary repository.
    ///
    /// # Errors
    /// When the tag is not one that users may give; when a repository does not answer, or refuses.
    pub async fn put(&self, tag: &str, (content, image): (&str, &ImageAt)) -> Result<(), StorageError> {
        if !names::is_custom(tag) {
            let why = "it is no tag that users may give".to_owned();
            return Err(StorageError::Broken { what: format!("{}:{tag}", self.to), why });
        }
        let moved = !self.leads_to(tag, image).await?;
        if moved {
            let raw = self.client.manifest(&self.primary, image.digest.as_str()).await;
            let raw = raw.map_err(|error| from_registry(&self.primary, error))?;
            let raw = raw.ok_or_else(|| StorageError::Gone(image.to_string()))?;
            let put = self.client.put_manifest(&self.to, tag, &raw.media_type, raw.bytes).await;
            put.map_err(|error| from_registry(&self.to, error))?;
        }
        self.record(tag, content, moved).await.map_err(|error| from_registry(&self.primary, error))
    }

    async fn record(&self, tag: &str, content: &str, moved: bool) -> Result<(), RegistryError> {
        let record = names::custom_tag(tag);
        if !moved && self.client.head_manifest(&self.primary, &record).await?.is_some() {
            return Ok(());
        }
        let labels = [(PROJECT, self.project.clone()), (STAGE, content.to_owned()), (TAG, tag.to_owned())];
        let labels: BTreeMap<String, String> =
            labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        tiny::put(&self.client, &self.primary, &record, labels).await
    }
}

/// A tag with the content-based one in its place.
pub fn fill(tag: &str, content: &str) -> String {
    tag.replace(CONTENT_BASED_TAG, content)
}
