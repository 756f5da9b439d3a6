//! An etcd that loses a member, or goes away for a while.

use std::{thread, time::Duration};

use anyhow::Result;
use slipway_e2e::{Cluster, Listener, Run, cluster::wait};

use crate::{
    can_run,
    reporting::{ALL, each_once, project, runs},
};

/// How long it is away after the leader has given up, which takes it some 20 seconds.
const AWAY: Duration = Duration::from_secs(10);

#[test]
fn a_lost_member_is_not_noticed() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let listener = Listener::start()?;
    let mut cluster = Cluster::start(2, 2)?;
    let project = project("member", &cluster, &listener)?;
    let client = cluster.start_build(&project, &[])?;
    wait("a command", || (!runs(&project, &listener).is_empty()).then_some(()))?;
    let lost = cluster.etcd.leader();
    cluster.etcd.kill(lost);
    let run = Run::wait(client)?;
    assert_eq!(run.code, 0, "{}\n{}", run.stderr, cluster.logs());
    assert_eq!(runs(&project, &listener), each_once());
    assert_eq!(cluster.stages(&project)?.len(), ALL);
    cluster.nothing_left()
}

#[test]
fn while_it_is_away_nothing_commits_and_afterwards_nothing_runs_twice() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let listener = Listener::start()?;
    let cluster = Cluster::start(2, 2)?;
    let project = project("away", &cluster, &listener)?;
    let client = cluster.start_build(&project, &["--log-verbose"])?;
    wait("a command", || (!runs(&project, &listener).is_empty()).then_some(()))?;
    let leader = cluster.leader()?;
    (0..3).for_each(|member| cluster.etcd.halt(member));
    // What was committed before it went is tagged as long as the leader takes itself for one.
    cluster.leads_no_more(leader)?;
    // Nor is the other one ready: it could not take over.
    cluster.leads_no_more(1 - leader)?;
    let before = cluster.registry.stages(project.name())?;
    thread::sleep(AWAY);
    assert_eq!(cluster.registry.stages(project.name())?, before);
    (0..3).for_each(|member| cluster.etcd.go_on(member));
    let run = Run::wait(client)?;
    assert_eq!(run.code, 0, "{}\n{}", run.stderr, cluster.logs());
    assert_eq!(runs(&project, &listener), each_once(), "{}", cluster.logs());
    assert_eq!(cluster.stages(&project)?.len(), ALL);
    cluster.nothing_left()
}
