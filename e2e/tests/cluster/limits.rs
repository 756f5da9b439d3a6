//! Jobs that hang, are slow, or kill whoever runs them.

use anyhow::Result;
use slipway_e2e::{Cluster, Listener, Project, Run, cluster::wait};

use crate::{can_run, reporting::runs};

/// A project with one stage whose command hangs, without a word, when it runs for the first time.
struct Hanging<'t> {
    project: Project,
    listener: &'t Listener,
}

impl<'t> Hanging<'t> {
    fn new(name: &str, listener: &'t Listener) -> Result<Self> {
        Ok(Self { project: Project::new(name)?, listener })
    }

    /// Writes the configuration with these commands of the stage, and commits it.
    fn commands(&self, cluster: &Cluster, commands: &str) -> Result<()> {
        cluster.config(&self.project, &format!("image: a\nfrom: BASE\nshell: {{setup: [{commands}]}}\n"))?;
        self.project.commit("commands").map(drop)
    }

    fn hangs_once(&self, cluster: &Cluster) -> Result<()> {
        let id = format!("{}-run", self.project.name());
        let (ran, report) = (self.listener.has(&id), self.listener.report(&id));
        let commands = format!("'if {ran}; then {report}; else {report}; sleep 3600; fi', date > /made");
        self.commands(cluster, &commands)
    }

    fn runs(&self) -> usize {
        runs(&self.project, self.listener).get("run").copied().unwrap_or_default()
    }

    /// It was run twice, and only one result is stored.
    fn ran_twice(&self, cluster: &Cluster, run: &Run) -> Result<()> {
        assert_eq!(run.code, 0, "{}\n{}", run.stderr, cluster.logs());
        assert_eq!(self.runs(), 2, "{}", cluster.logs());
        cluster.nothing_left()?;
        cluster.stages(&self.project)?;
        assert!(cluster.build(&self.project)?.run.built().is_empty());
        Ok(())
    }
}

#[test]
fn a_command_that_hangs_on_a_worker_that_lives_is_tried_elsewhere() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let listener = Listener::start()?;
    let cluster = Cluster::start_with(1, 2, &[("SLIPWAY_JOB_QUIET", "5")])?;
    cluster.workers_known(2)?;
    let hanging = Hanging::new("hanging", &listener)?;
    hanging.hangs_once(&cluster)?;
    let run = Run::wait(cluster.start_build(&hanging.project, &[])?)?;
    hanging.ran_twice(&cluster, &run)?;

    // A limit of time is final: it is not tried again.
    let limited = Cluster::start_with(1, 2, &[("SLIPWAY_JOB_DEADLINE", "5")])?;
    limited.workers_known(2)?;
    let endless = Hanging::new("endless", &listener)?;
    let report = listener.report(&format!("{}-run", endless.project.name()));
    endless.commands(&limited, &format!("'{report}', 'while true; do echo still; sleep 1; done'"))?;
    let run = Run::wait(limited.start_build(&endless.project, &[])?)?;
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(run.stderr.contains("which is the limit"), "{}", run.stderr);
    assert_eq!(endless.runs(), 1);
    limited.nothing_left()
}

#[test]
fn a_slow_job_gets_a_second_attempt_and_a_deadly_one_no_third() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let listener = Listener::start()?;
    let mut cluster = Cluster::start(1, 2)?;
    cluster.workers_known(2)?;
    let slow = Hanging::new("slow", &listener)?;
    // How long it takes is learned first.
    slow.commands(&cluster, "date > /made")?;
    cluster.build(&slow.project)?;
    slow.hangs_once(&cluster)?;
    let run = Run::wait(cluster.start_build(&slow.project, &[])?)?;
    slow.ran_twice(&cluster, &run)?;

    // Whoever runs this dies of it.
    let deadly = Hanging::new("deadly", &listener)?;
    let report = listener.report(&format!("{}-run", deadly.project.name()));
    deadly.commands(&cluster, &format!("'{report}', sleep 3600"))?;
    cluster.kill_worker(1);
    cluster.workers_known(1)?;
    let client = cluster.start_build(&deadly.project, &[])?;
    wait("the first attempt", || (deadly.runs() == 1).then_some(()))?;
    cluster.start_worker(1, None);
    cluster.workers_known(2)?;
    cluster.kill_worker(0);
    wait("the second attempt", || (deadly.runs() == 2).then_some(()))?;
    cluster.add_worker();
    cluster.workers_known(2)?;
    cluster.kill_worker(1);
    let run = Run::wait(client)?;
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(run.stderr.contains("2 workers (w0, w1) were lost while they ran the job"), "{}", run.stderr);
    assert_eq!(deadly.runs(), 2);
    (0..2).for_each(|worker| cluster.start_worker(worker, None));
    cluster.nothing_left()
}
