//! Publishing by many at once, with a standing clock, over other hosts' stages, and after interruptions.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
use slipway_digest::{CommitId, Millis, StageDigest};
use slipway_oci::{ImageAt, Manifest, Platform};
use slipway_parts::Registry;
use slipway_process::Tasks;
use slipway_stages::StageRecord;
use slipway_storage::{
    Candidate, JournalLedger, Judge, Ledger as _, MemoryStorage, Recovered, Seen, StageStorage, StorageError, Verdict,
    conformance::{Lab, at, labels},
};

use crate::{
    lab::{DirectoryLab, MemoryLab, Oldest, candidate, publisher},
    registry::{forget_blob, lab},
};

const NOW: u64 = 1_700_000_000_000;

/// Nothing is suitable unless it has the candidate's own commits.
struct SameCommits(StageRecord);

#[async_trait]
impl Judge for SameCommits {
    async fn choose(&self, candidates: &[StageRecord]) -> Result<Option<StageRecord>, StorageError> {
        Ok(candidates.iter().find(|stage| stage.commits == self.0.commits).cloned())
    }
}

#[tokio::test]
async fn the_first_wins_and_the_second_adopts() {
    let home = tempfile::tempdir().unwrap();
    let lab = MemoryLab(MemoryStorage::new("memory"));
    let labels = labels("stage");
    let (one, two) = (lab.upload(&labels, "one").await, lab.upload(&labels, "second").await);
    let storage = lab.open().await;
    let first =
        publisher(home.path(), storage.clone(), Some(NOW)).publish(&candidate(one.clone()), &Oldest).await.unwrap();
    assert_eq!(first, Verdict::Won(at(&one, NOW)));
    let second = publisher(home.path(), storage, None).publish(&candidate(two), &Oldest).await.unwrap();
    assert_eq!(second, Verdict::Lost(at(&one, NOW)));
    assert_eq!(lab.0.tags(), [first.stage().id]);
}

#[tokio::test]
async fn stages_of_other_commits_stand_side_by_side_with_growing_timestamps() {
    let home = tempfile::tempdir().unwrap();
    let lab = MemoryLab(MemoryStorage::new("memory"));
    let mut stamps = Vec::new();
    for commit in 0..5 {
        let mut labels = labels("stage");
        labels.commits.insert("own".to_owned(), CommitId([commit; 20]));
        let record = lab.upload(&labels, &format!("salt {commit}{}", "x".repeat(commit.into()))).await;
        let publisher = publisher(home.path(), lab.open().await, Some(NOW));
        let verdict = publisher.publish(&candidate(record.clone()), &SameCommits(record)).await.unwrap();
        assert!(matches!(verdict, Verdict::Won(_)));
        stamps.push(verdict.stage().id.stamp.0);
    }
    assert_eq!(stamps, [NOW, NOW + 1, NOW + 2, NOW + 3, NOW + 4]);
}

#[tokio::test]
async fn a_child_is_younger_than_its_parent_and_adopts_nothing_older() {
    let home = tempfile::tempdir().unwrap();
    let lab = MemoryLab(MemoryStorage::new("memory"));
    let publisher = publisher(home.path(), lab.open().await, Some(NOW));
    let old = lab.upload(&labels("child"), "old").await;
    publisher.publish(&candidate(old), &Oldest).await.unwrap();
    let mut parent = Millis(NOW + 5);
    for depth in 0..3 {
        let record = lab.upload(&labels(if depth == 0 { "child" } else { "grandchild" }), &"x".repeat(depth)).await;
        let next = Candidate { not_before: parent, ..candidate(record) };
        let verdict = publisher.publish(&next, &Oldest).await.unwrap();
        assert_eq!(verdict, Verdict::Won(at(&next.record, parent.0 + 1)));
        parent = verdict.stage().id.stamp;
    }
}

#[tokio::test]
async fn an_image_that_is_gone_is_not_published() {
    let home = tempfile::tempdir().unwrap();
    let lab = MemoryLab(MemoryStorage::new("memory"));
    let record = lab.upload(&labels("stage"), "one").await;
    lab.lose(&record.at).await;
    let publisher = publisher(home.path(), lab.open().await, None);
    let refused = publisher.publish(&candidate(record), &Oldest).await.unwrap_err();
    assert!(matches!(refused, StorageError::Gone(_)) && refused.is_retryable(), "{refused}");
    assert_eq!(lab.0.tags(), []);
    assert_eq!(publisher.recover().await.unwrap(), Recovered::default());
}

/// A storage to which another host writes just before a certain call of `tag` or `find`.
struct Meddled {
    inner: MemoryStorage,
    before_tag: Vec<StageRecord>,
    before_find: (u32, Vec<StageRecord>),
    finds: AtomicU32,
}

#[async_trait]
impl StageStorage for Meddled {
    fn name(&self) -> String {
        self.inner.name()
    }

    async fn find(
        &self,
        digest: StageDigest,
        platform: &Platform,
        fresh: bool,
    ) -> Result<Vec<StageRecord>, StorageError> {
        assert!(fresh, "publishing trusts the storage itself only");
        if self.finds.fetch_add(1, Ordering::SeqCst) == self.before_find.0 {
            for stage in &self.before_find.1 {
                self.inner.tag(stage).await?;
            }
        }
        self.inner.find(digest, platform, fresh).await
    }

    async fn tag(&self, stage: &StageRecord) -> Result<(), StorageError> {
        for other in &self.before_tag {
            self.inner.tag(other).await?;
        }
        self.inner.tag(stage).await
    }

    async fn verify(&self, image: &ImageAt) -> Result<(), StorageError> {
        self.inner.verify(image).await
    }
}

#[tokio::test]
async fn an_older_stage_of_another_host_wins_even_after_the_tag() {
    let home = tempfile::tempdir().unwrap();
    let lab = MemoryLab(MemoryStorage::new("memory"));
    let own = lab.upload(&labels("stage"), "own").await;
    let other = at(&lab.upload(&labels("stage"), "of another host").await, NOW - 1);
    let storage = Meddled {
        inner: lab.0.clone(),
        before_tag: vec![],
        before_find: (1, vec![other.clone()]),
        finds: AtomicU32::new(0),
    };
    let publisher = publisher(home.path(), Arc::new(storage), Some(NOW));
    let verdict = publisher.publish(&candidate(own), &Oldest).await.unwrap();
    assert_eq!(verdict, Verdict::Lost(other));
    assert_eq!(publisher.recover().await.unwrap(), Recovered::default(), "no intent is left");
}

#[tokio::test]
async fn a_name_that_another_host_takes_is_not_taken_from_it() {
    let home = tempfile::tempdir().unwrap();
    let lab = MemoryLab(MemoryStorage::new("memory"));
    let own = lab.upload(&labels("stage"), "own").await;
    let mut elsewhere = labels("stage");
    elsewhere.commits.insert("own".to_owned(), CommitId([9; 20]));
    let other = at(&lab.upload(&elsewhere, "of another host").await, NOW);
    let storage = Meddled {
        inner: lab.0.clone(),
        before_tag: vec![other.clone()],
        before_find: (u32::MAX, vec![]),
        finds: AtomicU32::new(0),
    };
    let publisher = publisher(home.path(), Arc::new(storage), Some(NOW));
    let verdict = publisher.publish(&candidate(own.clone()), &SameCommits(own.clone())).await.unwrap();
    assert_eq!(verdict, Verdict::Won(at(&own, NOW + 1)));
    assert_eq!(lab.0.tags(), [other.id, verdict.stage().id]);
}

#[tokio::test]
async fn a_storage_that_refuses_every_tag_is_heard() {
    let home = tempfile::tempdir().unwrap();
    let lab = MemoryLab(MemoryStorage::new("memory"));
    let own = lab.upload(&labels("stage"), "own").await;
    let storage = Arc::new(Refusing(lab.0.clone()));
    let publisher = publisher(home.path(), storage, Some(NOW));
    let refused = publisher.publish(&candidate(own), &Oldest).await.unwrap_err();
    assert!(refused.to_string().contains("tags are frozen"), "{refused}");
    assert_eq!(publisher.recover().await.unwrap(), Recovered::default(), "no intent is left");
}

/// A storage that takes no tags.
struct Refusing(MemoryStorage);

#[async_trait]
impl StageStorage for Refusing {
    fn name(&self) -> String {
        self.0.name()
    }

    async fn find(
        &self,
        digest: StageDigest,
        platform: &Platform,
        fresh: bool,
    ) -> Result<Vec<StageRecord>, StorageError> {
        self.0.find(digest, platform, fresh).await
    }

    async fn tag(&self, stage: &StageRecord) -> Result<(), StorageError> {
        Err(StorageError::Broken { what: stage.id.to_string(), why: "tags are frozen".to_owned() })
    }

    async fn verify(&self, image: &ImageAt) -> Result<(), StorageError> {
        self.0.verify(image).await
    }
}

#[tokio::test]
async fn what_an_interrupted_process_committed_is_finished_or_taken_back() {
    let home = tempfile::tempdir().unwrap();
    let lab = MemoryLab(MemoryStorage::new("memory"));
    let ledger = JournalLedger::new(&home.path().join("service/ledger"), "memory");
    let mut committed = Vec::new();
    for name in ["whole", "lost", "overtaken", "tagged"] {
        let record = lab.upload(&labels(name), name).await;
        ledger.commit(&candidate(record.clone()), None, Seen::default(), Millis(NOW)).await.unwrap();
        committed.push(at(&record, NOW));
    }
    let [whole, lost, overtaken, tagged] = committed.try_into().unwrap();
    let storage = lab.open().await;
    lab.lose(&lost.at).await;
    let later = at(&lab.upload(&labels("overtaken"), "later stage").await, NOW + 1);
    storage.tag(&later).await.unwrap();
    storage.tag(&tagged).await.unwrap();
    let publisher = publisher(home.path(), storage, Some(NOW));
    assert_eq!(publisher.recover().await.unwrap(), Recovered { tagged: 2, dropped: 2, kept: 0 });
    assert_eq!(lab.0.tags().into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([whole.id, later.id, tagged.id]));
    assert_eq!(publisher.recover().await.unwrap(), Recovered::default());
    let late = candidate(lab.upload(&labels("overtaken"), "later still").await);
    assert_eq!(publisher.publish(&late, &Oldest).await.unwrap(), Verdict::Lost(later));
    let again = candidate(lab.upload(&labels("lost"), "built again").await);
    assert_eq!(publisher.publish(&again, &Oldest).await.unwrap().stage().id.stamp, overtaken.id.stamp.next());
}

#[tokio::test]
async fn the_next_publisher_finishes_an_intent_before_it_looks() {
    let home = tempfile::tempdir().unwrap();
    let lab = MemoryLab(MemoryStorage::new("memory"));
    let ledger = JournalLedger::new(&home.path().join("service/ledger"), "memory");
    let (one, two) = (lab.upload(&labels("a"), "one").await, lab.upload(&labels("a"), "second").await);
    ledger.commit(&candidate(one.clone()), None, Seen::default(), Millis(NOW)).await.unwrap();
    let publisher = publisher(home.path(), lab.open().await, Some(NOW));
    let verdict = publisher.publish(&candidate(two), &Oldest).await.unwrap();
    assert_eq!(verdict, Verdict::Lost(at(&one, NOW)));
}

/// Eight handles as of eight processes publish different images of one stage at once.
async fn eight_at_once(lab: &dyn Lab) {
    let home = tempfile::tempdir().unwrap();
    let tasks = Tasks::new();
    let mut running = Vec::new();
    for number in 0..8_usize {
        let record = lab.upload(&labels("contended"), &"x".repeat(number)).await;
        let publisher = publisher(home.path(), lab.open().await, Some(NOW));
        running.push(tasks.spawn(async move { publisher.publish(&candidate(record), &Oldest).await.unwrap() }));
    }
    let mut verdicts = Vec::new();
    for task in running {
        verdicts.push(task.await.unwrap().unwrap());
    }
    assert_eq!(verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Won(_))).count(), 1);
    assert!(verdicts.iter().all(|verdict| verdict.stage() == verdicts[0].stage()), "{verdicts:?}");
    let labels = labels("contended");
    let stored = lab.open().await.find(labels.digest, &labels.platform, true).await.unwrap();
    assert_eq!(stored, [verdicts[0].stage().clone()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn eight_publishers_at_once_store_one_stage() {
    eight_at_once(&MemoryLab(MemoryStorage::new("memory"))).await;
    let directory = tempfile::tempdir().unwrap();
    eight_at_once(&DirectoryLab(directory.path().to_owned())).await;
    if let Some(registry) = Registry::start() {
        eight_at_once(&lab(&registry, "shop/contended")).await;
    }
}

#[tokio::test]
async fn a_manifest_that_is_held_is_stored_once_and_with_its_tag() {
    let Some(registry) = Registry::start() else { return };
    let (home, lab) = (tempfile::tempdir().unwrap(), lab(&registry, "shop/held"));
    let publisher = publisher(home.path(), lab.open().await, Some(NOW)).holding(lab.client.clone(), &lab.repo);
    let first = lab.upload(&labels("held"), "first").await;
    assert_eq!(lab.client.head_manifest(&lab.repo, first.at.digest.as_str()).await.unwrap(), None);
    let verdict = publisher.publish(&candidate(first.clone()), &Oldest).await.unwrap();
    assert_eq!(verdict, Verdict::Won(at(&first, NOW)));
    let puts = |log: String| log.lines().filter(|line| line.contains("\"PUT /v2/shop/held/manifests/")).count();
    assert_eq!(puts(registry.server().log()), 1, "{}", registry.server().log());
    let stored = lab.client.head_manifest(&lab.repo, &verdict.stage().id.to_string()).await.unwrap();
    assert_eq!(stored, Some(first.at.digest.clone()));
    // Nobody wants the second, which comes too late.
    let second = lab.upload(&labels("held"), "second").await;
    let late = publisher.publish(&candidate(second.clone()), &Oldest).await.unwrap();
    assert_eq!(late, Verdict::Lost(at(&first, NOW)));
    for image in [&first.at, &second.at] {
        assert_eq!(lab.client.held_manifest(&lab.repo, &image.digest), None);
    }
    assert_eq!(puts(registry.server().log()), 1);
    // What the registry has lost in the meantime is to be made anew: nothing of it counts as seen.
    let lost = lab.upload(&labels("lost"), "lost").await;
    let manifest = lab.client.held_manifest(&lab.repo, &lost.at.digest).unwrap();
    let manifest: Manifest = serde_json::from_slice(&manifest.bytes).unwrap();
    let layer = &manifest.layers[0].digest;
    forget_blob(&registry, "shop/held", layer);
    assert!(lab.client.seen_lately(&lab.repo, layer));
    let gone = publisher.publish(&candidate(lost.clone()), &Oldest).await.unwrap_err();
    assert!(matches!(gone, StorageError::Gone(_)), "{gone}");
    assert!(!lab.client.seen_lately(&lab.repo, layer));
    assert_eq!(lab.client.held_manifest(&lab.repo, &lost.at.digest), None);
    assert_eq!(publisher.recover().await.unwrap(), Recovered::default(), "the commit was taken back");
}
