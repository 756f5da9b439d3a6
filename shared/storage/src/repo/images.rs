//! Which stages images had, so that a build finds all of an image at once.
//!
//! The note of an image is a tag on a tiny image, named after what the image is made of; it holds the records of its stages. It is no second
//! truth: what is answered are the stages that the listing has under the digests in it, each seen to be there, just as one look-up after the other
//! would have found them.

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use slipway_digest::{Checksum, StageDigest, StageId};
use slipway_oci::{Manifest, Platform};
use slipway_registry::RegistryError;
use slipway_stages::facts::Foreseen;

use super::{AT_ONCE, RepoStorage};
use crate::{
    StageStorage as _, StorageError,
    index::notes::{Note, Notes},
    names, tiny,
};

/// Under this name the manifest holds the stages.
const STAGES: &str = "slipway.stages";
/// The stages that such a note names; `None` when it cannot be read.
pub(crate) fn noted(manifest: &[u8]) -> Option<Vec<StageId>> {
    let text = Manifest::parse(manifest).ok()?.annotations.remove(STAGES)?;
    let notes: Vec<Note> = serde_json::from_str(&text).ok()?;
    Some(notes.into_iter().map(|note| note.stage.id).collect())
}

/// More stages than an image has.
const MOST: usize = 64;

impl RepoStorage {
    /// The stages that an image had, and all that is stored under their digests. Nothing when nothing is kept between
    /// builds.
    ///
    /// # Errors
    /// When the repository does not answer.
    pub async fn foresee(&self, key: &Checksum, platform: &Platform) -> Result<Foreseen, StorageError> {
        self.tags.refresh(false).await.map_err(|error| self.failed(error))?;
        let Some(notes) = self.kept.as_ref().and_then(|kept| kept.notes()) else { return Ok(Foreseen::default()) };
        let Some(stages) = self.stages_of(key, notes).await? else { return Ok(Foreseen::default()) };
        let mut digests: Vec<StageDigest> = stages.iter().map(|id| id.digest).collect();
        digests.sort_unstable();
        digests.dedup();
        let found = stream::iter(digests)
            .map(|digest| async move { Ok::<_, StorageError>((digest, self.find(digest, platform, false).await?)) });
        Ok(Foreseen { stored: found.buffered(AT_ONCE).try_collect().await?, stages })
    }

    /// Notes which stages an image has, for the builds to come: here, and in the repository for other hosts.
    ///
    /// # Errors
    /// When the repository does not answer, or refuses.
    pub async fn note_image(&self, key: &Checksum, stages: &[StageId]) -> Result<(), StorageError> {
        let Some(notes) = self.kept.as_ref().and_then(|kept| kept.notes()) else { return Ok(()) };
        let known: Option<Vec<Note>> = stages.iter().map(|id| notes.stage(*id)).collect();
        // What was not read here is noted by who reads it, and for one stage there is nothing to be gained.
        let Some(mut known) = known.filter(|known| (2..=MOST).contains(&known.len())) else { return Ok(()) };
        notes.add_image(*key, stages.to_vec());
        // Of the stages below nobody will ask for the layers.
        let below = known.len().saturating_sub(1);
        known[..below].iter_mut().for_each(|note| note.layers = None);
        let tag = names::image_stages(key);
        let text = serde_json::to_string(&known).map_err(|error| StorageError::Unavailable(error.to_string()))?;
        let marks = BTreeMap::from([(STAGES.to_owned(), text)]);
        let put = tiny::put_marked(&self.client, &self.repo, &tag, &marks).await;
        put.map_err(|error| self.failed(error))?;
        self.tags.added(&tag);
        Ok(())
    }

    /// The stages of an image, by what this host has noted, else by what the repository has; their records are
    /// noted here then.
    async fn stages_of(&self, key: &Checksum, notes: &Notes) -> Result<Option<Vec<StageId>>, StorageError> {
        if let Some(stages) = notes.image(key).filter(|stages| stages.iter().all(|id| notes.stage(*id).is_some())) {
            return Ok(Some(stages));
        }
        let tag = names::image_stages(key);
        if !self.tags.has_record(&tag) {
            return Ok(None);
        }
        let raw = match self.client.manifest(&self.repo, &tag).await {
            Ok(Some(raw)) => raw,
            Ok(None) | Err(RegistryError::NotFound(_) | RegistryError::Corrupt(_) | RegistryError::Refused(_)) => {
                return Ok(None);
            }
            Err(error) => return Err(self.failed(error)),
        };
        let manifest = Manifest::parse(&raw.bytes).ok();
        let text = manifest.and_then(|mut manifest| manifest.annotations.remove(STAGES));
        let read: Option<Vec<Note>> = text.and_then(|text| serde_json::from_str(&text).ok());
        let Some(read) = read.filter(|read| read.len() <= MOST && read.iter().all(|note| self.is_own(note))) else {
            tracing::debug!("the note {}:{tag} cannot be read", self.repo);
            return Ok(None);
        };
        let stages: Vec<StageId> = read.iter().map(|note| note.stage.id).collect();
        for note in read {
            if notes.stage(note.stage.id).is_none() {
                notes.add_stage(note);
            }
        }
        notes.add_image(*key, stages.clone());
        Ok(Some(stages))
    }

    fn is_own(&self, note: &Note) -> bool {
        note.stage.at.repo == self.repo
    }
}
