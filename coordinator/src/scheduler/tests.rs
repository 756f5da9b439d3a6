//! Tables and a seeded random walk over the scheduler.

use std::{collections::BTreeMap, time::Duration};

use slipway_oci::{BlobDigest, ImageAt, Repo};

use super::*;

fn report(attempts: &[(AttemptId, Phase)]) -> Event {
    Event::Synced(Report { worker: "w".to_owned(), slots: 2, attempts: attempts.to_vec(), ..Report::default() })
}

fn wanted(key: &str, rank: usize, subscriber: Subscriber) -> Event {
    Event::Wanted { key: key.to_owned(), rank, subscriber }
}

fn uploaded() -> Uploaded {
    let digest = BlobDigest::of(b"image");
    let at = ImageAt { repo: Repo { host: String::new(), path: "p".to_owned() }, digest: digest.clone() };
    Uploaded { at, image_id: digest, size: 1, took: Duration::from_secs(2) }
}

fn failure(retryable: bool) -> Failure {
    Failure { retryable, why: "broken".to_owned(), exit: None, line: None, tail: Vec::new(), lost: None }
}

fn running(scheduler: &Scheduler) -> Vec<AttemptId> {
    scheduler.orders("w").run
}

#[test]
fn the_highest_rank_starts_first_and_slots_are_kept() {
    let mut scheduler = Scheduler::new("s".to_owned());
    for (key, rank) in [("low", 1), ("high", 9), ("mid", 5)] {
        scheduler.apply(wanted(key, rank, 1));
    }
    scheduler.apply(report(&[]));
    let jobs: Vec<String> = running(&scheduler).into_iter().map(|attempt| attempt.job).collect();
    assert_eq!(jobs, ["high", "mid"]);
}

#[test]
fn two_who_want_one_job_share_one_attempt_and_both_are_told() {
    let mut scheduler = Scheduler::new("s".to_owned());
    scheduler.apply(wanted("k", 1, 7));
    scheduler.apply(wanted("k", 1, 8));
    scheduler.apply(report(&[]));
    let attempt = running(&scheduler).remove(0);
    let effects = scheduler.apply(report(&[(attempt.clone(), Phase::Uploaded(uploaded()))]));
    assert!(effects.contains(&Effect::Commit(attempt.clone(), uploaded())));
    let effects = scheduler.apply(Event::Settled(attempt, Outcome::Dropped));
    let told = |effect: &Effect| matches!(effect, Effect::Deliver(who, _, End::Settled(_, took)) if who == &[7, 8] && took.as_secs() == 2);
    assert!(effects.iter().any(told), "{effects:?}");
}

#[test]
fn an_upload_that_is_reported_twice_is_committed_once() {
    let mut scheduler = Scheduler::new("s".to_owned());
    scheduler.apply(wanted("k", 1, 7));
    scheduler.apply(report(&[]));
    let attempt = running(&scheduler).remove(0);
    let said = report(&[(attempt.clone(), Phase::Uploaded(uploaded()))]);
    assert!(scheduler.apply(said).iter().any(|effect| matches!(effect, Effect::Commit(..))));
    let again = report(&[(attempt, Phase::Uploaded(uploaded()))]);
    assert!(!scheduler.apply(again).iter().any(|effect| matches!(effect, Effect::Commit(..))));
}

#[test]
fn infrastructure_failures_are_tried_three_times_and_user_failures_once() {
    for (retryable, tries) in [(true, 3), (false, 1)] {
        let mut scheduler = Scheduler::new("s".to_owned());
        scheduler.apply(wanted("k", 1, 7));
        scheduler.apply(report(&[]));
        let mut seen = 0;
        while let Some(attempt) = running(&scheduler).pop() {
            seen += 1;
            assert_eq!(attempt.number, seen);
            scheduler.apply(report(&[(attempt, Phase::Failed(failure(retryable)))]));
        }
        assert_eq!(seen, tries);
        scheduler.apply(report(&[]));
        assert!(scheduler.is_idle());
    }
}

#[test]
fn a_dropped_job_is_stopped_only_when_nobody_wants_it() {
    let mut scheduler = Scheduler::new("s".to_owned());
    scheduler.apply(wanted("k", 1, 7));
    scheduler.apply(wanted("k", 1, 8));
    scheduler.apply(report(&[]));
    scheduler.apply(Event::Dropped { key: "k".to_owned(), subscriber: 7 });
    assert_eq!(running(&scheduler).len(), 1);
    scheduler.apply(Event::Dropped { key: "k".to_owned(), subscriber: 8 });
    assert!(running(&scheduler).is_empty());
    assert_eq!(scheduler.orders("w").settled.len(), 1);
}

#[test]
fn what_is_being_published_is_let_through_when_its_build_is_cancelled() {
    let mut scheduler = Scheduler::new("s".to_owned());
    scheduler.apply(wanted("k", 1, 7));
    scheduler.apply(report(&[]));
    let attempt = running(&scheduler).remove(0);
    scheduler.apply(report(&[(attempt.clone(), Phase::Uploaded(uploaded()))]));
    scheduler.apply(Event::Dropped { key: "k".to_owned(), subscriber: 7 });
    assert_eq!(running(&scheduler), std::slice::from_ref(&attempt), "the worker keeps its result until the tag stands");
    scheduler.apply(Event::Settled(attempt, Outcome::Dropped));
    scheduler.apply(report(&[]));
    assert!(scheduler.is_idle());
}

#[test]
fn what_nobody_wants_is_not_tried_again() {
    let mut scheduler = Scheduler::new("s".to_owned());
    scheduler.apply(wanted("k", 1, 7));
    scheduler.apply(report(&[]));
    let attempt = running(&scheduler).remove(0);
    scheduler.apply(report(&[(attempt.clone(), Phase::Uploaded(uploaded()))]));
    scheduler.apply(Event::Dropped { key: "k".to_owned(), subscriber: 7 });
    scheduler.apply(Event::Unpublished(attempt, failure(true)));
    assert!(running(&scheduler).is_empty());
    scheduler.apply(report(&[]));
    assert!(scheduler.is_idle());
}

#[test]
fn an_attempt_of_an_earlier_life_is_told_to_stop() {
    let mut scheduler = Scheduler::new("s".to_owned());
    let stranger = AttemptId { job: "k".to_owned(), number: 1, id: "other-1".to_owned() };
    scheduler.apply(report(&[(stranger.clone(), Phase::Running { progress: 0 })]));
    assert_eq!(scheduler.orders("w").settled, [(stranger, Outcome::Dropped)]);
}

/// Every wanted job ends exactly once, whatever the order of reports, failures, drops and settlements.
#[test]
fn a_random_walk_ends_every_job_once() {
    for seed in 1..200_u64 {
        walk(seed);
    }
}

fn walk(seed: u64) {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut dice = |sides: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % sides
    };
    let mut scheduler = Scheduler::new("s".to_owned());
    let mut ends: BTreeMap<String, u32> = BTreeMap::new();
    let mut committing: Vec<AttemptId> = Vec::new();
    for job in 0..10 {
        scheduler.apply(wanted(&format!("k{job}"), usize::try_from(dice(5)).unwrap(), job));
    }
    for _ in 0..2_000 {
        let mut effects = Vec::new();
        let held = running(&scheduler);
        assert!(held.len() - committing.len() <= 2, "seed {seed}: more attempts than slots");
        let phases: Vec<_> = held
            .iter()
            .map(|attempt| {
                let phase = match dice(4) {
                    0 => Phase::Uploaded(uploaded()),
                    1 => Phase::Failed(failure(dice(2) == 0)),
                    _ => Phase::Running { progress: 1 },
                };
                (attempt.clone(), phase)
            })
            .collect();
        effects.extend(scheduler.apply(report(&phases)));
        if dice(2) == 0
            && let Some(attempt) = committing.pop()
        {
            effects.extend(scheduler.apply(Event::Settled(attempt, Outcome::Dropped)));
        }
        for effect in effects {
            match effect {
                Effect::Commit(attempt, _) => {
                    assert!(!committing.contains(&attempt), "seed {seed}: committed twice");
                    committing.push(attempt);
                }
                Effect::Deliver(_, key, _) => *ends.entry(key).or_default() += 1,
                Effect::Wake(_) => {}
            }
        }
        // A settlement that was put off is made up for.
        while committing.len() > 1 {
            let attempt = committing.remove(0);
            for effect in scheduler.apply(Event::Settled(attempt, Outcome::Dropped)) {
                if let Effect::Deliver(_, key, _) = effect {
                    *ends.entry(key).or_default() += 1;
                }
            }
        }
    }
    assert!(ends.values().all(|times| *times == 1), "seed {seed}: {ends:?}");
}
