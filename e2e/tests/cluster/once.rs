//! The same work is done once, whoever wants it.

use std::collections::BTreeSet;

use anyhow::Result;
use slipway_e2e::{Cluster, Listener, Run, cluster::wait};

use crate::{
    can_run,
    reporting::{ALL, configure, each_once, project, runs},
};

/// Clients that submit at once.
const CLIENTS: usize = 50;

#[test]
fn fifty_clients_at_once_make_each_command_run_once() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let (cluster, listener) = (Cluster::start(2, 4)?, Listener::start()?);
    let project = project("fifty", &cluster, &listener)?;
    let start = |number: usize| {
        let report = project.home().join(format!("report-{number}.json"));
        let report = report.to_str().expect("a UTF-8 path").to_owned();
        let client = cluster.start_build(&project, &["--save-build-report", "--build-report-path", &report])?;
        Ok((client, report))
    };
    let clients = (0..CLIENTS).map(start).collect::<Result<Vec<_>>>()?;
    let mut names = BTreeSet::new();
    for (client, report) in clients {
        let run = Run::wait(client)?;
        assert_eq!(run.code, 0, "{}\n{}", run.stderr, cluster.logs());
        let report: serde_json::Value = serde_json::from_slice(&std::fs::read(report)?)?;
        names.insert(report["Images"]["web"]["DockerImageName"].to_string());
    }
    assert_eq!(names.len(), 1, "{names:?}");
    assert_eq!(runs(&project, &listener), each_once());
    assert_eq!(cluster.stages(&project)?.len(), ALL);
    cluster.nothing_left()
}

#[test]
fn commits_that_share_stages_share_their_work() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let (cluster, listener) = (Cluster::start(1, 2)?, Listener::start()?);
    let project = project("shared", &cluster, &listener)?;
    let first = cluster.start_build(&project, &[])?;
    // Another commit, of which only `side/setup` differs, while the first is under way.
    wait("a command", || (!runs(&project, &listener).is_empty()).then_some(()))?;
    configure(&project, &cluster, &listener, " && true")?;
    project.commit("second")?;
    let second = Run::wait(cluster.start_build(&project, &[])?)?;
    let first = Run::wait(first)?;
    assert_eq!((first.code, second.code), (0, 0), "{}\n{}", first.stderr, second.stderr);
    // What holds sources of another commit is other work; what holds none is the same.
    let counts = runs(&project, &listener);
    assert_eq!((counts["tools-install"], counts["side-setup"]), (1, 2), "{counts:?}");
    // What is stored serves every commit that comes after its own.
    configure(&project, &cluster, &listener, " && true && true")?;
    project.commit("third")?;
    let third = cluster.build(&project)?;
    assert_eq!(third.run.built(), ["side/setup"], "{}", third.run.stderr);
    let mut expected = counts;
    expected.insert("side-setup".to_owned(), 3);
    assert_eq!(runs(&project, &listener), expected);
    cluster.nothing_left()
}
