//! What records and images beside the stages say, read many at once.

use std::{collections::BTreeMap, future::Future};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use slipway_digest::{StageDigest, StageId};
use slipway_oci::BlobDigest;

use super::Place;
use crate::{
    StorageError,
    beside::custom_tags,
    records::{IMPORT_CHECKSUM, IMPORT_STAGE},
    repo::images,
};

/// The record of an import.
pub(super) struct Import {
    pub(super) tag: String,
    pub(super) digest: BlobDigest,
    /// Where the files are; `None` = in an image of others.
    pub(super) source: Option<StageId>,
    pub(super) checksum: Option<String>,
}

/// The record of a custom tag.
pub(super) struct Custom {
    pub(super) record: String,
    pub(super) digest: BlobDigest,
    pub(super) tag: Option<String>,
    pub(super) content: Option<Content>,
}

/// What a custom tag leads to.
pub(super) enum Content {
    Stage(StageId),
    Index(String),
}

/// A note of an image's stages; `None` = it cannot be read.
pub(super) struct Noted {
    pub(super) tag: String,
    pub(super) digest: BlobDigest,
    pub(super) stages: Option<Vec<StageId>>,
}

/// Something that leads to images.
pub(super) struct Leads {
    pub(super) tag: String,
    pub(super) digest: BlobDigest,
    pub(super) images: Vec<BlobDigest>,
}

impl Place {
    /// Asks for each of some things, several at once; what is not there any more is left out.
    pub(super) async fn each<T, F: Future<Output = Result<Option<T>, StorageError>>>(
        &self,
        tags: &[String],
        read: impl Fn(String) -> F,
    ) -> Result<Vec<T>, StorageError> {
        let reads = stream::iter(tags.to_vec()).map(read).buffer_unordered(self.at_once);
        reads.try_filter_map(|found| std::future::ready(Ok(found))).try_collect().await
    }

    pub(super) async fn import(&self, tag: String) -> Result<Option<Import>, StorageError> {
        let Some((digest, labels)) = self.record(&tag).await? else { return Ok(None) };
        let source = labels.get(IMPORT_STAGE).and_then(|text| text.parse().ok());
        Ok(Some(Import { tag, digest, source, checksum: labels.get(IMPORT_CHECKSUM).cloned() }))
    }

    pub(super) async fn custom(&self, record: String) -> Result<Option<Custom>, StorageError> {
        let Some((digest, mut labels)) = self.record(&record).await? else { return Ok(None) };
        let content = content(&labels);
        Ok(Some(Custom { record, digest, tag: labels.remove(custom_tags::TAG), content }))
    }

    pub(super) async fn noted(&self, tag: String) -> Result<Option<Noted>, StorageError> {
        let Some(raw) = self.get(&tag).await? else { return Ok(None) };
        Ok(Some(Noted { tag, stages: images::noted(&raw.bytes), digest: raw.digest }))
    }

    pub(super) async fn leads(&self, tag: String) -> Result<Option<Leads>, StorageError> {
        let Some(found) = self.find(&tag).await? else { return Ok(None) };
        Ok(Some(Leads { tag, digest: found.raw.digest, images: found.images }))
    }
}

fn content(labels: &BTreeMap<String, String>) -> Option<Content> {
    let text = labels.get(custom_tags::STAGE)?;
    let index = || text.parse::<StageDigest>().ok().map(|_| Content::Index(text.clone()));
    text.parse().ok().map(Content::Stage).or_else(index)
}
