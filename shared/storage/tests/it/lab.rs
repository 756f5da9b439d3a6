//! Places under test: memory, a directory that several processes share, a registry.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use slipway_digest::{Millis, StageDigest, StageId};
use slipway_locks::FileLocks;
use slipway_oci::{BlobDigest, ImageAt, Platform, Repo};
use slipway_process::SystemClock;
use slipway_stages::{StageRecord, labels, labels::StageLabels};
use slipway_storage::{
    Candidate, JournalLedger, Judge, MemoryStorage, Publisher, StageStorage, StorageError, conformance::Lab,
};

/// A candidate from the record of an upload.
pub(crate) fn candidate(record: StageRecord) -> Candidate {
    Candidate { record, not_before: Millis(0), attempt: "attempt".to_owned() }
}

/// A publisher as a new process makes it.
pub(crate) fn publisher(home: &Path, storage: Arc<dyn StageStorage>, frozen: Option<u64>) -> Publisher {
    let ledger = JournalLedger::new(&home.join("service/ledger"), &storage.name());
    let locks = FileLocks::new(home.join("service/locks"));
    Publisher::new(storage, Arc::new(ledger), Arc::new(locks), Arc::new(SystemClock::new(frozen)))
}

/// Takes the oldest, whatever its commits.
pub(crate) struct Oldest;

#[async_trait]
impl Judge for Oldest {
    async fn choose(&self, candidates: &[StageRecord]) -> Result<Option<StageRecord>, StorageError> {
        Ok(candidates.first().cloned())
    }
}

pub(crate) struct MemoryLab(pub(crate) MemoryStorage);

#[async_trait]
impl Lab for MemoryLab {
    async fn open(&self) -> Arc<dyn StageStorage> {
        Arc::new(self.0.clone())
    }

    async fn upload(&self, labels: &StageLabels, salt: &str) -> StageRecord {
        let digest = BlobDigest::of(format!("{salt} of {}", labels.digest).as_bytes());
        let at = ImageAt { repo: Repo { host: String::new(), path: "shop".to_owned() }, digest };
        let record = record(labels.clone(), at, salt.len() as u64);
        self.0.upload(&record);
        record
    }

    async fn lose(&self, image: &ImageAt) {
        self.0.lose(image);
    }
}

fn record(labels: StageLabels, at: ImageAt, size: u64) -> StageRecord {
    let id = StageId { digest: labels.digest, stamp: Millis(0) };
    let image_id = at.digest.clone();
    labels::record(labels, id, at, image_id, size)
}

/// Images and tags as files: what a local engine is, without the engine.
#[derive(Clone)]
pub(crate) struct DirectoryLab(pub(crate) PathBuf);

impl DirectoryLab {
    fn at(digest: BlobDigest) -> ImageAt {
        ImageAt { repo: Repo { host: String::new(), path: "shop".to_owned() }, digest }
    }

    fn image(&self, digest: &BlobDigest) -> PathBuf {
        self.0.join("images").join(digest.as_str())
    }

    fn tag_path(&self, id: &StageId) -> PathBuf {
        self.0.join("tags").join(id.to_string())
    }

    fn read(&self, id: StageId) -> Option<StageRecord> {
        let digest: BlobDigest = std::fs::read_to_string(self.tag_path(&id)).ok()?.parse().ok()?;
        let image = std::fs::read(self.image(&digest)).ok()?;
        let (written, _salt): (BTreeMap<String, String>, String) = serde_json::from_slice(&image).ok()?;
        let labels = labels::read_for(&id, &written).ok()?;
        Some(StageRecord { id, ..record(labels, Self::at(digest), image.len() as u64) })
    }

    pub(crate) fn tags(&self) -> Vec<StageId> {
        let entries = std::fs::read_dir(self.0.join("tags")).into_iter().flatten();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut tags: Vec<StageId> = names.filter_map(|name| name.parse().ok()).collect();
        tags.sort();
        tags
    }
}

#[async_trait]
impl Lab for DirectoryLab {
    async fn open(&self) -> Arc<dyn StageStorage> {
        Arc::new(self.clone())
    }

    async fn upload(&self, labels: &StageLabels, salt: &str) -> StageRecord {
        let image = serde_json::to_vec(&(labels::write(labels), salt)).unwrap();
        let digest = BlobDigest::of(&image);
        std::fs::create_dir_all(self.0.join("images")).unwrap();
        std::fs::create_dir_all(self.0.join("tags")).unwrap();
        std::fs::write(self.image(&digest), &image).unwrap();
        record(labels.clone(), Self::at(digest), image.len() as u64)
    }

    async fn lose(&self, image: &ImageAt) {
        std::fs::remove_file(self.image(&image.digest)).unwrap();
    }
}

#[async_trait]
impl StageStorage for DirectoryLab {
    fn name(&self) -> String {
        format!("directory {}", self.0.display())
    }

    async fn find(
        &self,
        digest: StageDigest,
        platform: &Platform,
        _fresh: bool,
    ) -> Result<Vec<StageRecord>, StorageError> {
        let ids = self.tags().into_iter().filter(|id| id.digest == digest);
        Ok(ids.filter_map(|id| self.read(id)).filter(|stage| stage.platform == *platform).collect())
    }

    async fn tag(&self, stage: &StageRecord) -> Result<(), StorageError> {
        self.verify(&stage.at).await?;
        let path = self.tag_path(&stage.id);
        let new = self.0.join(format!("new-{}", slipway_process::random_id()));
        std::fs::write(&new, stage.at.digest.as_str()).unwrap();
        // A link is made only where nothing is: a tag is written by one, and whole.
        let linked = std::fs::hard_link(&new, &path);
        std::fs::remove_file(&new).unwrap();
        if linked.is_err() && std::fs::read_to_string(&path).unwrap() != stage.at.digest.as_str() {
            return Err(StorageError::Broken { what: stage.id.to_string(), why: "the name is taken".to_owned() });
        }
        Ok(())
    }

    async fn verify(&self, image: &ImageAt) -> Result<(), StorageError> {
        match self.image(&image.digest).exists() {
            true => Ok(()),
            false => Err(StorageError::Gone(image.to_string())),
        }
    }
}
