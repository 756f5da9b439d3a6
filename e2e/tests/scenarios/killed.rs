//! Native builds that are killed in the middle of a stage: no process, mount or group of theirs stays, and the next build
//! removes their directories.

use std::{
    path::{Path, PathBuf},
    process::Child,
};

use anyhow::{Context as _, Result};
use rustix::fs::{Access, access};
use slipway_e2e::{
    Project, Registry, Run,
    cluster::wait,
    processes::{self, Process},
};

use super::native::{AS_USER, NO_ENGINE, base, can_build, give, running};

/// Where groups of processes may be.
const GROUPS: [&str; 3] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids"];

/// Flags that have a build make a group for its commands, where it can.
fn in_a_group() -> &'static [&'static str] {
    let has = |place: &str| {
        std::fs::read_to_string(place).is_ok_and(|text| text.split_whitespace().any(|name| name == "pids"))
    };
    let is_there = Path::new("/sys/fs/cgroup/pids/cgroup.procs").exists() || has("/sys/fs/cgroup/cgroup.controllers");
    let open = access("/sys/fs/cgroup", Access::WRITE_OK).is_ok();
    if is_there && open { &["--command-pids", "500"] } else { &[] }
}

/// The group that a process was put into, wherever it is.
fn groups_of(process: i32) -> Result<Vec<PathBuf>> {
    let listed = std::fs::read_to_string(format!("/proc/{process}/cgroup"))?;
    let name = listed.lines().find_map(|line| line.rsplit_once(":/slipway/")?.1.split('/').next());
    let places = |name: &str| GROUPS.iter().map(|place| Path::new(place).join("slipway").join(name)).collect();
    Ok(name.map(places).unwrap_or_default())
}

/// Kills a build that sleeps in a stage; answers its groups.
fn killed(mut child: Child, mark: &str) -> Result<Vec<PathBuf>> {
    while running(mark) == 0 {
        assert!(child.try_wait()?.is_none(), "it ended: {:?}", Run::wait(child));
        std::thread::yield_now();
    }
    let sleeping = *processes::with(mark).first().context("it sleeps")?;
    let groups = groups_of(sleeping)?;
    let all = processes::below(i32::try_from(child.id())?);
    assert!(all.len() > 1, "{all:?}");
    child.kill()?;
    child.wait()?;
    // The kernel ends what is left in its own time.
    wait("an end of all that the build started", || all.iter().all(|one: &Process| !one.runs()).then_some(()))
        .with_context(|| format!("{:?}", all.iter().filter(|one| one.runs()).collect::<Vec<_>>()))?;
    Ok(groups)
}

/// What is left of a build in `home` before and after the next one.
fn swept(home: &Path, groups: &[PathBuf], next: impl FnOnce() -> Result<Run>) -> Result<()> {
    let work = home.join("native/work");
    assert!(std::fs::read_dir(&work)?.count() > 0, "the killed build had a directory");
    let run = next()?;
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(std::fs::read_dir(&work)?.count(), 0, "{}", run.stderr);
    assert!(groups.iter().all(|group| !group.exists()), "{groups:?}");
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    assert!(!mounts.contains(&*home.to_string_lossy()), "{mounts}");
    Ok(())
}

fn installed(name: &str) -> bool {
    ["/usr/bin", "/usr/sbin", "/bin"].iter().any(|place| Path::new(place).join(name).is_file())
}

fn sleeping(project: &Project, base: &str, mark: &str) -> Result<()> {
    project.config(&format!("image: app\nfrom: {base}\nshell: {{setup: ['sleep {mark} & echo {mark} > /up; wait']}}\n"))
}

fn short(project: &Project, base: &str, mark: &str) -> Result<()> {
    project.config(&format!("image: app\nfrom: {base}\nshell: {{setup: echo after {mark} > /up}}\n"))
}

#[test]
fn a_killed_build_leaves_nothing() -> Result<()> {
    if !can_build() {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("killed-native")?);
    let base = base(&registry)?;
    for (number, by) in ["", "runc", "crun"].into_iter().enumerate() {
        let mark = format!("{}", 500_000 + std::process::id() * 4 + u32::try_from(number)?);
        let mut arguments = [&["build", "--backend", "native"], in_a_group()].concat();
        if !by.is_empty() {
            arguments.extend(["--native-runtime", by]);
        }
        if !by.is_empty() && !installed(by) {
            slipway_parts::skip("native", &format!("{by} is not installed"));
            continue;
        }
        sleeping(&project, &base, &mark)?;
        project.commit(&mark)?;
        let groups = killed(project.start(&arguments, &NO_ENGINE)?, &mark)?;
        assert_eq!(groups.is_empty(), in_a_group().is_empty(), "{groups:?}");
        short(&project, &base, &mark)?;
        project.commit("next")?;
        // A cleanup removes what is left, too.
        let next = if by == "crun" { vec!["host", "cleanup"] } else { arguments };
        swept(project.home(), &groups, || project.slipway_with(&next, &NO_ENGINE))?;
    }
    Ok(())
}

/// The same without root, with all that connects and runs the commands.
#[test]
fn a_killed_build_of_a_user_leaves_nothing() -> Result<()> {
    if !can_build() {
        return Ok(());
    }
    if let Some(name) = ["newuidmap", "newgidmap", "setpriv"].into_iter().find(|name| !installed(name)) {
        slipway_parts::skip("rootless", &format!("{name} is not installed"));
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("killed-user")?);
    let base = base(&registry)?;
    let home = tempfile::tempdir()?;
    let place = home.path().to_str().context("a UTF-8 path")?;
    give(home.path(), "nobody:nogroup")?;
    let own = format!("{place}/own");
    let wrapper = ["env", "TUN=666", "unshare", "--mount", "--propagation", "private", "sh", "-c", AS_USER, place];
    let commit = |what: &str| -> Result<()> {
        give(project.path(), "root:root")?;
        project.commit(what)?;
        give(project.path(), "nobody:nogroup")
    };
    for (number, by) in ["", "crun"].into_iter().enumerate().filter(|(_, by)| by.is_empty() || installed(by)) {
        let mark = format!("{}", 600_000_000 + std::process::id() * 4 + u32::try_from(number)?);
        let mut arguments = vec!["build", "--backend", "native", "--home-dir", &own];
        if !by.is_empty() {
            arguments.extend(["--native-runtime", by]);
        }
        sleeping(&project, &base, &mark)?;
        commit(&mark)?;
        killed(project.start_by(&wrapper, &arguments)?, &mark)?;
        short(&project, &base, &mark)?;
        commit("next")?;
        swept(Path::new(&own), &[], || project.slipway_by(&wrapper, &arguments))?;
    }
    let emptied = ["host", "cleanup", "--home-dir", &own, "--allowed-backend-storage-volume-usage=0"];
    // What users of the image have there is removed by whoever made it.
    let emptied = project.slipway_by(&wrapper, &emptied)?;
    assert_eq!(emptied.code, 0, "{}", emptied.stderr);
    Ok(())
}
