//! Cleanups of the host beside builds of the Docker backend. The engine is shared with other tests: only images of the test's
//! own project are cleaned.

use std::time::Duration;

use anyhow::{Context as _, Result};
use slipway_e2e::{Listener, Part, Project, Registry, Run, engine, require};

fn json(run: &Run) -> Result<serde_json::Value> {
    assert_eq!(run.code, 0, "{}", run.stderr);
    serde_json::from_str(&run.stdout).context(run.stdout.clone())
}

/// Numbers of what went or stays, of the docker part, by kind or reason.
fn numbers(done: &serde_json::Value, what: &str) -> Vec<(String, u64)> {
    let docker = done["parts"].as_array().into_iter().flatten().find(|part| part["part"] == "docker");
    let all = docker.and_then(|part| part[what].as_object()).into_iter().flatten();
    all.map(|(why, amount)| (why.clone(), amount["number"].as_u64().unwrap_or_default())).collect()
}

fn images(project: &Project) -> Result<usize> {
    let label = format!("label=werf={}", project.name());
    Ok(engine::run(&["image", "ls", "--all", "--quiet", "--no-trunc", "--filter", &label])?.lines().count())
}

#[test]
fn what_a_running_build_uses_stays_and_the_rest_goes() -> Result<()> {
    if !require(&[Part::Docker, Part::Registry, Part::Git]) {
        return Ok(());
    }
    let (registry, project, listener) = (Registry::start()?, Project::new("host-cleanup")?, Listener::start()?);
    let repo = registry.repo("host-cleanup");
    let write = |setup: &[String]| {
        let setup: String = setup.iter().map(|line| format!("  - {line}\n")).collect();
        project.config(&format!("image: app\nfrom: BASE\nshell:\n  install: [echo below > /below]\n  setup:\n{setup}"))
    };
    write(&["echo first > /up".to_owned()])?;
    project.commit("first")?;
    let build = ["build", "--backend", "docker", "--repo", &repo];
    project.build(&build[1..])?;
    assert_eq!(images(&project)?, 3, "from, install and setup, by the names of the cache");
    write(&[listener.report("runs"), listener.wait_for("go"), "cat /below > /up".to_owned()])?;
    project.commit("second")?;
    let mut child = project.start(&build, &[])?;
    while listener.counts().is_empty() {
        assert!(child.try_wait()?.is_none(), "it ended: {:?}", Run::wait(child));
        std::thread::sleep(Duration::from_millis(20));
    }
    let cleanup = |more: &[&str]| {
        let name = project.name();
        let all = ["host", "cleanup", "-N", name, "--allowed-docker-storage-volume-usage=0", "--output=json"];
        project.slipway(&[&all, more].concat())
    };
    json(&cleanup(&["--dry-run"])?)?;
    assert_eq!(images(&project)?, 3, "a dry run removes nothing");
    let purge = project.slipway(&["host", "purge", "--force", "-N", project.name()])?;
    assert_eq!(purge.code, 1, "{}", purge.stderr);
    let named = format!("slipway build in {}", project.path().canonicalize()?.display());
    assert!(purge.stderr.contains("nothing was deleted") && purge.stderr.contains(&named), "{}", purge.stderr);
    let done = json(&cleanup(&["--force"])?)?;
    // `setup` of the first build is the only one that nobody uses, and on which nothing stands.
    assert_eq!(numbers(&done, "removed").iter().map(|(_, number)| number).sum::<u64>(), 1, "{done}");
    assert!(numbers(&done, "stays").iter().any(|(why, _)| why.contains("what runs now")), "{done}");
    listener.note("go");
    let run = Run::wait(child)?;
    assert_eq!(run.code, 0, "{}", run.stderr);
    // A kill in the middle is finished by the next cleanup.
    let all = ["host", "cleanup", "-N", project.name(), "--allowed-docker-storage-volume-usage=0"];
    let left = images(&project)?;
    let killed = project.slipway_with(&all, &[("SLIPWAY_FAILPOINT", "host-cleanup-image:2")])?;
    assert_ne!(killed.code, 0, "{}", killed.stdout);
    assert_eq!(images(&project)?, left - 2);
    json(&cleanup(&[])?)?;
    assert_eq!(images(&project)?, 0);
    // All is in the repository: what is needed is fetched again.
    write(&["echo third > /up".to_owned()])?;
    project.commit("third")?;
    let third = project.build(&build[1..])?;
    assert_eq!(third.run.built().len(), 1, "{}", third.run.stderr);
    assert!(images(&project)? > 0);
    let purged = project.slipway(&["host", "purge", "--force", "-N", project.name()])?;
    assert_eq!(purged.code, 0, "{}", purged.stderr);
    assert_eq!(images(&project)?, 0, "{}", purged.stdout);
    // The base is the engine's own, and not ours.
    engine::run(&["image", "inspect", engine::base_image()])?;
    Ok(())
}
