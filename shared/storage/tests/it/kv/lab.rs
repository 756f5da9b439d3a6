//! A shared store, a place, and publishers as of many hosts.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use slipway_digest::{CommitId, Millis, StageDigest, StageId};
use slipway_kv::{Kv, MemoryKv, Sessions};
use slipway_oci::{BlobDigest, ImageAt, Repo};
use slipway_process::SystemClock;
use slipway_stages::{StageRecord, labels};
use slipway_storage::{
    Candidate, Judge, MemoryStorage, StorageError,
    conformance::{labels as labels_of, platform},
    kv::{Attempts, Fences, KvLedger, SharedPublisher, StagePlace},
};

pub(crate) const NOW: u64 = 1_700_000_000_000;

/// Commits of the tests: two branches, and what merges both.
pub(crate) const A: u8 = 1;
pub(crate) const B: u8 = 2;
pub(crate) const MERGE: u8 = 3;

/// Whether a stage of commit `old` is suitable for a build of commit `new`.
pub(crate) fn suits(old: u8, new: u8) -> bool {
    old == new || new == MERGE
}

pub(crate) fn commit_of(stage: &StageRecord) -> u8 {
    stage.commits["own"].0[0]
}

pub(crate) fn repo() -> Repo {
    "registry.example.org/shop".parse().unwrap()
}

/// A record as a worker would have uploaded it: an image of its own per attempt.
pub(crate) fn built(stage: &str, commit: u8, attempt: &str) -> StageRecord {
    let mut labels = labels_of(stage);
    labels.commits.insert("own".to_owned(), CommitId([commit; 20]));
    let at = repo().at(BlobDigest::of(format!("{stage} by {attempt}").as_bytes()));
    let image = BlobDigest::of(format!("{stage} at {commit}").as_bytes());
    let id = StageId { digest: labels.digest, stamp: Millis(0) };
    labels::record(labels, id, at, image, 7)
}

pub(crate) fn digest_of(stage: &str) -> StageDigest {
    labels_of(stage).digest
}

pub(crate) fn candidate(storage: &MemoryStorage, stage: &str, commit: u8, attempt: &str) -> Candidate {
    let record = built(stage, commit, attempt);
    storage.upload_as(&record, attempt);
    Candidate { record, not_before: Millis(0), attempt: attempt.to_owned() }
}

/// Chooses the oldest that suits a commit.
pub(crate) struct For(pub(crate) u8);

#[async_trait]
impl Judge for For {
    async fn choose(&self, candidates: &[StageRecord]) -> Result<Option<StageRecord>, StorageError> {
        Ok(candidates.iter().find(|stage| suits(commit_of(stage), self.0)).cloned())
    }
}

/// A process without a coordinator.
pub(crate) fn process(kv: &Arc<dyn Kv>, place: &Arc<dyn StagePlace>) -> SharedPublisher {
    let sessions = Sessions::new(kv.clone(), Duration::from_secs(60));
    publisher(kv, place, Fences::open(), Attempts::OfProcess(sessions))
}

pub(crate) fn publisher(
    kv: &Arc<dyn Kv>,
    place: &Arc<dyn StagePlace>,
    fences: Fences,
    attempts: Attempts,
) -> SharedPublisher {
    let clock = Arc::new(SystemClock::new(Some(NOW)));
    let ledger = KvLedger::new(kv.clone(), repo(), place.clone(), clock, fences, attempts);
    SharedPublisher::new(Arc::new(ledger), None).looking_every(Duration::ZERO)
}

/// Everything in memory.
pub(crate) struct Lab {
    pub(crate) memory: MemoryKv,
    pub(crate) kv: Arc<dyn Kv>,
    pub(crate) storage: MemoryStorage,
    pub(crate) place: Arc<dyn StagePlace>,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let (memory, storage) = (MemoryKv::new(), MemoryStorage::new("registry.example.org/shop"));
        Self { kv: Arc::new(memory.clone()), place: Arc::new(storage.clone()), memory, storage }
    }

    pub(crate) fn process(&self) -> SharedPublisher {
        process(&self.kv, &self.place)
    }

    pub(crate) fn candidate(&self, stage: &str, commit: u8, attempt: &str) -> Candidate {
        candidate(&self.storage, stage, commit, attempt)
    }

    /// Tags an image past the ledger, as another program does.
    pub(crate) async fn foreign(&self, stage: &str, commit: u8, salt: &str, millis: u64) -> StageRecord {
        let record = built(stage, commit, salt);
        let record = StageRecord { id: StageId { stamp: Millis(millis), ..record.id }, ..record };
        self.storage.upload(&record);
        self.place.tag(&record).await.unwrap();
        record
    }

    pub(crate) async fn usable(&self, publisher: &SharedPublisher, stage: &str) -> Vec<StageRecord> {
        let seen = publisher.ledger().read(digest_of(stage)).await.unwrap();
        seen.usable(&platform("linux/amd64"))
    }

    pub(crate) fn lose(&self, image: &ImageAt) {
        self.storage.lose(image);
    }
}
