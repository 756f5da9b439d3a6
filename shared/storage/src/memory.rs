//! A stage storage in memory, for tests.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use slipway_digest::{Millis, StageDigest, StageId};
use slipway_oci::{ImageAt, Platform};
use slipway_stages::StageRecord;

use crate::{StageStorage, StorageError};

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

    /// Loses an image; its tags stay, as after an accident.
    pub fn lose(&self, image: &ImageAt) {
        self.with(|state| state.images.remove(image));
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
            let tags = state.tags.iter().filter(|(id, _)| id.digest == digest);
            let records = tags.filter_map(|(id, at)| Some(StageRecord { id: *id, ..state.images.get(at)?.clone() }));
            records.filter(|record| record.platform == *platform).collect()
        };
        Ok(self.with(read))
    }

    async fn tag(&self, stage: &StageRecord) -> Result<(), StorageError> {
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
        let of_digest = |state: &mut State| state.tags.keys().filter(|id| id.digest == digest).map(|id| id.stamp).max();
        Ok(self.with(of_digest))
    }
}
