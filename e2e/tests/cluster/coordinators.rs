//! Coordinators that die, from submit to tag.

use anyhow::Result;
use slipway_e2e::{Cluster, Listener, Project, Run, cluster::side_by_side, engine};

use crate::{
    can_run,
    reporting::{ALL, each_once, project, runs},
};

/// Where the leader is killed, and at which passage.
const STEPS: [&str; 11] = [
    "submit.stored",
    "attach.begun",
    "attach.recorded",
    "publish.look:2",
    "publish.verify:2",
    "publish.granted:3",
    "publish.commit:1",
    "publish.commit:4",
    "publish.tag:1",
    "publish.tag:5",
    "publish.clear:3",
];

/// Who is there after it.
#[derive(Clone, Copy, Debug)]
enum After {
    /// The other one leads, and the dead one comes back to stand by.
    Both,
    /// The dead one comes back, and leads again.
    Itself,
    /// The other one leads alone.
    Other,
}

#[test]
fn killed_at_every_step_another_leads_and_nothing_runs_twice() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let listener = Listener::start()?;
    let after = [After::Both, After::Itself, After::Other].into_iter().cycle();
    let all: Vec<(&str, After)> = STEPS.into_iter().zip(after).collect();
    side_by_side(3, &all, |steps| {
        let mut cluster = Cluster::start(2, 2)?;
        steps.iter().try_for_each(|(step, after)| killed_at(&mut cluster, &listener, step, *after))
    })
}

fn killed_at(cluster: &mut Cluster, listener: &Listener, step: &str, after: After) -> Result<()> {
    // The first one leads, armed; the other one stands by, if it is to take over.
    cluster.stop_coordinator(1);
    cluster.stop_coordinator(0);
    cluster.start_coordinator(0, Some(step));
    cluster.leader()?;
    cluster.workers_known(2)?;
    if !matches!(after, After::Itself) {
        cluster.start_coordinator(1, None);
    }
    let project = project("led", cluster, listener)?;
    let client = cluster.start_build(&project, &["--log-verbose"])?;
    cluster.coordinator_dies(0)?;
    if !matches!(after, After::Other) {
        cluster.start_coordinator(0, None);
    }
    let run = Run::wait(client)?;
    let place = format!("{step}, then {after:?}");
    assert_eq!(run.code, 0, "{place}:\n{}\n{}", run.stderr, cluster.logs());
    assert_eq!(runs(&project, listener), each_once(), "{place}:\n{}", cluster.logs());
    assert_eq!(cluster.stages(&project)?.len(), ALL, "{place}");
    let shown = run.built();
    let mut once = shown.clone();
    once.sort();
    once.dedup();
    assert_eq!(once.len(), shown.len(), "{place}: something was shown twice:\n{}", run.stderr);
    assert_eq!(run.stderr.matches("app/setup said-by-app").count(), 1, "{place}:\n{}", run.stderr);
    let next = cluster.build(&project)?;
    assert!(next.run.built().is_empty(), "{place}: {}", next.run.stderr);
    engine::sh(&next.image("web"), "cat /app/file /tools/made")?;
    cluster.nothing_left()
}

#[test]
fn an_upload_that_vanishes_before_it_is_published_is_made_again_and_nothing_runs_twice() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let listener = Listener::start()?;
    let mut cluster = Cluster::start(1, 0)?;
    cluster.kill_coordinator(0);
    // It dies when it is about to publish the second stage, whose upload is complete.
    cluster.start_coordinator(0, Some("publish.look:2"));
    cluster.leader()?;
    cluster.add_worker();
    let project = Project::new("vanished")?;
    let report = listener.report(&format!("{}-setup", project.name()));
    cluster.config(&project, &format!("image: a\nfrom: BASE\nshell: {{setup: ['{report}', date > /made]}}\n"))?;
    project.commit("first")?;
    let client = cluster.start_build(&project, &[])?;
    cluster.coordinator_dies(0)?;
    assert_eq!(cluster.registry.lose_untagged(project.name())?, 1, "{}", cluster.logs());
    cluster.start_coordinator(0, None);
    let run = Run::wait(client)?;
    assert_eq!(run.code, 0, "{}\n{}", run.stderr, cluster.logs());
    assert_eq!(runs(&project, &listener).values().sum::<usize>(), 1, "{}", cluster.logs());
    assert_eq!(cluster.stages(&project)?.len(), 2);
    assert!(cluster.logs().contains("uploading a result again"), "{}", cluster.logs());
    let next = cluster.build(&project)?;
    assert!(next.run.built().is_empty(), "{}", next.run.stderr);
    engine::sh(&next.image("a"), "cat /made")?;
    cluster.nothing_left()
}

#[test]
fn who_attaches_brings_what_only_the_dead_leader_had() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let mut cluster = Cluster::start(2, 0)?;
    let project = Project::new("brought")?;
    project.write("src/file", "1")?;
    cluster.config(&project, "image: a\nfrom: BASE\ngit: [{add: /src, to: /app}]\n")?;
    project.commit("first")?;
    let detached = Run::wait(cluster.start_build(&project, &["--detach"])?)?;
    assert_eq!(detached.code, 0, "{}", detached.stderr);
    let name = detached.stdout.trim();
    cluster.kill_coordinator(cluster.leader()?);
    cluster.leader()?;
    cluster.add_worker();
    let attached = cluster.ask(&project, &["attach", name])?;
    assert_eq!(attached.code, 0, "{}\n{}", attached.stderr, cluster.logs());
    assert!(attached.stderr.contains("`slipway attach"), "{}", attached.stderr);
    assert_eq!(cluster.stages(&project)?.len(), 2);
    cluster.nothing_left()
}
