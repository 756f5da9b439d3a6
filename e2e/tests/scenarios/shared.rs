//! Builds of many hosts that agree through etcd: each has a home of its own, as if it were on its own host.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Read as _},
};

use anyhow::{Context as _, Result};
use slipway_e2e::{Listener, Part, Project, Registry, Run, cluster::side_by_side, engine, require};
use slipway_parts::Etcd;

const ALL: [Part; 4] = [Part::Docker, Part::Registry, Part::Git, Part::Etcd];

/// Points at which a build is killed, and at which passage.
const POINTS: [(&str, u32); 10] = [
    ("attach.begun", 1),
    ("attach.recorded", 1),
    ("publish.look", 1),
    ("publish.granted", 1),
    ("publish.commit", 1),
    ("publish.commit", 2),
    ("publish.tag", 1),
    ("publish.tag", 2),
    ("publish.clear", 1),
    ("publish.clear", 3),
];

fn address(etcd: &Etcd) -> String {
    let members: Vec<String> =
        etcd.endpoints().iter().map(|url| url.trim_start_matches("http://").to_owned()).collect();
    format!("etcd://{}/slipway", members.join(","))
}

fn project(name: &str) -> Result<Project> {
    let project = Project::new(name)?;
    project.write("src/file", "1")?;
    project.config(
        "image: a\nfrom: BASE\ngit: [{add: /src, to: /app}]\nshell: {install: date > /a, setup: date > /b}\n---\n\
         image: b\nfromImage: a\nshell: {setup: date > /c}\n",
    )?;
    project.commit("first")?;
    Ok(project)
}

/// A home directory as of another host.
fn home(project: &Project, number: usize) -> Result<String> {
    let home = project.home().join(format!("host-{number}"));
    Ok(home.to_str().context("a UTF-8 path")?.to_owned())
}

#[test]
fn eight_hosts_store_one_stage_per_digest_and_agree() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let Some(etcd) = Etcd::one() else { return Ok(()) };
    let (registry, project) = (Registry::start().context("a registry")?, project("hosts")?);
    let (repo, etcd) = (registry.repo("hosts"), address(&etcd));
    let start = |number: usize| {
        let home = home(&project, number)?;
        let report = format!("{home}.json");
        let arguments = ["build", "--repo", &repo, "-S", &etcd, "--save-build-report", "--build-report-path", &report];
        Ok((project.start(&arguments, &[("SLIPWAY_HOME_DIR", &home)])?, report))
    };
    let running = (0..8).map(start).collect::<Result<Vec<_>>>()?;
    let mut names = BTreeSet::new();
    for (child, report) in running {
        let run = Run::wait(child)?;
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert!(!run.stderr.contains("only builds on this host"), "{}", run.stderr);
        let report: serde_json::Value = serde_json::from_slice(&std::fs::read(report)?)?;
        for image in ["a", "b"] {
            names.insert(report["Images"][image]["DockerImageName"].to_string());
        }
    }
    assert_eq!(names.len(), 2, "all print the same tags: {names:?}");
    let stages = registry.stages("hosts")?;
    let digests: BTreeSet<&str> = stages.iter().map(|tag| &tag[..56]).collect();
    assert_eq!((digests.len(), stages.len()), (6, 6), "one tag per digest: {stages:#?}");

    let stages_command = |arguments: &[&str]| {
        let all = [&["stages"], arguments, &["--repo", &repo, "--synchronization", &etcd]].concat();
        project.slipway(&all)
    };
    let verified = stages_command(&["verify"])?;
    assert_eq!(verified.code, 0, "{}", verified.stderr);
    assert!(verified.stdout.ends_with("6 verified, 0 broken\n"), "{}", verified.stdout);
    let attached = stages_command(&["attach", "--output", "json"])?;
    let attached: serde_json::Value = serde_json::from_str(&attached.stdout)?;
    assert_eq!((&attached["generation"], &attached["stages"]), (&1.into(), &0.into()), "{attached}");
    let winners = stages_command(&["winners", "--output", "json"])?;
    let winners: serde_json::Value = serde_json::from_str(&winners.stdout)?;
    assert_eq!(winners["stages"].as_array().map(Vec::len), Some(6), "{winners}");
    let imported = stages_command(&["import"])?;
    assert!(imported.stdout.ends_with("0 adopted, 0 known, 0 unusable\n"), "{}", imported.stdout);

    let rejected = stages_command(&["reject", &stages[0], "--reason", "it is bad"])?;
    assert_eq!(rejected.stdout, format!("rejected {}\n", stages[0]), "{}", rejected.stderr);
    assert!(registry.tags("hosts")?.contains(&format!("{}-rejected", stages[0])));
    let again = project.build(&["--repo", &repo, "-S", &etcd])?;
    assert!(!again.run.built().is_empty(), "what was rejected is built anew");
    registry.lose(&registry.manifest("hosts", again.image("b").rsplit(':').next().context("a tag")?)?.0)?;
    let broken = stages_command(&["verify"])?;
    assert_eq!(broken.code, 1, "{}", broken.stdout);
    assert!(broken.stdout.contains("1 broken"), "{}", broken.stdout);
    engine::forget(project.name())
}

/// Stores an image under a stage's tag with the labels that werf writes.
fn store_as_werf(repo: &str, digest: &str, stamp: u64) -> Result<()> {
    let name = format!("{repo}:{digest}-{stamp}");
    let container = engine::run(&["create", engine::base_image(), "true"])?;
    let labels = [
        "LABEL werf=shop".to_owned(),
        "LABEL werf-version=v1.2.300".to_owned(),
        "LABEL werf-cache-version=1.2".to_owned(),
        format!("LABEL werf-stage-digest={digest}"),
        format!("LABEL werf-stage-content-digest={digest}"),
    ];
    let changes = labels.iter().flat_map(|label| ["--change", label.as_str()]);
    let arguments: Vec<&str> = std::iter::once("commit").chain(changes).chain([container.trim(), &name]).collect();
    engine::run(&arguments)?;
    engine::run(&["push", "--quiet", &name])?;
    engine::run(&["rmi", &name])?;
    engine::run(&["rm", container.trim()]).map(drop)
}

#[test]
fn a_repository_of_werf_is_attached_listed_and_verified() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let Some(etcd) = Etcd::one() else { return Ok(()) };
    let (registry, project) = (Registry::start().context("a registry")?, project("werfs")?);
    let (repo, etcd) = (registry.repo("werfs"), address(&etcd));
    for (number, digit) in ["a", "b", "b"].into_iter().enumerate() {
        store_as_werf(&repo, &digit.repeat(56), 1_600_000_000_000 + number as u64)?;
    }
    let before = registry.tags("werfs")?;
    let said = |run: &Run| run.stderr.matches("holds 3 stages of werf").count();
    let first = project.build(&["--repo", &repo, "-S", &etcd])?;
    let second = project.build(&["--repo", &repo, "-S", &etcd])?;
    assert_eq!((said(&first.run), said(&second.run)), (1, 0), "{}", first.run.stderr);
    assert_eq!((first.run.reused().len(), second.run.built().len()), (0, 0));
    let stages_command = |command: &str| project.slipway(&["stages", command, "--repo", &repo, "-S", &etcd]);
    let winners = stages_command("winners")?;
    assert!(before.iter().all(|tag| winners.stdout.contains(tag)), "{}", winners.stdout);
    let verified = stages_command("verify")?;
    assert_eq!(verified.code, 0, "{}{}", verified.stdout, verified.stderr);
    // Nothing of theirs was touched.
    let after = registry.tags("werfs")?;
    assert!(before.iter().all(|tag| after.contains(tag)));

    // Without records, and by another project: each is said.
    let other = Project::new("other")?;
    other.config("image: a\nfrom: BASE\nshell: {setup: echo other > /other}\n")?;
    other.commit("first")?;
    let shared = other.build(&["--repo", &repo])?;
    let told = format!("{repo} is the repository of project `{}`, and `{}` is built", project.name(), other.name());
    assert!(shared.run.stderr.contains(&told) && said(&shared.run) == 0, "{}", shared.run.stderr);
    engine::forget(other.name())?;
    engine::forget(project.name())
}

#[test]
fn a_host_that_is_killed_is_replaced_by_another() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let registry = Registry::start().context("a registry")?;
    // Most of the time they wait, for a minute each, for the end of what the dead one held.
    side_by_side(POINTS.len(), &POINTS, |points| points.iter().try_for_each(|point| killed_at(&registry, *point)))
}

/// Kills a build at a point; another host goes on at once, or when the lease of the dead one has ended.
fn killed_at(registry: &Registry, (point, passage): (&str, u32)) -> Result<()> {
    let etcd = Etcd::one().context("an etcd")?;
    let (project, name) = (project("replaced")?, format!("replaced-{}-{passage}", point.replace('.', "-")));
    let (repo, etcd_at, armed) = (registry.repo(&name), address(&etcd), format!("{point}:{passage}"));
    let build = ["build", "--repo", &repo, "-S", &etcd_at];
    let variables = [("SLIPWAY_FAILPOINT", armed.as_str()), ("SLIPWAY_HOME_DIR", &home(&project, 1)?)];
    let killed = project.slipway_with(&build, &variables)?;
    assert_eq!(killed.code, 137, "{armed} was not reached:\n{}", killed.stderr);
    let other = home(&project, 2)?;
    let rerun = project.build_with(&build[1..], &[("SLIPWAY_HOME_DIR", &other)])?;
    assert!(engine::sh(&rerun.image("b"), "cat /app/file")?.starts_with('1'), "{armed}");
    let stages = registry.stages(&name)?;
    assert_eq!(stages.len(), 6, "{armed}: {stages:?}");
    let third = project.build(&build[1..])?;
    assert!(third.run.built().is_empty(), "{armed}");
    assert_eq!(third.image("b"), rerun.image("b"), "{armed}");
    engine::forget(project.name())
}

#[test]
fn a_member_of_etcd_is_lost_and_nobody_notices() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let Some(mut etcd) = Etcd::three() else { return Ok(()) };
    let (registry, project) = (Registry::start().context("a registry")?, project("member")?);
    let (repo, address) = (registry.repo("member"), address(&etcd));
    etcd.kill(0);
    let built = project.build(&["--repo", &repo, "-S", &address])?;
    etcd.start(0);
    etcd.kill(1);
    let again = project.build(&["--repo", &repo, "-S", &address])?;
    assert!(again.run.built().is_empty());
    assert_eq!(again.image("b"), built.image("b"));
    engine::forget(project.name())
}

#[test]
fn while_etcd_is_away_a_build_waits_and_says_so() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let Some(mut etcd) = Etcd::one() else { return Ok(()) };
    let (registry, project) = (Registry::start().context("a registry")?, Project::new("away")?);
    let listener = Listener::start()?;
    let gate = listener.wait_for("go");
    project.config(&format!("image: a\nfrom: BASE\nshell: {{setup: [echo now-running, '{gate}']}}\n"))?;
    project.commit("first")?;
    let repo = registry.repo("away");
    let mut child = project.start(&["build", "--repo", &repo, "-S", &address(&etcd)], &[])?;
    let mut lines = BufReader::new(child.stderr.take().context("standard error")?);
    let mut said = String::new();
    let mut read_until = |phrase: &str, said: &mut String| -> Result<()> {
        while !said.contains(phrase) {
            assert!(lines.read_line(said)? > 0, "the build ended:\n{said}");
        }
        Ok(())
    };
    read_until("now-running", &mut said)?;
    etcd.kill(0);
    listener.note("go");
    read_until("waiting for the store of stage records", &mut said)?;
    assert_eq!(registry.stages("away")?.len(), 1, "nothing is stored meanwhile");
    etcd.start(0);
    lines.read_to_string(&mut said)?;
    let status = child.wait()?;
    assert!(status.success(), "{said}");
    assert!(said.contains("no longer waiting"), "{said}");
    assert_eq!(registry.stages("away")?.len(), 2);
    engine::forget(project.name())
}
