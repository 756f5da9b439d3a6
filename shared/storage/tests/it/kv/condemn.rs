//! Cleaning up beside builds: who uses a stage keeps it, and who wants it takes it back.

use std::collections::BTreeSet;

use slipway_storage::{
    StageStorage as _, Verdict,
    kv::{KeptState, SharedStages},
};
use tokio::sync::mpsc;

use super::lab::{A, For, Lab, digest_of};

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
    let (free, ()) = tokio::join!(cleaner.condemn(&ids, &waiting), ending);
    assert_eq!(free.unwrap(), BTreeSet::from([first.id]));
    // Nobody finds it any more; whoever needs it builds it anew, later.
    let stages = SharedStages(ledger.clone());
    assert_eq!(stages.find(digest_of("stage"), &first.platform, false).await.unwrap(), []);
    let second = lab.process().publish(&lab.candidate("stage", A, "two"), &For(A)).await.unwrap();
    assert!(matches!(&second, Verdict::Won(stage) if stage.id.stamp > first.id.stamp), "{second:?}");
    // Killed before the record was dropped, the next cleanup goes on.
    assert_eq!(cleaner.condemn(&ids, &|_| ()).await.unwrap(), BTreeSet::from([first.id]));
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
    let (gone, ()) = tokio::join!(cleaner.condemn(&ids, &waiting), building);
    assert_eq!(gone.unwrap(), BTreeSet::from([free.id]));
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
    let free = ledger.condemn(&[stray, untagged], &|_| ()).await.unwrap();
    assert_eq!(free, BTreeSet::from([stray]));
}
