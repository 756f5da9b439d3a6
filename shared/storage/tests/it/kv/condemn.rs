//! Cleaning up beside builds: who uses a stage keeps it, and who wants it takes it back.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use slipway_kv::Sessions;
use slipway_process::SystemClock;
use slipway_storage::{
    StageStorage as _, Verdict,
    kv::{Attempts, Fences, KeptState, KvLedger, SharedPublisher, SharedStages},
};
use tokio::sync::mpsc;

use super::lab::{A, For, Lab, NOW, digest_of, repo};

#[tokio::test]
async fn a_stage_goes_when_all_older_builds_have_ended() {
    let lab = Lab::new();
    let first = lab.process().publish(&lab.candidate("stage", A, "one"), &For(A)).await.unwrap().stage().clone();
    let (ledger, cleaner) = (lab.process().ledger().clone(), lab.process().ledger().clone());
    ledger.mark_live("old", "an old build").await.unwrap();
    let (tell, mut told) = mpsc::unbounded_channel();
    let waiting = |builds: &[String]| tell.send(builds.to_vec()).unwrap();
    let ending = async {
        assert_eq!(told.recv().await.unwrap(), ["an old build"]);
        // A build that begins now does not keep it from going.
        ledger.mark_live("new", "a new build").await.unwrap();
        assert_eq!(ledger.all().await.unwrap()[0].state, KeptState::Condemned);
        ledger.end_live("old").await.unwrap();
    };
    let ids = [first.id];
    let (condemned, ()) = tokio::join!(cleaner.condemn(&ids, &waiting), ending);
    condemned.unwrap();
    assert_eq!(cleaner.doom(&ids).await.unwrap(), BTreeSet::from([first.id]));
    // Nobody finds it any more; whoever needs it builds it anew, later.
    let stages = SharedStages(ledger.clone());
    assert_eq!(stages.find(digest_of("stage"), &first.platform, false).await.unwrap(), []);
    let second = lab.process().publish(&lab.candidate("stage", A, "two"), &For(A)).await.unwrap();
    assert!(matches!(&second, Verdict::Won(stage) if stage.id.stamp > first.id.stamp), "{second:?}");
    // Killed before the record was dropped, the next cleanup goes on.
    assert_eq!(cleaner.doomed().await.unwrap(), BTreeSet::from([first.id]));
    cleaner.condemn(&ids, &|_| ()).await.unwrap();
    assert_eq!(cleaner.doom(&ids).await.unwrap(), BTreeSet::from([first.id]));
    cleaner.drop_records(&ids).await.unwrap();
    let left: Vec<_> = ledger.all().await.unwrap().into_iter().map(|kept| kept.id).collect();
    assert_eq!(left, [second.stage().id]);
    cleaner.drop_records(&ids).await.unwrap();
}

#[tokio::test]
async fn a_build_takes_back_what_it_wants() {
    let lab = Lab::new();
    let by_look = lab.process().publish(&lab.candidate("look", A, "one"), &For(A)).await.unwrap().stage().clone();
    let by_publish = lab.process().publish(&lab.candidate("publish", A, "two"), &For(A)).await.unwrap().stage().clone();
    let free = lab.process().publish(&lab.candidate("free", A, "three"), &For(A)).await.unwrap().stage().clone();
    let (ledger, cleaner) = (lab.process().ledger().clone(), lab.process().ledger().clone());
    ledger.mark_live("old", "an old build").await.unwrap();
    let (tell, mut told) = mpsc::unbounded_channel();
    let waiting = |builds: &[String]| tell.send(builds.len()).unwrap();
    let building = async {
        assert_eq!(told.recv().await, Some(1));
        let found = SharedStages(ledger.clone()).find(digest_of("look"), &by_look.platform, false).await.unwrap();
        assert_eq!(found.as_slice(), std::slice::from_ref(&by_look));
        let verdict = lab.process().publish(&lab.candidate("publish", A, "again"), &For(A)).await.unwrap();
        assert_eq!(verdict, Verdict::Lost(by_publish.clone()));
        ledger.end_live("old").await.unwrap();
    };
    let ids = [by_look.id, by_publish.id, free.id];
    let (condemned, ()) = tokio::join!(cleaner.condemn(&ids, &waiting), building);
    condemned.unwrap();
    assert_eq!(cleaner.doom(&ids).await.unwrap(), BTreeSet::from([free.id]));
    let live = ledger.all().await.unwrap().into_iter().filter(|kept| kept.state == KeptState::Live);
    assert_eq!(live.map(|kept| kept.id).collect::<BTreeSet<_>>(), BTreeSet::from([by_look.id, by_publish.id]));
}

#[tokio::test]
async fn what_has_no_record_may_go_and_what_is_not_tagged_stays() {
    let lab = Lab::new();
    let stage = lab.process().publish(&lab.candidate("stage", A, "one"), &For(A)).await.unwrap().stage().clone();
    let ledger = lab.process().ledger().clone();
    let stray = slipway_digest::StageId { digest: digest_of("stray"), ..stage.id };
    let seen = ledger.read(digest_of("next")).await.unwrap();
    let fence = ledger.grant("next").await.unwrap();
    ledger.commit(&lab.candidate("next", A, "next"), &seen, &fence).await.unwrap();
    let untagged = ledger.read(digest_of("next")).await.unwrap().kept[0].id;
    ledger.condemn(&[stray, untagged], &|_| ()).await.unwrap();
    let free = ledger.doom(&[stray, untagged]).await.unwrap();
    assert_eq!(free, BTreeSet::from([stray]));
}

/// Who does not get a tag written in time reads the record again before he tries once more: it may be doomed by then.
#[tokio::test]
async fn who_is_late_with_a_tag_looks_again() {
    let lab = Lab::new();
    let hasty = || {
        let sessions = Sessions::new(lab.kv.clone(), Duration::from_secs(60));
        let (clock, attempts) = (Arc::new(SystemClock::new(Some(NOW))), Attempts::OfProcess(sessions));
        let ledger = KvLedger::new(lab.kv.clone(), repo(), lab.place.clone(), clock, Fences::open(), attempts);
        Arc::new(ledger.tagging_within(Duration::ZERO))
    };
    let publisher = SharedPublisher::new(hasty(), None);
    lab.storage.be_late(2);
    let stored = publisher.publish(&lab.candidate("stage", A, "one"), &For(A)).await.unwrap();
    assert!(matches!(&stored, Verdict::Won(stage) if lab.storage.tagged(stage.id).is_some()), "{stored:?}");
    lab.storage.be_late(100);
    let error = publisher.publish(&lab.candidate("other", A, "two"), &For(A)).await.unwrap_err().to_string();
    assert!(error.contains("it took longer than 0 s, again and again"), "{error}");
    // A look-up sees that a tag stands, by the same means.
    let (stages, platform) = (SharedStages(hasty()), &stored.stage().platform);
    lab.storage.be_late(1);
    assert_eq!(stages.find(digest_of("stage"), platform, false).await.unwrap(), std::slice::from_ref(stored.stage()));
    lab.storage.be_late(100);
    assert!(stages.find(digest_of("stage"), platform, false).await.is_err());
}
