//! What is said of jobs, and what is counted.

use super::script::{Stage, options};
use crate::scheduler::{JobState, Why};

fn text(script: &str, job: &str) -> String {
    let mut stage = Stage::new(options());
    stage.play(script);
    stage.scheduler.explain(job, stage.clock).map(|explanation| explanation.text).unwrap_or_default()
}

#[test]
fn it_is_said_why_a_job_runs_where_it_runs_or_waits() {
    let table = [
        ("worker w; want k; pass 3", "it runs on w for 3 s, because it had the most room"),
        (
            "worker w holds=base; want k near=base; pass 1",
            "it runs on w for 1 s, because it has what the job starts from",
        ),
        (
            "worker w; want k; upload k w",
            "it runs on w for 0 ms, because it had the most room; its result is being published",
        ),
        ("worker w; worker v; want k; crash k w; pass 2", "it runs on v for 1 s, because the job had failed elsewhere"),
        ("worker w; want k; crash k w", "it waits before its next try; it has failed 1 times"),
        ("want k; pass 2", "it waits for 2 s: no worker is connected"),
        (
            "worker w; want j; want i rank=1; want k",
            "it waits for 0 ms: all 1 workers that can take it are busy, and 1 jobs are before it",
        ),
        ("worker w label=a:b; want k label=a:c", "no connected worker can take the job: w lacks label a=c"),
        (
            "worker w holds=base; want j; worker v; want k near=base bytes=5000",
            "it waits for 0 ms: w has what it starts from, and is busy",
        ),
        (
            "learn c 5000 3; worker w; want k class=c; pass 10; worker v; pass 1",
            "it runs on w for 11 s, because it had the most room; it runs on v for 1 s, because the first attempt takes much \
             longer than expected",
        ),
        (
            "worker w; want k; worker v; silent w; pass 12",
            "it runs on w, which is not heard from for 12 s, because it had the most room; it runs on v for 1 s, because the \
             job had failed elsewhere",
        ),
        ("", ""),
    ];
    for (script, expected) in table {
        assert_eq!(text(script, "k"), expected, "{script}");
    }
}

#[test]
fn what_is_said_can_be_read_by_programs() {
    let mut stage = Stage::new(options());
    stage.play("worker w; want j by=3; want k rank=7 by=1; want k rank=5 by=2; want i rank=9; pass 2");
    let running = stage.scheduler.explain("j", stage.clock).expect("it is not over");
    assert_eq!((running.state, running.attempts[0].why, running.before), (JobState::Running, Why::Room, None));
    let queued = stage.scheduler.explain("k", stage.clock).expect("it is not over");
    assert_eq!((queued.state, queued.before, queued.wanted_by), (JobState::Queued, Some(1), 2));
    let text = serde_json::to_string(&queued).expect("text");
    assert_eq!(serde_json::from_str::<super::super::Explanation>(&text).expect(&text), queued);
}

#[test]
fn what_happens_is_counted() {
    let mut stage = Stage::new(options());
    stage.play("worker w slots=2; worker v; want a; want a; want b; want c; want d; upload b w; crash a w");
    let snapshot = stage.scheduler.snapshot(stage.clock);
    let jobs = (snapshot.queued, snapshot.running, snapshot.publishing, snapshot.backing_off, snapshot.parked);
    assert_eq!(jobs, (0, 2, 1, 1, 0));
    assert_eq!((snapshot.counters.new, snapshot.counters.joined, snapshot.counters.retried), (4, 1, 1));
    stage.play("lose b; silent v; pass 11");
    let snapshot = stage.scheduler.snapshot(stage.clock);
    assert_eq!((snapshot.counters.discarded, snapshot.counters.leases_lost), (1, 1));
    assert_eq!(snapshot.workers.iter().filter(|worker| worker.alive).count(), 1);
    assert_eq!(snapshot.waited.count(), 5, "{:?}", snapshot.waited);
    assert!(snapshot.waited.buckets().last().is_some_and(|(_, count)| count == 5));
}
