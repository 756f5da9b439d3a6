//! Publishing: first writers, zombies, lost replies, foreign tags.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use futures::future::join_all;
use slipway_digest::{Millis, StageId};
use slipway_kv::{Batched, Counted, Do, Fault, Faulty, Kv, Outcome, Txn, When, once};
use slipway_process::Tasks;
use slipway_stages::StageRecord;
use slipway_storage::{
    Judge, Publisher, Recovered, StageStorage as _, StorageError, Verdict,
    kv::{Attempts, Commit, Fences, KeptState, SharedStages},
};

use super::lab::{A, B, For, Lab, MERGE, NOW, built, digest_of, process, publisher};

fn at(millis: u64, stage: &str) -> StageId {
    StageId { digest: digest_of(stage), stamp: Millis(millis) }
}

#[tokio::test]
async fn the_first_wins_and_the_others_adopt() {
    let lab = Lab::new();
    let first = Publisher::shared(lab.process()).publish(&lab.candidate("stage", A, "one"), &For(A)).await.unwrap();
    assert_eq!(first, Verdict::Won(StageRecord { id: at(NOW, "stage"), ..built("stage", A, "one") }));
    let second = lab.process().publish(&lab.candidate("stage", A, "two"), &For(A)).await.unwrap();
    assert_eq!(second, Verdict::Lost(first.stage().clone()));
    let merged = lab.process().publish(&lab.candidate("stage", MERGE, "three"), &For(MERGE)).await.unwrap();
    assert_eq!(merged, Verdict::Lost(first.stage().clone()));
    let other = lab.process().publish(&lab.candidate("stage", B, "four"), &For(B)).await.unwrap();
    assert_eq!(other.stage().id, at(NOW + 1, "stage"), "another branch stands beside it, later");
    assert_eq!(lab.storage.tags(), [at(NOW, "stage"), at(NOW + 1, "stage")]);
    let stages = SharedStages(lab.process().ledger().clone());
    let found = stages.find(digest_of("stage"), &first.stage().platform, false).await.unwrap();
    assert_eq!(found, [first.stage().clone(), other.stage().clone()]);
}

#[tokio::test]
async fn a_stage_that_was_deleted_is_said_left_out_and_replaced() {
    let lab = Lab::new();
    let first = lab.process().publish(&lab.candidate("stage", A, "one"), &For(A)).await.unwrap();
    let platform = &first.stage().platform;
    let stages = SharedStages(lab.process().ledger().clone());
    lab.storage.delete(&first.stage().at);
    for _ in 0..2 {
        assert_eq!(stages.find(digest_of("stage"), platform, false).await.unwrap(), []);
    }
    let told = stages.untold();
    assert!(matches!(told.as_slice(), [one] if one.contains(&first.stage().id.to_string())), "{told:?}");
    assert_eq!(stages.untold(), [""; 0]);
    let second = lab.process().publish(&lab.candidate("stage", A, "two"), &For(A)).await.unwrap();
    assert!(matches!(second, Verdict::Won(_)) && second.stage().id.stamp > first.stage().id.stamp, "{second:?}");
    assert_eq!(stages.find(digest_of("stage"), platform, false).await.unwrap(), [second.stage().clone()]);
}

#[tokio::test]
async fn a_timestamp_is_greater_than_the_parents() {
    let lab = Lab::new();
    let mut candidate = lab.candidate("stage", A, "one");
    candidate.not_before = Millis(NOW + 50);
    let verdict = lab.process().publish(&candidate, &For(A)).await.unwrap();
    assert_eq!(verdict.stage().id.stamp, Millis(NOW + 51));
    let mut last = lab.candidate("late", A, "two");
    last.not_before = Millis(9_999_999_999_999);
    let error = lab.process().publish(&last, &For(A)).await.unwrap_err();
    assert!(error.to_string().contains("2286"), "{error}");
}

/// Two who both saw nothing: only one of their commits is accepted.
#[tokio::test]
async fn two_first_writers_are_one() {
    let lab = Lab::new();
    let (one, two) = (lab.process(), lab.process());
    let (mine, yours) = (lab.candidate("stage", A, "one"), lab.candidate("stage", A, "two"));
    let seen = one.ledger().read(digest_of("stage")).await.unwrap();
    assert_eq!(two.ledger().read(digest_of("stage")).await.unwrap(), seen);
    let fence = one.ledger().grant("one").await.unwrap();
    let won = one.ledger().commit(&mine, &seen, &fence).await.unwrap();
    assert!(matches!(won, Commit::Won(_)));
    let fence = two.ledger().grant("two").await.unwrap();
    assert_eq!(two.ledger().commit(&yours, &seen, &fence).await.unwrap(), Commit::LookAgain);
    // The second finishes what the first began, and takes it.
    let verdict = two.publish(&yours, &For(A)).await.unwrap();
    assert_eq!(verdict, Verdict::Lost(StageRecord { id: at(NOW, "stage"), ..mine.record }));
}

#[tokio::test]
async fn a_stage_costs_three_transactions_and_no_listing() {
    let lab = Lab::new();
    lab.process().ledger().attach().await.unwrap();
    let counted = Counted::new(lab.kv.clone());
    let kv: Arc<dyn Kv> = Arc::new(counted.clone());
    let publisher = process(&kv, &lab.place);
    publisher.ledger().attach().await.unwrap();
    let before = counted.counts();
    for number in 0..10 {
        let name = format!("stage {number}");
        publisher.publish(&lab.candidate(&name, A, &name), &For(A)).await.unwrap();
    }
    let after = counted.counts();
    assert_eq!((after.txns - before.txns, after.refused), (30, 0), "{after:?}");
    assert_eq!(after.ranges - before.ranges, 10, "one read a stage");
}

#[tokio::test]
async fn a_zombie_is_refused() {
    let lab = Lab::new();
    let coordinator = || publisher(&lab.kv, &lab.place, Fences::open(), Attempts::OfCoordinator);
    let leader = coordinator();
    let ghost = lab.candidate("stage", A, "ghost");
    let refused = leader.publish(&ghost, &For(A)).await.unwrap_err();
    assert!(matches!(refused, StorageError::Fenced(_)), "never granted: {refused}");
    leader.ledger().grant("ghost").await.unwrap();
    leader.ledger().cancel("ghost").await.unwrap();
    let refused = leader.publish(&ghost, &For(A)).await.unwrap_err();
    assert!(matches!(refused, StorageError::Fenced(_)) && !refused.is_retryable(), "cancelled: {refused}");
    // Granted by one coordinator, an attempt goes on under the next.
    leader.ledger().grant("heir").await.unwrap();
    leader.ledger().grant("heir").await.unwrap();
    let next = coordinator();
    assert_eq!(next.ledger().all_granted().await.unwrap(), ["heir"]);
    let verdict = next.publish(&lab.candidate("stage", A, "heir"), &For(A)).await.unwrap();
    assert!(matches!(verdict, Verdict::Won(_)));
    assert_eq!(next.ledger().all_granted().await.unwrap(), [""; 0], "a commit uses its fence up");
    // The ghost takes the winner.
    leader.ledger().grant("ghost").await.unwrap();
    assert_eq!(leader.publish(&ghost, &For(A)).await.unwrap(), Verdict::Lost(verdict.stage().clone()));
}

#[tokio::test]
async fn who_does_not_lead_any_more_writes_nothing() {
    let lab = Lab::new();
    let lead = |name: &str| Txn { when: vec![], then: vec![Do::Delete("leader".to_owned()), Do::put(name, "x")] };
    let take = |name: &str| Txn { when: vec![], then: vec![Do::put("leader", name)] };
    let Outcome::Done(term) = once(&*lab.kv, take("old")).await.unwrap() else { panic!("it is carried out") };
    let count = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let refusals = || count.load(std::sync::atomic::Ordering::Relaxed);
    let fences = Fences::closed().counting(Arc::clone(&count));
    let old = publisher(&lab.kv, &lab.place, fences.clone(), Attempts::OfCoordinator);
    let refused = old.ledger().attach().await.unwrap_err();
    assert!(matches!(refused, StorageError::Fenced(_)), "{refused}");
    fences.set(vec![When::CreatedAt("leader".to_owned(), term)]);
    old.ledger().grant("attempt").await.unwrap();
    once(&*lab.kv, lead("gone")).await.unwrap();
    let Outcome::Done(next) = once(&*lab.kv, take("new")).await.unwrap() else { panic!("it is carried out") };
    let candidate = lab.candidate("stage", A, "attempt");
    let refused = old.publish(&candidate, &For(A)).await.unwrap_err();
    assert!(matches!(refused, StorageError::Fenced(_)), "{refused}");
    assert_eq!(refusals(), 1);
    assert!(old.ledger().grant("another").await.is_err());
    assert_eq!(refusals(), 2);
    assert_eq!(lab.storage.tags(), []);
    fences.set(vec![When::CreatedAt("leader".to_owned(), next)]);
    assert!(matches!(old.publish(&candidate, &For(A)).await.unwrap(), Verdict::Won(_)));
    assert_eq!(refusals(), 2, "what is not refused is not counted");
}

/// A process whose lease ended publishes as another attempt, with a manifest of its own.
#[tokio::test]
async fn a_lost_lease_means_another_attempt() {
    let lab = Lab::new();
    let publisher = lab.process();
    let candidate = lab.candidate("stage", A, "one");
    let seen = publisher.ledger().read(digest_of("stage")).await.unwrap();
    publisher.ledger().grant("one").await.unwrap();
    let lost = Txn { when: vec![], then: vec![Do::Delete("repo/registry.example.org+shop/attempt/one".to_owned())] };
    let fence = publisher.ledger().granted("one").await.unwrap().unwrap();
    once(&*lab.kv, lost).await.unwrap();
    assert_eq!(publisher.ledger().commit(&candidate, &seen, &fence).await.unwrap(), Commit::Fenced);
    // As it happens within a publish: the key goes between grant and commit.
    let faults = Arc::new(AtomicUsize::new(0));
    let (count, kv) = (faults.clone(), lab.kv.clone());
    let plan = move |parts: &[Txn]| {
        let commits = parts.iter().any(|part| part.then.iter().any(|done| done.key().contains("/totag/")));
        let first = commits && count.fetch_add(1, Ordering::SeqCst) == 0;
        if first {
            let key = "repo/registry.example.org+shop/attempt/one".to_owned();
            let gone = Txn { when: vec![], then: vec![Do::Delete(key)] };
            futures::executor::block_on(kv.txn(&[gone])).unwrap();
        }
        None
    };
    let kv: Arc<dyn Kv> = Arc::new(Faulty::new(lab.kv.clone(), Box::new(plan)));
    let verdict = process(&kv, &lab.place).publish(&candidate, &For(A)).await.unwrap();
    let Verdict::Won(stage) = verdict else { panic!("{verdict:?}") };
    assert_ne!(stage.at, candidate.record.at, "the manifest names another attempt");
    assert_eq!(stage.image_id, candidate.record.image_id, "the image is the same");
    assert_eq!(lab.usable(&lab.process(), "stage").await, [stage]);
}

/// Whatever reply is lost, and whatever becomes of the request, a stage is stored once.
#[tokio::test]
async fn a_lost_reply_has_no_double_effect() {
    for fault in [Fault::ReplyLost, Fault::RequestLost, Fault::Late] {
        for lost in 0..4 {
            let lab = Lab::new();
            lab.process().ledger().attach().await.unwrap();
            let number = Arc::new(AtomicUsize::new(0));
            let plan = move |parts: &[Txn]| {
                let hit = !parts.is_empty() && number.fetch_add(1, Ordering::SeqCst) == lost;
                hit.then_some(fault)
            };
            let faulty = Faulty::new(lab.kv.clone(), Box::new(plan));
            let kv: Arc<dyn Kv> = Arc::new(faulty.clone());
            let publisher = process(&kv, &lab.place);
            let verdict = publisher.publish(&lab.candidate("stage", A, "one"), &For(A)).await.unwrap();
            faulty.deliver().await.unwrap();
            let again = lab.process().publish(&lab.candidate("stage", A, "two"), &For(A)).await.unwrap();
            assert_eq!(again, Verdict::Lost(verdict.stage().clone()), "{fault:?} of {lost}");
            assert!(matches!(verdict, Verdict::Won(_)), "{fault:?} of {lost}: {verdict:?}");
            assert_eq!(lab.storage.tags(), [at(NOW, "stage")], "{fault:?} of {lost}");
            assert_eq!(lab.process().recover().await.unwrap(), Recovered::default());
            let all = lab.process().ledger().all().await.unwrap();
            assert!(all.len() == 1 && all[0].tagged, "{fault:?} of {lost}: {all:?}");
        }
    }
}

#[tokio::test]
async fn a_foreign_tag_with_an_older_timestamp_changes_nothing() {
    let lab = Lab::new();
    let first = lab.process().publish(&lab.candidate("stage", A, "one"), &For(A)).await.unwrap();
    lab.foreign("stage", A, "foreign", NOW - 1000).await;
    assert_eq!(lab.usable(&lab.process(), "stage").await, [first.stage().clone()]);
    let second = lab.process().publish(&lab.candidate("stage", A, "two"), &For(A)).await.unwrap();
    assert_eq!(second.stage(), first.stage());
    let imported = lab.process().ledger().import().await.unwrap();
    assert_eq!((imported.adopted.len(), imported.known), (0, vec![at(NOW - 1000, "stage")]));
    let third = lab.process().publish(&lab.candidate("stage", MERGE, "three"), &For(MERGE)).await.unwrap();
    assert_eq!(third.stage(), first.stage());
    assert_eq!(lab.process().ledger().import().await.unwrap(), Default::default(), "it is known now");
}

#[tokio::test]
async fn a_foreign_stage_is_imported_by_copy() {
    let lab = Lab::new();
    let publisher = lab.process();
    publisher.ledger().attach().await.unwrap();
    let foreign = lab.foreign("stage", B, "foreign", NOW - 1000).await;
    assert_eq!(lab.usable(&publisher, "stage").await, []);
    let before = publisher.ledger().attach().await.unwrap().generation;
    let imported = publisher.ledger().import().await.unwrap();
    assert_eq!(imported.adopted, [(foreign.id, at(NOW, "stage"))]);
    assert_eq!(publisher.ledger().attach().await.unwrap().generation, before + 1);
    let [copy] = &lab.usable(&lab.process(), "stage").await[..] else { panic!("one is usable") };
    assert_eq!((copy.id, &copy.image_id), (at(NOW, "stage"), &foreign.image_id));
    assert_ne!(copy.at, foreign.at, "it has a manifest of its own");
    let adopted = lab.process().publish(&lab.candidate("stage", B, "one"), &For(B)).await.unwrap();
    assert_eq!(adopted, Verdict::Lost(copy.clone()));
}

/// A foreign program takes the very name that a commit chose: the commit, never used, gets another.
#[tokio::test]
async fn a_name_that_is_taken_is_left_to_who_has_it() {
    let lab = Lab::new();
    lab.process().ledger().attach().await.unwrap();
    let foreign = lab.foreign("stage", B, "foreign", NOW).await;
    let verdict = lab.process().publish(&lab.candidate("stage", A, "one"), &For(A)).await.unwrap();
    assert_eq!(verdict.stage().id, at(NOW + 1, "stage"));
    assert_eq!(lab.storage.tagged(foreign.id), Some(foreign.at));
    assert_eq!(lab.storage.tagged(verdict.stage().id), Some(verdict.stage().at.clone()));
    assert_eq!(lab.process().recover().await.unwrap(), Recovered::default());
}

#[tokio::test]
async fn what_killed_processes_left_is_finished_or_dropped() {
    let lab = Lab::new();
    let publisher = lab.process();
    for (stage, attempt) in [("whole", "one"), ("lost", "two"), ("tagged", "three")] {
        let candidate = lab.candidate(stage, A, attempt);
        let seen = publisher.ledger().read(digest_of(stage)).await.unwrap();
        let fence = publisher.ledger().grant(attempt).await.unwrap();
        let Commit::Won(kept) = publisher.ledger().commit(&candidate, &seen, &fence).await.unwrap() else {
            panic!("nobody else is there")
        };
        match stage {
            "lost" => lab.lose(&candidate.record.at),
            "tagged" => lab.place.tag(kept.stage.as_deref().unwrap()).await.unwrap(),
            _ => {}
        }
        assert_eq!(lab.usable(&publisher, stage).await, [], "what has no tag is not used");
    }
    assert_eq!(lab.process().recover().await.unwrap(), Recovered { tagged: 2, dropped: 1, kept: 0 });
    assert_eq!(lab.process().recover().await.unwrap(), Recovered::default());
    assert_eq!((lab.usable(&publisher, "whole").await.len(), lab.usable(&publisher, "lost").await.len()), (1, 0));
    let again = publisher.publish(&lab.candidate("lost", A, "four"), &For(A)).await.unwrap();
    assert_eq!(again.stage().id, at(NOW + 1, "lost"), "a timestamp is given once");
}

#[tokio::test]
async fn a_lost_image_is_rejected_and_only_then() {
    let lab = Lab::new();
    let publisher = lab.process();
    let first = publisher.publish(&lab.candidate("stage", A, "one"), &For(A)).await.unwrap();
    assert!(!publisher.reject_lost(first.stage().id, "somebody says so").await.unwrap(), "it is there");
    lab.lose(&first.stage().at);
    assert!(publisher.reject_lost(first.stage().id, "the image is lost").await.unwrap());
    assert!(!publisher.reject_lost(first.stage().id, "again").await.unwrap());
    assert_eq!(lab.usable(&publisher, "stage").await, []);
    let kept = publisher.ledger().find(first.stage().id).await.unwrap().unwrap();
    assert_eq!((kept.state, kept.why.as_deref()), (KeptState::Rejected, Some("the image is lost")));
    assert_eq!(lab.place.list().await.unwrap().rejected, [first.stage().id]);
    let next = publisher.publish(&lab.candidate("stage", A, "two"), &For(A)).await.unwrap();
    assert_eq!(next.stage().id, at(NOW + 1, "stage"));
    assert!(publisher.reject_by_hand(next.stage().id, "an operator says so").await.unwrap());
    assert_eq!(lab.usable(&publisher, "stage").await, []);
}

/// Who looked at a record before its tag was written does not reject it after.
#[tokio::test]
async fn a_record_that_was_healed_meanwhile_is_not_rejected() {
    let lab = Lab::new();
    let publisher = lab.process();
    let candidate = lab.candidate("stage", A, "one");
    let seen = publisher.ledger().read(digest_of("stage")).await.unwrap();
    let fence = publisher.ledger().grant("one").await.unwrap();
    let Commit::Won(kept) = publisher.ledger().commit(&candidate, &seen, &fence).await.unwrap() else {
        panic!("nobody else is there")
    };
    let early = publisher.ledger().read(digest_of("stage")).await.unwrap();
    lab.process().recover().await.unwrap();
    assert!(!publisher.ledger().reject(&early, &kept, "it had no tag").await.unwrap());
    assert_eq!(lab.usable(&publisher, "stage").await.len(), 1);
}

/// The history of commit A is cut here.
struct Shallow;

#[async_trait]
impl Judge for Shallow {
    async fn choose(&self, candidates: &[StageRecord]) -> Result<Option<StageRecord>, StorageError> {
        For(MERGE).choose(candidates).await
    }

    async fn unknown(&self, candidates: &[StageRecord]) -> Result<Vec<StageId>, StorageError> {
        let unknown = candidates.iter().filter(|stage| super::lab::commit_of(stage) == A);
        Ok(unknown.map(|stage| stage.id).collect())
    }
}

#[tokio::test]
async fn a_stage_of_unknown_history_is_unknown_for_everybody() {
    let lab = Lab::new();
    let publisher = lab.process();
    let first = publisher.publish(&lab.candidate("stage", A, "one"), &For(A)).await.unwrap();
    let merged = publisher.publish(&lab.candidate("stage", MERGE, "two"), &Shallow).await.unwrap();
    assert_ne!(merged.stage().id, first.stage().id);
    // Who knows the history chooses as who does not.
    let again = lab.process().publish(&lab.candidate("stage", MERGE, "three"), &For(MERGE)).await.unwrap();
    assert_eq!(again.stage(), merged.stage());
    // The very same commit still has its stage.
    let same = lab.process().publish(&lab.candidate("stage", A, "four"), &For(A)).await.unwrap();
    assert_eq!(same.stage(), first.stage());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_at_once_store_one_stage() {
    let lab = Arc::new(Lab::new());
    let tasks = Tasks::new();
    let running: Vec<_> = (0..8)
        .map(|number| {
            let lab = lab.clone();
            tasks.spawn(async move {
                let candidate = lab.candidate("stage", A, &format!("attempt {number}"));
                lab.process().publish(&candidate, &For(A)).await.unwrap()
            })
        })
        .collect();
    let mut verdicts = Vec::new();
    for task in running {
        verdicts.push(task.await.unwrap().unwrap());
    }
    assert_eq!(verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Won(_))).count(), 1);
    assert!(verdicts.iter().all(|verdict| verdict.stage() == verdicts[0].stage()), "{verdicts:?}");
    assert_eq!(lab.storage.tags().len(), 1);
}

/// Commits that travel together are judged each by its own conditions.
#[tokio::test]
async fn one_refused_commit_does_not_fail_those_that_travel_with_it() {
    let lab = Lab::new();
    let counted = Counted::new(lab.kv.clone());
    let batched: Arc<dyn Kv> = Arc::new(Batched::new(Arc::new(counted.clone()), &Tasks::new()));
    let term = leads(&lab.kv, "one").await;
    let fences = Fences::closed();
    fences.set(vec![term]);
    let leader = publisher(&batched, &lab.place, fences, Attempts::OfCoordinator);
    leader.ledger().attach().await.unwrap();
    let ledger = leader.ledger();
    let mut ready = Vec::new();
    for number in 0..40 {
        let candidate = lab.candidate(&format!("stage {number}"), A, &format!("attempt-{number}"));
        let fence = ledger.grant(&candidate.attempt).await.unwrap();
        let seen = ledger.read(candidate.record.id.digest).await.unwrap();
        // Every fourth is cancelled before it commits.
        if number % 4 == 0 {
            ledger.cancel(&candidate.attempt).await.unwrap();
        }
        ready.push((candidate, seen, fence));
    }
    let before = counted.counts();
    let commits = join_all(ready.iter().map(|(candidate, seen, fence)| ledger.commit(candidate, seen, fence))).await;
    let after = counted.counts();
    for (number, commit) in commits.into_iter().enumerate() {
        match number % 4 {
            0 => assert_eq!(commit.unwrap(), Commit::Fenced, "{number}"),
            _ => assert!(matches!(commit.unwrap(), Commit::Won(_)), "{number}"),
        }
    }
    assert_eq!((after.parts - before.parts, after.refused - before.refused), (40, 10));
    assert!(after.txns - before.txns <= 4, "they travel together: {before:?} {after:?}");
    // What was committed is tagged, and costs three transactions in all: leave, commit, intent cleared.
    let before = counted.counts();
    let recovered = leader.recover().await.unwrap();
    assert_eq!(
        (recovered, counted.counts().parts - before.parts),
        (Recovered { tagged: 30, ..Recovered::default() }, 30)
    );
}

/// When another leads, none of what the former leader sends together is carried out.
#[tokio::test]
async fn a_former_leader_commits_nothing_however_much_it_sends_together() {
    let lab = Lab::new();
    let batched: Arc<dyn Kv> = Arc::new(Batched::new(lab.kv.clone(), &Tasks::new()));
    let fences = Fences::closed();
    fences.set(vec![leads(&lab.kv, "one").await]);
    let former = publisher(&batched, &lab.place, fences, Attempts::OfCoordinator);
    former.ledger().attach().await.unwrap();
    let candidates: Vec<_> =
        (0..20).map(|number| lab.candidate(&format!("stage {number}"), A, &format!("attempt-{number}"))).collect();
    for candidate in &candidates {
        former.ledger().grant(&candidate.attempt).await.unwrap();
    }
    leads(&lab.kv, "two").await;
    let verdicts = join_all(candidates.iter().map(|candidate| former.publish(candidate, &For(A)))).await;
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Err(StorageError::Fenced(_)))), "{verdicts:?}");
    assert!(lab.storage.tags().is_empty());
}

/// Somebody leads from now on; the condition of his term.
async fn leads(kv: &Arc<dyn Kv>, name: &str) -> When {
    once(&**kv, Txn { when: vec![], then: vec![Do::Delete("leader".to_owned())] }).await.unwrap();
    let put = Txn { when: vec![], then: vec![Do::put("leader", name)] };
    let Ok(Outcome::Done(term)) = once(&**kv, put).await else { panic!("nobody leads") };
    When::CreatedAt("leader".to_owned(), term)
}
