//! The engine as a whole: builds go in, a scripted worker does their jobs, stages come out in a storage in memory.

mod ahead;
mod faults;
mod worker;
mod world;

use std::{sync::Arc, time::Duration};

use slipway_coordinator::{
    BuildId, Engine, EngineOptions, Event,
    scheduler::{Options, estimates::Estimates},
};
use slipway_process::{SystemClock, Tasks};
use slipway_stages::{
    Progress, StageKind,
    build::{BuildFailure, BuiltImage},
};
use tokio::sync::mpsc;
use worker::{Act, ScriptedWorker};
use world::{World, soon};

const APP: &str = "image: app\nfrom: base:1\nshell: {setup: [x]}\n";
const SOURCES: &str = "image: app\nfrom: base:1\ngit: [{add: /, to: /app}]\n";
const IMPORT: &str = "image: lib\nfrom: base:1\n---\nimage: app\nfrom: base:2\n\
                      import: [{image: lib, add: /lib, to: /lib, after: setup}]\n";

/// An engine with one worker.
struct Lab {
    world: World,
    engine: Engine,
    worker: ScriptedWorker,
    _tasks: Tasks,
}

fn engine(tasks: &Tasks, scheduler: Options) -> Engine {
    let options = EngineOptions {
        seed: "seed".to_owned(),
        clock: Arc::new(SystemClock::new(None)),
        scheduler,
        estimates: Estimates::default(),
        tracer: slipway_telemetry::Tracer::default(),
    };
    Engine::start(tasks, options)
}

/// A build under way.
struct Running {
    id: BuildId,
    events: mpsc::Receiver<Event>,
    seen: Vec<Event>,
}

impl Lab {
    fn new(script: impl Fn((Option<StageKind>, u32)) -> Act + Send + 'static) -> Self {
        Self::over(World::new(), script)
    }

    fn over(world: World, script: impl Fn((Option<StageKind>, u32)) -> Act + Send + 'static) -> Self {
        let tasks = Tasks::new();
        let engine = engine(&tasks, Options { back_off: Duration::ZERO, ..Options::embedded() });
        let worker = ScriptedWorker::start(&tasks, &engine, &world.storage, script);
        Self { world, engine, worker, _tasks: tasks }
    }

    async fn submit(&self, config: &str, commit: u8) -> Running {
        Running::submit(&self.engine, &self.world, config, commit).await
    }

    /// Cancels a build; when that has come through, nothing of it is left.
    async fn cancel(&self, mut build: Running) {
        self.engine.cancel(build.id).await;
        assert_eq!(build.end().await, Err(BuildFailure::Cancelled));
        soon("the end of all jobs", self.engine.drained()).await;
    }

    /// How many attempts at a kind of stage the worker was given.
    fn attempts(&self, kind: StageKind) -> usize {
        self.worker.given().iter().filter(|(given, _)| *given == Some(kind)).count()
    }
}

impl Running {
    async fn submit(engine: &Engine, world: &World, config: &str, commit: u8) -> Self {
        let submitted = engine.submit(world.build(config, commit)).await;
        let (id, events) = submitted.expect("the engine runs");
        Self { id, events, seen: Vec::new() }
    }

    /// Reads on until an event is seen that is wanted.
    async fn until(&mut self, what: &str, wanted: impl Fn(&Event) -> bool) {
        while !self.seen.iter().any(&wanted) {
            let event = soon(what, self.events.recv()).await;
            self.seen.push(event.unwrap_or_else(|| panic!("no more events before {what}: {:?}", self.seen)));
        }
    }

    async fn started(&mut self, wanted: StageKind) {
        let is_it =
            |event: &Event| matches!(event, Event::Progress(Progress::StageStarted { kind, .. }) if *kind == wanted);
        self.until("the start of a stage", is_it).await;
    }

    async fn end(&mut self) -> Result<Vec<BuiltImage>, BuildFailure> {
        self.until("the end", |event| matches!(event, Event::Finished(_))).await;
        let Some(Event::Finished(result)) = self.seen.last() else { panic!("the end is the last event") };
        assert!(soon("the last of the events", self.events.recv()).await.is_none(), "nothing comes after the end");
        result.clone()
    }

    /// Lines of output so far, but for those from the beginning of a stage.
    fn lines(&self) -> Vec<String> {
        self.seen.iter().filter_map(line).filter(|line| !line.starts_with("starting")).collect()
    }
}

fn line(event: &Event) -> Option<String> {
    match event {
        Event::Log { line, .. } => Some(String::from_utf8_lossy(line).into_owned()),
        Event::Progress(_) | Event::Notice(_) | Event::Finished(_) => None,
    }
}

#[tokio::test]
async fn a_build_finishes_with_its_stages_stored() {
    let lab = Lab::new(|_| Act::Succeed);
    let mut build = lab.submit(APP, 1).await;
    let images = build.end().await.expect("the build succeeds");
    assert_eq!(images[0].stages().count(), 2);
    assert_eq!(lab.world.storage.tags().len(), 2);
    assert_eq!(build.lines(), ["building from", "building setup"]);
    soon("the end of all jobs", lab.engine.drained()).await;
    let again = lab.submit(APP, 1).await.end().await.expect("the build succeeds");
    assert!(!again[0].rebuilt());
    assert_eq!(lab.worker.given().len(), 2, "nothing was built again");
}

#[tokio::test]
async fn a_cancelled_build_ends_at_once_and_its_jobs_are_stopped() {
    let lab = Lab::new(|_| Act::Hang);
    let mut build = lab.submit(APP, 1).await;
    build.started(StageKind::From).await;
    lab.cancel(build).await;
    assert_eq!(lab.worker.stopped().len(), lab.worker.given().len());
    assert!(lab.world.storage.tags().is_empty());
}

#[tokio::test]
async fn a_cancelled_build_needs_no_checksums_any_more() {
    let lab = Lab::new(|(kind, _)| if kind.is_none() { Act::Hang } else { Act::Succeed });
    let build = lab.submit(IMPORT, 1).await;
    let summing = async {
        while !lab.worker.given().contains(&(None, 1)) {
            tokio::task::yield_now().await;
        }
    };
    soon("the checksum job", summing).await;
    lab.cancel(build).await;
    assert_eq!(lab.worker.stopped(), [(None, 1)]);
}

#[tokio::test]
async fn what_was_cancelled_can_be_built_again() {
    let lab = Lab::new(|_| Act::Hang);
    let mut build = lab.submit(APP, 1).await;
    build.started(StageKind::From).await;
    lab.cancel(build).await;
    lab.worker.follow(|_| Act::Succeed);
    let mut again = lab.submit(APP, 1).await;
    assert!(again.end().await.is_ok());
    assert_eq!(again.lines(), ["building from", "building setup"], "its output is its own again");
}

#[tokio::test]
async fn failures_of_the_infrastructure_are_tried_again() {
    let lab = Lab::new(|(_, number)| if number < 3 { Act::Fail(true) } else { Act::Succeed });
    assert!(lab.submit(APP, 1).await.end().await.is_ok());
    assert_eq!(lab.attempts(StageKind::From), 3);
}

#[tokio::test]
async fn failures_of_the_user_end_the_build() {
    let lab = Lab::new(|(kind, _)| if kind == Some(StageKind::Setup) { Act::Fail(false) } else { Act::Succeed });
    let failed = lab.submit(APP, 1).await.end().await;
    assert!(matches!(failed, Err(BuildFailure::Stage { kind: StageKind::Setup, .. })), "{failed:?}");
    assert_eq!(lab.attempts(StageKind::Setup), 1);
    soon("the end of all jobs", lab.engine.drained()).await;
}

#[tokio::test]
async fn two_builds_at_once_share_their_jobs_and_both_see_the_output() {
    let lab = Lab::new(|_| Act::Hang);
    let mut first = lab.submit(APP, 1).await;
    first.until("the first line", |event| line(event).as_deref() == Some("starting from")).await;
    // The second comes when the job is under way: it sees what comes from then on.
    let mut second = lab.submit(APP, 1).await;
    second.started(StageKind::From).await;
    lab.worker.follow(|(kind, _)| if kind == Some(StageKind::From) { Act::Succeed } else { Act::Hang });
    first.started(StageKind::Setup).await;
    second.started(StageKind::Setup).await;
    // One of them loses interest; the other is not disturbed.
    lab.engine.cancel(first.id).await;
    assert_eq!(first.end().await, Err(BuildFailure::Cancelled));
    lab.worker.follow(|_| Act::Succeed);
    assert!(second.end().await.is_ok());
    assert_eq!((lab.attempts(StageKind::From), lab.attempts(StageKind::Setup)), (1, 1));
    assert_eq!(first.lines(), ["building from"]);
    assert_eq!(second.lines(), ["building from", "building setup"]);
}

/// Equal digests do not make one stage of two commits of which neither descends from the other.
#[tokio::test]
async fn builds_of_unrelated_commits_do_not_share_their_sources() {
    let lab = Lab::new(|_| Act::Hang);
    let (mut first, mut second) = (lab.submit(SOURCES, 1).await, lab.submit(SOURCES, 2).await);
    first.started(StageKind::From).await;
    second.started(StageKind::From).await;
    lab.worker.follow(|(kind, _)| if kind == Some(StageKind::From) { Act::Succeed } else { Act::Hang });
    first.started(StageKind::GitArchive).await;
    second.started(StageKind::GitArchive).await;
    lab.worker.follow(|_| Act::Succeed);
    let (first, second) = (first.end().await.expect("it is built"), second.end().await.expect("it is built"));
    assert_eq!((lab.attempts(StageKind::From), lab.attempts(StageKind::GitArchive)), (1, 2));
    assert_eq!(first[0].platforms[0].stages[0].record, second[0].platforms[0].stages[0].record);
    assert_ne!(first[0].platforms[0].stages[1].record.commits, second[0].platforms[0].stages[1].record.commits);
}

#[tokio::test]
async fn a_look_up_that_breaks_off_ends_the_build_with_an_error() {
    let lab = Lab::new(|_| Act::Succeed);
    let failed = lab.submit("image: app\nfrom: bug:1\n", 1).await.end().await;
    let Err(BuildFailure::Unanswered { why, .. }) = failed else { panic!("it is answered: {failed:?}") };
    assert!(why.contains("this look-up has a bug") && why.contains("report it"), "{why}");
    soon("the end of all jobs", lab.engine.drained()).await;
}
