//! Secrets on a cluster: from memory to memory.

use anyhow::{Result, ensure};
use slipway_e2e::{
    Cluster, Project, Run,
    canary::Canary,
    engine,
    ssh::{key, ssh_add},
};
use slipway_process::child::command;

use crate::can_run;

const ALLOWED: &str = "giterminismConfigVersion: 1\nconfig:\n  secrets: {allowEnvVariables: [E2E_CANARY], allowValueIds: [open]}\n  \
    goTemplateRendering: {allowEnvVariables: [E2E_OPEN]}\n";
/// Shows a secret as it may come out by accident, and leaves nothing of it in the image but its length.
const TELL: &str = "s=/run/secrets/E2E_CANARY; cat $s; echo; base64 $s >&2; v=$(cat $s); printf %s \"${v:0:9}\"; \
    printf \"%s\\\\n\" \"${v:9}\"; echo ${#v} >> /length; echo told-all";

/// Everything that etcd has.
fn dump(cluster: &Cluster) -> Result<Vec<u8>> {
    let endpoints = cluster.etcd.endpoints().join(",");
    let mut asked = command("etcdctl");
    asked.env("ETCDCTL_API", "3").args(["--endpoints", &endpoints, "get", "", "--from-key"]);
    let output = asked.output()?;
    ensure!(output.status.success() && !output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(output.stdout)
}

/// Images with commands and with a Dockerfile, which have secrets of both kinds and an ssh agent.
fn config(cluster: &Cluster, project: &Project) -> Result<()> {
    let secrets = "secrets: [{env: E2E_CANARY}, {id: open, value: {{ env \"E2E_OPEN\" | quote }}}]\n";
    let (ask, tell) = ("ssh-add -L >> /keys", TELL.replace('\'', "''"));
    let app = format!("image: app\nfrom: BASE\ngit: [{{add: /ssh, to: /}}]\n{secrets}");
    let shell =
        format!("shell:\n  install: ['{tell}', {ask}]\n  setup: ['{tell}', 'wc -c < /run/secrets/open >> /length']\n");
    cluster.config(project, &format!("{app}{shell}---\nimage: file\ndockerfile: Dockerfile\n{secrets}"))?;
    let mounts = "--mount=type=secret,id=E2E_CANARY --mount=type=secret,id=open --mount=type=ssh";
    let run = format!(
        "RUN {mounts} s=/run/secrets/E2E_CANARY; cat $s; base64 $s; wc -c < /run/secrets/open > /length; {ask}"
    );
    project.write("Dockerfile", format!("FROM {}\nCOPY ssh /\nENV MARK={}\n{run}\n", cluster.base()?, project.name()))
}

#[test]
fn a_canary_is_found_nowhere_and_is_sent_again_to_the_next_leader() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let home = tempfile::tempdir()?;
    let Some((key, public)) = key(home.path(), "")? else { return Ok(()) };
    let mut cluster = Cluster::start(2, 1)?;
    cluster.stop_coordinator(1);
    cluster.stop_coordinator(0);
    cluster.start_coordinator(0, Some("publish.commit:2"));
    cluster.leader()?;
    cluster.workers_known(1)?;
    cluster.start_coordinator(1, None);
    let (project, canary, open) = (Project::new("canary")?, Canary::new(), Canary::new());
    let private = Canary::of(&std::fs::read_to_string(&key)?);
    project.write("werf-giterminism.yaml", ALLOWED)?;
    ssh_add(&project)?;
    config(&cluster, &project)?;
    project.commit("first")?;
    let (urls, repo) = (cluster.urls(), cluster.repo(&project));
    let arguments = ["build", "--coordinator", &urls, "--repo", &repo, "--ssh-key", &key, "--log-debug"];
    let variables = [("E2E_CANARY", canary.value.as_str()), ("E2E_OPEN", open.value.as_str())];
    let client = project.start(&arguments, &variables)?;
    cluster.coordinator_dies(0)?;
    let run = Run::wait(client)?;
    assert_eq!(run.code, 0, "{}\n{}", run.stderr, cluster.logs());
    assert_eq!(run.stderr.matches("told-all").count(), 2, "{}", run.stderr);
    assert!(run.stderr.contains("app/setup ***") && run.stderr.contains("file/dockerfile ***"), "{}", run.stderr);
    for hidden in [&canary, &open, &private] {
        hidden.is_not_in("the log", run.stderr.as_bytes())?;
        hidden.is_not_in("logs of the cluster", cluster.logs().as_bytes())?;
        hidden.is_not_in("etcd", &dump(&cluster)?)?;
        hidden.is_not_below(cluster.directory())?;
        hidden.is_not_below(project.home())?;
        for tag in cluster.stages(&project)? {
            hidden.is_not_in_image(&cluster.local(&format!("{repo}:{tag}")))?;
        }
    }

    // Other values, and no key, rebuild nothing.
    let others = [("E2E_CANARY", "another value"), ("E2E_OPEN", "another one")];
    let report = project.build_with(&arguments[1..5], &others)?;
    assert!(report.run.built().is_empty(), "{}", report.run.stderr);
    for (image, told) in [("app", 3), ("file", 1)] {
        let seen = engine::sh(&report.image(image), "cat /length /keys")?;
        let lengths = seen.lines().filter(|line| *line == canary.value.len().to_string());
        assert_eq!((lengths.count(), seen.contains(&public)), (told, true), "{image}: {seen}");
    }
    let detached = |more: &[&str]| project.slipway_with(&[&arguments[..5], more].concat(), &variables);
    let secrets = detached(&["--detach"])?;
    assert!(secrets.code != 0 && secrets.stderr.contains("a detached build has no secrets"), "{}", secrets.stderr);
    let keys = detached(&["--detach", "--ssh-key", &key])?;
    assert!(keys.code == 2 && keys.stderr.contains("--ssh-key keeps keys in memory alone"), "{}", keys.stderr);
    let shell = detached(&["--introspect-error"])?;
    assert!(
        shell.code == 2 && shell.stderr.contains("--introspect-error opens a shell on your terminal"),
        "{}",
        shell.stderr
    );
    cluster.nothing_left()
}
