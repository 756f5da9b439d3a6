//! `secrets` and ssh keys: there while commands run, and nowhere afterwards.

use std::{fs, process::Stdio};

use anyhow::{Context as _, Result};
use slipway_e2e::{
    Part, Project, Registry,
    canary::Canary,
    engine, require,
    ssh::{key, ssh_add},
};
use slipway_process::child::command;

const ALL: [Part; 3] = [Part::Docker, Part::Registry, Part::Git];
/// Allows the secrets of the projects here.
pub(crate) const ALLOWED: &str = "giterminismConfigVersion: 1\nconfig:\n  secrets:\n    allowEnvVariables: [E2E_TOKEN, E2E_OTHER, E2E_CANARY]\n    \
    allowFiles: [relative.txt, ~/home.txt]\n    allowValueIds: [own]\n";

pub(crate) fn md5(image: &str, text: &str) -> Result<String> {
    let summed = engine::sh(image, &format!("printf %s '{text}' | md5sum"))?;
    Ok(summed.split(' ').next().unwrap_or_default().to_owned())
}

#[test]
fn fixture_41_secrets_of_every_source_are_files_in_memory_while_commands_run() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project, home) = (Registry::start()?, Project::new("secrets")?, tempfile::tempdir()?);
    let all = "secrets: [{env: E2E_TOKEN}, {src: relative.txt}, {src: ~/home.txt}, {id: own, value: written}]\n";
    let look = "for f in E2E_TOKEN relative.txt home.txt own; do \
                echo $f $(md5sum < /run/secrets/$f | cut -d' ' -f1) $(stat -c '%a %u %g' /run/secrets/$f); done >> /seen-STAGE; \
                awk '$2 == \"/run/secrets\" {print $3}' /proc/mounts >> /seen-STAGE; ls /run/secrets | wc -l >> /seen-STAGE";
    let stage = |name: &str| format!("  {name}:\n  - |\n    {}\n", look.replace("STAGE", name));
    let stages: String = ["beforeInstall", "install", "beforeSetup", "setup"].map(stage).concat();
    project.config(&format!(
        "image: app\nfrom: BASE\n{all}shell:\n{stages}---\nimage: plain\nfromImage: app\n\
                             shell: {{setup: ['ls /run/secrets 2>/dev/null | wc -l > /plain']}}\n"
    ))?;
    project.write("relative.txt", "from the project")?;
    project.write(".gitignore", "relative.txt\n")?;
    fs::write(home.path().join("home.txt"), "from home")?;
    project.commit("first")?;
    let of_home = home.path().to_str().context("a UTF-8 path")?;
    let variables = [("E2E_TOKEN", "from a variable"), ("HOME", of_home)];
    let repo = registry.repo("secrets");

    let refused = project.slipway_with(&["build", "--repo", &repo], &variables)?;
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    for part in
        ["secret \"E2E_TOKEN\" is not allowed", "\"relative.txt\"", "\"~/home.txt\"", "\"own\"", "allowValueIds"]
    {
        assert!(refused.stderr.contains(part), "`{part}` is not in:\n{}", refused.stderr);
    }
    project.write("werf-giterminism.yaml", ALLOWED)?;
    project.commit("allowed")?;
    let built = project.build_with(&["--repo", &repo], &variables)?;
    let image = built.image("app");
    let line = |id: &str, value: &str| -> Result<String> { Ok(format!("{id} {} 400 0 0\n", md5(&image, value)?)) };
    let expected = [
        line("E2E_TOKEN", "from a variable")?,
        line("relative.txt", "from the project")?,
        line("home.txt", "from home")?,
        line("own", "written")?,
        "tmpfs\n4\n".to_owned(),
    ];
    for name in ["beforeInstall", "install", "beforeSetup", "setup"] {
        assert_eq!(engine::sh(&image, &format!("cat /seen-{name}"))?, expected.concat(), "{name}");
    }
    // They belong to an image, not to those that stand on it.
    assert_eq!(engine::sh(&built.image("plain"), "cat /plain; ls -A /run/secrets 2>/dev/null | wc -l")?, "0\n0\n");
    Ok(())
}

#[test]
fn another_value_rebuilds_nothing_and_a_missing_one_is_an_error() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("secret-values")?);
    let config = |command: &str| {
        format!(
            "image: app\nfrom: BASE\nsecrets: [{{env: E2E_TOKEN}}]\nshell:\n  install: ['{command}']\n  \
                 setup: ['md5sum < /run/secrets/E2E_TOKEN > /seen']\n"
        )
    };
    project.config(&config("true"))?;
    project.write("werf-giterminism.yaml", ALLOWED)?;
    project.commit("first")?;
    let repo = registry.repo("secret-values");
    let build = |value: &str| project.build_with(&["--repo", &repo], &[("E2E_TOKEN", value)]);
    let first = build("value one")?;
    assert_eq!(first.run.built().len(), 3, "{}", first.run.stderr);
    let second = build("value two")?;
    assert!(second.run.built().is_empty(), "{}", second.run.stderr);
    assert_eq!(second.image("app"), first.image("app"));
    // Nor does another name of the file, or none at all.
    project.config(&config("true").replace("{env: E2E_TOKEN}", "{env: E2E_OTHER, id: E2E_TOKEN}"))?;
    project.commit("another variable")?;
    let renamed = project.build_with(&["--repo", &repo], &[("E2E_OTHER", "value three")])?;
    assert!(renamed.run.built().is_empty(), "{}", renamed.run.stderr);
    // What is built anew sees the value of the day.
    project.config(&config("echo more"))?;
    project.commit("second")?;
    let third = build("value four")?;
    assert_eq!(third.run.built(), ["app/install", "app/setup"]);
    let image = third.image("app");
    assert_eq!(engine::sh(&image, "cut -d' ' -f1 /seen")?.trim(), md5(&image, "value four")?);

    let missing = project.slipway(&["build", "--repo", &repo])?;
    assert_eq!(missing.code, 3, "{}", missing.stderr);
    for part in ["werf.yaml:6:", "image app", "`E2E_TOKEN`", "is not set"] {
        assert!(missing.stderr.contains(part), "`{part}` is not in:\n{}", missing.stderr);
    }
    // Where nothing may be built, nothing is read.
    assert_eq!(project.slipway(&["build", "--repo", &repo, "--require-built-images"])?.code, 0);
    let short = project.slipway_with(&["build", "--repo", &repo], &[("E2E_TOKEN", "abc")])?;
    assert!(short.code == 0 && short.stderr.contains("fewer than 4 characters"), "{}", short.stderr);
    Ok(())
}

/// Shows a secret in every way that it may come out by accident.
const TELL: &str = "s=/run/secrets/E2E_CANARY; cat $s; echo; cat $s >&2; base64 $s; printf 'user:%s' \"$(cat $s)\" | base64 -w0; echo; \
    head -n1 $s | sed 's/ /%20/g;s/[/]/%2F/g;s/+/%2B/g'; v=$(cat $s); printf %s \"${v:0:9}\"; printf '%s\\n' \"${v:9}\"; \
    set -x; : \"$(cat $s)\"; set +x; echo told-all";

#[test]
fn a_canary_is_found_nowhere() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project, canary) = (Registry::start()?, Project::new("canary")?, Canary::new());
    let (tmp, system) = (tempfile::tempdir()?, tempfile::tempdir()?);
    let config = |last: &str| {
        let tell = TELL.replace('\'', "''");
        format!(
            "image: app\nfrom: BASE\nsecrets: [{{env: E2E_CANARY}}]\nshell:\n  install:\n  - '{tell}'\n  \
                 setup:\n  - '{tell}{last}'\n"
        )
    };
    project.config(&config(""))?;
    project.write("werf-giterminism.yaml", ALLOWED)?;
    project.commit("first")?;
    let repo = registry.repo("canary");
    let (of_tmp, of_system) = (tmp.path().to_str().context("a path")?, system.path().to_str().context("a path")?);
    let variables = [("E2E_CANARY", canary.value.as_str()), ("SLIPWAY_TMP_DIR", of_tmp), ("TMPDIR", of_system)];
    let report = project.path().join("report.json");
    let of_report = report.to_str().context("a UTF-8 path")?;
    let arguments = ["build", "--repo", &repo, "--log-debug", "--save-build-report", "--build-report-path", of_report];
    let run = project.slipway_with(&arguments, &variables)?;
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.stderr.matches("told-all").count(), 2, "{}", run.stderr);
    assert!(run.stderr.contains("app/install ***"), "{}", run.stderr);
    canary.is_not_in("the log", run.stderr.as_bytes())?;
    canary.is_not_in("the report", &fs::read(&report)?)?;
    for tag in registry.stages("canary")? {
        let image = format!("{repo}:{tag}");
        canary.is_not_in_image(&image)?;
        engine::run(&["image", "rm", "--force", &image])?;
    }
    // A failure shows the last lines once more.
    project.config(&config("; exit 3"))?;
    project.commit("second")?;
    let failed = project.slipway_with(&arguments, &variables)?;
    assert!(failed.code == 1 && failed.stderr.contains("exit code 3"), "{}", failed.stderr);
    canary.is_not_in("the log of a failure", failed.stderr.as_bytes())?;
    for directory in [project.home(), project.path(), &registry.data(), tmp.path(), system.path()] {
        canary.is_not_below(directory)?;
    }
    Ok(())
}

#[test]
fn fixture_42_keys_that_are_named_are_in_an_agent_for_commands() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project, home) = (Registry::start()?, Project::new("ssh")?, tempfile::tempdir()?);
    let Some((file, public)) = key(home.path(), "")? else { return Ok(()) };
    ssh_add(&project)?;
    project.config(
        "image: app\nfrom: BASE\ngit: [{add: /ssh, to: /}]\nshell:\n  install:\n  - echo $SSH_AUTH_SOCK > /socket\n  \
         - ssh-add -L > /keys\n  setup:\n  - su app -c 'SSH_AUTH_SOCK=/.werf/tmp/ssh-auth-sock ssh-add -L > /tmp/keys'\n",
    )?;
    project.commit("first")?;
    let repo = registry.repo("ssh");
    let of_home = home.path().to_str().context("a UTF-8 path")?;
    let variables = [("HOME", of_home), ("SSH_AUTH_SOCK", "")];
    let without = project.slipway_with(&["build", "--repo", &repo], &variables)?;
    assert!(without.code == 1 && without.stderr.contains("app/install"), "{}", without.stderr);
    let built = project.build_with(&["--repo", &repo, "--ssh-key", &file], &variables)?;
    let image = built.image("app");
    assert_eq!(engine::sh(&image, "cat /socket")?, "/.werf/tmp/ssh-auth-sock\n");
    let seen = engine::sh(&image, "cat /keys /tmp/keys")?;
    assert_eq!(seen.matches(&public).count(), 2, "{seen}");
    let left = engine::sh(&image, "ls -A /.werf/tmp 2>/dev/null | wc -l; env | grep -c SSH_AUTH_SOCK || true")?;
    assert_eq!(left, "0\n0\n");
    assert!(!engine::config(&image)?.to_string().contains("SSH_AUTH_SOCK"));

    // Another key rebuilds nothing.
    let Some((other, _)) = key(home.path(), "")? else { return Ok(()) };
    let second = project.build_with(&["--repo", &repo, "--ssh-key", &other], &variables)?;
    assert!(second.run.built().is_empty(), "{}", second.run.stderr);
    Ok(())
}

#[test]
fn the_agent_of_the_user_serves_commands_and_a_dead_one_is_left_out() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project, home) = (Registry::start()?, Project::new("own-agent")?, tempfile::tempdir()?);
    let Some((file, public)) = key(home.path(), "")? else { return Ok(()) };
    let socket = home.path().join("agent");
    let mut agent = command("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn()?;
    slipway_e2e::cluster::wait("the agent", || socket.exists().then_some(()))?;
    let added = command("ssh-add").arg("-q").arg(&file).env("SSH_AUTH_SOCK", &socket).status()?;
    assert!(added.success());
    ssh_add(&project)?;
    let config = |name: &str| {
        let ask = "echo ${SSH_AUTH_SOCK-none} > /keys; ssh-add -L >> /keys || true";
        format!("image: app\nfrom: BASE\ngit: [{{add: /ssh, to: /}}]\nshell:\n  setup: ['{ask}; echo {name}']\n")
    };
    project.config(&config("first"))?;
    project.commit("first")?;
    let (repo, of_home) = (registry.repo("own-agent"), home.path().to_str().context("a UTF-8 path")?);
    let variables = [("HOME", of_home), ("SSH_AUTH_SOCK", socket.to_str().context("a UTF-8 path")?)];
    let built = project.build_with(&["--repo", &repo], &variables);
    agent.kill()?;
    agent.wait()?;
    assert!(engine::sh(&built?.image("app"), "cat /keys")?.contains(&public));
    project.config(&config("second"))?;
    project.commit("second")?;
    let second = project.build_with(&["--repo", &repo], &variables)?;
    assert_eq!(engine::sh(&second.image("app"), "cat /keys")?, "none\n");
    Ok(())
}

#[test]
fn a_key_with_a_passphrase_is_refused_with_what_to_do() -> Result<()> {
    if !require(&[Part::Git]) {
        return Ok(());
    }
    let (project, home) = (Project::new("locked-key")?, tempfile::tempdir()?);
    let Some((file, _)) = key(home.path(), "a passphrase")? else { return Ok(()) };
    project.config("image: app\nfrom: BASE\n")?;
    project.commit("first")?;
    let run = project.slipway(&["build", "--ssh-key", &file])?;
    assert_eq!(run.code, 2, "{}", run.stderr);
    for part in ["--ssh-key", &file, "needs a passphrase", "ssh-add"] {
        assert!(run.stderr.contains(part), "`{part}` is not in:\n{}", run.stderr);
    }
    Ok(())
}
