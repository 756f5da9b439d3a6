//! Workers that die, hang and come back.

use std::io::{BufRead as _, BufReader, Read as _};

use anyhow::{Context as _, Result};
use slipway_e2e::{
    Action, Cluster, Listener, Project, Run,
    cluster::{side_by_side, wait},
    engine,
};

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

/// A worker, the only one, is cut off by `cut` while its command runs; another does its work; it comes back by `heal`
/// with what it has stored meanwhile.
pub(crate) fn cut_off(
    cluster: &mut Cluster,
    listener: &Listener,
    cut: impl FnOnce(),
    heal: impl FnOnce(),
) -> Result<()> {
    let project = Project::new("cut-off")?;
    let (report, gate) = (listener.report(&format!("{}-slow", project.name())), format!("go-on-{}", project.name()));
    let setup = format!("setup: ['{report}', date > /made, '{}']", listener.wait_for(&gate));
    cluster.config(&project, &format!("image: a\nfrom: BASE\nshell: {{{setup}}}\n"))?;
    project.commit("first")?;
    let client = cluster.start_build(&project, &[])?;
    wait("the command", || (!runs(&project, listener).is_empty()).then_some(()))?;
    cut();
    cluster.add_worker();
    wait("another attempt", || (runs(&project, listener)["slow"] == 2).then_some(()))
        .with_context(|| cluster.logs())?;
    listener.note(&gate);
    let run = Run::wait(client)?;
    assert_eq!(run.code, 0, "{}\n{}", run.stderr, cluster.logs());
    // The lost one has stored its result, too: by its own manifest, beside that of the base and of the winner.
    let stored = || cluster.registry.log().matches(&format!("PUT /v2/{}/manifests/sha256:", project.name())).count();
    wait("both results", || (stored() >= 3).then_some(())).with_context(|| cluster.logs())?;
    let stages = cluster.stages(&project)?;
    heal();
    cluster.nothing_left()?;
    assert_eq!(cluster.stages(&project)?, stages);
    let next = cluster.build(&project)?;
    assert!(next.run.built().is_empty(), "{}", next.run.stderr);
    assert_eq!(runs(&project, listener)["slow"], 2, "{}", cluster.logs());
    engine::sh(&cluster.local(&next.image("a")), "cat /made")?;
    Ok(())
}

#[test]
fn killed_in_every_phase_its_work_goes_to_another() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let listener = Listener::start()?;
    // It is missed when its lease ends, or when it comes back and has nothing of what it had.
    let all: Vec<(&str, bool)> = PHASES.into_iter().zip([false, true].into_iter().cycle()).collect();
    side_by_side(3, &all, |phases| {
        let mut cluster = Cluster::start(1, 2)?;
        phases.iter().try_for_each(|(phase, comes_back)| killed_in(&mut cluster, &listener, phase, *comes_back))
    })
}

fn killed_in(cluster: &mut Cluster, listener: &Listener, phase: &str, comes_back: bool) -> Result<()> {
    // All the work goes to the one that dies: it is the only one that the coordinator knows.
    cluster.stop_worker(0);
    cluster.stop_worker(1);
    cluster.workers_known(0)?;
    cluster.start_worker(0, Some(phase));
    cluster.workers_known(1)?;
    let project = project("killed", cluster, listener)?;
    let client = cluster.start_build(&project, &[])?;
    cluster.worker_dies(0)?;
    cluster.start_worker(1, None);
    if comes_back {
        cluster.start_worker(0, None);
    }
    let run = Run::wait(client)?;
    // It ran up to four jobs at once: none of them was finished.
    ends_well(cluster, &project, listener, &run, 4)?;
    // Whoever comes back with the same directory clears away what was left.
    if !comes_back {
        cluster.start_worker(0, None);
    }
    cluster.nothing_left()
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
    cluster.add_worker();
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
    cluster.add_worker_at(&[link.url()]);
    let (cut, heal) = (|| link.rule(|_| Action::HangUp), || link.heal());
    cut_off(&mut cluster, &listener, cut, heal)
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
    cluster.start_worker(0, None);
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
    let mut cluster = Cluster::start_with(1, 0, &[("SLIPWAY_LABEL", "disk=ssd"), ("SLIPWAY_MEMORY", "1GiB")])?;
    let project = project("waiting", &cluster, &listener)?;
    let mut client = cluster.start_build(&project, &[])?;
    let mut said = BufReader::new(client.stderr.take().context("a pipe")?);
    let mut line = String::new();
    while !line.contains("no worker is connected") {
        line.clear();
        assert_ne!(said.read_line(&mut line)?, 0, "it ended:\n{}", cluster.logs());
    }
    cluster.add_worker();
    let mut rest = String::new();
    said.read_to_string(&mut rest)?;
    assert!(client.wait()?.success(), "{rest}\n{}", cluster.logs());
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
    for part in ["image side for linux/s390x runs commands", "qemu-s390x in binfmt_misc"] {
        assert!(run.stderr.contains(part), "{}", run.stderr);
    }
    assert!(cluster.registry.stages("another")?.is_empty(), "nothing was begun: {}", run.stderr);
    let run = build(&["--job-label", "disk=ssd", "--job-memory", "512MiB", "--job-cpu", "0.5"])?;
    assert_eq!(run.code, 0, "{}", run.stderr);
    of_both_platforms(&cluster)
}

/// A worker builds for platforms whose programs it cannot run, as long as none are run.
fn of_both_platforms(cluster: &Cluster) -> Result<()> {
    let project = Project::new("platforms")?;
    project.write("src/file", "content")?;
    project.write("Dockerfile", "FROM scratch\nCOPY src /src\n")?;
    let images =
        "image: plain\ndockerfile: Dockerfile\n---\nimage: app\nfromImage: plain\ngit: [{add: /src, to: /app}]\n";
    let meta =
        format!("project: {}\nconfigVersion: 1\nbuild: {{platform: [linux/arm64, linux/amd64]}}\n", project.name());
    project.write("werf.yaml", format!("{meta}---\n{images}"))?;
    project.commit("first")?;
    let built = cluster.build(&project)?;
    for image in ["plain", "app"] {
        let tag = built.report["Images"][image]["DockerTag"].as_str().context("a tag")?;
        let (_, index) = cluster.registry.manifest(project.name(), tag)?;
        let listed = index["manifests"].as_array().context("an index")?;
        let architectures: Vec<_> =
            listed.iter().filter_map(|entry| entry["platform"]["architecture"].as_str()).collect();
        assert_eq!((tag.len(), architectures), (56, vec!["amd64", "arm64"]), "{image}");
    }
    Ok(())
}
