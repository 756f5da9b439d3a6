//! A build on a cluster ends as one on this host does.

use anyhow::Result;
use slipway_e2e::{Cluster, Listener, Project, Run, engine};

use crate::{
    can_run,
    reporting::{ALL, each_once, project, runs},
};

#[test]
fn it_builds_shows_and_reports_as_an_embedded_build_does() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let (cluster, listener) = (Cluster::start(2, 2)?, Listener::start()?);
    let project = project("basic", &cluster, &listener)?;
    let first = cluster.build(&project)?;
    assert_eq!(first.run.built().len(), ALL, "{}", first.run.stderr);
    assert!(first.run.stderr.contains("app/setup said-by-app"), "{}", first.run.stderr);
    assert!(engine::sh(&first.image("web"), "cat /app/file /tools/made")?.starts_with('1'));
    assert_eq!(cluster.stages(&project)?.len(), ALL);

    let second = cluster.build(&project)?;
    assert!(second.run.built().is_empty(), "{}", second.run.stderr);
    assert_eq!(second.image("web"), first.image("web"));
    assert_eq!(second.report["Images"]["web"]["Rebuilt"], false);
    assert_eq!(runs(&project, &listener), each_once());

    // The same stages serve a build on this host, and it finds them all.
    let embedded = project.build(&["--repo", &cluster.repo(&project)])?;
    assert!(embedded.run.built().is_empty(), "{}", embedded.run.stderr);
    assert_eq!(embedded.image("web"), first.image("web"));
    cluster.nothing_left()
}

#[test]
fn a_failing_command_is_shown_with_its_place_and_exit_code() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let cluster = Cluster::start(1, 1)?;
    let project = Project::new("failing")?;
    cluster.config(
        &project,
        "image: app\nfrom: BASE\nshell:\n  setup:\n  - echo before\n  - echo it-is-broken; exit 7\n",
    )?;
    project.commit("first")?;
    let run = Run::wait(cluster.start_build(&project, &[])?)?;
    assert_eq!(run.code, 1, "{}", run.stderr);
    for part in ["app/setup", "it-is-broken", "exit code 7", "werf.yaml:9"] {
        assert!(run.stderr.contains(part), "`{part}` is not in:\n{}", run.stderr);
    }
    let required = Run::wait(cluster.start_build(&project, &["--require-built-images"])?)?;
    assert_eq!(required.code, 4, "{}", required.stderr);
    cluster.nothing_left()
}

#[test]
fn uncommitted_work_and_files_from_disk_go_along() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let cluster = Cluster::start(1, 1)?;
    let project = Project::new("dev")?;
    project.write("src/file", "committed\n")?;
    project.write("Dockerfile", format!("FROM {}\nCOPY . /ctx\n", cluster.base()?))?;
    cluster.config(
        &project,
        "image: app\nfrom: BASE\ngit: [{add: /src, to: /app}]\n---\n\
         image: ctx\ndockerfile: Dockerfile\ncontextAddFiles: [generated]\n",
    )?;
    project.write(
        "werf-giterminism.yaml",
        "giterminismConfigVersion: 1\nconfig: {dockerfile: {allowContextAddFiles: [generated]}}\n",
    )?;
    project.write(".gitignore", "generated\n")?;
    project.commit("first")?;
    project.write("generated", "on disk only\n")?;
    let built = cluster.build(&project)?;
    assert_eq!(engine::sh(&built.image("ctx"), "cat /ctx/generated")?, "on disk only\n");
    project.write("src/file", "not committed\n")?;
    let (urls, repo) = (cluster.urls(), cluster.repo(&project));
    let dev = project.build(&["--dev", "--coordinator", &urls, "--repo", &repo])?;
    assert_eq!(engine::sh(&dev.image("app"), "cat /app/file")?, "not committed\n");
    cluster.nothing_left()
}

/// Who asks for a build brings what it reads, by the rights that he has there; the cluster speaks to no other repository.
#[test]
fn other_repositories_and_submodules_come_from_who_asks() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let mut cluster = Cluster::start(1, 1)?;
    let (library, module, deep) = (Project::new("library")?, Project::new("module")?, Project::new("deep")?);
    deep.write("deep", "deep")?;
    deep.commit("first")?;
    module.write("file", "module")?;
    submodule(&module, &deep, "below")?;
    module.commit("first")?;
    library.write("lib/file", "one")?;
    submodule(&library, &module, "lib/module")?;
    library.commit("first")?;
    library.git(&["tag", "v1"])?;
    let project = Project::new("upstreams")?;
    submodule(&project, &module, "own")?;
    cluster.config(
        &project,
        &format!(
            "image: app\nfrom: BASE\ngit:\n- {{add: /own, to: /app}}\n- {{url: 'file://{}', tag: v1, add: /lib, to: /lib}}\n",
            library.path().display()
        ),
    )?;
    project.commit("first")?;
    let first = cluster.build(&project)?;
    let look = "cat /app/file /app/below/deep /lib/file /lib/module/file /lib/module/below/deep";
    assert_eq!(engine::sh(&first.image("app"), look)?, "moduledeeponemoduledeep");
    // What is stored serves again, on a worker that has fetched nothing and needs none of it.
    cluster.kill_worker(0);
    cluster.add_native_worker();
    assert!(cluster.build(&project)?.run.built().is_empty());
    // A change of a submodule is a patch; it comes from the new worker's own copy.
    module.write("file", "changed")?;
    module.commit("second")?;
    let pull = ["-c", "protocol.file.allow=always", "submodule", "--quiet", "update", "--remote", "own"];
    project.git(&pull)?;
    project.commit("second")?;
    let second = cluster.build(&project)?;
    assert_eq!(second.run.built(), ["app/gitLatestPatch"], "{}", second.run.stderr);
    assert_eq!(engine::sh(&second.image("app"), look)?, "changeddeeponemoduledeep");
    // A password is not for the cluster to keep.
    let config = "image: app\nfrom: BASE\ngit: [{url: 'https://me:secret@host/a', tag: v1, to: /a}]\n";
    cluster.config(&project, config)?;
    project.commit("third")?;
    let refused = Run::wait(cluster.start_build(&project, &[])?)?;
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert!(refused.stderr.contains("which the cluster would store"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("secret"), "{}", refused.stderr);
    cluster.nothing_left()
}

fn submodule(outer: &Project, inner: &Project, path: &str) -> Result<()> {
    let url = inner.path().display().to_string();
    outer.git(&["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", &url, path])?;
    let update = ["submodule", "--quiet", "update", "--init", "--recursive"];
    outer.git(&[&["-c", "protocol.file.allow=always"], update.as_slice()].concat()).map(drop)
}

#[test]
fn a_detached_build_goes_on_and_is_asked_about() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let (cluster, listener) = (Cluster::start(1, 1)?, Listener::start()?);
    let project = project("detached", &cluster, &listener)?;
    let detached = Run::wait(cluster.start_build(&project, &["--detach"])?)?;
    assert_eq!(detached.code, 0, "{}", detached.stderr);
    let name = detached.stdout.trim();
    let attached = cluster.ask(&project, &["attach", name])?;
    assert_eq!(attached.code, 0, "{}", attached.stderr);
    assert_eq!(attached.built().len(), ALL, "{}", attached.stderr);
    let list = cluster.ask(&project, &["builds", "list"])?;
    assert!(list.stdout.starts_with(&format!("{name}  succeeded")), "{list:?}");
    let show = cluster.ask(&project, &["builds", "show", name])?;
    assert!(show.stdout.contains("state: succeeded\n"), "{show:?}");
    let logs = cluster.ask(&project, &["logs", "--follow", name])?;
    let said: Vec<&str> = logs.stdout.lines().filter(|line| !line.ends_with(" network: default")).collect();
    assert_eq!((logs.code, said), (0, vec!["app/setup said-by-app"]), "{}", logs.stderr);
    let explain = cluster.ask(&project, &["explain", name])?;
    assert_eq!(explain.code, 0, "{}", explain.stderr);
    let unknown = cluster.ask(&project, &["builds", "show", "no-such-build"])?;
    assert_eq!(unknown.code, 1, "{unknown:?}");
    assert_eq!(runs(&project, &listener), each_once());
    Ok(())
}

#[test]
fn an_interrupt_cancels_the_build_and_a_lost_client_does_not() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let (cluster, listener) = (Cluster::start(1, 1)?, Listener::start()?);
    let sleeper = Project::new("sleeper")?;
    let report = listener.report(&format!("{}-sleeps", sleeper.name()));
    cluster.config(&sleeper, &format!("image: a\nfrom: BASE\nshell: {{setup: ['{report}', sleep 600]}}\n"))?;
    sleeper.commit("first")?;
    let client = cluster.start_build(&sleeper, &[])?;
    slipway_e2e::cluster::wait("the command", || (!runs(&sleeper, &listener).is_empty()).then_some(()))?;
    let pid = rustix::process::Pid::from_raw(client.id().try_into()?).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
    let run = Run::wait(client)?;
    assert_eq!(run.code, 130, "{}", run.stderr);
    cluster.nothing_left()?;
    let list = cluster.ask(&sleeper, &["builds", "list"])?;
    assert!(list.stdout.contains("  cancelled  "), "{list:?}");

    let project = project("lost", &cluster, &listener)?;
    let mut client = cluster.start_build(&project, &[])?;
    slipway_e2e::cluster::wait("a command", || (!runs(&project, &listener).is_empty()).then_some(()))?;
    client.kill()?;
    Run::wait(client)?;
    let built = cluster.build(&project)?;
    assert_eq!(runs(&project, &listener), each_once(), "{}", built.run.stderr);
    assert_eq!(cluster.stages(&project)?.len(), ALL);
    cluster.nothing_left()
}
