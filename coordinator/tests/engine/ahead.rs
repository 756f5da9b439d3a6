//! Stages that are built upon while they are still made visible to others.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use slipway_digest::{Millis, StageDigest};
use slipway_oci::{BlobDigest, ImageAt, Platform};
use slipway_stages::{StageKind, StageRecord, build::BuildFailure};
use slipway_storage::{MemoryStorage, StageStorage, StorageError};
use tokio::sync::Semaphore;

use super::{APP, Lab, World, line, soon, worker::Act};

/// What happens when a stage gets its tag.
enum Deed {
    Nothing,
    Fail(StorageError),
    /// Another host had an older one.
    Older,
}

/// A storage that gives tags when it is let.
#[derive(Clone)]
struct Gated {
    inner: MemoryStorage,
    gate: Arc<Semaphore>,
    called: Arc<AtomicUsize>,
    /// One for each tag, the last first.
    deeds: Arc<Mutex<Vec<Deed>>>,
}

#[async_trait]
impl StageStorage for Gated {
    fn name(&self) -> String {
        self.inner.name()
    }

    async fn find(
        &self,
        digest: StageDigest,
        platform: &Platform,
        fresh: bool,
    ) -> Result<Vec<StageRecord>, StorageError> {
        self.inner.find(digest, platform, fresh).await
    }

    async fn tag(&self, stage: &StageRecord) -> Result<(), StorageError> {
        self.called.fetch_add(1, Ordering::SeqCst);
        self.gate.acquire().await.expect("it is never closed").forget();
        let deed = self.deeds.lock().expect("nobody panics").pop().unwrap_or(Deed::Nothing);
        match deed {
            Deed::Nothing => {}
            Deed::Fail(error) => return Err(error),
            Deed::Older => {
                let mut older = stage.clone();
                older.id.stamp = Millis(stage.id.stamp.0 - 1);
                older.at.digest = BlobDigest::of(b"of another host");
                self.inner.upload(&older);
                self.inner.tag(&older).await?;
            }
        }
        self.inner.tag(stage).await
    }

    async fn verify(&self, image: &ImageAt) -> Result<(), StorageError> {
        self.inner.verify(image).await
    }
}

/// An engine over such a storage; the first deed is that of the first tag.
fn lab(deeds: Vec<Deed>) -> (Lab, Gated) {
    let mut made = None;
    let world = World::over(|inner| {
        let deeds = Arc::new(Mutex::new(deeds.into_iter().rev().collect()));
        let gated = Gated { inner, gate: Arc::new(Semaphore::new(0)), called: Arc::default(), deeds };
        made = Some(gated.clone());
        Arc::new(gated)
    });
    (Lab::over(world, |_| Act::Succeed), made.expect("it was made"))
}

#[tokio::test]
async fn a_stage_is_built_upon_before_it_stands_and_what_is_built_waits_for_it() {
    let (lab, storage) = lab(Vec::new());
    let mut build = lab.submit(APP, 1).await;
    build.until("the setup", |event| line(event).as_deref() == Some("starting setup")).await;
    assert!(storage.inner.tags().is_empty(), "the stage below has no tag yet");
    let committed = async {
        while lab.engine.snapshot().await.expect("it runs").scheduler.publishing == 0 {
            tokio::task::yield_now().await;
        }
    };
    soon("the result of the setup", committed).await;
    assert_eq!(storage.called.load(Ordering::SeqCst), 1, "the setup is not published before");
    storage.gate.add_permits(1);
    let called = async {
        while storage.called.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
    };
    soon("the publishing of the setup", called).await;
    assert_eq!(storage.inner.tags().len(), 1, "the build has not ended: its last stage is not visible");
    storage.gate.add_permits(1);
    assert!(build.end().await.is_ok());
    assert_eq!(storage.inner.tags().len(), 2);
    soon("the end of everything", lab.engine.drained()).await;
}

#[tokio::test]
async fn what_stands_on_a_stage_that_another_host_had_first_is_built_on_that() {
    let (lab, storage) = lab(vec![Deed::Older]);
    storage.gate.add_permits(9);
    let images = lab.submit(APP, 1).await.end().await.expect("it was built");
    let stages: Vec<_> = images.iter().flat_map(|image| image.stages()).map(|stage| stage.record.id).collect();
    let stored = |digest| storage.inner.tags().into_iter().filter(|id| id.digest == digest).collect::<Vec<_>>();
    let below = stored(stages[0].digest);
    assert_eq!((below.len(), below[0]), (2, stages[0]), "the older one is used");
    assert_eq!(lab.attempts(StageKind::From), 1);
    assert_eq!(stored(stages[1].digest), stages[1..], "what was built on the other one is not stored");
}

#[tokio::test]
async fn a_storage_that_does_not_answer_once_does_not_end_the_build() {
    for position in 0..2 {
        let away = || Deed::Fail(StorageError::Unavailable("the registry is away".to_owned()));
        let deeds = (0..2).map(|n| if n == position { away() } else { Deed::Nothing }).collect();
        let (lab, storage) = lab(deeds);
        storage.gate.add_permits(9);
        let images = lab.submit(APP, 1).await.end().await.expect("it was built");
        let mut used: Vec<_> = images.iter().flat_map(|image| image.stages()).map(|stage| stage.record.id).collect();
        used.sort();
        assert_eq!(storage.inner.tags(), used, "{position}");
    }
}

#[tokio::test]
async fn a_storage_that_refuses_ends_the_build() {
    let (lab, storage) = lab(vec![Deed::Fail(StorageError::Denied("no rights".to_owned()))]);
    storage.gate.add_permits(9);
    let failed = lab.submit(APP, 1).await.end().await;
    let Err(BuildFailure::Stage { kind: StageKind::From, failure, .. }) = failed else { panic!("{failed:?}") };
    assert!(failure.why.contains("publish to memory") && failure.why.contains("no rights"), "{}", failure.why);
    assert!(storage.inner.tags().is_empty());
    soon("the end of everything", lab.engine.drained()).await;
}
