//! Two coordinators of one cluster.

use std::{sync::Arc, time::Duration};

use reqwest::StatusCode;
use slipway_kv::{EtcdAddress, EtcdKv, EtcdOptions, Kv, MemoryKv};
use slipway_parts::{Etcd, Registry};
use slipway_process::Tasks;
use slipway_protocol::{BuildEvent, BuildState, BuildSummary, Code, SubmitRequest};

use crate::{
    builds::{APP, end},
    worker::Worker,
    world::{Coordinator, Project, Setup, refusal, request, soon},
};

fn etcd_kv(etcd: &Etcd) -> Arc<dyn Kv> {
    let urls = etcd.endpoints();
    let address = EtcdAddress::of_members(urls.iter().map(String::as_str)).expect("an address");
    Arc::new(EtcdKv::new(&address, &EtcdOptions::default()).expect("a store"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_stands_by_says_where_the_leader_is() {
    let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
    let first = Coordinator::leading(Setup::new(Arc::clone(&kv))).await;
    let second = Setup::new(kv).start().await;
    let standing_by = async {
        while second.readiness().await.url.is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("news of the leader", standing_by).await;
    let (status, refusal) = refusal(second.get("/v1/builds").await).await;
    assert_eq!((status, refusal.code), (StatusCode::SERVICE_UNAVAILABLE, Code::NotLeader));
    assert_eq!(refusal.leader.as_ref(), Some(&first.url));
}

/// The next leader goes on with the build, once its commit is there again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_goes_on_with_the_next_leader() {
    let (Some(etcd), Some(registry)) = (Etcd::one(), Registry::start()) else { return };
    Worker::base(registry.host()).await;
    let mut first = Coordinator::leading(Setup::new(etcd_kv(&etcd))).await;
    let second = Setup::new(etcd_kv(&etcd)).start().await;
    let project = Project::new();
    let commit = project.commit("one");
    first.push(&project, commit).expect("it is taken");
    let asked = request(registry.host(), APP, &["app"], commit);
    let tasks = Tasks::new();
    let worker = Worker::start(&tasks, &[&first.url, &second.url], None, true);
    first.submitted("build-one", &asked).await;
    let begun = async {
        while worker.holds() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon("the first job", begun).await;
    first.stop().await;
    soon("the next leader", second.leads()).await;
    let taken_up: BuildSummary = second.get("/v1/builds/build-one").await.json().await.expect("a summary");
    assert_eq!(taken_up.state, BuildState::Running);
    second.submitted("build-one", &asked).await;
    worker.go_on();
    second.push(&project, commit).expect("it is taken");
    let events = second.events("build-one", "1.17").await;
    assert!(matches!(&events[0].event, BuildEvent::Notice(text) if text.contains("pushed again")), "{:?}", events[0]);
    assert_eq!(end(&events).as_ref().expect("it succeeds")[0].stages().count(), 2);
    let mut built = worker.built();
    built.sort();
    built.dedup();
    assert_eq!((built.len(), worker.built().len()), (2, 2), "no stage was built twice");
    assert!(second.text("/metrics").await.contains("slipway_adopted_total 1"), "what ran went on");
    let (term, numbers): (Vec<u64>, Vec<u64>) = events.iter().map(|event| (event.id.term, event.id.number)).unzip();
    assert!(term.iter().all(|one| *one == term[0]));
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>());
    // A third one knows how it ended.
    let mut second = second;
    second.stop().await;
    let third = Coordinator::leading(Setup::new(etcd_kv(&etcd))).await;
    let last = third.events("build-one", "").await;
    assert_eq!((last.len(), end(&last)), (1, end(&events)));
}

/// Without etcd the leader steps down; what runs goes on, and the build with it when etcd is back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_etcd_that_is_away_for_a_while_costs_no_work() {
    let (Some(mut etcd), Some(registry)) = (Etcd::one(), Registry::start()) else { return };
    Worker::base(registry.host()).await;
    let coordinator = Coordinator::leading(Setup::new(etcd_kv(&etcd))).await;
    let project = Project::new();
    let commit = project.commit("one");
    coordinator.push(&project, commit).expect("it is taken");
    let tasks = Tasks::new();
    let worker = Worker::start(&tasks, &[&coordinator.url], None, true);
    coordinator.submitted("build-one", &request(registry.host(), APP, &["app"], commit)).await;
    let begun = async {
        while worker.holds() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon("the first job", begun).await;
    etcd.kill(0);
    let stepped_down = async {
        while coordinator.readiness().await.leader {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    soon("the end of the term", stepped_down).await;
    let (status, _) = refusal(coordinator.get("/v1/builds").await).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    etcd.start(0);
    soon("the next term", coordinator.leads()).await;
    worker.go_on();
    let events = coordinator.events("build-one", "").await;
    assert!(end(&events).is_ok(), "{:?}", end(&events));
    assert_eq!(worker.built().len(), 2, "no stage was built twice: {:?}", worker.built());
}

/// Nobody follows a detached build: what only the dead leader had is not waited for as long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_detached_build_that_nobody_helps_ends_soon_and_says_why() {
    let Some(registry) = Registry::start() else { return };
    let kv: Arc<dyn Kv> = Arc::new(MemoryKv::new());
    let mut first = Coordinator::leading(Setup::new(Arc::clone(&kv))).await;
    let project = Project::new();
    let commit = project.commit("one");
    first.push(&project, commit).expect("it is taken");
    let asked = SubmitRequest { detached: true, ..request(registry.host(), APP, &["app"], commit) };
    first.submitted("build-one", &asked).await;
    first.stop().await;
    let mut setup = Setup::new(kv);
    setup.limits.detached_sources = Duration::from_millis(1);
    let second = Coordinator::leading(setup).await;
    let events = second.events("build-one", "").await;
    let failure = end(&events).as_ref().expect_err("its commit is nowhere");
    let text = format!("{failure:?}");
    assert!(text.contains(&commit.to_string()) && text.contains("run `slipway build` again"), "{text}");
}
