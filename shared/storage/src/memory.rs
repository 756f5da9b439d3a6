//! A stage storage in memory, for tests.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::RangeInclusive,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use slipway_digest::{Millis, StageDigest, StageId};
use slipway_oci::{BlobDigest, ImageAt, Platform};
use slipway_stages::StageRecord;

use crate::{
    StageStorage, StorageError,
    kv::{Listing, Reading, StagePlace},
};

/// Stages in memory. Clones are one storage.
#[derive(Clone, Debug)]
pub struct MemoryStorage {
    name: String,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Images by where they are; the timestamps in the records mean nothing.
    images: HashMap<ImageAt, StageRecord>,
    tags: BTreeMap<StageId, ImageAt>,
    /// Attempts that manifests name.
    attempts: HashMap<ImageAt, String>,
    rejected: BTreeSet<StageId>,
    /// So many tags are never written.
    late: u32,
}

impl MemoryStorage {
    /// An empty storage of this name.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), state: Arc::default() }
    }

    /// Puts an image without a tag.
    pub fn upload(&self, record: &StageRecord) {
        self.with(|state| state.images.insert(record.at.clone(), record.clone()));
    }

    /// Puts an image without a tag, whose manifest names an attempt.
    pub fn upload_as(&self, record: &StageRecord, attempt: &str) {
        self.upload(record);
        self.with(|state| state.attempts.insert(record.at.clone(), attempt.to_owned()));
    }

    /// The image under a tag.
    pub fn tagged(&self, id: StageId) -> Option<ImageAt> {
        self.with(|state| state.tags.get(&id).cloned())
    }

    /// The next `late` calls that write a tag never come back.
    pub fn be_late(&self, late: u32) {
        self.with(|state| state.late = late);
    }

    /// Loses an image; its tags stay, as after an accident.
    pub fn lose(&self, image: &ImageAt) {
        self.with(|state| state.images.remove(image));
    }

    /// Deletes an image with its tags, as other programs do in a registry.
    pub fn delete(&self, image: &ImageAt) {
        self.with(|state| {
            state.images.remove(image);
            state.tags.retain(|_, at| at != image);
        });
    }

    /// All tags, sorted.
    pub fn tags(&self) -> Vec<StageId> {
        self.with(|state| state.tags.keys().copied().collect())
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl StageStorage for MemoryStorage {
    fn name(&self) -> String {
        self.name.clone()
    }

    async fn find(
        &self,
        digest: StageDigest,
        platform: &Platform,
        _fresh: bool,
    ) -> Result<Vec<StageRecord>, StorageError> {
        let read = |state: &mut State| {
            let tags = state.tags.range(of_digest(digest));
            let records = tags.filter_map(|(id, at)| Some(StageRecord { id: *id, ..state.images.get(at)?.clone() }));
            records.filter(|record| record.platform == *platform).collect()
        };
        Ok(self.with(read))
    }

    async fn tag(&self, stage: &StageRecord) -> Result<(), StorageError> {
        let late = self.with(|state| {
            let late = state.late > 0;
            state.late = state.late.saturating_sub(1);
            late
        });
        if late {
            std::future::pending::<()>().await;
        }
        self.with(|state| match state.tags.get(&stage.id) {
            Some(at) if *at == stage.at => Ok(()),
            Some(at) => {
                Err(StorageError::Broken { what: stage.id.to_string(), why: format!("the tag belongs to {at}") })
            }
            None if state.images.contains_key(&stage.at) => {
                state.tags.insert(stage.id, stage.at.clone());
                Ok(())
            }
            None => Err(StorageError::Gone(stage.at.to_string())),
        })
    }

    async fn verify(&self, image: &ImageAt) -> Result<(), StorageError> {
        match self.with(|state| state.images.contains_key(image)) {
            true => Ok(()),
            false => Err(StorageError::Gone(image.to_string())),
        }
    }

    async fn latest(&self, digest: StageDigest) -> Result<Option<Millis>, StorageError> {
        Ok(self.with(|state| state.tags.range(of_digest(digest)).next_back().map(|(id, _)| id.stamp)))
    }
}

#[async_trait]
impl StagePlace for MemoryStorage {
    async fn list(&self) -> Result<Listing, StorageError> {
        Ok(self.with(|state| Listing {
            stages: state.tags.keys().copied().collect(),
            rejected: state.rejected.iter().copied().collect(),
        }))
    }

    async fn read(&self, id: StageId) -> Result<Reading, StorageError> {
        Ok(self.with(|state| match state.tags.get(&id) {
            None => Reading::Absent,
            Some(at) => match state.images.get(at) {
                None => Reading::Absent,
                Some(record) => {
                    let record = StageRecord { id, ..record.clone() };
                    Reading::Stage(Box::new(record), state.attempts.get(at).cloned())
                }
            },
        }))
    }

    async fn identify(&self, claimed: &StageRecord) -> Result<(StageRecord, Option<String>), StorageError> {
        self.with(|state| match state.images.get(&claimed.at) {
            Some(record) => Ok((record.clone(), state.attempts.get(&claimed.at).cloned())),
            None => Err(StorageError::Gone(claimed.at.to_string())),
        })
    }

    async fn copy(&self, image: &ImageAt, attempt: &str) -> Result<ImageAt, StorageError> {
        self.with(|state| {
            let record = state.images.get(image).cloned();
            let record = record.ok_or_else(|| StorageError::Gone(image.to_string()))?;
            let digest = BlobDigest::of(format!("{} by {attempt}", record.image_id).as_bytes());
            let at = ImageAt { repo: image.repo.clone(), digest };
            state.images.insert(at.clone(), StageRecord { at: at.clone(), ..record });
            state.attempts.insert(at.clone(), attempt.to_owned());
            Ok(at)
        })
    }

    async fn mark_rejected(&self, id: StageId, _why: &str) -> Result<(), StorageError> {
        self.with(|state| state.rejected.insert(id));
        Ok(())
    }
}

/// All tags of a digest.
fn of_digest(digest: StageDigest) -> RangeInclusive<StageId> {
    StageId { digest, stamp: Millis(0) }..=StageId { digest, stamp: Millis(u64::MAX) }
}
