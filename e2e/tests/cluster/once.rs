//! The same work is done once, whoever wants it.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use slipway_e2e::{Cluster, Listener, Project, Run, cluster::wait};

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
fn work_is_shared_as_far_as_ancestry_allows() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let (cluster, listener) = (Cluster::start(1, 2)?, Listener::start()?);
    commits_that_share_stages_share_their_work(&cluster, &listener)?;
    branches_whose_sources_are_equal_do_not(&cluster, &listener)
}

fn commits_that_share_stages_share_their_work(cluster: &Cluster, listener: &Listener) -> Result<()> {
    let project = project("shared", cluster, listener)?;
    let first = cluster.start_build(&project, &[])?;
    // Another commit, of which only `side/setup` differs, while the first is under way.
    wait("a command", || (!runs(&project, listener).is_empty()).then_some(()))?;
    configure(&project, cluster, listener, " && true")?;
    project.commit("second")?;
    let second = Run::wait(cluster.start_build(&project, &[])?)?;
    let first = Run::wait(first)?;
    assert_eq!((first.code, second.code), (0, 0), "{}\n{}", first.stderr, second.stderr);
    // What holds sources of another commit is other work; what holds none is the same.
    let counts = runs(&project, listener);
    assert_eq!((counts["tools-install"], counts["side-setup"]), (1, 2), "{counts:?}");
    // What is stored serves every commit that comes after its own.
    configure(&project, cluster, listener, " && true && true")?;
    project.commit("third")?;
    let third = cluster.build(&project)?;
    assert_eq!(third.run.built(), ["side/setup"], "{}", third.run.stderr);
    let mut expected = counts;
    expected.insert("side-setup".to_owned(), 3);
    assert_eq!(runs(&project, listener), expected);
    cluster.nothing_left()
}

/// Neither branch has the other's commits, so neither may use what the other has built of its sources, although both
/// sources, and so both digests, are equal: then the stages of one would stand for the commits of the other.
fn branches_whose_sources_are_equal_do_not(cluster: &Cluster, listener: &Listener) -> Result<()> {
    let project = Project::new("branches")?;
    let report = |stage: &str| listener.report(&format!("{}-{stage}", project.name()));
    let go_on = format!("go-on-{}", project.name());
    let (before, install, gate) = (report("before"), report("install"), listener.wait_for(&go_on));
    let shell = format!("shell: {{beforeInstall: ['{before}'], install: ['{install}', '{gate}']}}");
    cluster.config(&project, &format!("image: app\nfrom: BASE\ngit: [{{add: /src, to: /app}}]\n{shell}\n"))?;
    project.write("src/file", "the same")?;
    project.commit("root")?;
    let ran = |stage: &str| runs(&project, listener).get(stage).copied().unwrap_or_default();
    let mut clients = Vec::new();
    for (number, branch) in ["one", "two"].into_iter().enumerate() {
        project.git(&["checkout", "--quiet", "-b", branch, "main"])?;
        project.commit(branch)?;
        clients.push(cluster.start_build(&project, &[])?);
        // Both are under way at once: the second one does not join the first.
        wait("its own command", || (ran("install") == number + 1).then_some(())).with_context(|| cluster.logs())?;
    }
    listener.note(&go_on);
    for client in clients {
        let run = Run::wait(client)?;
        assert_eq!(run.code, 0, "{}\n{}", run.stderr, cluster.logs());
    }
    // What holds no sources is one for both.
    assert_eq!((ran("before"), ran("install")), (1, 2), "{}", cluster.logs());
    let stages = cluster.verified(&project)?;
    let digests: BTreeSet<&str> = stages.iter().map(|tag| &tag[..56]).collect();
    // Two of `gitArchive` under one digest; what stands on them has the commit in its digest.
    assert_eq!((stages.len(), digests.len()), (6, 5), "{stages:#?}");
    // Each finds its own again; who has both in his history takes one of them.
    let two = cluster.build(&project)?;
    project.git(&["checkout", "--quiet", "one"])?;
    let one = cluster.build(&project)?;
    assert_ne!(one.image("app"), two.image("app"));
    project.git(&["merge", "--quiet", "--no-ff", "--message", "both", "two"])?;
    let both = cluster.build(&project)?;
    let built = [&one, &two, &both].map(|build| build.run.built());
    assert!(built.iter().all(Vec::is_empty), "{built:?}");
    assert!([one.image("app"), two.image("app")].contains(&both.image("app")), "{}", both.image("app"));
    assert_eq!(cluster.verified(&project)?, stages);
    cluster.nothing_left()
}
