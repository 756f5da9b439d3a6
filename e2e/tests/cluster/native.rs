//! Workers with an engine and without one, in one cluster.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use slipway_e2e::{Cluster, Project, Run, cluster::wait, engine, processes};

use crate::can_run;

/// Images of two stages with commands, sources, and an import; `mark` goes into the upper ones.
fn configure(project: &Project, cluster: &Cluster, mark: &str) -> Result<()> {
    cluster.config(
        project,
        &format!(
            "artifact: tools\nfrom: BASE\nshell: {{install: ['mkdir /tools && date > /tools/made']}}\n---\n\
             image: app\nfrom: BASE\ngit: [{{add: /src, to: /app}}]\n\
             import: [{{artifact: tools, add: /tools, to: /tools, after: install}}]\n\
             shell: {{install: ['date > /lower'], setup: ['cat /lower /app/file > /upper; echo {mark} > /mark']}}\n"
        ),
    )
}

#[test]
fn what_one_backend_has_built_another_builds_on() -> Result<()> {
    if !can_run() || !as_root() {
        return Ok(());
    }
    let mut cluster = Cluster::start(1, 0)?;
    let project = Project::new("both")?;
    project.write("src/file", "1")?;
    configure(&project, &cluster, "one")?;
    project.commit("first")?;
    cluster.add_native_worker();
    let first = Run::wait(cluster.start_build(&project, &[])?)?;
    if first.stderr.contains("lacks the network default for commands") {
        // Where sandboxes can have no network of their own, commands of strangers do not get the host's.
        assert_eq!(first.code, 1, "{}", first.stderr);
        slipway_parts::skip("network", "sandboxes can have no network of their own here");
        return Ok(());
    }
    assert_eq!(first.code, 0, "{}\n{}", first.stderr, cluster.logs());
    let stages = cluster.stages(&project)?;

    // The other one builds the upper stage anew, on the lower ones of the first.
    cluster.stop_worker(0);
    cluster.add_worker();
    let same = cluster.build(&project)?;
    assert!(same.run.built().is_empty(), "{}", same.run.stderr);
    configure(&project, &cluster, "two")?;
    project.commit("second")?;
    let second = cluster.build(&project)?;
    assert_eq!(second.run.built(), ["app/setup"], "{}", second.run.stderr);
    assert_eq!(engine::sh(&second.image("app"), "cat /mark")?, "two\n");

    // And the first one on those of the other; whichever is free builds a Dockerfile.
    project.write("Dockerfile", format!("FROM {}\nRUN echo docker > /by\n", cluster.base()?))?;
    configure(&project, &cluster, "three")?;
    let config = std::fs::read_to_string(project.path().join("werf.yaml"))?;
    project.write("werf.yaml", format!("{config}---\nimage: web\nfromImage: app\nshell: {{setup: date > /web}}\n---\nimage: file\ndockerfile: Dockerfile\n"))?;
    project.commit("third")?;
    cluster.start_worker(0, None);
    let third = cluster.build(&project)?;
    assert_eq!(engine::sh(&third.image("web"), "cat /mark /by 2>/dev/null || true")?, "three\n");
    assert_eq!(engine::sh(&third.image("file"), "cat /by")?, "docker\n");
    let all = cluster.stages(&project)?;
    assert!(stages.iter().all(|stage| all.contains(stage)), "{stages:#?} {all:#?}");
    staged(&mut cluster)?;
    cluster.nothing_left()
}

/// Instructions of a staged Dockerfile go to workers that can do one alone, and what one of them has made another goes on with.
fn staged(cluster: &mut Cluster) -> Result<()> {
    let project = Project::new("staged")?;
    let base = cluster.base()?;
    let tools = format!("FROM {base} AS tools\nRUN mkdir /tools && date > /tools/made\nCOPY src /src\n");
    let own = format!("FROM {base}\nENV A=b\nCOPY --from=tools /tools /tools\nRUN cat /tools/made > /seen\n");
    project.write("src/file", "1")?;
    project.write("Dockerfile", format!("{tools}{own}"))?;
    project.write("Second", format!("{tools}RUN cat /tools/made /src/file > /both\n"))?;
    let app = "image: app\ndockerfile: Dockerfile\nstaged: true\n";
    project.config(app)?;
    project.commit("first")?;
    let first = cluster.build(&project)?;
    let names = ["app/stage/tools/FROM", "app/stage/tools/RUN1", "app/stage/tools/COPY2"];
    let names: BTreeSet<&str> = names.into_iter().chain(["app/FROM", "app/ENV1", "app/COPY2", "app/RUN3"]).collect();
    let built = first.run.built();
    // The lower `FROM` of both parts is one stage.
    assert!(built.iter().all(|name| names.contains(name.as_str())), "{built:?}");
    assert_eq!(cluster.stages(&project)?.len(), 6, "{built:?}");
    // One that has nothing of it yet.
    cluster.stop_worker(0);
    cluster.add_native_worker();
    project.config(&format!("{app}---\nimage: second\ndockerfile: Second\nstaged: true\n"))?;
    project.commit("second")?;
    let second = cluster.build(&project)?;
    assert_eq!(second.run.built(), ["second/RUN3"], "{}", second.run.stderr);
    let seen = engine::sh(&first.image("app"), "cat /seen")?;
    assert_eq!(engine::sh(&second.image("second"), "cat /both")?, format!("{seen}1"));
    Ok(())
}

/// A worker whose sandboxes can have no network of their own says so, and gets no jobs with commands.
#[test]
fn a_worker_without_networks_gets_no_commands() -> Result<()> {
    if !can_run() || !as_root() {
        return Ok(());
    }
    // Neither iptables nor nft: what sets rules of the packet filter is no program of all users.
    let mut cluster = Cluster::start_with(1, 0, &[("PATH", "/usr/bin:/bin")])?;
    if ["/usr/bin/iptables", "/usr/bin/nft", "/bin/iptables"].iter().any(|path| std::path::Path::new(path).exists()) {
        slipway_parts::skip("network", "iptables is where all programs are");
        return Ok(());
    }
    cluster.add_native_worker();
    cluster.workers_known(1)?;
    let project = Project::new("unconnected")?;
    project.write("src/file", "1")?;
    cluster.config(&project, "image: app\nfrom: BASE\nshell: {setup: date > /made}\n")?;
    project.commit("first")?;
    let refused = Run::wait(cluster.start_build(&project, &[])?)?;
    assert_eq!(refused.code, 1, "{}\n{}", refused.stderr, cluster.logs());
    assert!(refused.stderr.contains("lacks the network default for commands"), "{}", refused.stderr);
    // What needs none is built there.
    cluster.config(&project, "image: app\nfrom: BASE\ngit: [{add: /src, to: /app}]\n")?;
    project.commit("second")?;
    cluster.build(&project)?;
    cluster.nothing_left()
}

/// A worker that is killed in the middle of a stage leaves no process; the next one sweeps what it left, and the build ends
/// well.
#[test]
fn a_killed_worker_leaves_nothing_and_its_job_is_done_again() -> Result<()> {
    if !can_run() || !as_root() {
        return Ok(());
    }
    let mut cluster = Cluster::start(1, 0)?;
    cluster.add_native_worker();
    let project = Project::new("killed-worker")?;
    let mark = format!("{}", 700_000 + std::process::id());
    cluster.config(
        &project,
        &format!("image: app\nfrom: BASE\nshell: {{setup: ['sleep {mark} || true', 'echo done > /up']}}\n"),
    )?;
    project.commit("first")?;
    let mut child = cluster.start_build(&project, &[])?;
    while processes::with(&mark).is_empty() {
        if child.try_wait()?.is_some() {
            let run = Run::wait(child)?;
            assert!(run.stderr.contains("lacks the network default for commands"), "{}", run.stderr);
            slipway_parts::skip("network", "sandboxes can have no network of their own here");
            return Ok(());
        }
        std::thread::yield_now();
    }
    let work = cluster.data_of_worker(0).join("native/work");
    let left = names(&work)?;
    assert!(!left.is_empty());
    cluster.kill_worker(0);
    // The kernel ends what is left in its own time.
    wait("an end of the sandbox", || processes::with(&mark).is_empty().then_some(()))?;
    assert_eq!(names(&work)?, left, "nobody is there who could have removed it");
    cluster.start_worker(0, None);
    wait("a second attempt", || (!processes::with(&mark).is_empty()).then_some(()))
        .map_err(|error| error.context(cluster.logs()))?;
    assert!(names(&work)?.is_disjoint(&left), "leftovers of the killed worker: {left:?}");
    for process in processes::with(&mark) {
        processes::kill(process)?;
    }
    let run = Run::wait(child)?;
    assert_eq!(run.code, 0, "{}\n{}", run.stderr, cluster.logs());
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    assert!(!mounts.contains(&*work.to_string_lossy()), "{mounts}");
    cluster.nothing_left()
}

fn names(directory: &std::path::Path) -> Result<BTreeSet<std::ffi::OsString>> {
    Ok(std::fs::read_dir(directory)?.map(|found| Ok(found?.file_name())).collect::<std::io::Result<_>>()?)
}

fn as_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        slipway_parts::skip("native", "the native backend needs root");
    }
    is_root
}

/// A worker that starts, and whose last cleanup was long ago, has its host cleaned.
#[test]
fn a_worker_has_its_host_cleaned() -> Result<()> {
    if !can_run() || !as_root() {
        return Ok(());
    }
    let variables = [
        ("SLIPWAY_DISABLE_AUTO_HOST_CLEANUP", "false"),
        ("SLIPWAY_ALLOWED_LOCAL_CACHE_VOLUME_USAGE", "0"),
        // That of this machine is left alone.
        ("DOCKER_HOST", "unix:///nonexistent/engine.sock"),
    ];
    let mut cluster = Cluster::start_with(1, 0, &variables)?;
    let data = cluster.data_of_worker(0);
    let (stamp, blob) = (data.join("service/host-cleanup"), data.join("local_cache/blobs/sha256-a"));
    for path in [&stamp, &blob] {
        std::fs::create_dir_all(path.parent().expect("a directory"))?;
        std::fs::write(path, "\n")?;
        let times = std::fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
        std::fs::File::options().write(true).open(path)?.set_times(times)?;
    }
    cluster.add_native_worker();
    let log = data.join("service/host-cleanup.log");
    let said = || std::fs::read_to_string(&log).ok().filter(|said| said.contains("removed: 1 "));
    wait("a clean host", said).with_context(|| format!("{:?}\n{}", std::fs::read_to_string(&log), cluster.logs()))?;
    assert!(!blob.exists());
    assert!(std::fs::metadata(&stamp)?.modified()? > std::time::UNIX_EPOCH, "the next one waits");
    Ok(())
}
