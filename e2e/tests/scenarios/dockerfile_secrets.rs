//! `secrets` and `ssh` of Dockerfile images: what `RUN --mount` gets from BuildKit, and what is left of it.

use std::fs;

use anyhow::{Context as _, Result};
use slipway_e2e::{
    Project, Setup,
    canary::Canary,
    engine,
    ssh::{key, ssh_add},
    takes_engine_images,
};

use crate::secrets::{ALLOWED, md5};

/// A project with one Dockerfile image, whose Dockerfile is these lines on the base.
fn new(name: &str, directives: &str, lines: &str) -> Result<Option<Setup>> {
    let setup = Setup::new(name, &format!("image: app\ndockerfile: Dockerfile\n{directives}"))?;
    if let Some(setup) = &setup {
        setup.project.write("werf-giterminism.yaml", ALLOWED)?;
        write(&setup.project, lines)?;
    }
    Ok(setup)
}

/// A line of its own makes the engine's cache start anew for each test.
fn write(project: &Project, lines: &str) -> Result<()> {
    project.write("Dockerfile", format!("FROM {}\nENV PROJECT={}\n{lines}", project.base(), project.name()))
}

#[test]
fn fixture_41_run_reads_secrets_of_every_source() -> Result<()> {
    let ids = ["E2E_TOKEN", "relative.txt", "home.txt", "own"];
    let mounts: String = ids.map(|id| format!(" --mount=type=secret,id={id}")).concat();
    let look = "for f in E2E_TOKEN relative.txt home.txt own; do \
                echo $f $(md5sum < /run/secrets/$f | cut -d' ' -f1) $(stat -c '%a %u %g' /run/secrets/$f); done > /seen";
    let directives = "secrets: [{env: E2E_TOKEN}, {src: relative.txt}, {src: ~/home.txt}, {id: own, value: written}]\n";
    let lines = format!(
        "RUN{mounts} {look}\nRUN ls -A /run/secrets 2>/dev/null | while read f; do cat /run/secrets/$f; done > /left\n"
    );
    let Some(setup) = new("run-secrets", directives, &lines)? else { return Ok(()) };
    let (project, home) = (&setup.project, tempfile::tempdir()?);
    project.write("relative.txt", "from the project")?;
    project.write(".gitignore", "relative.txt\n")?;
    fs::write(home.path().join("home.txt"), "from home")?;
    project.commit("first")?;
    let of_home = home.path().to_str().context("a UTF-8 path")?;
    let variables = [("E2E_TOKEN", "from a variable"), ("HOME", of_home)];
    let built = project.build_with(&["--repo", &setup.repo()], &variables)?;
    let image = built.image("app");
    let values = ["from a variable", "from the project", "from home", "written"];
    let mut expected = String::new();
    for (id, value) in ids.into_iter().zip(values) {
        expected.push_str(&format!("{id} {} 400 0 0\n", md5(&image, value)?));
    }
    assert_eq!(engine::sh(&image, "cat /seen /left")?, expected);

    // Another value rebuilds nothing; another line sees the value of the day.
    let other = [("E2E_TOKEN", "another value"), ("HOME", of_home)];
    let again = project.build_with(&["--repo", &setup.repo()], &other)?;
    assert!(again.run.built().is_empty() && again.image("app") == image, "{}", again.run.stderr);
    write(project, "RUN --mount=type=secret,id=E2E_TOKEN md5sum < /run/secrets/E2E_TOKEN > /seen\n")?;
    project.commit("second")?;
    let third = project.build_with(&["--repo", &setup.repo()], &other)?;
    assert_eq!(third.run.built(), ["app/dockerfile"]);
    let image = third.image("app");
    assert_eq!(engine::sh(&image, "cut -d' ' -f1 /seen")?.trim(), md5(&image, "another value")?);
    let missing = project.slipway(&["build", "--repo", &setup.repo()])?;
    assert!(missing.code == 3 && missing.stderr.contains("E2E_TOKEN is not set"), "{}", missing.stderr);
    Ok(())
}

/// Shows a secret in the ways that it may come out by accident.
const TELL: &str = "s=/run/secrets/E2E_CANARY; cat $s; echo; cat $s >&2; base64 $s; \
    head -n1 $s | sed 's/ /%20/g;s/[/]/%2F/g;s/+/%2B/g'; cut -c 1-9 $s | tr -d '\\n'; cut -c 10- $s; \
    set -x; : \"$(cat $s)\"; set +x; echo told-all";

#[test]
fn a_canary_of_a_dockerfile_is_found_nowhere() -> Result<()> {
    let run = |last: &str| format!("RUN --mount=type=secret,id=E2E_CANARY {TELL}{last}\n");
    let Some(setup) = new("run-canary", "secrets: [{env: E2E_CANARY}]\n", &run(""))? else { return Ok(()) };
    let (project, canary) = (&setup.project, Canary::new());
    // A Dockerfile that is not in its context is sent apart.
    project.write(".dockerignore", "Dockerfile\n")?;
    project.commit("first")?;
    let (tmp, system) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let (of_tmp, of_system) = (tmp.path().to_str().context("a path")?, system.path().to_str().context("a path")?);
    let variables = [("E2E_CANARY", canary.value.as_str()), ("SLIPWAY_TMP_DIR", of_tmp), ("TMPDIR", of_system)];
    let report = project.path().join("report.json");
    let (repo, of_report) = (setup.repo(), report.to_str().context("a UTF-8 path")?);
    let arguments = ["build", "--repo", &repo, "--log-debug", "--save-build-report", "--build-report-path", of_report];
    let built = project.slipway_with(&arguments, &variables)?;
    assert_eq!(built.code, 0, "{}", built.stderr);
    assert!(
        built.stderr.contains("app/dockerfile told-all") && built.stderr.contains("app/dockerfile ***"),
        "{}",
        built.stderr
    );
    canary.is_not_in("the log", built.stderr.as_bytes())?;
    canary.is_not_in("the report", &fs::read(&report)?)?;
    for tag in setup.registry.stages(project.name())? {
        canary.is_not_in_image(&format!("{repo}:{tag}"))?;
    }
    // A failure shows the last lines once more.
    write(project, &run("; exit 3"))?;
    project.commit("second")?;
    let failed = project.slipway_with(&arguments, &variables)?;
    assert!(failed.code == 1 && failed.stderr.contains("exit code 3"), "{}", failed.stderr);
    canary.is_not_in("the log of a failure", failed.stderr.as_bytes())?;
    for directory in [project.home(), project.path(), &setup.registry.data(), tmp.path(), system.path()] {
        canary.is_not_below(directory)?;
    }
    Ok(())
}

#[test]
fn fixture_42_keys_that_are_named_are_in_an_agent_for_run() -> Result<()> {
    let copy = "COPY ssh /\nRUN --mount=type=ssh ssh-add -L > /keys\nRUN --mount=type=ssh,id=own ssh-add -L >> /keys\n";
    let Some(setup) = new("run-ssh", "ssh: own\n", copy)? else { return Ok(()) };
    let (project, home) = (&setup.project, tempfile::tempdir()?);
    let Some((file, public)) = key(home.path(), "")? else { return Ok(()) };
    ssh_add(project)?;
    project.commit("first")?;
    let of_home = home.path().to_str().context("a UTF-8 path")?;
    let variables = [("HOME", of_home), ("SSH_AUTH_SOCK", "")];
    let without = project.slipway_with(&["build", "--repo", &setup.repo()], &variables)?;
    assert!(without.code == 1 && without.stderr.contains("app/dockerfile"), "{}", without.stderr);
    let built = project.build_with(&["--repo", &setup.repo(), "--ssh-key", &file], &variables)?;
    let seen = engine::sh(&built.image("app"), "cat /keys")?;
    assert_eq!(seen.matches(&public).count(), 2, "{seen}");
    let config = engine::config(&built.image("app"))?;
    assert!(!config.to_string().contains("SSH_AUTH_SOCK"), "{config}");

    // Another key rebuilds nothing.
    let Some((other, _)) = key(home.path(), "")? else { return Ok(()) };
    let second = project.build_with(&["--repo", &setup.repo(), "--ssh-key", &other], &variables)?;
    assert!(second.run.built().is_empty(), "{}", second.run.stderr);
    // An id that nobody gave.
    write(project, "RUN --mount=type=ssh,id=other,required=true true\n")?;
    project.commit("second")?;
    let refused = project.slipway_with(&["build", "--repo", &setup.repo(), "--ssh-key", &file], &variables)?;
    assert!(refused.code == 1 && refused.stderr.contains("`ssh: other` in werf.yaml"), "{}", refused.stderr);
    Ok(())
}

#[test]
fn what_cannot_mount_secrets_says_so() -> Result<()> {
    // Another backend has no builder that cannot.
    if !takes_engine_images() {
        return Ok(());
    }
    let mount = "RUN --mount=type=secret,id=E2E_TOKEN true\n";
    let Some(setup) = new("no-buildkit", "secrets: [{env: E2E_TOKEN}]\n", mount)? else { return Ok(()) };
    setup.project.commit("first")?;
    let arguments = ["build", "--repo", &setup.repo()];
    let classic = setup.project.slipway_with(&arguments, &[("E2E_TOKEN", "x"), ("DOCKER_BUILDKIT", "0")])?;
    assert_eq!(classic.code, 1, "{}", classic.stderr);
    for part in ["(Dockerfile:3)", "RUN --mount=type=secret needs BuildKit", "DOCKER_BUILDKIT=0"] {
        assert!(classic.stderr.contains(part), "`{part}` is not in:\n{}", classic.stderr);
    }
    Ok(())
}
