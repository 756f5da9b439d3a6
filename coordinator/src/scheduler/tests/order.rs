//! Which job goes first, and where.

use super::script::{Stage, check, check_with, options};
use crate::scheduler::Options;

#[test]
fn the_highest_rank_goes_first_and_slots_are_kept() {
    check("want low rank=1; want high rank=9; want mid rank=5; worker w slots=2", "w+high; w+mid");
    check("want one rank=5; want two rank=5; worker w", "w+one");
    check("want old rank=1; want high rank=9; want old rank=10 by=1; worker w", "w+old");
    // A job that is done makes room as soon as it has uploaded.
    check("worker w; want a; want b; upload a w; publish a", "w+a; commit a; w+b; a: committed → 0");
}

#[test]
fn a_worker_whose_results_are_not_published_gets_no_more() {
    let wanted = "worker w; want a; want b; want c; want d; want e";
    let done = "upload a w; upload b w; upload c w; upload d w";
    let given = "w+a; commit a; w+b; commit b; w+c; commit c; w+d; commit d";
    check(&format!("{wanted}; {done}; pass 5"), given);
    check(&format!("{wanted}; {done}; publish a"), &format!("{given}; a: committed → 0; w+e"));
    // Others go on.
    check(&format!("{wanted}; {done}; worker v"), &format!("{given}; v+e"));
}

#[test]
fn the_worker_with_the_most_room_gets_it() {
    check("worker a slots=2; worker b slots=3; want x; want y; want z", "b+x; a+y; b+z");
}

#[test]
fn equal_jobs_are_one() {
    check("worker w; want k by=7; want k by=8; upload k w; publish k", "w+k; commit k; k: committed → 7,8");
    check("worker w; want k by=7; want k by=8; drop k by=7; drop k by=8; pass 1", "w+k; w-k");
    check("worker w; want k by=7; want k by=8; drop k by=7; upload k w; lose k", "w+k; commit k; k: superseded → 8");
    // Who comes while the result is being published gets it.
    check("worker w; want k by=1; upload k w; want k by=2; publish k", "w+k; commit k; k: committed → 1,2");
}

#[test]
fn what_is_being_stopped_is_not_joined() {
    // The worker is cut off, so it goes on with what nobody wants; the same job does not run there twice.
    check("worker a; want k by=1; silent a; drop k by=1; want k by=2; pass 2; back a", "a+k; a-k; a+k");
    check("worker a; want k by=1; silent a; drop k by=1; want k by=2; worker b", "a+k; b+k");
}

#[test]
fn a_job_is_not_given_to_a_worker_that_still_stops_it() {
    let mut stage = Stage::new(options());
    stage.play("worker a slots=2; want k by=1; silent a; drop k by=1; want k by=2");
    assert!(stage.scheduler.orders("a").run.is_empty(), "there is room, and the same job in it");
    stage.play("back a");
    assert_eq!(stage.trace, ["a+k", "a-k", "a+k"]);
}

#[test]
fn what_is_being_published_is_let_through() {
    check(
        "worker w; want k by=1; upload k w; drop k by=1; publish k; want k by=2",
        "w+k; commit k; k: committed → ; w+k",
    );
    check("worker w; want k by=1; upload k w; drop k by=1; refuse k; pass 5", "w+k; commit k; k: failed: broken → ");
}

#[test]
fn a_job_goes_where_its_base_is() {
    check("worker a slots=2; worker b slots=2 holds=base; want x near=base; want y near=base", "b+x; b+y");
    // Who has built something has it.
    check(
        "worker a; worker b slots=2; want x; upload x b; publish x; want y; want z near=x-b",
        "b+x; commit x; x: committed → 0; b+y; b+z",
    );
}

#[test]
fn a_job_waits_for_its_base_as_long_as_a_transfer_takes() {
    let busy = "worker b holds=base; want x; worker a; want y near=base";
    // A thousand bytes a second: one second, and never more than two.
    check(&format!("{busy} bytes=1000; pass 3"), "b+x; a+y");
    check(&format!("{busy} bytes=1000"), "b+x");
    check(&format!("{busy} bytes=100000; pass 1"), "b+x");
    check(&format!("{busy} bytes=100000; pass 2"), "b+x; a+y");
    check(&format!("{busy} bytes=1500; upload x b"), "b+x; commit x; b+y");
    // It is not worth waiting for what is not even milliseconds away.
    check(&format!("{busy} bytes=0"), "b+x; a+y");
    // Its worker goes: it waits for nobody any more.
    check(&format!("{busy} bytes=100000; worker b drain"), "b+x; a+y");
    check(&format!("{busy} bytes=100000 by=1; drop y by=1; pass 3"), "b+x");
    // Somebody needs it more than what comes after it.
    check(&format!("{busy} bytes=1500; want z rank=5 near=base bytes=1500; upload x b"), "b+x; commit x; b+z");
}

#[test]
fn what_a_job_takes_is_counted() {
    check("worker w slots=9 memory=1000; want a memory=600; want b memory=600; want c memory=400", "w+a; w+c");
    check("worker w slots=9; want a memory=600; want b memory=600", "w+a; w+b");
}

#[test]
fn a_job_goes_only_where_it_can_be_done() {
    check("worker a platform=linux/arm64; worker b platform=linux/amd64; want x platform=linux/amd64", "b+x");
    check("worker a; worker b label=disk:ssd; want x label=disk:ssd; want y label=disk:ssd", "b+x");
    check("worker any; want x platform=linux/s390x", "any+x");
}

#[test]
fn a_draining_worker_gets_nothing_and_finishes_what_it_has() {
    check(
        "worker w slots=2; want a; worker w slots=2 drain; want b; upload a w; publish a; worker v",
        "w+a; commit a; a: committed → 0; v+b",
    );
}

#[test]
fn nothing_is_given_out_before_workers_had_time_to_say_what_they_do() {
    let options = Options { settle: std::time::Duration::from_secs(5), ..options() };
    check_with(options.clone(), "want k; worker w; pass 4", "");
    check_with(options, "want k; worker w; pass 5", "w+k");
}

#[test]
fn checksums_end_jobs_without_a_commit() {
    check("worker w; want k by=3; sum k w", "w+k; k: summed → 3");
}
