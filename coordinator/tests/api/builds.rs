//! Builds from their submit to their end.

use std::{sync::Arc, time::Duration};

use reqwest::{Method, StatusCode};
use slipway_coordinator::Limits;
use slipway_kv::MemoryKv;
use slipway_parts::Registry;
use slipway_process::Tasks;
use slipway_protocol::{BuildEvent, BuildState, BuildSummary, Code, SubmitRequest, TimedEvent};
use slipway_stages::{
    Progress,
    build::{BuildFailure, Schedule},
};

use crate::{
    worker::Worker,
    world::{Coordinator, Project, Setup, refusal, request, soon},
};

pub(crate) const APP: &str = "image: app\nfrom: BASE\nshell: {setup: [x]}\n";

/// A coordinator with a store of its own, a registry and a project whose commit is pushed.
pub(crate) struct Lab {
    pub(crate) coordinator: Coordinator,
    _registry: Registry,
    _project: Project,
    pub(crate) tasks: Tasks,
    pub(crate) request: SubmitRequest,
}

impl Lab {
    /// `None`, said aloud, when this machine has no registry.
    pub(crate) async fn start(limits: Limits) -> Option<Self> {
        let registry = Registry::start()?;
        Worker::base(registry.host()).await;
        let setup = Setup { limits, ..Setup::new(Arc::new(MemoryKv::new())) };
        let coordinator = Coordinator::leading(setup).await;
        let project = Project::new();
        let commit = project.commit("one");
        coordinator.push(&project, commit).expect("it is taken");
        let request = request(registry.host(), APP, &["app"], commit);
        Some(Self { coordinator, _registry: registry, _project: project, tasks: Tasks::new(), request })
    }

    fn limits() -> Limits {
        Limits { heartbeat: Duration::from_millis(100), ..Limits::default() }
    }

    fn worker(&self, hangs: bool) -> Worker {
        Worker::start(&self.tasks, &[&self.coordinator.url], None, hangs)
    }

    async fn summary(&self, name: &str) -> BuildSummary {
        self.coordinator.get(&format!("/v1/builds/{name}")).await.json().await.expect("a summary")
    }
}

pub(crate) fn lines(events: &[TimedEvent]) -> Vec<(u64, String)> {
    let line = |event: &TimedEvent| match &event.event {
        BuildEvent::Log { offset, line, .. } => Some((*offset, line.clone())),
        BuildEvent::Progress(_) | BuildEvent::Notice(_) | BuildEvent::Finished(_) => None,
    };
    events.iter().filter_map(line).collect()
}

pub(crate) fn end(events: &[TimedEvent]) -> &Result<Vec<slipway_stages::build::BuiltImage>, BuildFailure> {
    match events.last().map(|event| &event.event) {
        Some(BuildEvent::Finished(result)) => result,
        other => panic!("the end is the last event: {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_runs_to_its_end_and_its_events_are_told_once_and_in_order() {
    let Some(lab) = Lab::start(Lab::limits()).await else { return };
    let worker = lab.worker(false);
    lab.coordinator.submitted("build-one", &lab.request).await;
    let events = lab.coordinator.events("build-one", "").await;
    let numbers: Vec<u64> = events.iter().map(|event| event.id.number).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>());
    let images = end(&events).as_ref().expect("it succeeds");
    assert_eq!(images[0].stages().count(), 2);
    // The worker hands every line over twice.
    let said = lines(&events);
    let expected = [(0, "building from"), (1, "second line"), (0, "building setup"), (1, "second line")];
    assert_eq!(said, expected.map(|(offset, line)| (offset, line.to_owned())));
    assert_eq!(lab.summary("build-one").await.state, BuildState::Succeeded);
    for event in &events {
        let rest = lab.coordinator.events("build-one", &event.id.to_string()).await;
        assert_eq!(rest, events[usize::try_from(event.id.number).expect("small")..], "after {}", event.id);
    }
    let ahead = format!("{}.{}", events[0].id.term, events.len() + 1);
    let answer = lab.coordinator.get(&format!("/v1/builds/build-one/events?after={ahead}")).await;
    assert_eq!(refusal(answer).await.1.code, Code::Invalid);
    // What was told in another term is told again from the beginning.
    assert_eq!(lab.coordinator.events("build-one", "1.999").await, events);
    lab.coordinator.submitted("build-two", &lab.request).await;
    let again = lab.coordinator.events("build-two", "").await;
    assert!(!end(&again).as_ref().expect("it succeeds")[0].rebuilt());
    assert_eq!(worker.built().len(), 2, "nothing was built again");
}

/// `c` needs `b` only, which is done long before `a`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_set_by_set_starts_no_image_before_all_of_the_earlier_sets_are_done() {
    let Some(lab) = Lab::start(Lab::limits()).await else { return };
    let _worker = lab.worker(false);
    let shell = "{beforeInstall: [x], install: [x], beforeSetup: [x], setup: [x]}";
    let base = lab.request.config.split("from: ").nth(1).and_then(|rest| rest.lines().next()).expect("a base");
    let config = format!(
        "project: shop\nconfigVersion: 1\n---\nimage: a\nfrom: {base}\nshell: {shell}\n---\nimage: b\nfrom: {base}\n---\n\
         image: c\nfromImage: b\nshell: {{setup: [y]}}\n"
    );
    let images = ["a", "c"].map(|name| slipway_config::ImageName(name.to_owned()));
    let schedule = Schedule::Sets;
    let request = SubmitRequest { config, images: images.to_vec(), schedule, ..lab.request.clone() };
    lab.coordinator.submitted("build-sets", &request).await;
    let events = lab.coordinator.events("build-sets", "").await;
    assert!(end(&events).is_ok(), "{events:?}");
    let place = |wanted: Progress| {
        let is_it = |event: &TimedEvent| event.event == BuildEvent::Progress(wanted.clone());
        events.iter().position(is_it).unwrap_or_else(|| panic!("{wanted:?} in {events:?}"))
    };
    let [a, c] = images;
    assert!(place(Progress::ImageDone(a)) < place(Progress::ImageStarted(c)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_submit_that_is_repeated_is_the_same_build_and_another_one_is_refused() {
    let Some(lab) = Lab::start(Lab::limits()).await else { return };
    lab.coordinator.submitted("build-one", &lab.request).await;
    lab.coordinator.submitted("build-one", &lab.request).await;
    let other = SubmitRequest { require_built: true, ..lab.request.clone() };
    let (status, refusal) = refusal(lab.coordinator.submit("build-one", &other).await).await;
    assert_eq!((status, refusal.code), (StatusCode::CONFLICT, Code::Conflict));
    let all: Vec<BuildSummary> = lab.coordinator.get("/v1/builds").await.json().await.expect("a list");
    assert_eq!(all.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_build_ends_as_such_and_its_jobs_are_stopped() {
    let Some(lab) = Lab::start(Lab::limits()).await else { return };
    let worker = lab.worker(true);
    lab.coordinator.submitted("build-one", &lab.request).await;
    let begun = async {
        while worker.holds() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon("the first job", begun).await;
    let cancelled = lab.coordinator.request(Method::POST, "/v1/builds/build-one/cancel").send().await;
    assert_eq!(cancelled.expect("an answer").status(), StatusCode::OK);
    let events = lab.coordinator.events("build-one", "").await;
    assert_eq!(end(&events), &Err(BuildFailure::Cancelled));
    assert_eq!(lab.summary("build-one").await.state, BuildState::Cancelled);
    let stopped = async {
        while worker.holds() > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    soon("the end of the job", stopped).await;
}

/// Some look for a stage a moment before it is stored, and wish for it a moment after.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_at_once_let_every_stage_be_built_once() {
    let Some(lab) = Lab::start(Lab::limits()).await else { return };
    let worker = lab.worker(false);
    let names: Vec<String> = (0..30).map(|number| format!("build-number-{number}")).collect();
    futures::future::join_all(names.iter().map(|name| lab.coordinator.submitted(name, &lab.request))).await;
    for name in &names {
        let events = lab.coordinator.events(name, "").await;
        assert!(end(&events).is_ok(), "{name}");
    }
    assert_eq!(worker.built().len(), 2, "{:?}", worker.built());
}

/// A stream without news says from time to time that it lives, by empty lines between the events.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quiet_stream_has_empty_lines() {
    let Some(lab) = Lab::start(Lab::limits()).await else { return };
    lab.coordinator.submitted("build-one", &lab.request).await;
    let mut answer = lab.coordinator.get("/v1/builds/build-one/events").await;
    let mut text = Vec::new();
    let quiet = async {
        while !text.ends_with(b"\n\n\n") {
            let piece = answer.chunk().await.expect("the stream lives").expect("the build is not over");
            text.extend_from_slice(&piece);
        }
    };
    soon("two empty lines", quiet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_limits() {
    let limits = Limits { open_builds: 1, submit: 64 * 1024, followers: 1, ..Lab::limits() };
    let Some(lab) = Lab::start(limits).await else { return };
    let long = SubmitRequest { config: "#".repeat(70_000), ..lab.request.clone() };
    let refused = lab.coordinator.submit("build-one", &long).await;
    // Its rest is not read, so that this connection is of no more use.
    assert_eq!(refused.headers().get("connection").map(|value| value.as_bytes()), Some(&b"close"[..]));
    assert_eq!(refusal(refused).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    lab.coordinator.submitted("build-one", &lab.request).await;
    let (status, _) = refusal(lab.coordinator.submit("build-two", &lab.request).await).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    let _first = lab.coordinator.get("/v1/builds/build-one/events").await;
    let (status, _) = refusal(lab.coordinator.get("/v1/builds/build-one/events").await).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_requests_are_refused_with_what_is_wrong() {
    let Some(lab) = Lab::start(Lab::limits()).await else { return };
    let base = &lab.request;
    let missing = "2222222222222222222222222222222222222222";
    let upstream = |url: &str| {
        let mapping = format!("git: [{{url: '{url}', tag: v1, to: /lib}}]");
        format!("project: shop\nconfigVersion: 1\n---\nimage: app\nfrom: base\n{mapping}\n")
    };
    for (what, request) in [
        ("no image `web`", SubmitRequest { images: vec![slipway_config::ImageName("web".to_owned())], ..base.clone() }),
        ("werf.yaml:", SubmitRequest { config: "project: shop\nconfigVersion: 2\n".to_owned(), ..base.clone() }),
        ("bad project name `Shop`", SubmitRequest { project: "Shop".to_owned(), ..base.clone() }),
        ("cannot be a project", SubmitRequest { project: "../shop".to_owned(), ..base.clone() }),
        (missing, SubmitRequest { submodules: vec![missing.parse().expect("an id")], ..base.clone() }),
        ("does not say at which commit", SubmitRequest { config: upstream("https://host/a"), ..base.clone() }),
        ("holds a name or password", SubmitRequest { config: upstream("https://me:pass@host/a"), ..base.clone() }),
        (missing, SubmitRequest { commit: missing.parse().expect("an id"), ..base.clone() }),
    ] {
        let (status, refusal) = refusal(lab.coordinator.submit("build-one", &request).await).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{what}");
        assert!(refusal.message.contains(what), "{what}: {}", refusal.message);
        assert!(!refusal.message.contains("pass@"), "{}", refusal.message);
    }
    for (method, path, status) in [
        (Method::PUT, "/v1/builds/NO", StatusCode::BAD_REQUEST),
        (Method::GET, "/v1/builds/no-such-build", StatusCode::NOT_FOUND),
        (Method::GET, "/v2/", StatusCode::NOT_FOUND),
        (Method::DELETE, "/v1/builds/build-one", StatusCode::METHOD_NOT_ALLOWED),
        (Method::POST, "/v1/workers/one/sync", StatusCode::BAD_REQUEST),
        (Method::POST, "/v1/workers/a%2Fb/sync", StatusCode::BAD_REQUEST),
        (Method::GET, "/v1/builds?limit=x", StatusCode::BAD_REQUEST),
    ] {
        let answer = lab.coordinator.request(method, path).body("{}").send().await.expect("an answer");
        assert_eq!(answer.status(), status, "{path}");
    }
}
