//! Workers that die, hang and come back.

use anyhow::Result;
use slipway_e2e::{Action, Cluster, Listener, Project, Run, cluster::wait, engine};

use crate::{
    can_run,
    reporting::{ALL, STAGES, each_once, project, runs},
};

/// Where a worker is killed: while it pulls, when its command has run, when the container is an image, and when that is
/// stored and waits to be published.
const PHASES: [&str; 5] = ["worker.start", "worker.pulled:2", "worker.ran:3", "worker.built:3", "worker.uploaded:3"];

/// The build ends well, and what was finished did not run again.
fn ends_well(cluster: &Cluster, project: &Project, listener: &Listener, run: &Run, again: usize) -> Result<()> {
    assert_eq!(run.code, 0, "{}\n{}", run.stderr, cluster.logs());
    let counts = runs(project, listener);
    assert_eq!(counts.len(), STAGES.len(), "{counts:?}");
    let repeated: usize = counts.values().map(|count| count - 1).sum();
    assert!(repeated <= again, "more than {again} commands ran again: {counts:?}\n{}", cluster.logs());
    assert_eq!(cluster.stages(project)?.len(), ALL);
    let next = cluster.build(project)?;
    assert!(next.run.built().is_empty(), "{}", next.run.stderr);
    assert_eq!(runs(project, listener), counts);
    engine::sh(&next.image("web"), "cat /app/file /tools/made")?;
    Ok(())
}

#[test]
fn killed_in_every_phase_its_work_goes_to_another() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let listener = Listener::start()?;
    let mut cluster = Cluster::start(1, 2)?;
    for phase in PHASES {
        cluster.kill_worker(0);
        cluster.kill_worker(1);
        // All the work goes to the one that dies, and then to the other.
        cluster.start_worker(0, Some(phase))?;
        let project = project("killed", &cluster, &listener)?;
        let client = cluster.start_build(&project, &[])?;
        cluster.worker_dies(0)?;
        cluster.start_worker(1, None)?;
        let run = Run::wait(client)?;
        // It ran up to four jobs at once: none of them was finished.
        ends_well(&cluster, &project, &listener, &run, 4)?;
        // Whoever comes back with the same directory clears away what was left.
        cluster.start_worker(0, None)?;
        cluster.nothing_left()?;
    }
    Ok(())
}

#[test]
fn a_worker_that_hangs_is_replaced_and_loses_when_it_comes_back() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let listener = Listener::start()?;
    let mut cluster = Cluster::start(1, 1)?;
    let project = project("hung", &cluster, &listener)?;
    let client = cluster.start_build(&project, &[])?;
    wait("a command", || (!runs(&project, &listener).is_empty()).then_some(()))?;
    cluster.worker(0).halt();
    cluster.add_worker()?;
    let run = Run::wait(client)?;
    cluster.worker(0).go_on();
    // It goes on with what it had until it is told to stop; what it did with it counts for nothing.
    cluster.nothing_left()?;
    ends_well(&cluster, &project, &listener, &run, 4)?;
    cluster.nothing_left()
}

#[test]
fn a_worker_that_is_cut_off_is_replaced_and_what_it_brings_later_is_thrown_away() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let listener = Listener::start()?;
    let mut cluster = Cluster::start(1, 0)?;
    let link = cluster.proxy(0)?;
    cluster.add_worker_at(&[link.url()])?;
    let project = Project::new("cut-off")?;
    let report = listener.report(&format!("{}-slow", project.name()));
    cluster
        .config(&project, &format!("image: a\nfrom: BASE\nshell: {{setup: ['{report}', date > /made, sleep 20]}}\n"))?;
    project.commit("first")?;
    let client = cluster.start_build(&project, &[])?;
    wait("the command", || (!runs(&project, &listener).is_empty()).then_some(()))?;
    link.rule(|_| Action::HangUp);
    cluster.add_worker()?;
    let run = Run::wait(client)?;
    assert_eq!(run.code, 0, "{}\n{}", run.stderr, cluster.logs());
    assert_eq!(runs(&project, &listener)["slow"], 2, "{}", cluster.logs());
    let stages = cluster.stages(&project)?;
    // It has finished and uploaded, too, and comes back with that.
    link.heal();
    cluster.nothing_left()?;
    assert_eq!(cluster.stages(&project)?, stages);
    let next = cluster.build(&project)?;
    assert!(next.run.built().is_empty(), "{}", next.run.stderr);
    engine::sh(&next.image("a"), "cat /made")?;
    Ok(())
}

#[test]
fn a_worker_that_is_told_to_end_finishes_what_runs() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let listener = Listener::start()?;
    let mut cluster = Cluster::start(1, 1)?;
    let project = Project::new("drained")?;
    let report = listener.report(&format!("{}-slow", project.name()));
    cluster.config(
        &project,
        &format!("image: a\nfrom: BASE\nshell: {{install: ['{report}', sleep 5], setup: [date]}}\n"),
    )?;
    project.commit("first")?;
    let client = cluster.start_build(&project, &[])?;
    wait("the command", || (!runs(&project, &listener).is_empty()).then_some(()))?;
    cluster.stop_worker(0);
    // Its result was taken before it ended.
    assert_eq!(cluster.registry.stages(project.name())?.len(), 2, "{}", cluster.logs());
    cluster.start_worker(0, None)?;
    let run = Run::wait(client)?;
    assert_eq!(run.code, 0, "{}\n{}", run.stderr, cluster.logs());
    assert_eq!(runs(&project, &listener).values().sum::<usize>(), 1);
    cluster.nothing_left()
}

#[test]
fn nobody_to_do_the_work_is_said_and_cured() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let listener = Listener::start()?;
    let mut cluster = Cluster::start_with(1, 1, &[("SLIPWAY_LABEL", "disk=ssd"), ("SLIPWAY_MEMORY", "1GiB")])?;
    cluster.kill_worker(0);
    let project = project("waiting", &cluster, &listener)?;
    let client = cluster.start_build(&project, &[])?;
    let waits = || cluster.ask(&project, &["builds", "list"]).ok().filter(|list| list.stdout.contains("  running  "));
    wait("the build", waits)?;
    cluster.start_worker(0, None)?;
    let run = Run::wait(client)?;
    assert_eq!(run.code, 0, "{}\n{}", run.stderr, cluster.logs());
    assert_eq!(runs(&project, &listener), each_once());
    // What its only worker has not, it does not wait for.
    let (urls, repo) = (cluster.urls(), cluster.registry.repo("another"));
    let build =
        |more: &[&str]| project.slipway(&[&["build", "side", "--coordinator", &urls, "--repo", &repo], more].concat());
    let run = build(&["--job-label", "disk=nvme", "--job-memory", "2GiB"])?;
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(run.stderr.contains("w0 lacks 2048 MiB of memory and label disk=nvme"), "{}", run.stderr);
    let run = build(&["--platform", "linux/s390x"])?;
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(run.stderr.contains("w0 lacks platform linux/s390x"), "{}", run.stderr);
    let run = build(&["--job-label", "disk=ssd", "--job-memory", "512MiB", "--job-cpu", "0.5"])?;
    assert_eq!(run.code, 0, "{}", run.stderr);
    Ok(())
}
