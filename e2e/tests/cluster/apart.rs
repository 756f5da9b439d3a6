//! Links that go down between processes in networks of their own.

use anyhow::{Context as _, Result};
use slipway_e2e::{
    Cluster, Listener, Project, Run,
    cluster::{Island, wait},
};

use crate::{can_run, reporting::runs, workers::cut_off};

#[test]
fn whoever_is_behind_a_link_that_goes_down_is_replaced_and_does_no_harm_when_it_is_up_again() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let (Some(first), Some(second)) = (Island::new()?, Island::new()?) else { return Ok(()) };
    let mut islands = [first, second];
    let (mut cluster, listener) = (Cluster::apart(&mut islands)?, Listener::start()?);
    cluster.start_coordinator(0, None);
    cluster.leader()?;
    // A worker, from its coordinator, for longer than its lease.
    let link = &islands[0].to_one;
    cluster.add_worker_at(&[Island::url(link), Island::url(&islands[1].to_all)]);
    let (cut, mend) = (|| link.cut().expect("the link goes down"), || link.mend().expect("the link goes up"));
    cut_off(&mut cluster, &listener, cut, mend)?;
    cluster.start_coordinator(1, None);
    cluster.stands_by(1)?;
    leader_cut_from_etcd(&mut cluster, &islands, &listener)
}

/// The other one leads; what runs goes on, and runs once.
fn leader_cut_from_etcd(cluster: &mut Cluster, islands: &[Island], listener: &Listener) -> Result<()> {
    let project = Project::new("headless")?;
    let (report, gate) = (listener.report(&format!("{}-slow", project.name())), format!("go-on-{}", project.name()));
    let setup = format!("setup: ['{report}', date > /made, '{}']", listener.wait_for(&gate));
    cluster.config(&project, &format!("image: a\nfrom: BASE\nshell: {{{setup}}}\n"))?;
    project.commit("first")?;
    let client = cluster.start_build(&project, &[])?;
    wait("the command", || (!runs(&project, listener).is_empty()).then_some(())).with_context(|| cluster.logs())?;
    let leader = cluster.leader()?;
    islands[leader].to_etcd.cut()?;
    wait("another leader", || cluster.leader().ok().filter(|now| *now != leader)).with_context(|| cluster.logs())?;
    listener.note(&gate);
    let run = Run::wait(client)?;
    assert_eq!(run.code, 0, "{}\n{}", run.stderr, cluster.logs());
    assert_eq!(runs(&project, listener)["slow"], 1, "{}", cluster.logs());
    let stages = cluster.stages(&project)?;
    islands[leader].to_etcd.mend()?;
    cluster.stands_by(leader)?;
    let next = cluster.build(&project)?;
    assert!(next.run.built().is_empty(), "{}", next.run.stderr);
    assert_eq!(cluster.stages(&project)?, stages);
    cluster.nothing_left()
}
