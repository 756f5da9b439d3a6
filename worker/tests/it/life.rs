//! Going on without a coordinator, draining, ending, deadlines.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use slipway_process::Tasks;
use slipway_protocol::{Desired, Phase};
use slipway_worker::Stop;

use crate::fake::{Coordinator, Endless, Hands, job, worker};

struct World {
    coordinator: Arc<Coordinator>,
    backend: Arc<Endless>,
    clock: Arc<Hands>,
    stop: Stop,
    tasks: Tasks,
    running: tokio::task::JoinHandle<Option<()>>,
}

/// A worker that runs the job `a`.
async fn running(deadline: Option<Duration>) -> World {
    let coordinator = Coordinator::new(Desired { run: vec![job("a", deadline)], ..Desired::default() });
    let (backend, clock, stop, tasks) = (Arc::default(), Arc::default(), Stop::default(), Tasks::new());
    let worker = worker(&coordinator, &backend, &clock, &tasks);
    let stopped = stop.clone();
    let running = tasks.spawn(async move { worker.run(stopped).await });
    coordinator.hears(|report| report.attempts.len() == 1).await;
    World { coordinator, backend, clock, stop, tasks, running }
}

#[tokio::test]
async fn without_a_coordinator_it_goes_on_for_a_while_and_then_gives_up() {
    let world = running(None).await;
    world.clock.forward(99);
    world.coordinator.forget();
    world.coordinator.away.send_replace(true);
    assert_eq!(world.coordinator.hears(|_| true).await.attempts.len(), 1);
    world.clock.forward(2);
    world.coordinator.hears(|report| report.attempts.is_empty()).await;
    assert_eq!(world.backend.given_up.load(Ordering::SeqCst), 1);
    world.tasks.shut_down().await;
}

#[tokio::test]
async fn it_comes_back_with_all_that_it_has() {
    let world = running(None).await;
    world.clock.forward(99);
    world.coordinator.forget();
    world.coordinator.away.send_replace(true);
    world.coordinator.hears(|_| true).await;
    world.coordinator.away.send_replace(false);
    // What it was told meanwhile it does beside what it had.
    world.coordinator.say(Desired { run: vec![job("a", None), job("b", None)], ..Desired::default() });
    world.coordinator.hears(|report| report.attempts.len() == 2).await;
    assert_eq!(world.backend.given_up.load(Ordering::SeqCst), 0);
    world.tasks.shut_down().await;
}

#[tokio::test]
async fn draining_is_said_and_ends_when_nothing_runs() {
    let world = running(None).await;
    world.stop.drain.cancel();
    let report = world.coordinator.hears(|report| report.drain).await;
    assert_eq!(report.attempts.len(), 1, "what runs goes on");
    assert!(!world.running.is_finished());
    world.coordinator.say(Desired::default());
    world.running.await.expect("it ends").expect("by itself");
    world.tasks.shut_down().await;
}

#[tokio::test]
async fn stopping_gives_up_what_runs() {
    let world = running(None).await;
    world.stop.now.cancel();
    world.running.await.expect("it ends").expect("by itself");
    world.tasks.wait().await;
    assert_eq!(world.backend.given_up.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_deadline_ends_an_attempt_for_good() {
    let world = running(Some(Duration::from_millis(10))).await;
    let ended = |phase: &Phase| matches!(phase, Phase::Failed(_));
    let report = world.coordinator.hears(|report| report.attempts.iter().any(|(_, phase)| ended(phase))).await;
    let Phase::Failed(failure) = &report.attempts[0].1 else { panic!("{report:?}") };
    assert!(!failure.retryable && failure.why.contains("was stopped"), "{failure:?}");
    assert_eq!(world.backend.given_up.load(Ordering::SeqCst), 1);
    world.tasks.shut_down().await;
}
