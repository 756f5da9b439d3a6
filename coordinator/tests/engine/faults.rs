//! Workers that are lost, missing, or cannot do what is asked, as the engine and its builds see them.

use std::time::Duration;

use slipway_config::ImageName;
use slipway_coordinator::{Event, Submission, scheduler::Options};
use slipway_oci::Platform;
use slipway_process::Tasks;
use slipway_protocol::Capabilities;
use slipway_stages::{StageKind, build::BuildFailure};

use super::{
    APP, Running, engine,
    worker::{Act, ScriptedWorker},
    world::{World, soon},
};

fn impatient() -> Options {
    // Long enough for a busy machine to hear a worker in.
    let lease = Some(Duration::from_secs(3));
    Options { lease, nobody_can: Duration::from_millis(50), back_off: Duration::ZERO, ..Options::cluster() }
}

#[tokio::test]
async fn what_a_silent_worker_did_is_done_by_another() {
    let (world, tasks, doomed) = (World::new(), Tasks::new(), Tasks::new());
    let engine = engine(&tasks, impatient());
    let parts = (&engine, &world.storage);
    let first = ScriptedWorker::start_as("first", Capabilities::default(), &doomed, parts, |_| Act::Hang);
    let mut build = Running::submit(&engine, &world, APP, 1).await;
    build.until("the first line", |event| matches!(event, Event::Log { .. })).await;
    doomed.shut_down().await;
    let second = ScriptedWorker::start_as("second", Capabilities::default(), &tasks, parts, |_| Act::Succeed);
    assert!(build.end().await.is_ok());
    assert_eq!(first.given(), [(Some(StageKind::From), 1)]);
    assert_eq!(second.given(), [(Some(StageKind::From), 2), (Some(StageKind::Setup), 1)]);
    let counters = engine.snapshot().await.expect("it runs").scheduler.counters;
    assert_eq!((counters.leases_lost, counters.new), (1, 2));
}

#[tokio::test]
async fn a_worker_that_is_heard_is_not_lost_however_long_it_takes() {
    let (world, tasks) = (World::new(), Tasks::new());
    let engine = engine(&tasks, impatient());
    let parts = (&engine, &world.storage);
    let worker = ScriptedWorker::start_as("w", Capabilities::default(), &tasks, parts, |_| Act::Hang);
    let mut build = Running::submit(&engine, &world, APP, 1).await;
    build.started(StageKind::From).await;
    // Longer than the lease, as the engine counts it: the worker was asked to report again and again.
    let reports = async {
        while worker.reports() < 6 {
            tokio::task::yield_now().await
        }
    };
    soon("reports", reports).await;
    worker.follow(|_| Act::Succeed);
    assert!(build.end().await.is_ok());
    assert_eq!(engine.snapshot().await.expect("it runs").scheduler.counters.leases_lost, 0);
}

#[tokio::test]
async fn a_stage_that_no_worker_can_build_fails_with_what_is_missing() {
    let (world, tasks) = (World::new(), Tasks::new());
    let engine = engine(&tasks, impatient());
    let arm = Platform { os: "linux".to_owned(), arch: "arm64".to_owned(), variant: None };
    let capabilities = Capabilities { platforms: vec![arm], ..Capabilities::default() };
    ScriptedWorker::start_as("small", capabilities, &tasks, (&engine, &world.storage), |_| Act::Succeed);
    let failed = Running::submit(&engine, &world, APP, 1).await.end().await;
    // The stage before it runs nothing.
    let Err(BuildFailure::Stage { kind: StageKind::Setup, failure, .. }) = failed else { panic!("{failed:?}") };
    assert_eq!(failure.why, "no connected worker can take the job: small lacks platform linux/amd64");
}

#[tokio::test]
async fn nothing_is_begun_of_a_build_whose_commands_no_worker_runs() {
    let (world, tasks) = (World::new(), Tasks::new());
    let engine = engine(&tasks, impatient());
    let platform = |arch: &str| Platform { os: "linux".to_owned(), arch: arch.to_owned(), variant: None };
    let submit = async |arch: &str| {
        let submission =
            Submission { commands: vec![(ImageName("app".to_owned()), platform(arch))], ..world.build(APP, 1) };
        let (id, events) = engine.submit(submission).await.expect("the engine runs");
        Running { id, events, seen: Vec::new() }
    };
    // While there is no worker at all, one is waited for.
    let mut waiting = submit("amd64").await;
    waiting.until("a notice", |event| matches!(event, Event::Notice(_))).await;
    let capabilities = Capabilities { platforms: vec![platform("amd64")], ..Capabilities::default() };
    let worker = ScriptedWorker::start_as("w", capabilities, &tasks, (&engine, &world.storage), |_| Act::Succeed);
    assert!(waiting.end().await.is_ok());
    let given = worker.given();
    let mut build = submit("s390x").await;
    assert!(build.end().await.is_ok(), "what is stored needs no commands");
    let other = Submission {
        commands: vec![(ImageName("app".to_owned()), platform("s390x"))],
        ..world.build("image: app\nfrom: base:1\nshell: {setup: [y]}\n", 1)
    };
    let (id, events) = engine.submit(other).await.expect("the engine runs");
    let failed = Running { id, events, seen: Vec::new() }.end().await;
    let Err(BuildFailure::Stage { failure, .. }) = failed else { panic!("{failed:?}") };
    for part in ["image app for linux/s390x runs commands", "no connected worker", "qemu-s390x in binfmt_misc"] {
        assert!(failure.why.contains(part), "{}", failure.why);
    }
    assert_eq!(worker.given(), given, "nothing was begun");
}

#[tokio::test]
async fn a_build_is_told_that_there_is_no_worker_and_goes_on_when_there_is() {
    let (world, tasks) = (World::new(), Tasks::new());
    let engine = engine(&tasks, impatient());
    let mut build = Running::submit(&engine, &world, APP, 1).await;
    build.until("a notice", |event| matches!(event, Event::Notice(_))).await;
    let explained = engine.explain(build.id).await;
    assert!(explained[0].explanation.text.ends_with("no worker is connected"), "{explained:?}");
    ScriptedWorker::start(&tasks, &engine, &world.storage, |_| Act::Succeed);
    assert!(build.end().await.is_ok());
    let notices = build.seen.iter().filter(|event| matches!(event, Event::Notice(_))).count();
    assert_eq!(notices, 1);
}

#[tokio::test]
async fn it_is_explained_why_a_stage_is_built_where_it_is() {
    let (world, tasks) = (World::new(), Tasks::new());
    let engine = engine(&tasks, impatient());
    let script = |(kind, _)| if kind == Some(StageKind::Setup) { Act::Hang } else { Act::Succeed };
    let worker = ScriptedWorker::start(&tasks, &engine, &world.storage, script);
    let mut build = Running::submit(&engine, &world, APP, 1).await;
    build.until("the setup", |event| super::line(event).as_deref() == Some("starting setup")).await;
    let explained = engine.explain(build.id).await;
    assert_eq!(explained.len(), 1);
    let (image, kind) = explained[0].stage.clone().expect("it builds a stage");
    assert_eq!((image.0.as_str(), kind), ("app", StageKind::Setup));
    let text = &explained[0].explanation.text;
    assert!(text.starts_with("it runs on scripted for") && text.ends_with("it has what the job starts from"), "{text}");
    worker.follow(|_| Act::Succeed);
    assert!(build.end().await.is_ok());
    let kinds: Vec<String> = engine.learned().await.into_iter().map(|(class, _)| class.kind).collect();
    assert_eq!(kinds, ["from", "setup"]);
    assert!(engine.learned().await.is_empty(), "it is told once");
}
