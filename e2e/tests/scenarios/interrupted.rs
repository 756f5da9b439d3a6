//! Builds that are killed: a rerun finishes, and nothing half-made is visible.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result};
use slipway_e2e::{Listener, Part, Project, Registry, Run, engine, require};

use super::native::{base, can_build};

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

/// What builds, and where it finds its base.
struct Builder {
    registry: Registry,
    flags: &'static [&'static str],
    base: String,
}

impl Builder {
    /// The backend of all builds that name none: the engine's.
    fn usual() -> Result<Self> {
        Ok(Self { registry: Registry::start()?, flags: &[], base: "BASE".to_owned() })
    }

    /// This host itself.
    fn native() -> Result<Self> {
        let registry = Registry::start()?;
        let base = base(&registry)?;
        Ok(Self { registry, flags: &["--backend", "native"], base })
    }

    fn arguments<'a>(&self, repo: &'a str) -> Vec<&'a str> {
        [&["build", "--repo", repo], self.flags].concat()
    }

    fn project(&self) -> Result<Project> {
        let (project, base) = (Project::new("killed")?, &self.base);
        project.write("src/file", "1")?;
        project.config(&format!(
            "image: a\nfrom: {base}\ngit: [{{add: /src, to: /app}}]\nshell: {{setup: date > /b}}\n"
        ))?;
        project.commit("first")?;
        Ok(project)
    }

    /// All that a build can be interrupted at: an artifact, an import of it, git files, an image on another, a Dockerfile.
    fn wide(&self) -> Result<Project> {
        let (project, base) = (Project::new("killed")?, &self.base);
        project.write("src/file", "1")?;
        project.write(
            "Dockerfile",
            format!("FROM {base}\nCOPY src /src\nRUN date > /b\n").replace("BASE", &project.base()),
        )?;
        project.config(&format!(
            "artifact: made\nfrom: {base}\nshell: {{install: 'mkdir /out && date > /out/x'}}\n---\n\
             image: a\nfrom: {base}\ngit: [{{add: /src, to: /app}}]\nimport: [{{artifact: made, add: /out, to: /in, before: setup}}]\n\
             shell: {{setup: date > /b}}\n---\nimage: above\nfromImage: a\nshell: {{setup: date > /c}}\n---\n\
             image: file\ndockerfile: Dockerfile\n"
        ))?;
        project.commit("first")?;
        Ok(project)
    }

    /// Kills a build at each of the points.
    fn kill_at(&self, points: impl Iterator<Item = (&'static str, u32)>) -> Result<()> {
        for (round, (point, passage)) in points.enumerate() {
            let project = self.project()?;
            let repo = self.registry.repo("killed");
            let armed = format!("{point}:{passage}");
            let run = project.slipway_with(&self.arguments(&repo), &[("SLIPWAY_FAILPOINT", &armed)])?;
            assert_eq!(run.code, 137, "{armed} was not reached:\n{}", run.stderr);
            self.recovers(&project, (&repo, 3), round, &armed)?;
            self.forget(&project)?;
        }
        Ok(())
    }

    /// Kills so many builds at moments of chance; every fifth, from the first on, is of the large project.
    fn kill_by_chance(&self, rounds: usize) -> Result<()> {
        let seed = u64::from_str_radix(&slipway_process::random_id()[..8], 16)?;
        let mut state = seed | 1;
        for round in 0..rounds {
            let is_wide = round % 5 == 0;
            let (project, count) = if is_wide { (self.wide()?, WIDE) } else { (self.project()?, 3) };
            let repo = self.registry.repo("killed");
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // The large one takes its time, and so does an engine.
            let longest = match (is_wide, self.flags.is_empty()) {
                (true, true) => 4_000,
                (false, true) | (true, false) => 1_500,
                (false, false) => 500,
            };
            let mut child = project.start(&self.arguments(&repo), &[])?;
            thread::sleep(Duration::from_millis((state >> 33) % longest));
            child.kill()?;
            Run::wait(child)?;
            let what = format!("seed {seed}, round {round}");
            self.recovers(&project, (&repo, count), round, &what).with_context(|| what.clone())?;
            self.forget(&project)?;
        }
        Ok(())
    }

    /// Every stage tag names a complete image; a rerun finishes and a third run builds nothing.
    fn recovers(&self, project: &Project, (repo, count): (&str, usize), round: usize, what: &str) -> Result<()> {
        for tag in self.registry.stages("killed")? {
            self.registry.config("killed", &tag)?;
        }
        let flags = &self.arguments(repo)[1..];
        let rerun = project.build(flags)?;
        let by_engine = self.flags.is_empty();
        // To look into an image takes longer than to build it natively.
        if by_engine || round.is_multiple_of(5) {
            assert!(engine::sh(&rerun.image("a"), "cat /app/file")?.starts_with('1'), "{what}");
        }
        let stages = self.registry.stages("killed")?;
        assert_eq!(stages.len(), count, "{what}: {stages:?}");
        assert!(project.build(flags)?.run.built().is_empty(), "{what}");
        if by_engine {
            let own = engine::run(&["ps", "--all", "--format={{.Image}}", "--filter", "name=werf.build."])?;
            assert!(!own.contains(project.name()), "{what}: containers are left behind: {own}");
        }
        Ok(())
    }

    fn forget(&self, project: &Project) -> Result<()> {
        let _ = std::fs::remove_dir_all(self.registry.data().join("docker/registry/v2/repositories/killed"));
        engine::forget(project.name())
    }
}

/// Stages of the large project.
const WIDE: usize = 8;

/// Whether a point stands in what the engine has a part in; all others are the same whatever builds.
fn is_of_the_engine((point, _): &(&str, u32)) -> bool {
    point.starts_with("worker.")
}

#[test]
fn killed_at_every_point() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (engines, others): (Vec<_>, Vec<_>) = POINTS.into_iter().partition(is_of_the_engine);
    Builder::usual()?.kill_at(engines.into_iter())?;
    let builder = if can_build() { Builder::native() } else { Builder::usual() };
    builder?.kill_at(others.into_iter())
}

#[test]
fn killed_at_random_moments() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    Builder::usual()?.kill_by_chance(11)?;
    let builder = if can_build() { Builder::native() } else { Builder::usual() };
    builder?.kill_by_chance(11)
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
