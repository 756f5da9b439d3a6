//! Shells inside stages, on a terminal that `script` makes, and `--follow`.

use std::{fs, io::Write as _};

use anyhow::{Context as _, Result};
use slipway_e2e::{Part, Project, Registry, Run, cluster::wait, engine, require};
use slipway_process::child::command;

const ALL: [Part; 3] = [Part::Docker, Part::Registry, Part::Git];

/// Runs a build on a terminal, on which this is typed; answers what the terminal showed. `None`, said aloud, where there is
/// no `script`.
fn on_terminal(project: &Project, arguments: &[&str], typed: &str) -> Result<Option<Run>> {
    if command("script").arg("--version").output().is_err() {
        slipway_parts::skip("script", "the program that makes terminals is not installed (bsdutils)");
        return Ok(None);
    }
    let mut child = project.start_on_terminal(arguments)?;
    let mut input = child.stdin.take().context("an input")?;
    input.write_all(typed.as_bytes())?;
    let run = Run::wait(child)?;
    drop(input);
    Ok(Some(run))
}

const FAILS: &str = "image: app\nfrom: BASE\nsecrets: [{id: token, value: open-sesame}]\ngit: [{add: /src, to: /app}]\nshell:\n  \
    install:\n  - echo before > /state\n  - export SET=1; cat /app/file; echo after > /state; exit 3\n";
const ALLOWED: &str = "giterminismConfigVersion: 1\nconfig: {secrets: {allowValueIds: [token]}}\n";

fn project(name: &str) -> Result<Project> {
    let project = Project::new(name)?;
    project.write("werf-giterminism.yaml", ALLOWED)?;
    project.write("src/file", "a source\n")?;
    project.config(FAILS)?;
    project.commit("first")?;
    Ok(project)
}

/// What is typed into the shell: its answers are told apart from its echo.
const LOOK: &str = "echo state=$(cat /state)=; echo secret=$(cat /run/secrets/token | rev)=; echo src=$(cat /app/file)=\n\
    test -t 0 && echo on a term''inal; echo hash=${WERF_COMMIT_HASH:0:1}${#WERF_COMMIT_HASH}=\nexit 9\n";

#[test]
fn a_shell_is_opened_in_the_state_in_which_a_stage_failed() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, project("introspect")?);
    let repo = registry.repo("introspect");
    let Some(run) = on_terminal(&project, &["build", "--repo", &repo, "--introspect-error"], LOOK)? else {
        return Ok(());
    };
    // The shell's own end is none of the build's.
    assert_eq!(run.code, 1, "{}", run.stdout);
    for part in ["state=after=", "secret=emases-nepo=", "src=a source=", "on a terminal", "=", "exit code 3"] {
        assert!(run.stdout.contains(part), "`{part}` is not in:\n{}", run.stdout);
    }
    assert!(registry.stages("introspect")?.len() == 2, "nothing that failed is stored");
    Ok(())
}

#[test]
fn a_shell_is_opened_in_the_state_before_the_commands_that_failed() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, project("before")?);
    let repo = registry.repo("before");
    let arguments = ["build", "--repo", &repo, "--introspect-before-error"];
    let Some(run) = on_terminal(&project, &arguments, LOOK)? else { return Ok(()) };
    assert_eq!(run.code, 1, "{}", run.stdout);
    for part in ["state==", "secret=emases-nepo=", "src=a source=", "as it was before", "exit code 3"] {
        assert!(run.stdout.contains(part), "`{part}` is not in:\n{}", run.stdout);
    }
    Ok(())
}

#[test]
fn a_shell_is_opened_in_a_stage_that_was_built_or_found() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("stage")?);
    project.config("image: app\nfrom: BASE\nshell: {install: [echo one > /state], setup: [echo two > /state]}\n")?;
    project.commit("first")?;
    let repo = registry.repo("stage");
    for time in ["built", "found"] {
        let arguments = ["build", "--repo", &repo, "--introspect-stage", "app/install"];
        let typed = "echo state=$(cat /state)=; echo changed > /state\nexit\n";
        let Some(run) = on_terminal(&project, &arguments, typed)? else { return Ok(()) };
        assert_eq!(run.code, 0, "{time}: {}", run.stdout);
        assert!(run.stdout.contains("state=one="), "{time}: {}", run.stdout);
    }
    for (flag, state) in [("--introspect-after", "two"), ("--introspect-before", "one")] {
        let arguments = ["build", "--repo", &repo, flag, "*/setup"];
        let Some(run) = on_terminal(&project, &arguments, "echo state=$(cat /state)=\nexit\n")? else { return Ok(()) };
        assert_eq!(run.code, 0, "{flag}: {}", run.stdout);
        assert!(run.stdout.contains(&format!("state={state}=")), "{flag}: {}", run.stdout);
    }
    let first = on_terminal(&project, &["build", "--repo", &repo, "--introspect-before", "app/from"], "")?;
    assert!(first.is_some_and(|run| run.code == 0 && run.stdout.contains("is the first stage of its image")));
    let built = project.build(&["--repo", &repo])?;
    assert_eq!(engine::sh(&built.image("app"), "cat /state")?, "two\n");
    Ok(())
}

#[test]
fn without_a_terminal_and_for_what_is_not_there_flags_are_refused() -> Result<()> {
    if !require(&[Part::Git]) {
        return Ok(());
    }
    let project = project("no-terminal")?;
    let cluster = ["--coordinator", "http://127.0.0.1:1", "--repo", "r.example/x"];
    for (arguments, said) in [
        (
            &["--introspect-error"][..],
            "--introspect-error opens a shell, and standard input and standard error are no terminal",
        ),
        (&["--introspect-before-error"], "no terminal"),
        (&["--introspect-stage", "app/install"], "--introspect-stage opens a shell"),
        (&["--introspect-stage", "web/install"], "has no image `web`"),
        (&["--introspect-before", "web/install"], "--introspect-before web/install: this build has no image `web`"),
        (&["--introspect-stage", "app/instal"], "`instal` names no stage"),
        (&["--introspect-error", "--introspect-before-error"], "leave one of them out"),
    ] {
        let run = project.slipway(&[&["build"], arguments].concat())?;
        assert!(run.code == 2 && run.stderr.contains(said), "{arguments:?}: {} {}", run.code, run.stderr);
    }
    // Who names a backend for all tests names one too many for a cluster.
    for flag in [&["--introspect-error"][..], &["--introspect-before", "app/install"]] {
        let run = project.slipway_with(&[&["build"], &cluster[..], flag].concat(), &[("SLIPWAY_BACKEND", "")])?;
        let said = format!("{} opens a shell on your terminal, which workers of a cluster do not have", flag[0]);
        assert!(run.code == 2 && run.stderr.contains(&said), "{flag:?}: {} {}", run.code, run.stderr);
    }
    Ok(())
}

#[test]
fn a_build_that_follows_builds_each_new_commit_and_goes_on_after_a_failure() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("follow")?);
    let config = |command: &str| project.config(&format!("image: app\nfrom: BASE\nshell: {{setup: ['{command}']}}\n"));
    config("echo first")?;
    project.commit("first")?;
    let log = project.home().join("follow.log");
    let repo = registry.repo("follow");
    let mut child = project.start_to(&["build", "--follow", "--repo", &repo], &log)?;
    let said = |part: &str| wait(part, || fs::read_to_string(&log).ok()?.contains(part).then_some(()));
    let result = (|| {
        said("Waiting for the next commit")?;
        assert_eq!(registry.stages("follow")?.len(), 2);
        config("exit 7")?;
        project.commit("broken")?;
        said("exit code 7")?;
        config("echo third")?;
        project.commit("third")?;
        said("Built stage app/setup")?;
        wait("three stages", || registry.stages("follow").ok().filter(|stages| stages.len() == 3).map(drop))?;
        said("Waiting for the next commit")
    })();
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
    let status = child.wait()?;
    result.with_context(|| fs::read_to_string(&log).unwrap_or_default())?;
    assert_eq!(status.code(), Some(130), "{}", fs::read_to_string(&log)?);
    Ok(())
}
