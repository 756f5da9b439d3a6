//! Traces of builds in one process, and collectors that are not there.

use std::net::TcpListener;

use anyhow::Result;
use slipway_e2e::{Collector, Part, Project, Run, engine, require};
use tokio::net::TcpSocket;

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

fn project(commands: &str) -> Result<Project> {
    let project = Project::new("traced")?;
    project.config(&format!("image: app\nfrom: BASE\nshell: {{setup: [{commands}]}}\n"))?;
    project.commit("first")?;
    Ok(project)
}

fn build(project: &Project, variables: &[(&str, &str)]) -> Result<Run> {
    Run::wait(project.start(&["build"], variables)?)
}

#[test]
fn a_build_in_one_process_is_one_trace() -> Result<()> {
    if !require(&[Part::Docker, Part::Git]) {
        return Ok(());
    }
    let (collector, project) = (Collector::start()?, project("'exit 7'")?);
    let parent = format!("00-{TRACE}-{CALLER}-01");
    let endpoint = collector.endpoint();
    let run = build(&project, &[(ENDPOINT, &endpoint), ("TRACEPARENT", &parent)])?;
    assert_eq!(run.code, 1, "{}", run.stderr);
    // What was begun in this process was sent before it ended.
    let spans = collector.spans();
    assert!(spans.iter().all(|span| span.trace == TRACE), "{spans:#?}");
    let one = |name: &str, stage: &str| {
        let is_it = |span: &&slipway_e2e::collector::Seen| {
            span.name == name
                && (stage.is_empty() || span.attributes.get("slipway.stage").is_some_and(|it| it == stage))
        };
        let found: Vec<_> = spans.iter().filter(is_it).collect();
        assert_eq!(found.len(), 1, "{name} {stage} in {spans:#?}");
        found[0]
    };
    let command = one("slipway build", "");
    assert_eq!((command.parent.as_str(), command.failed), (CALLER, true));
    assert_eq!(command.attributes["slipway.exit_code"], "1");
    let (first, second) = (one("stage", "from"), one("stage", "setup"));
    assert_eq!((&first.parent, &second.parent), (&command.id, &command.id));
    assert_eq!(first.attributes["slipway.outcome"], "committed");
    assert_eq!((second.failed, second.attributes["slipway.exit_code"].as_str()), (true, "7"));
    let command = one("run", "setup");
    assert_eq!((command.failed, command.scope.as_str()), (true, "slipway-worker"));
    let attempt = spans.iter().find(|span| span.id == command.parent).expect("its attempt");
    assert_eq!((attempt.name.as_str(), &attempt.parent), ("attempt", &second.id));
    // Whoever does not want a trace gets none.
    let before = spans.len();
    let unwanted = parent.replace("-01", "-00");
    build(&project, &[(ENDPOINT, &endpoint), ("TRACEPARENT", &unwanted)])?;
    assert_eq!(collector.spans().len(), before);
    // A command that is not told what it is part of begins a trace.
    build(&project, &[(ENDPOINT, &endpoint)])?;
    let spans = collector.spans().split_off(before);
    let command = spans.iter().find(|span| span.name == "slipway build").expect("a span of the command");
    assert!(command.parent.is_empty() && spans.iter().all(|span| span.trace == command.trace), "{spans:#?}");
    engine::forget(project.name())
}

#[test]
fn a_collector_that_is_away_changes_nothing_but_a_warning() -> Result<()> {
    if !require(&[Part::Docker, Part::Git]) {
        return Ok(());
    }
    let project = project("'echo made'")?;
    let warnings = |run: &Run| run.stderr.lines().filter(|line| line.starts_with("WARNING: ")).count();
    // One that nobody listens for: its port is taken meanwhile.
    let taken = TcpSocket::new_v4()?;
    taken.bind(([127, 0, 0, 1], 0).into())?;
    let run = build(&project, &[(ENDPOINT, &format!("http://{}", taken.local_addr()?))])?;
    assert_eq!((run.code, warnings(&run)), (0, 1), "{}", run.stderr);
    // One that takes connections and never answers: a build that waited for it would be ended by this test.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let (at, patience) = (format!("http://{}", silent.local_addr()?), ("OTEL_EXPORTER_OTLP_TIMEOUT", "1000000"));
    let run = build(&project, &[(ENDPOINT, &at), patience])?;
    assert_eq!((run.code, warnings(&run)), (0, 1), "{}", run.stderr);
    // One that is not spoken to as is asked.
    let run = build(&project, &[(ENDPOINT, &at), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")])?;
    assert_eq!((run.code, warnings(&run)), (0, 1), "{}", run.stderr);
    assert!(run.stderr.contains("not supported yet: OTEL_EXPORTER_OTLP_PROTOCOL=grpc"), "{}", run.stderr);
    engine::forget(project.name())
}
