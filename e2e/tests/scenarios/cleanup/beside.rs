//! Cleanups that are killed or stopped at each of their steps, and builds that run meanwhile.

use std::{collections::BTreeSet, path::PathBuf, process::Child, thread, time::Duration};

use anyhow::{Context as _, Result, bail};
use slipway_e2e::{Built, Cluster, Part, Run, registry, require};
use slipway_parts::Etcd;

use super::{IMAGE, OLD, World};

/// A program that has stopped at a step.
pub(super) struct Stopped {
    child: Child,
    file: PathBuf,
}

impl Stopped {
    /// Waits until the program has come to where it makes the file.
    fn new(mut child: Child, file: PathBuf) -> Result<Self> {
        while !file.exists() {
            if child.try_wait()?.is_some() {
                let run = Run::wait(child)?;
                bail!("it ended with {} and never came to {}:\n{}", run.code, file.display(), run.stderr);
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(Self { child, file })
    }

    fn release(self) -> Result<Child> {
        std::fs::remove_file(&self.file)?;
        Ok(self.child)
    }

    /// Lets it go on, to its end, which is a good one.
    pub(super) fn go_on(self) -> Result<Run> {
        let run = Run::wait(self.release()?)?;
        assert_eq!(run.code, 0, "{}", run.stderr);
        Ok(run)
    }
}

impl World {
    /// Starts a cleanup, which stops at a step.
    pub(super) fn start_cleanup(&self, more: &[&str], point: &str) -> Result<Stopped> {
        let arguments = ["cleanup", "--repo", &self.repo(), "--without-kube", "--second-look-after", "0"];
        self.start_stopped(&[&arguments, more].concat(), point)
    }

    fn start_stopped(&self, arguments: &[&str], point: &str) -> Result<Stopped> {
        let file = self.place.path().join(format!("at {point}"));
        let variable = format!("{point}@{}", file.display());
        let child = self.setup.project.start(arguments, &[("SLIPWAY_FAILPOINT", &variable)])?;
        Stopped::new(child, file)
    }

    /// Checks a commit out; the branches of `origin` stay as they are.
    fn check_out(&self, commit: &str) -> Result<()> {
        self.setup.project.git(&["checkout", "--quiet", commit]).map(drop)
    }

    /// The images of a build can be pulled.
    fn has(&self, built: &Built) -> Result<()> {
        registry::manifest(&self.repo(), &tag_of(built)?).map(drop)
    }
}

/// The tag of the image of a build.
fn tag_of(built: &Built) -> Result<String> {
    Ok(built.image("app").rsplit_once(':').context("a tag")?.1.to_owned())
}

/// Wherever a cleanup is killed, builds go on as before, and when it is run again it ends in the same state.
fn killed_anywhere(world: &World, points: &[&str], shared: &[&str]) -> Result<BTreeSet<String>> {
    let old = world.build(IMAGE, "1", "main", shared)?;
    let one = world.stages()?;
    // A tag of a user keeps the manifest of a stage that goes: only its name is taken off.
    registry::copy_tag(&world.repo(), &tag_of(&old)?, "mine")?;
    world.build(IMAGE, "2", "main", shared)?;
    let wanted: BTreeSet<String> = world.stages()?.difference(&one).cloned().collect();
    let clean = [shared, &[OLD]].concat();
    for point in points {
        let run = world.cleanup_with(&clean, &[("SLIPWAY_FAILPOINT", point)])?;
        assert_eq!(run.code, 137, "{point}: {}", run.stderr);
        let built = world.build_again(shared)?;
        assert!(built.run.built().is_empty(), "{point}: {}", built.run.stderr);
        world.has(&built)?;
    }
    world.cleaned(&clean)?;
    assert_eq!((world.stages()?, world.with("meta-")?), (wanted.clone(), 1));
    registry::manifest(&world.repo(), "mine")?;
    let tags = world.tags()?;
    let again = world.cleaned(&[&clean[..], &["--dry-run"]].concat())?;
    assert!(again.stdout.contains("0 tags go"), "{}", again.stdout);
    assert_eq!(world.tags()?, tags);
    Ok(wanted)
}

#[test]
fn a_killed_cleanup_is_gone_on_with() -> Result<()> {
    let Some(world) = World::new("killed")? else { return Ok(()) };
    let points = [
        "cleanup.judged",
        "cleanup.hidden",
        "cleanup.announced",
        "cleanup.removed",
        "cleanup.stages",
        "cleanup.tombstone",
        "cleanup.recorded",
    ];
    killed_anywhere(&world, &points, &[]).map(drop)
}

/// Records that hosts share go with their stages, wherever the cleanup is killed.
#[test]
fn records_in_etcd_go_with_their_stages() -> Result<()> {
    let Some(etcd) = Etcd::one() else { return Ok(()) };
    let Some(world) = World::new("records")? else { return Ok(()) };
    let address = etcd.endpoints()[0].replace("http://", "etcd://");
    records_go_with_their_stages(&world, &etcd, &["--synchronization", &address])
}

/// The same where only a coordinator speaks to etcd.
#[test]
fn records_of_a_coordinator_go_with_their_stages() -> Result<()> {
    if !require(&[Part::Etcd]) {
        return Ok(());
    }
    let Some(world) = World::new("records-asked")? else { return Ok(()) };
    let mut cluster = Cluster::start(1, 0)?;
    let shared = ["--synchronization", &cluster.urls()];
    records_go_with_their_stages(&world, &cluster.etcd, &shared)?;
    cluster.kill_coordinator(0);
    let run = world.cleanup(&shared)?;
    assert!(run.code == 1 && run.stderr.contains("(--synchronization)"), "{}", run.stderr);
    Ok(())
}

fn records_go_with_their_stages(world: &World, etcd: &Etcd, shared: &[&str]) -> Result<()> {
    let records = || etcd.ctl(&["get", "", "--prefix", "--keys-only"]).matches("/stage/").count();
    let points = [
        "condemn.condemned",
        "condemn.waited",
        "condemn.doomed",
        "cleanup.removed",
        "cleanup.tombstone",
        "cleanup.recorded",
        "cleanup.second",
    ];
    let stays = killed_anywhere(world, &points, shared)?;
    // A record and a head of each.
    assert_eq!(records(), 2 * stays.len());
    // Somebody writes the tag of a stage that was just deleted: it is seen, and deleted again.
    let stage = stays.iter().next().context("a stage")?;
    world.forget("main")?;
    let late = registry::raw(&world.repo(), stage)?;
    let stopped = world.start_cleanup(&[shared, &[OLD]].concat(), "cleanup.second")?;
    assert_eq!(world.stages()?, BTreeSet::new());
    registry::put(&world.repo(), stage, &late)?;
    assert_eq!(world.stages()?.len(), 1);
    stopped.go_on()?;
    assert_eq!((world.stages()?, records()), (BTreeSet::new(), 0));
    // A purge takes the rest, but for the user's own tag.
    world.build_again(shared)?;
    let arguments = ["purge", "--repo", &world.repo(), "--second-look-after", "0"];
    let run = world.setup.project.slipway(&[&arguments, shared].concat())?;
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!((world.tags()?, records()), (BTreeSet::from(["mine".to_owned()]), 0));
    Ok(())
}

/// A build ends well whatever a cleanup is doing, and whatever it reuses: `early` = before anything is claimed, `late` = from then on,
/// when what it uses stays.
fn builds_beside(world: &World, (early, late): (&[&str], &[&str]), shared: &[&str]) -> Result<()> {
    let clean = [shared, &[OLD]].concat();
    world.commit(IMAGE, "1", "main")?;
    let first = world.setup.project.git(&["rev-parse", "HEAD"])?;
    for point in early.iter().chain(late) {
        world.check_out(&first)?;
        world.build_again(shared)?;
        world.check_out("main")?;
        world.build(IMAGE, point, "main", shared)?;
        let stopped = world.start_cleanup(&clean, point).with_context(|| format!("stop at {point}"))?;
        world.check_out(&first)?;
        let beside = world.build_again(shared).with_context(|| format!("a build beside {point}"))?;
        world.has(&beside)?;
        stopped.go_on()?;
        if late.contains(point) {
            world.has(&beside).with_context(|| format!("what was built beside {point}"))?;
        }
        // What is left is whole, and the next build finds or makes the rest.
        let after = world.build_again(shared).with_context(|| format!("a build after {point}"))?;
        world.has(&after)?;
        assert!(!late.contains(point) || after.run.built().is_empty(), "{point}: {}", after.run.stderr);
    }
    world.check_out("main")
}

/// A build that runs when a cleanup begins is waited for.
fn builds_are_waited_for(world: &World, point: &str, shared: &[&str]) -> Result<()> {
    let repo = world.repo();
    world.commit(IMAGE, "next", "main")?;
    let building = world.start_stopped(&[&["build", "--repo", &repo], shared].concat(), point)?;
    let arguments = ["cleanup", "--repo", &repo, "--without-kube", "--second-look-after", "0", OLD];
    let log = world.place.path().join("cleanup.log");
    let mut cleaning = world.setup.project.start_to(&[&arguments, shared].concat(), &log)?;
    while !std::fs::read_to_string(&log)?.contains("Waiting for builds that began before: ") {
        if let Some(status) = cleaning.try_wait()? {
            bail!("it did not wait and ended with {status}:\n{}", std::fs::read_to_string(&log)?);
        }
        thread::sleep(Duration::from_millis(10));
    }
    building.go_on()?;
    let ended = cleaning.wait()?;
    assert!(ended.success(), "{}", std::fs::read_to_string(&log)?);
    // It was the newest of its branch by then.
    let again = world.build_again(shared)?;
    assert!(again.run.built().is_empty(), "{}", again.run.stderr);
    world.has(&again)
}

#[test]
fn builds_of_this_host_end_well_beside_a_cleanup() -> Result<()> {
    let Some(world) = World::new("beside-cleanup")? else { return Ok(()) };
    let late = ["cleanup.hidden", "cleanup.removed:4", "cleanup.recorded"];
    builds_beside(&world, (&["cleanup.judged"], &late), &[])?;
    builds_are_waited_for(&world, "publish.look", &[])
}

#[test]
fn builds_with_etcd_end_well_beside_a_cleanup() -> Result<()> {
    let Some(etcd) = Etcd::one() else { return Ok(()) };
    let Some(world) = World::new("beside-etcd")? else { return Ok(()) };
    let address = etcd.endpoints()[0].replace("http://", "etcd://");
    let shared = ["--synchronization", address.as_str()];
    let late = ["condemn.condemned", "condemn.doomed", "cleanup.second"];
    builds_beside(&world, (&["cleanup.judged"], &late), &shared)?;
    builds_are_waited_for(&world, "publish.look", &shared)
}

#[test]
fn builds_with_a_coordinator_end_well_beside_a_cleanup() -> Result<()> {
    if !require(&[Part::Etcd]) {
        return Ok(());
    }
    let Some(world) = World::new("beside-asked")? else { return Ok(()) };
    let cluster = Cluster::start(1, 0)?;
    let shared = ["--synchronization", &cluster.urls()];
    let late = ["condemn.condemned", "condemn.doomed", "cleanup.second"];
    builds_beside(&world, (&["cleanup.judged"], &late), &shared)?;
    builds_are_waited_for(&world, "worker.uploaded", &shared)
}
