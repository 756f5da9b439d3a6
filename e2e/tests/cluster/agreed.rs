//! Independent builds that agree on the stored stages through coordinators, which build nothing for them.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use slipway_e2e::{Cluster, Project, Run, cluster::wait, engine};

use crate::can_run;

const BUILDS: usize = 4;

/// A home directory as of another host.
fn home(project: &Project, number: usize) -> Result<String> {
    let home = project.home().join(format!("host-{number}"));
    Ok(home.to_str().context("a UTF-8 path")?.to_owned())
}

#[test]
fn independent_builds_agree_while_coordinators_die_and_come_back() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let mut cluster = Cluster::start(2, 0)?;
    let project = Project::new("independent")?;
    project.write("src/file", "1")?;
    cluster.config(
        &project,
        "image: a\nfrom: BASE\ngit: [{add: /src, to: /app}]\nshell: {install: date > /a, setup: date > /b}\n---\n\
         image: b\nfromImage: a\nshell: {setup: date > /c}\n",
    )?;
    project.commit("first")?;
    let (repo, urls) = (cluster.registry.repo(project.name()), cluster.urls());
    let start = |number: usize| {
        let home = home(&project, number)?;
        let report = format!("{home}.json");
        let arguments = ["build", "--repo", &repo, "-S", &urls, "--save-build-report", "--build-report-path", &report];
        Ok((project.start(&arguments, &[("SLIPWAY_HOME_DIR", &home)])?, report))
    };
    let running = (0..BUILDS).map(start).collect::<Result<Vec<_>>>()?;
    let stored = || cluster.registry.stages(project.name()).ok().filter(|stages| stages.len() > 1);
    wait("the second stage", stored)?;
    let leader = cluster.leader()?;
    cluster.kill_coordinator(leader);
    cluster.start_coordinator(leader, None);
    let mut names = BTreeSet::new();
    for (child, report) in running {
        let run = Run::wait(child)?;
        assert_eq!(run.code, 0, "{}\n{}", run.stderr, cluster.logs());
        let report: serde_json::Value = serde_json::from_slice(&std::fs::read(report)?)?;
        for image in ["a", "b"] {
            names.insert(report["Images"][image]["DockerImageName"].to_string());
        }
    }
    assert_eq!(names.len(), 2, "all print the same tags: {names:?}");
    assert_eq!(cluster.stages(&project)?.len(), 6);
    let next = project.build(&["--repo", &repo, "-S", &urls])?;
    assert!(next.run.built().is_empty(), "{}", next.run.stderr);
    assert!(engine::sh(&next.image("b"), "cat /app/file /c")?.starts_with('1'));

    (0..2).for_each(|number| cluster.kill_coordinator(number));
    let alone = project.slipway(&["build", "--repo", &repo, "-S", &urls])?;
    assert_eq!(alone.code, 1, "{}", alone.stderr);
    for part in ["--synchronization", "no coordinator answers", &urls[..20]] {
        assert!(alone.stderr.contains(part), "`{part}` is not in:\n{}", alone.stderr);
    }
    engine::forget(project.name())
}
