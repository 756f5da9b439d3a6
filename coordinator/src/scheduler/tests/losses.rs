//! Workers that fall silent, restart, come back late; coordinators that take over.

use std::time::Duration;

use slipway_protocol::{AttemptId, Phase, Report};

use super::script::{Stage, check, check_with, options, uploaded};
use crate::scheduler::{Effect, Event, Options};

#[test]
fn what_a_lost_worker_did_is_done_elsewhere() {
    check("worker a; want k; worker b; silent a; pass 9", "a+k");
    check(
        "worker a; want k; worker b; silent a; pass 11; upload k b; publish k",
        "a+k; b+k; commit k; k: committed → 0",
    );
    // It comes back when all is over.
    check(
        "worker a; want k; worker b; silent a; pass 11; upload k b; publish k; back a",
        "a+k; b+k; commit k; k: committed → 0; a-k",
    );
    // It is forgotten, and comes back all the same.
    check_with(
        Options { hold: Duration::from_secs(20), ..options() },
        "worker a; want k by=1; silent a; pass 11; drop k by=1; pass 50; back a; want j",
        "a+k; a-k; a+j",
    );
}

#[test]
fn who_comes_back_in_time_goes_on() {
    check(
        "worker a; want k; silent a; pass 30; back a; pass 20; upload k a; publish k",
        "a+k; notice: no worker is connected, waiting for one, for at most 60 s → 0; commit k; k: committed → 0",
    );
    // Its result is as good as the other's: the first one is published.
    check(
        "worker a; want k; worker b; silent a; pass 11; upload k a; back a; publish k",
        "a+k; b+k; commit k; k: committed → 0; b-k",
    );
    check(
        "worker a; want k; worker b; silent a; pass 11; back a; upload k b; publish k",
        "a+k; b+k; commit k; k: committed → 0; a-k",
    );
    // A worker that fell silent and came back again and again has killed nothing.
    check(
        "worker a; want k; silent a; pass 11; back a; silent a; pass 11; back a; silent a; pass 11; back a; upload k a",
        "a+k; commit k",
    );
    // It falls silent once more.
    check("worker a; want k; silent a; pass 11; back a; silent a; worker b; pass 11", "a+k; b+k");
}

#[test]
fn what_a_restarted_worker_did_is_done_again() {
    check("worker a; want k; worker a boot=2; pass 1", "a+k; a+k");
    check("worker a; want k; worker b; worker a boot=2; pass 1", "a+k; b+k");
    // What it had uploaded is published without it.
    check("worker a; want k; upload k a; worker a boot=2; pass 1; publish k", "a+k; commit k; k: committed → 0");
    // It restarted while it was silent.
    check("worker a; want k; silent a; pass 11; worker a boot=2", "a+k; a+k");
}

#[test]
fn a_job_that_kills_two_workers_stops() {
    let why = "k: failed: 2 workers (a, b) were lost while they ran the job, so it is not given to another: see why they \
               ended, and whether the job takes more memory or disk than they have → 0";
    check("worker a; want k; worker b; worker c; silent a; pass 11; silent b; pass 11", &format!("a+k; b+k; {why}"));
    check("worker a; want k; worker b; worker a boot=2; pass 1; worker b boot=2", &format!("a+k; b+k; {why}"));
    // Who was given it and never had it did not die of it.
    check(
        "worker a; silent a; want k; worker b; worker c; pass 11; silent b; pass 13; upload k c",
        "b+k; c+k; commit k",
    );
    // One worker that dies of it again and again is only one.
    check(
        "worker a; want k; worker a boot=2; pass 1; worker a boot=3; pass 2; worker a boot=4",
        "a+k; a+k; a+k; k: failed: the worker a has restarted while it ran the job (tried 3 times) → 0",
    );
}

#[test]
fn a_coordinator_that_stood_still_blames_nobody() {
    check("worker a; want k; worker b; pass 1; stop 500; pass 1; pass 5", "a+k");
}

#[test]
fn reports_that_come_late_say_nothing() {
    let mut stage = Stage::new(options());
    stage.play("worker a; want k; upload k a; publish k");
    let old = Report { worker: "a".to_owned(), boot: "1".to_owned(), seq: 1, slots: 9, ..Report::default() };
    stage.scheduler.apply(Event::Synced(old), Duration::from_secs(1));
    assert_eq!(stage.scheduler.snapshot(stage.clock).workers[0].slots, 1);
}

fn stray(job: &str) -> AttemptId {
    AttemptId { job: job.to_owned(), number: 2, id: format!("earlier-{job}") }
}

fn report(seq: u64, attempts: Vec<(AttemptId, Phase)>) -> Event {
    let (worker, boot) = ("w".to_owned(), "1".to_owned());
    Event::Synced(Report { worker, boot, seq, slots: 4, attempts, ..Report::default() })
}

const RUNNING: Phase = Phase::Running { progress: 1 };
const START: Duration = Duration::from_secs(1);

#[test]
fn what_an_earlier_coordinator_gave_out_is_stopped_when_nobody_may_want_it() {
    let mut stage = Stage::new(options());
    stage.scheduler.apply(report(1, vec![(stray("k"), RUNNING)]), START);
    assert_eq!(stage.scheduler.orders("w").settled.len(), 1);
}

#[test]
fn what_an_earlier_coordinator_gave_out_goes_on_for_whoever_wants_it() {
    let options = Options { adopt: Duration::from_secs(30), ..options() };
    // The worker was heard first, or the build was submitted first.
    for wanted_first in [false, true] {
        let mut stage = Stage::new(Options { settle: Duration::from_secs(5), ..options.clone() });
        if wanted_first {
            stage.play("want k by=1");
        }
        stage.scheduler.apply(report(1, vec![(stray("k"), RUNNING), (stray("j"), RUNNING)]), START);
        if !wanted_first {
            assert_eq!(stage.scheduler.orders("w").keep, [stray("j"), stray("k")]);
            stage.play("want k by=1");
        }
        let orders = stage.scheduler.orders("w");
        assert_eq!((orders.run, orders.keep), (vec![stray("k")], vec![stray("j")]), "wanted first: {wanted_first}");
        let done = vec![(stray("k"), Phase::Uploaded(uploaded("k"))), (stray("j"), RUNNING)];
        let effects = stage.scheduler.apply(report(2, done), START);
        assert!(effects.contains(&Effect::Commit(stray("k"), uploaded("k"))), "{effects:?}");
        // Nobody wants the other one in time.
        (2..=30).for_each(|second| drop(stage.scheduler.apply(Event::Tick, START * second)));
        assert_eq!(stage.scheduler.orders("w").keep.len(), 1);
        stage.scheduler.apply(Event::Tick, START * 31);
        let orders = stage.scheduler.orders("w");
        assert!(orders.keep.is_empty() && orders.settled.iter().any(|(attempt, _)| *attempt == stray("j")));
    }
}

#[test]
fn a_result_for_an_earlier_coordinator_is_not_built_again() {
    let mut stage = Stage::new(Options { adopt: Duration::from_secs(30), ..options() });
    stage.scheduler.apply(report(1, vec![(stray("k"), Phase::Uploaded(uploaded("k")))]), START);
    let want = Event::Wanted { key: "k".into(), want: crate::scheduler::Want::default(), subscriber: 1 };
    let effects = stage.scheduler.apply(want, START);
    assert!(effects.contains(&Effect::Commit(stray("k"), uploaded("k"))), "{effects:?}");
    assert_eq!(stage.scheduler.snapshot(stage.clock).counters.adopted, 1);
}

/// A worker that reports others each time leaves no more behind than one report holds.
#[test]
fn of_what_a_worker_says_to_hold_only_its_last_report_counts() {
    let mut stage = Stage::new(Options { adopt: Duration::from_secs(30), ..options() });
    for seq in 1..=100 {
        stage.scheduler.apply(report(seq, vec![(stray(&format!("k{seq}")), RUNNING)]), START);
    }
    assert_eq!(stage.scheduler.orders("w").keep, [stray("k100")]);
    stage.scheduler.apply(report(101, Vec::new()), START);
    assert!(stage.scheduler.orders("w").keep.is_empty() && stage.scheduler.is_empty());
}
