//! Repositories that come into the ledger, and stores that come back from a snapshot.

use futures::future::join_all;
use slipway_digest::{Millis, StageId};
use slipway_kv::{Do, Kv as _, Range, Txn, once};
use slipway_stages::StageRecord;
use slipway_storage::{Verdict, kv::KeptState};

use super::lab::{A, B, For, Lab, NOW, built, digest_of};

/// A stage of our own that was stored before there was a ledger.
async fn stored(lab: &Lab, stage: &str, commit: u8, attempt: &str, millis: u64) -> StageRecord {
    let record = built(stage, commit, attempt);
    let record = StageRecord { id: StageId { stamp: Millis(millis), ..record.id }, ..record };
    lab.storage.upload_as(&record, attempt);
    lab.place.tag(&record).await.unwrap();
    record
}

#[tokio::test]
async fn the_stages_of_a_repository_are_recorded_once() {
    let lab = Lab::new();
    let own = stored(&lab, "stage", A, "one", NOW - 2000).await;
    let other = stored(&lab, "stage", B, "two", NOW + 5000).await;
    let foreign = lab.foreign("foreign", A, "salt", NOW - 1000).await;
    let bad = stored(&lab, "rejected", A, "three", NOW - 500).await;
    slipway_storage::kv::StagePlace::mark_rejected(&lab.storage, bad.id, "broken").await.unwrap();
    let attached = lab.process().ledger().attach().await.unwrap();
    assert_eq!((attached.generation, attached.stages, attached.at), (1, 4, Millis(NOW)));
    assert_eq!(lab.process().ledger().attach().await.unwrap(), attached, "once");
    // Tags written from here on are not seen.
    stored(&lab, "stage", A, "late", NOW - 9000).await;
    let publisher = lab.process();
    assert_eq!(lab.usable(&publisher, "stage").await, [own.clone(), other.clone()]);
    assert_eq!(lab.usable(&publisher, "rejected").await, []);
    let [copy] = &lab.usable(&publisher, "foreign").await[..] else { panic!("it is adopted by copy") };
    assert_eq!((copy.image_id.clone(), copy.id.stamp > other.id.stamp), (foreign.image_id, true), "above the floor");
    assert_ne!(copy.at, foreign.at);
    let next = publisher.publish(&lab.candidate("stage", A, "four"), &For(A)).await.unwrap();
    assert_eq!(next, Verdict::Lost(own));
    let states: Vec<KeptState> = publisher.ledger().all().await.unwrap().iter().map(|kept| kept.state).collect();
    assert_eq!(states.iter().filter(|state| **state == KeptState::Live).count(), 3, "{states:?}");
}

#[tokio::test]
async fn many_stages_are_recorded_in_batches() {
    let lab = Lab::new();
    for number in 0..250_u8 {
        stored(&lab, &format!("stage {}", number % 2), number, &format!("attempt {number}"), NOW + u64::from(number))
            .await;
    }
    let publisher = lab.process();
    assert_eq!(publisher.ledger().attach().await.unwrap().stages, 250);
    assert_eq!(publisher.ledger().all().await.unwrap().len(), 250);
    let stamps: Vec<u64> = lab.usable(&publisher, "stage 1").await.iter().map(|stage| stage.id.stamp.0 - NOW).collect();
    assert_eq!(stamps, (0..250).filter(|number| number % 2 == 1).collect::<Vec<u64>>());
}

#[tokio::test]
async fn eight_who_attach_at_once_attach_once() {
    let lab = Lab::new();
    for number in 0..120_u8 {
        stored(&lab, "stage", number, &format!("attempt {number}"), NOW + u64::from(number)).await;
    }
    let processes: Vec<_> = (0..8).map(|_| lab.process()).collect();
    let attached = join_all(processes.iter().map(|process| process.ledger().attach())).await;
    assert!(attached.iter().all(|one| one.as_ref().unwrap().generation == 1 && one.as_ref().unwrap().stages == 120));
    let keys = lab.memory.range(&Range::under("repo/")).await.unwrap().entries;
    let left: Vec<_> = keys.iter().filter(|entry| !entry.key.contains("/stage/")).map(|entry| &entry.key).collect();
    assert_eq!(left.len(), 2, "attached and its generation: {left:?}");
}

/// What was committed after a snapshot is in the registry: after the restore it is what builds use.
#[tokio::test]
async fn a_restored_snapshot_flips_nothing() {
    let lab = Lab::new();
    let early = lab.process().publish(&lab.candidate("early", A, "one"), &For(A)).await.unwrap();
    let pending = lab.candidate("pending", A, "two");
    let publisher = lab.process();
    let seen = publisher.ledger().read(digest_of("pending")).await.unwrap();
    let fence = publisher.ledger().grant("two").await.unwrap();
    publisher.ledger().commit(&pending, &seen, &fence).await.unwrap();
    let snapshot = lab.memory.snapshot();
    let late = lab.process().publish(&lab.candidate("late", A, "three"), &For(A)).await.unwrap();
    let beside = lab.process().publish(&lab.candidate("early", B, "four"), &For(B)).await.unwrap();
    let old = lab.process();
    let seen = old.ledger().read(digest_of("late")).await.unwrap();
    let fence = old.ledger().grant("zombie").await.unwrap();
    lab.memory.restore(&snapshot);

    let next = lab.process();
    let attached = next.ledger().attach().await.unwrap();
    assert_eq!(attached.generation, 2);
    assert_eq!(lab.usable(&next, "early").await, [early.stage().clone(), beside.stage().clone()]);
    assert_eq!(lab.usable(&next, "late").await, [late.stage().clone()]);
    for (stage, stands) in [("early", &early), ("late", &late)] {
        let again = next.publish(&lab.candidate(stage, A, &format!("again {stage}")), &For(A)).await.unwrap();
        assert_eq!(again, Verdict::Lost(stands.stage().clone()));
    }
    // Who has slept through it commits nothing that he saw before.
    let zombie = lab.candidate("late", B, "zombie");
    let refused = old.ledger().commit(&zombie, &seen, &fence).await.unwrap();
    assert_eq!(refused, slipway_storage::kv::Commit::Fenced);
    // What was never tagged was never used, and is gone.
    assert_eq!(next.recover().await.unwrap(), Default::default());
    let fresh = next.publish(&pending, &For(A)).await.unwrap();
    assert!(matches!(fresh, Verdict::Won(_)) && fresh.stage().id.stamp > Millis(NOW), "above the floor: {fresh:?}");
}

#[tokio::test]
async fn an_operator_may_attach_anew() {
    let lab = Lab::new();
    let publisher = lab.process();
    let first = publisher.publish(&lab.candidate("stage", A, "one"), &For(A)).await.unwrap();
    // The records were lost by hand.
    let key = format!("repo/registry.example.org+shop/stage/{}/{}", first.stage().id.digest, first.stage().id.stamp);
    once(&*lab.kv, Txn { when: vec![], then: vec![Do::Delete(key)] }).await.unwrap();
    assert_eq!(lab.usable(&publisher, "stage").await, []);
    let attached = lab.process().ledger().attach_anew().await.unwrap();
    assert_eq!((attached.generation, attached.stages), (2, 1));
    assert_eq!(lab.usable(&lab.process(), "stage").await, [first.stage().clone()]);
    // Who knew the old generation finds out by himself.
    let again = publisher.publish(&lab.candidate("stage", B, "two"), &For(B)).await.unwrap();
    assert!(matches!(again, Verdict::Won(_)));
}

#[tokio::test]
async fn a_record_that_cannot_be_read_is_said() {
    let lab = Lab::new();
    let publisher = lab.process();
    publisher.ledger().attach().await.unwrap();
    let key = format!("repo/registry.example.org+shop/stage/{}/{NOW}", digest_of("stage"));
    for text in ["", "{}", r#"{"state":"pardoned"}"#, "\u{0}"] {
        once(&*lab.kv, Txn { when: vec![], then: vec![Do::put(&*key, text)] }).await.unwrap();
        let error = publisher.ledger().read(digest_of("stage")).await.unwrap_err();
        assert!(error.to_string().contains("newer version") && error.to_string().contains(&key), "{error}");
    }
}
