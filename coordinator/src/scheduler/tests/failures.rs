//! What is tried again, what is not, and what takes too long.

use super::script::{check, check_with, options};
use crate::scheduler::Options;

#[test]
fn what_the_infrastructure_fails_is_tried_elsewhere_three_times() {
    check(
        "worker a; worker b; worker c; want k; crash k a; pass 1; crash k b; pass 2; crash k c; pass 9",
        "a+k; b+k; c+k; k: failed: broken (tried 3 times) → 0",
    );
    // With nobody else there it is tried where it failed.
    check(
        "worker a; want k; crash k a; pass 1; crash k a; pass 2; crash k a; pass 9",
        "a+k; a+k; a+k; k: failed: broken (tried 3 times) → 0",
    );
    // The wait doubles.
    check("worker a; want k; crash k a; pass 1; crash k a; pass 1", "a+k; a+k");
    check("worker a; want k; crash k a; pass 1; crash k a; pass 2", "a+k; a+k; a+k");
    // Somebody else is busy: it waits for him all the same.
    check("worker a; worker b; want k rank=2; want j; crash k a; pass 9; upload j b", "a+k; b+j; commit j; b+k");
}

#[test]
fn what_the_user_fails_is_not_tried_again() {
    check("worker a; worker b; want k by=1; want k by=2; fail k a; pass 9", "a+k; k: failed: broken → 1,2");
}

#[test]
fn publishing_is_tried_again_too() {
    check(
        "worker a; want k; upload k a; refuse k; pass 1; upload k a; publish k",
        "a+k; commit k; a+k; commit k; k: committed → 0",
    );
    check("worker a; want k; upload k a; spoil k; pass 1", "a+k; commit k; k: failed: broken → 0");
}

#[test]
fn what_has_vanished_is_uploaded_again_by_who_has_it() {
    check(
        "worker a; worker b; want k; upload k a; vanish k; upload k a; publish k",
        "a+k; commit k; a^k; commit k; k: committed → 0",
    );
    // It takes no slot: a worker that is full does it all the same.
    check(
        "worker a; want k rank=2; want j; upload k a; vanish k; upload k a; publish k",
        "a+k; commit k; a+j; a^k; commit k; k: committed → 0",
    );
    // Who has it no more, or cannot upload it, builds it again; or another does.
    check("worker a; want k; upload k a; worker a boot=2; vanish k; pass 1", "a+k; commit k; a+k");
    check("worker a; want k; upload k a; vanish k; crash k a; pass 2", "a+k; commit k; a^k; a+k");
    check("worker a; worker b; want k; upload k a; silent a; pass 11; vanish k; pass 1", "a+k; commit k; b+k");
    // Not for ever.
    check(
        "worker a; want k; upload k a; vanish k; upload k a; vanish k; upload k a; vanish k; pass 9",
        "a+k; commit k; a^k; commit k; a^k; commit k; k: failed: broken (tried 3 times) → 0",
    );
}

#[test]
fn what_nobody_wants_is_not_tried_again() {
    check("worker a; want k by=1; crash k a; drop k by=1; pass 9", "a+k");
}

#[test]
fn a_job_that_no_worker_can_take_fails_with_what_is_missing() {
    check("worker a platform=linux/arm64; want k platform=linux/amd64; pass 9", "");
    check(
        "worker a platform=linux/arm64; want k platform=linux/amd64; pass 10",
        "k: failed: no connected worker can take the job: a lacks platform linux/amd64 → 0",
    );
    check(
        "worker a memory=100; worker b; worker b memory=10; want k memory=200; pass 10",
        "k: failed: no connected worker can take the job: a lacks 200 MiB of memory, b lacks 200 MiB of memory → 0",
    );
    // One that can comes in time, or goes.
    check("worker a label=x:y; want k label=x:z; pass 9; worker b label=x:z; pass 9", "b+k");
    check(
        "worker a; worker b label=x:z; want j label=x:z; want k label=x:z; worker b label=x:z drain; pass 10",
        "b+j; k: failed: no connected worker can take the job: a lacks label x=z → 0",
    );
}

#[test]
fn a_job_waits_for_the_first_worker_and_says_so() {
    check("want k by=4; pass 9", "");
    let told = "notice: no worker is connected, waiting for one, for at most 60 s → 4";
    check("want k by=4; pass 30; worker w", &format!("{told}; w+k"));
    let told = "notice: no worker is connected, waiting for one → 4";
    check_with(Options { no_worker: None, ..options() }, "want k by=4; pass 900; worker w", &format!("{told}; w+k"));
    // Workers that are about to end are as good as none.
    check(
        "worker w drain; want k by=4; pass 10",
        "notice: no worker is connected, waiting for one, for at most 60 s → 4",
    );
}

#[test]
fn a_job_does_not_wait_for_a_worker_for_ever() {
    let told = "notice: no worker is connected, waiting for one, for at most 60 s → 0";
    let failed = "k: failed: no worker has been connected for 60 s, start one with `slipway worker` → 0";
    check("want k; pass 59", told);
    check("want k; pass 60", &format!("{told}; {failed}"));
    // The time counts from when the last one went.
    check("worker w; want j; pass 30; silent w; pass 9; drop j by=0; want k; pass 60", &format!("w+j; {told}"));
}

#[test]
fn an_attempt_without_progress_is_stopped_and_tried_elsewhere() {
    check("worker a; want k; pass 599; progress k a; pass 599", "a+k");
    let failed = "k: failed: the job was stopped on a: it showed no sign of progress for 10 minutes";
    check(
        "worker a; want k; pass 600; pass 2; pass 600; pass 3; pass 600",
        &format!("a+k; a-k; a+k; a-k; a+k; {failed} (tried 3 times) → 0; a-k"),
    );
    check("worker a; want k; pass 500; worker b; pass 101", "a+k; b+k; a-k");
    check_with(Options { quiet: None, deadline: None, ..options() }, "worker a; want k; pass 9999", "a+k");
}

#[test]
fn an_attempt_does_not_run_for_ever() {
    let script = format!("worker a; want k; {}", "pass 400; progress k a;".repeat(8));
    check(&script, "a+k");
    check(
        &format!("{script} pass 400"),
        "a+k; k: failed: the job was stopped: it ran for 60 minutes, which is the limit → 0; a-k",
    );
}

#[test]
fn a_slow_job_gets_a_second_attempt_on_an_idle_worker() {
    // 2 × the slowest: 20 s.
    let slow = "learn app 10000 5; worker a; want k class=app; worker b;";
    check(&format!("{slow} pass 19"), "a+k");
    check(&format!("{slow} pass 20; upload k b; publish k"), "a+k; b+k; commit k; k: committed → 0; a-k");
    check(&format!("{slow} pass 20; upload k a; lose k"), "a+k; b+k; commit k; k: superseded → 0; b-k");
    // Both upload: the first is published; the other is when that comes to nothing.
    check(&format!("{slow} pass 20; upload k a; upload k b; publish k"), "a+k; b+k; commit k; k: committed → 0");
    check(
        &format!("{slow} pass 20; upload k a; upload k b; refuse k; publish k"),
        "a+k; b+k; commit k; commit k; k: committed → 0",
    );
    // What the user broke is broken everywhere.
    check(&format!("{slow} pass 20; fail k b"), "a+k; b+k; k: failed: broken → 0; a-k");
    check(&format!("{slow} pass 20; crash k b; upload k a; publish k"), "a+k; b+k; commit k; k: committed → 0");
    // Those who wait go first.
    check(&format!("{slow} want j; pass 30"), "a+k; b+j");
    check(&format!("{slow} want j; pass 30; upload j b"), "a+k; b+j; commit j; b+k");
    check(&format!("{slow} worker c; pass 90"), "a+k; b+k");
}

#[test]
fn of_a_job_that_is_not_known_more_is_borne() {
    check("worker a; worker b; want k class=app; pass 59", "a+k");
    check("worker a; worker b; want k class=app; pass 60", "a+k; b+k");
    // Three times what is usual in the project.
    check("learn other 30000 5; worker a; worker b; want k class=app; pass 89", "a+k");
    check("learn other 30000 5; worker a; worker b; want k class=app; pass 90", "a+k; b+k");
    check("learn other 100 5; worker a; worker b; want k class=app; pass 59", "a+k");
    // What is over in no time is not doubled for a hiccup.
    check("learn app 1 5; worker a; worker b; want k class=app; pass 1", "a+k; b+k");
}

#[test]
fn two_attempts_never_run_on_one_worker() {
    check("learn app 1000 5; worker a slots=4; want k class=app; pass 90", "a+k");
}
