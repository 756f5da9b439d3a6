//! A ledger that is asked by processes that have no access to it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use slipway_digest::{StageDigest, StageId};
use slipway_kv::Range;
use slipway_oci::Platform;
use slipway_stages::StageRecord;
use slipway_storage::{
    Candidate, Judge, Publisher, StageStorage as _, StorageError, Verdict,
    asked::{Asked, AskedLedger, AskedPublisher, AskedStages, Suits, publish_asked},
    kv::{Attempts, Fences, KeptState, SharedPublisher, SharedStages},
};

use super::lab::{A, B, For, Lab, MERGE, digest_of, publisher};

/// The other side, in this process.
struct There(SharedPublisher);

#[async_trait]
impl AskedLedger for There {
    async fn find(&self, digest: StageDigest, platform: &Platform) -> Result<Vec<StageRecord>, StorageError> {
        SharedStages(self.0.ledger().clone()).find(digest, platform, false).await
    }

    async fn publish(&self, candidate: &Candidate, judged: &BTreeMap<StageId, Suits>) -> Result<Asked, StorageError> {
        publish_asked(&self.0, candidate, judged.clone()).await
    }

    async fn reject(&self, stage: StageId, why: &str) -> Result<bool, StorageError> {
        self.0.reject_lost(stage, why).await
    }
}

fn there(lab: &Lab) -> Arc<There> {
    Arc::new(There(publisher(&lab.kv, &lab.place, Fences::open(), Attempts::OfCoordinator)))
}

/// Knows the history of nothing.
struct Cut;

#[async_trait]
impl Judge for Cut {
    async fn choose(&self, _candidates: &[StageRecord]) -> Result<Option<StageRecord>, StorageError> {
        Ok(None)
    }

    async fn unknown(&self, candidates: &[StageRecord]) -> Result<Vec<StageId>, StorageError> {
        Ok(candidates.iter().map(|stage| stage.id).collect())
    }
}

#[tokio::test]
async fn the_first_wins_and_who_asks_judges_by_his_own_history() {
    let lab = Lab::new();
    let ledger = there(&lab);
    let asking = Publisher::asked(AskedPublisher(ledger.clone()));
    let first = asking.publish(&lab.candidate("stage", A, "one"), &For(A)).await.unwrap();
    assert!(matches!(first, Verdict::Won(_)));
    // The reply was lost: asked again, it is the same.
    let again = asking.publish(&lab.candidate("stage", A, "one"), &For(A)).await.unwrap();
    assert_eq!(again, first);
    let merged = asking.publish(&lab.candidate("stage", MERGE, "two"), &For(MERGE)).await.unwrap();
    assert_eq!(merged, Verdict::Lost(first.stage().clone()));
    let other = asking.publish(&lab.candidate("stage", B, "three"), &For(B)).await.unwrap();
    assert!(matches!(other, Verdict::Won(_)) && other.stage().id.stamp > first.stage().id.stamp);
    // Both suit: the oldest is taken.
    let merged = asking.publish(&lab.candidate("stage", MERGE, "four"), &For(MERGE)).await.unwrap();
    assert_eq!(merged, Verdict::Lost(first.stage().clone()));
    let stages = AskedStages { ledger: ledger.clone(), place: Arc::new(lab.storage.clone()) };
    let found = stages.find(digest_of("stage"), &first.stage().platform, true).await.unwrap();
    assert_eq!(found, [first.stage().clone(), other.stage().clone()]);
    assert!(ledger.0.ledger().all_granted().await.unwrap().is_empty(), "no leave is left over");
}

#[tokio::test]
async fn what_nobody_can_judge_is_marked_and_not_used() {
    let lab = Lab::new();
    let ledger = there(&lab);
    let asking = AskedPublisher(ledger.clone());
    let first = asking.publish(&lab.candidate("stage", A, "one"), &For(A)).await.unwrap();
    let second = asking.publish(&lab.candidate("stage", B, "two"), &Cut).await.unwrap();
    assert!(matches!(second, Verdict::Won(_)));
    let kept = ledger.0.ledger().find(first.stage().id).await.unwrap().unwrap();
    assert_eq!(kept.state, KeptState::Orphan);
}

#[tokio::test]
async fn an_image_that_does_not_say_so_is_not_published() {
    let lab = Lab::new();
    let asking = AskedPublisher(there(&lab));
    let honest = lab.candidate("stage", A, "one");
    let named = |attempt: &str| Candidate { attempt: attempt.to_owned(), ..honest.clone() };
    let claims = |change: fn(&mut StageRecord)| {
        let mut record = honest.record.clone();
        change(&mut record);
        Candidate { record, ..honest.clone() }
    };
    for (case, lie) in [
        ("another attempt", named("two")),
        ("no name", named("")),
        ("a path", named("../attempt")),
        ("another digest", claims(|record| record.id.digest = digest_of("other"))),
        ("other commits", claims(|record| record.commits.clear())),
        ("another config", claims(|record| record.image_id = record.at.digest.clone())),
    ] {
        let error = asking.publish(&lie, &For(A)).await.expect_err(case);
        assert!(matches!(error, StorageError::Broken { .. }), "{case}: {error}");
    }
    lab.lose(&honest.record.at);
    assert!(matches!(asking.publish(&honest, &For(A)).await, Err(StorageError::Gone(_))));
    assert!(lab.storage.tags().is_empty());
}

#[tokio::test]
async fn only_what_is_lost_is_rejected() {
    let lab = Lab::new();
    let ledger = there(&lab);
    let stage = AskedPublisher(ledger.clone()).publish(&lab.candidate("stage", A, "one"), &For(A)).await.unwrap();
    assert!(!ledger.reject(stage.stage().id, "I do not like it").await.unwrap());
    lab.lose(&stage.stage().at);
    assert!(ledger.reject(stage.stage().id, "it is not there").await.unwrap());
}

#[tokio::test]
async fn a_build_is_known_while_it_says_so() {
    let lab = Lab::new();
    let publisher = there(&lab);
    let (ledger, minute) = (publisher.0.ledger(), Duration::from_secs(60));
    let since = ledger.keep_live("build-1", "a note", minute).await.unwrap();
    assert_eq!(ledger.keep_live("build-1", "a note", minute).await.unwrap(), since);
    // It is silent for too long, and comes back.
    let lease = lab.kv.range(&Range::under("repo/")).await.unwrap().entries.into_iter().find_map(|entry| entry.lease);
    lab.kv.revoke(lease.unwrap()).await.unwrap();
    let later = ledger.keep_live("build-1", "a note", minute).await.unwrap();
    assert!(later > since);
    assert_eq!(ledger.end_live("build-1").await.unwrap(), Some(later));
    assert_eq!(ledger.end_live("build-1").await.unwrap(), None);
}
