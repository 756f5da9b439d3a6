//! Builds that are killed: a rerun finishes, and nothing half-made is visible.

use std::{thread, time::Duration};

use anyhow::Result;
use slipway_e2e::{Listener, Part, Project, Registry, Run, engine, require};

const ALL: [Part; 3] = [Part::Docker, Part::Registry, Part::Git];

/// Points at which a build is killed, and at which passage.
const POINTS: [(&str, u32); 30] = [
    ("worker.start", 1),
    ("worker.start", 2),
    ("worker.ran", 1),
    ("worker.ran", 2),
    ("worker.ran", 3),
    ("worker.built", 1),
    ("worker.built", 2),
    ("worker.built", 3),
    ("worker.uploaded", 1),
    ("worker.uploaded", 2),
    ("worker.uploaded", 3),
    ("publish.lock", 1),
    ("publish.lock", 2),
    ("publish.lock", 3),
    ("publish.settle", 1),
    ("publish.settle", 3),
    ("publish.look", 1),
    ("publish.look", 2),
    ("publish.verify", 1),
    ("publish.verify", 2),
    ("publish.verify", 3),
    ("publish.commit", 1),
    ("publish.commit", 2),
    ("publish.commit", 3),
    ("publish.tag", 1),
    ("publish.tag", 2),
    ("publish.tag", 3),
    ("publish.relist", 1),
    ("publish.clear", 1),
    ("publish.clear", 3),
];

fn project() -> Result<Project> {
    let project = Project::new("killed")?;
    project.write("src/file", "1")?;
    project.config("image: a\nfrom: BASE\ngit: [{add: /src, to: /app}]\nshell: {setup: date > /b}\n")?;
    project.commit("first")?;
    Ok(project)
}

/// All that a build can be interrupted at: an artifact, an import of it, git files, an image on another, a Dockerfile.
fn wide() -> Result<Project> {
    let project = Project::new("killed")?;
    project.write("src/file", "1")?;
    let base = project.base();
    project.write("Dockerfile", format!("FROM {base}\nCOPY src /src\nRUN date > /b\n"))?;
    project.config(
        "artifact: made\nfrom: BASE\nshell: {install: 'mkdir /out && date > /out/x'}\n---\n\
         image: a\nfrom: BASE\ngit: [{add: /src, to: /app}]\nimport: [{artifact: made, add: /out, to: /in, before: setup}]\n\
         shell: {setup: date > /b}\n---\nimage: above\nfromImage: a\nshell: {setup: date > /c}\n---\n\
         image: file\ndockerfile: Dockerfile\n",
    )?;
    project.commit("first")?;
    Ok(project)
}

/// Stages of [`wide`].
const WIDE: usize = 8;

/// Every stage tag names a complete image; a rerun finishes and a third run builds nothing.
fn recovers(registry: &Registry, project: &Project, repo: &str, count: usize, what: &str) -> Result<()> {
    for tag in registry.stages("killed")? {
        registry.config("killed", &tag)?;
    }
    let rerun = project.build(&["--repo", repo])?;
    assert!(engine::sh(&rerun.image("a"), "cat /app/file")?.starts_with('1'), "{what}");
    let stages = registry.stages("killed")?;
    assert_eq!(stages.len(), count, "{what}: {stages:?}");
    assert!(project.build(&["--repo", repo])?.run.built().is_empty(), "{what}");
    let leftover = engine::run(&["ps", "--all", "--quiet", "--filter", "name=werf.build."])?;
    let own = engine::run(&["ps", "--all", "--format={{.Image}}", "--filter", "name=werf.build."])?;
    assert!(!own.contains(project.name()), "{what}: containers are left behind: {leftover}");
    Ok(())
}

#[test]
fn killed_at_every_point() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let registry = Registry::start()?;
    for (point, passage) in POINTS {
        let project = project()?;
        let repo = registry.repo("killed");
        let armed = format!("{point}:{passage}");
        let run = project.slipway_with(&["build", "--repo", &repo], &[("SLIPWAY_FAILPOINT", &armed)])?;
        assert_eq!(run.code, 137, "{armed} was not reached:\n{}", run.stderr);
        recovers(&registry, &project, &repo, 3, &armed)?;
        let _ = std::fs::remove_dir_all(registry.data().join("docker/registry/v2/repositories/killed"));
        engine::forget(project.name())?;
    }
    Ok(())
}

#[test]
fn killed_at_random_moments() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let registry = Registry::start()?;
    let seed = u64::from_str_radix(&slipway_process::random_id()[..8], 16)?;
    eprintln!("seed {seed}");
    let mut state = seed | 1;
    for round in 0..30 {
        // The large one takes its time.
        let is_wide = round % 5 == 0;
        let (project, count) = if is_wide { (wide()?, WIDE) } else { (project()?, 3) };
        let repo = registry.repo("killed");
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut child = project.start(&["build", "--repo", &repo], &[])?;
        thread::sleep(Duration::from_millis((state >> 33) % if is_wide { 4_000 } else { 1_500 }));
        child.kill()?;
        Run::wait(child)?;
        recovers(&registry, &project, &repo, count, &format!("seed {seed}, round {round}"))?;
        let _ = std::fs::remove_dir_all(registry.data().join("docker/registry/v2/repositories/killed"));
        engine::forget(project.name())?;
    }
    Ok(())
}

#[test]
fn interrupting_stops_cleanly_with_130() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("interrupt")?);
    project.config("image: a\nfrom: BASE\nshell: {setup: [echo now-sleeping, sleep 600]}\n")?;
    project.commit("first")?;
    let child = project.start(&["build", "--repo", &registry.repo("interrupt")], &[])?;
    let pid = rustix::process::Pid::from_raw(child.id().try_into()?).expect("a pid");
    // The container runs once `from` is stored and the build container is up.
    for _ in 0..300 {
        if engine::run(&["ps", "--quiet", "--filter", "name=werf.build."])?.lines().count() > 0 {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
    let run = Run::wait(child)?;
    assert_eq!(run.code, 130, "{}", run.stderr);
    let names = engine::run(&["ps", "--all", "--format={{.Image}} {{.Command}}", "--filter", "name=werf.build."])?;
    assert!(!names.contains("now-sleeping") && !names.contains(project.name()), "left behind: {names}");
    Ok(())
}

#[test]
fn a_failure_stops_what_else_runs_and_leaves_nothing() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("stopped")?);
    let name = project.name().to_owned();
    let listener = Listener::start()?;
    let (wait, report) = (listener.wait_for("slow"), listener.report("slow"));
    project.config(&format!(
        "image: bad\nfrom: BASE\nshell: {{setup: ['{wait}', exit 9]}}\n---\n\
         image: slow\nfrom: BASE\nshell: {{setup: ['{report}', sleep 600]}}\n"
    ))?;
    project.commit("first")?;
    let run = Run::wait(project.start(&["build", "--repo", &registry.repo("stopped")], &[])?)?;
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(run.stderr.trim_end().ends_with("the command ended with exit code 9"), "{}", run.stderr);
    let left = engine::run(&["ps", "--all", "--format={{.Image}}", "--filter", "name=werf.build."])?;
    assert!(!left.contains(&name), "left behind: {left}");
    Ok(())
}
