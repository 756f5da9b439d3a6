//! One build is one trace, over every process.

use std::collections::BTreeMap;

use anyhow::Result;
use slipway_e2e::{Cluster, Collector, Project, cluster::wait, collector::Seen};

use crate::can_run;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
/// Stages of the project below: `from`, `install`, `setup`.
const STAGES: usize = 3;

fn named<'s>(spans: &'s [Seen], name: &str) -> Vec<&'s Seen> {
    spans.iter().filter(|span| span.name == name).collect()
}

/// The only part of this name that a span has.
fn part<'s>(spans: &'s [Seen], parent: &Seen, name: &str) -> &'s Seen {
    let parts: Vec<&Seen> = spans.iter().filter(|span| span.parent == parent.id && span.name == name).collect();
    assert_eq!(parts.len(), 1, "`{name}` of {parent:?} in {spans:#?}");
    parts[0]
}

#[test]
fn one_build_is_one_trace_over_command_coordinator_and_worker() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let collector = Collector::start()?;
    let endpoint = collector.endpoint();
    let collected = [(ENDPOINT, endpoint.as_str()), (HEADERS, "api-key=hush")];
    let mut cluster = Cluster::start_with(1, 1, &collected)?;
    let project = Project::new("traced")?;
    cluster.config(&project, "image: app\nfrom: BASE\nshell: {install: [date > /one], setup: ['echo two']}\n")?;
    project.commit("first")?;
    let (urls, repo) = (cluster.urls(), cluster.registry.repo(project.name()));
    let parent = format!("00-{TRACE}-{CALLER}-01");
    let variables = [&collected[..], &[("TRACEPARENT", &parent)]].concat();
    let arguments = ["build", "--coordinator", &urls, "--repo", &repo];
    let run = project.slipway_with(&arguments, &variables)?;
    assert_eq!(run.code, 0, "{}\n{}", run.stderr, cluster.logs());
    assert!(!run.stderr.contains("traces"), "{}", run.stderr);
    // Coordinators and workers send what they have after a second.
    wait("all spans", || {
        let spans = collector.spans();
        let all = ["queue", "attempt", "wait", "run", "upload", "commit", "stage"];
        let there = all.iter().all(|name| named(&spans, name).len() == STAGES) && !named(&spans, "build").is_empty();
        there.then_some(())
    })?;
    let spans = collector.spans();
    assert!(spans.iter().all(|span| span.trace == TRACE), "{spans:#?}");
    let command = named(&spans, "slipway build")[0];
    assert_eq!((command.parent.as_str(), command.attributes["slipway.outcome"].as_str()), (CALLER, "succeeded"));
    let build = part(&spans, command, "build");
    assert_eq!(build.attributes["slipway.repo"], repo);
    let services = |span: &Seen| span.resource["service.name"].clone();
    let ours = [services(command), services(build)];
    assert_eq!(ours, ["slipway", "slipway-coordinator"]);
    let mut kinds = BTreeMap::new();
    for stage in named(&spans, "stage") {
        assert_eq!((stage.parent.as_str(), stage.attributes["slipway.image"].as_str()), (build.id.as_str(), "app"));
        kinds.insert(stage.attributes["slipway.stage"].clone(), stage.attributes["slipway.digest"].len());
        let queue = part(&spans, stage, "queue");
        let attempt = part(&spans, stage, "attempt");
        assert!(queue.start >= stage.start && queue.end <= attempt.end && attempt.end <= stage.end + 1_000_000_000);
        assert_eq!(attempt.attributes["slipway.worker"], "w0");
        for (name, service) in [
            ("wait", "slipway-coordinator"),
            ("run", "slipway-worker"),
            ("upload", "slipway-worker"),
            ("commit", "slipway-coordinator"),
        ] {
            let span = part(&spans, attempt, name);
            assert_eq!(services(span), service, "{name}");
            assert!(span.start <= span.end && !span.failed, "{span:?}");
        }
        let run = part(&spans, attempt, "run");
        assert_eq!(run.attributes["slipway.digest"], stage.attributes["slipway.digest"]);
        assert_eq!(part(&spans, attempt, "commit").attributes["slipway.outcome"], "committed");
    }
    let expected = ["from", "install", "setup"].map(|kind| (kind.to_owned(), 56));
    assert_eq!(kinds, BTreeMap::from(expected));
    assert!(collector.headers().contains(&"api-key: hush".to_owned()));
    assert!(!format!("{spans:?}{}{}", run.stderr, cluster.logs()).contains("hush"));
    // Another coordinator knows from the worker's own words who has the base image, and another build starts there.
    cluster.add_worker();
    cluster.kill_coordinator(0);
    cluster.start_coordinator(0, None);
    wait("both workers", || cluster.metrics(0).filter(|text| text.contains("slipway_workers{state=\"alive\"} 2")))?;
    let repo = cluster.registry.repo("another");
    let run = project.slipway_with(&["build", "--coordinator", &urls, "--repo", &repo], &collected)?;
    assert_eq!(run.code, 0, "{}\n{}", run.stderr, cluster.logs());
    let first = wait("the first stage", || {
        let spans = collector.spans().into_iter().filter(|span| span.trace != TRACE).collect::<Vec<_>>();
        let is_it = |span: &&Seen| span.attributes.get("slipway.stage").is_some_and(|stage| stage == "from");
        let stage = named(&spans, "stage").into_iter().find(is_it)?;
        let attempt = spans.iter().find(|span| span.parent == stage.id && span.name == "attempt")?;
        Some(attempt.attributes.clone())
    })?;
    assert_eq!((first["slipway.worker"].as_str(), first["slipway.why"].as_str()), ("w0", "has_base"));
    Ok(())
}
