//! Repositories beside the primary one, in real registries.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use slipway_digest::{Millis, StageId};
use slipway_oci::{BlobDigest, ImageAt};
use slipway_parts::Registry;
use slipway_process::Clock;
use slipway_storage::{
    CacheRepo, StageStorage as _,
    beside::copy,
    conformance::{self, Lab as _},
};

use crate::registry::{forget_blob, lab};

const NOW: u64 = 1_700_000_000_000;

/// A clock that a test moves.
#[derive(Default)]
struct Hands(AtomicU64);

impl Clock for Hands {
    fn unix_millis(&self) -> u64 {
        NOW
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

#[tokio::test]
async fn a_copy_is_whole_and_tells_its_attempt() {
    let (Some(one), Some(other)) = (Registry::start(), Registry::start()) else { return };
    let (from, near, far) = (lab(&one, "theirs"), lab(&one, "ours"), lab(&other, "ours"));
    let stage = from.upload(&conformance::labels("stage"), "salt").await;
    for to in [&near, &far] {
        let copied = copy::as_attempt(&from.client, &stage.at, &to.repo, "a-1").await.unwrap();
        let at = ImageAt { repo: to.repo.clone(), digest: copied.manifest };
        assert!(at.digest != stage.at.digest && copied.size == stage.size, "{at}");
        to.storage().verify(&at).await.unwrap();
        let again = copy::as_attempt(&from.client, &stage.at, &to.repo, "a-2").await.unwrap();
        assert_ne!(again.manifest, at.digest, "no two attempts share a manifest");
    }
    let absent = ImageAt { digest: BlobDigest::of(b"absent"), ..stage.at.clone() };
    let error = copy::as_attempt(&from.client, &absent, &far.repo, "a-3").await.unwrap_err();
    assert!(error.source_is_lost(), "{error}");
    forget_blob(&one, "theirs", &stage.image_id);
    let to = lab(&other, "elsewhere").repo;
    let error = copy::as_attempt(&from.client, &stage.at, &to, "a-4").await.unwrap_err();
    assert!(error.source_is_lost(), "{error}");
}

#[tokio::test]
async fn a_cache_has_what_it_was_given_under_its_own_name() {
    let (Some(one), Some(other)) = (Registry::start(), Registry::start()) else { return };
    let (primary, mirror) = (lab(&one, "shop"), lab(&other, "mirror"));
    let labels = conformance::labels("stage");
    let mut stage = primary.upload(&labels, "salt").await;
    stage.id = StageId { digest: labels.digest, stamp: Millis(NOW) };
    let cache = CacheRepo::new(mirror.client.clone(), mirror.repo.clone(), Arc::new(Hands::default()));
    assert!(!cache.has(&stage.at.digest).await);
    assert_eq!(cache.find(labels.digest, &labels.platform).await, []);
    cache.fill(&stage.at, &stage.at.repo, None).await;
    assert!(cache.has(&stage.at.digest).await);
    cache.tag(&stage).await;
    let found = CacheRepo::new(mirror.client.clone(), mirror.repo.clone(), Arc::new(Hands::default()));
    let found = found.find(labels.digest, &labels.platform).await;
    assert_eq!((found.len(), &found[0].id, &found[0].at.digest), (1, &stage.id, &stage.at.digest));
    assert_eq!(cache.untold(), None);
}

#[tokio::test]
async fn a_cache_that_fails_says_so_once_and_rests() {
    let (Some(one), Some(mut other)) = (Registry::start(), Registry::start()) else { return };
    let (primary, mirror) = (lab(&one, "shop"), lab(&other, "mirror"));
    let labels = conformance::labels("stage");
    let stage = primary.upload(&labels, "salt").await;
    let clock = Arc::new(Hands::default());
    let cache = CacheRepo::new(mirror.client.clone(), mirror.repo.clone(), Arc::clone(&clock) as Arc<dyn Clock>);
    other.kill();
    assert_eq!(cache.find(labels.digest, &labels.platform).await, []);
    let told = cache.untold().expect("a warning");
    assert!(told.contains(&format!("{} is not used for 300 s", mirror.repo)), "{told}");
    other.restart();
    cache.fill(&stage.at, &stage.at.repo, Some(stage.id)).await;
    cache.tag(&stage).await;
    assert!(!cache.has(&stage.at.digest).await && cache.untold().is_none(), "it is left alone");
    clock.0.store(300, Ordering::SeqCst);
    cache.fill(&stage.at, &stage.at.repo, Some(stage.id)).await;
    assert!(cache.has(&stage.at.digest).await && cache.untold().is_none());
}
