//! Stages in a repository of a registry.
//!
//! The tags are the index ([`TagIndex`]), the labels in the image configs the records. A record that was read once is
//! kept with the digest of its manifest, and so is one that was tagged here; who asks for fresh news pays one HEAD for it.

pub(crate) mod images;
mod place;
mod werfs;
mod whole;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use slipway_digest::{Millis, StageDigest, StageId};
use slipway_oci::{BlobDigest, Descriptor, ImageAt, ImageConfig, Manifest, Platform, Repo};
use slipway_registry::{Client, RawManifest, RegistryError};
use slipway_stages::{StageRecord, labels};
use tokio::sync::Mutex as AsyncMutex;

use crate::{
    RepoRecords, StageStorage, StorageError,
    index::{IndexDir, KeptIndex, notes::Note},
    names,
    notices::Notices,
    tags::TagIndex,
};

/// Requests of one call that run at once.
const AT_ONCE: usize = 8;
/// Records that are remembered before those that nobody is reading are forgotten.
const MAX_REMEMBERED: usize = 50_000;

/// Verified manifests that are remembered; more are forgotten, and read again.
const MAX_VERIFIED: usize = 256;

/// Stages of one repository.
#[derive(Debug)]
pub struct RepoStorage {
    client: Client,
    repo: Repo,
    tags: Arc<TagIndex>,
    /// What is kept between builds.
    kept: Option<Arc<KeptIndex>>,
    /// Whether what is tagged here is looked up here.
    remembers: bool,
    /// Stages that are not looked at, as they are being deleted.
    hidden: Arc<HashSet<StageId>>,
    notices: Arc<Notices>,
    /// Who reads a record holds its cell, so that equal look-ups are one request.
    records: Mutex<HashMap<StageId, Arc<AsyncMutex<Remembered>>>>,
    /// The layers of manifests that were read.
    layers: Mutex<HashMap<BlobDigest, Vec<Descriptor>>>,
    /// Manifests that were verified and are to be tagged next.
    verified: Mutex<HashMap<BlobDigest, RawManifest>>,
}

/// What is known of the image under a stage's tag.
#[derive(Clone, Debug, Default)]
enum Remembered {
    #[default]
    Nothing,
    Stage(Box<StageRecord>),
    /// The manifest is of no stage; the user was told.
    NoStage(BlobDigest),
}

impl RepoStorage {
    /// The stages of `repo`.
    pub fn new(client: Client, repo: Repo) -> Self {
        let tags = Arc::new(TagIndex::new(client.clone(), repo.clone()));
        Self::with(client, repo, tags, None)
    }

    /// The same, with what `place` keeps of it between builds; `writes` = it is ours to write.
    pub fn kept(client: Client, repo: Repo, place: &IndexDir, writes: bool) -> Self {
        let kept = Arc::new(KeptIndex::new(&repo, place));
        let tags = TagIndex::keeping(client.clone(), repo.clone(), Arc::clone(&kept), writes);
        Self::with(client, repo, Arc::new(tags), Some(kept))
    }

    /// The place of stages that a ledger elsewhere looks up: what is tagged here is not remembered.
    pub fn of_ledger(client: Client, repo: Repo) -> Self {
        Self { remembers: false, ..Self::new(client, repo) }
    }

    /// The same without some stages, which are being deleted.
    #[must_use]
    pub fn without(self, hidden: Arc<HashSet<StageId>>) -> Self {
        Self { hidden, ..self }
    }

    fn with(client: Client, repo: Repo, tags: Arc<TagIndex>, kept: Option<Arc<KeptIndex>>) -> Self {
        let (records, layers, verified) = (Mutex::default(), Mutex::default(), Mutex::default());
        let (notices, hidden) = (Arc::default(), Arc::default());
        Self { client, repo, tags, kept, remembers: true, hidden, notices, records, layers, verified }
    }

    /// The records that a project keeps beside its stages. They share the stages' listing.
    pub fn records(&self, project: &str) -> RepoRecords {
        let notices = Arc::clone(&self.notices);
        RepoRecords::new(self.client.clone(), self.repo.clone(), project, self.tags.clone(), notices)
    }

    /// The repository.
    pub fn repo(&self) -> &Repo {
        &self.repo
    }

    /// The stages of a digest as last listed, oldest first, without those that are hidden.
    fn listed(&self, digest: StageDigest) -> Vec<StageId> {
        let mut listed = self.tags.stages(digest);
        listed.retain(|id| !self.hidden.contains(id));
        listed
    }

    /// The stage under a tag; `None`, with a warning, when there is none.
    async fn record(&self, id: StageId, fresh: bool) -> Result<Option<StageRecord>, StorageError> {
        let cell = self.cell(id);
        let mut remembered = cell.lock().await;
        if !self.is_current(&remembered, id, fresh).await? {
            *remembered = self.read(id).await?;
        }
        match &*remembered {
            Remembered::Stage(record) => Ok(Some(record.as_ref().clone())),
            Remembered::Nothing | Remembered::NoStage(_) => Ok(None),
        }
    }

    /// The stages under some tags.
    async fn read_all(
        &self,
        ids: Vec<StageId>,
        fresh: bool,
    ) -> Result<Vec<(StageId, Option<StageRecord>)>, StorageError> {
        let read = |id| async move { Ok((id, self.record(id, fresh).await?)) };
        stream::iter(ids).map(read).buffered(AT_ONCE).try_collect().await
    }

    async fn is_current(&self, remembered: &Remembered, id: StageId, fresh: bool) -> Result<bool, StorageError> {
        let digest = match remembered {
            Remembered::Nothing => return Ok(false),
            Remembered::Stage(record) => &record.at.digest,
            Remembered::NoStage(digest) => digest,
        };
        if !fresh {
            return Ok(true);
        }
        let now = self.client.head_manifest(&self.repo, &id.to_string()).await;
        Ok(now.map_err(|error| self.failed(error))?.as_ref() == Some(digest))
    }

    /// What was noted of a stage by an earlier build, if its tag still leads to that image.
    async fn noted(&self, id: StageId) -> Result<Option<StageRecord>, StorageError> {
        let note = self.kept.as_ref().and_then(|kept| kept.notes()?.stage(id));
        let Some(note) = note.filter(|note| note.stage.id == id && note.stage.at.repo == self.repo) else {
            return Ok(None);
        };
        let now = self.client.head_manifest(&self.repo, &id.to_string()).await.map_err(|error| self.failed(error))?;
        if now.as_ref() != Some(&note.stage.at.digest) {
            return Ok(None);
        }
        if let Some(layers) = &note.layers {
            self.remember_layers(&note.stage.at.digest, layers);
        }
        Ok(Some(note.stage))
    }

    async fn read(&self, id: StageId) -> Result<Remembered, StorageError> {
        if let Some(stage) = self.noted(id).await? {
            return Ok(Remembered::Stage(Box::new(stage)));
        }
        let name = format!("{}:{id}", self.repo);
        let raw = self.client.manifest(&self.repo, &id.to_string()).await;
        let raw = match raw {
            Ok(Some(raw)) => raw,
            Ok(None) => {
                tracing::debug!("the stage {name} is listed but not there; it is left out");
                self.tags.vanished(&id);
                return Ok(Remembered::Nothing);
            }
            Err(RegistryError::Corrupt(why) | RegistryError::Refused(why)) => {
                tracing::warn!("the stage {name} cannot be read; it is left out: {why}");
                return Ok(Remembered::Nothing);
            }
            Err(error) => return Err(self.failed(error)),
        };
        match self.read_stage(id, &raw).await {
            Ok((record, layers)) => {
                self.note(&record, &layers);
                Ok(Remembered::Stage(Box::new(record)))
            }
            Err(StorageError::Broken { why, .. }) => {
                tracing::warn!("the image {name} is no usable stage; it is left out: {why}");
                Ok(Remembered::NoStage(raw.digest))
            }
            Err(other) => Err(other),
        }
    }

    /// The stage of a manifest that is under the tag `id`.
    async fn read_stage(&self, id: StageId, raw: &RawManifest) -> Result<(StageRecord, Vec<Descriptor>), StorageError> {
        let broken = |why: String| StorageError::Broken { what: format!("{}:{id}", self.repo), why };
        let manifest = parse(raw).map_err(&broken)?;
        let bytes = match self.client.blob(&self.repo, &manifest.config.digest).await {
            Ok(bytes) => bytes,
            Err(RegistryError::NotFound(why) | RegistryError::Corrupt(why) | RegistryError::Refused(why)) => {
                return Err(broken(why));
            }
            Err(error) => return Err(self.failed(error)),
        };
        let config: ImageConfig =
            serde_json::from_slice(&bytes).map_err(|why| broken(format!("its config cannot be read: {why}")))?;
        let labels = config.config.labels.unwrap_or_default();
        let labels = labels::read_for(&id, &labels).map_err(|why| broken(why.to_string()))?;
        self.remember_layers(&raw.digest, &manifest.layers);
        let at = ImageAt { repo: self.repo.clone(), digest: raw.digest.clone() };
        let size = blobs(&manifest).fold(0_u64, |sum, blob| sum.saturating_add(blob.size));
        let stage = labels::record(labels, id, at, manifest.config.digest.clone(), size);
        Ok((stage, manifest.layers))
    }

    fn note(&self, stage: &StageRecord, layers: &[Descriptor]) {
        if let Some(notes) = self.kept.as_ref().and_then(|kept| kept.notes()) {
            notes.add_stage(Note { stage: stage.clone(), layers: Some(layers.to_vec()) });
        }
    }

    async fn get(&self, image: &ImageAt) -> Result<RawManifest, StorageError> {
        if image.repo != self.repo {
            return Err(StorageError::Broken {
                what: image.to_string(),
                why: format!("it lies in another repository than {}", self.repo),
            });
        }
        if let Some(held) = self.client.held_manifest(&self.repo, &image.digest) {
            return Ok(held);
        }
        let raw = self.client.manifest(&self.repo, image.digest.as_str()).await;
        raw.map_err(|error| self.failed(error))?.ok_or_else(|| StorageError::Gone(image.to_string()))
    }

    async fn verify_blob(&self, image: &ImageAt, blob: &Descriptor) -> Result<(), StorageError> {
        match self.client.head_blob(&self.repo, &blob.digest).await {
            Ok(Some(size)) if size == blob.size => Ok(()),
            Ok(Some(size)) => Err(StorageError::Broken {
                what: image.to_string(),
                why: format!("blob {} has {size} bytes, the manifest says {}", blob.digest, blob.size),
            }),
            Ok(None) => Err(StorageError::Gone(format!("blob {} of {image}", blob.digest))),
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Writes a stage's tag unless it stands; whether it was written.
    async fn write_tag(&self, stage: &StageRecord) -> Result<bool, StorageError> {
        let tag = stage.id.to_string();
        let there = self.client.head_manifest(&self.repo, &tag).await.map_err(|error| self.failed(error))?;
        match &there {
            Some(digest) if *digest == stage.at.digest => {}
            Some(digest) => {
                return Err(StorageError::Broken {
                    what: format!("{}:{tag}", self.repo),
                    why: format!("the tag belongs to {digest}, not to {}; it was not moved", stage.at.digest),
                });
            }
            None => {
                // What was verified a moment ago need not be read again.
                let verified = self.verified().remove(&stage.at.digest).filter(|_| stage.at.repo == self.repo);
                let raw = match verified {
                    Some(raw) => raw,
                    None => self.get(&stage.at).await?,
                };
                let put = self.client.put_manifest(&self.repo, &tag, &raw.media_type, raw.bytes.clone()).await;
                if let Err(error) = put {
                    return Err(self.not_stored(&raw, error));
                }
                self.client.let_go(&self.repo, &raw.digest);
                if self.remembers
                    && let Ok(manifest) = parse(&raw)
                {
                    self.remember_layers(&raw.digest, &manifest.layers);
                    self.note(stage, &manifest.layers);
                    *self.cell(stage.id).lock().await = Remembered::Stage(Box::new(stage.clone()));
                }
            }
        }
        if self.remembers {
            self.tags.added(&tag);
        }
        Ok(there.is_none())
    }

    /// What a refusal of a manifest means. One that is held has to be made anew if the registry lacks a part of it.
    fn not_stored(&self, raw: &RawManifest, error: RegistryError) -> StorageError {
        if let (RegistryError::NotFound(_), Ok(manifest)) = (&error, parse(raw)) {
            blobs(&manifest).for_each(|blob| self.client.unsee(&self.repo, &blob.digest));
            self.client.let_go(&self.repo, &raw.digest);
        }
        self.failed(error)
    }

    fn cell(&self, id: StageId) -> Arc<AsyncMutex<Remembered>> {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        if records.len() >= MAX_REMEMBERED {
            records.retain(|_, cell| Arc::strong_count(cell) > 1);
        }
        records.entry(id).or_default().clone()
    }

    fn verified(&self) -> MutexGuard<'_, HashMap<BlobDigest, RawManifest>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep_verified(&self, raw: RawManifest) {
        let mut verified = self.verified();
        if verified.len() >= MAX_VERIFIED {
            verified.clear();
        }
        verified.insert(raw.digest.clone(), raw);
    }

    fn layers(&self) -> MutexGuard<'_, HashMap<BlobDigest, Vec<Descriptor>>> {
        self.layers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self, error: RegistryError) -> StorageError {
        from_registry(&self.repo, error)
    }
}

#[async_trait]
impl StageStorage for RepoStorage {
    fn name(&self) -> String {
        self.repo.to_string()
    }

    async fn find(
        &self,
        digest: StageDigest,
        platform: &Platform,
        fresh: bool,
    ) -> Result<Vec<StageRecord>, StorageError> {
        // What was known before is looked at while the rest is listed.
        let known = if fresh { self.listed(digest) } else { Vec::new() };
        let refreshed = async { self.tags.refresh(fresh).await.map_err(|error| self.failed(error)) };
        let ((), known) = tokio::try_join!(refreshed, self.read_all(known, fresh))?;
        // Where a build has been recorded it was said.
        if self.tags.is_first_seen() && !self.tags.has_record(names::PROJECT) {
            self.look_for_werfs(&self.tags.all_stages()).await?;
        }
        let mut records = BTreeMap::from_iter(known);
        let listed = self.listed(digest);
        let new = listed.iter().copied().filter(|id| !records.contains_key(id)).collect();
        records.extend(self.read_all(new, fresh).await?);
        let mut found: Vec<StageRecord> = listed.iter().filter_map(|id| records.remove(id)?).collect();
        found.retain(|record| record.platform == *platform);
        if let Some(deleted) = self.tags.deleted(digest) {
            self.notices.deleted(&self.repo, deleted);
        }
        Ok(found)
    }

    async fn tag(&self, stage: &StageRecord) -> Result<(), StorageError> {
        self.write_tag(stage).await?;
        // Also when the tag stood: who wrote it may have been killed before he could say so.
        self.tags.announce().await.map_err(|error| self.failed(error))
    }

    async fn verify(&self, image: &ImageAt) -> Result<(), StorageError> {
        self.verified().remove(&image.digest);
        // Of what this process has just stored, the registry has seen every part.
        if let Some(raw) = self.client.stored_lately(&image.repo, &image.digest).filter(|_| image.repo == self.repo) {
            self.keep_verified(raw);
            return Ok(());
        }
        let raw = self.get(image).await?;
        let manifest = parse(&raw).map_err(|why| StorageError::Broken { what: image.to_string(), why })?;
        // The parts of a held manifest went there a moment ago; the registry refuses it should one be gone.
        let held = self.client.held_manifest(&self.repo, &image.digest).is_some();
        let sent = |blob: &Descriptor| held && self.client.seen_lately(&self.repo, &blob.digest);
        let blobs = blobs(&manifest).filter(|blob| !sent(blob));
        let blobs: Vec<Descriptor> = blobs.cloned().collect();
        let checks = stream::iter(blobs).map(|blob| async move { self.verify_blob(image, &blob).await });
        checks.buffer_unordered(AT_ONCE).try_collect::<()>().await?;
        self.keep_verified(raw);
        Ok(())
    }

    async fn not_whole(&self, images: &[ImageAt]) -> Result<Vec<(ImageAt, String)>, StorageError> {
        self.find_lost(images).await
    }

    async fn latest(&self, digest: StageDigest) -> Result<Option<Millis>, StorageError> {
        self.tags.refresh(false).await.map_err(|error| self.failed(error))?;
        Ok(self.tags.latest(digest))
    }

    fn untold(&self) -> Vec<String> {
        self.notices.take()
    }
}

fn parse(raw: &RawManifest) -> Result<Manifest, String> {
    serde_json::from_slice(&raw.bytes).map_err(|why| format!("its manifest ({}) is of no image: {why}", raw.media_type))
}

fn blobs(manifest: &Manifest) -> impl Iterator<Item = &Descriptor> {
    std::iter::once(&manifest.config).chain(&manifest.layers)
}

/// What a registry's refusal means for a build, and what to do about it.
pub(crate) fn from_registry(repo: &Repo, error: RegistryError) -> StorageError {
    match error {
        RegistryError::NotFound(why) => StorageError::Gone(why),
        RegistryError::Denied(why) => StorageError::Denied(format!(
            "{why}; log in with `docker login {}`, or ask for the right to read and write {repo}",
            repo.host
        )),
        RegistryError::Refused(why) | RegistryError::Corrupt(why) => {
            StorageError::Broken { what: repo.to_string(), why }
        }
        RegistryError::Unavailable(why) => {
            StorageError::Unavailable(format!("{why}; check that {} can be reached, and try again", repo.host))
        }
    }
}
