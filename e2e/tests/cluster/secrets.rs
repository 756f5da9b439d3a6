//! Secrets on a cluster: from memory to memory.

use anyhow::{Result, ensure};
use slipway_e2e::{Cluster, Project, Run, canary::Canary};
use slipway_process::child::command;

use crate::can_run;

const ALLOWED: &str =
    "giterminismConfigVersion: 1\nconfig: {secrets: {allowEnvVariables: [E2E_CANARY], allowValueIds: [open]}}\n";
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

fn config(cluster: &Cluster, project: &Project, secrets: &str) -> Result<()> {
    let (head, tell) = (format!("image: app\nfrom: BASE\nsecrets: [{secrets}]\n"), TELL.replace('\'', "''"));
    cluster.config(project, &format!("{head}shell:\n  install: ['{tell}']\n  setup: ['{tell}']\n"))
}

#[test]
fn a_canary_is_found_nowhere_and_is_sent_again_to_the_next_leader() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let mut cluster = Cluster::start(2, 1)?;
    cluster.stop_coordinator(1);
    cluster.stop_coordinator(0);
    cluster.start_coordinator(0, Some("publish.commit:2"));
    cluster.leader()?;
    cluster.workers_known(1)?;
    cluster.start_coordinator(1, None);
    let (project, canary) = (Project::new("canary")?, Canary::new());
    project.write("werf-giterminism.yaml", ALLOWED)?;
    config(&cluster, &project, "{env: E2E_CANARY}")?;
    project.commit("first")?;
    let (urls, repo) = (cluster.urls(), cluster.repo(&project));
    let arguments = ["build", "--coordinator", &urls, "--repo", &repo, "--log-debug"];
    let variables = [("E2E_CANARY", canary.value.as_str())];
    let client = project.start(&arguments, &variables)?;
    cluster.coordinator_dies(0)?;
    let run = Run::wait(client)?;
    assert_eq!(run.code, 0, "{}\n{}", run.stderr, cluster.logs());
    assert_eq!(run.stderr.matches("told-all").count(), 2, "{}", run.stderr);
    assert!(run.stderr.contains("app/setup ***"), "{}", run.stderr);
    canary.is_not_in("the log", run.stderr.as_bytes())?;
    canary.is_not_in("logs of the cluster", cluster.logs().as_bytes())?;
    canary.is_not_in("etcd", &dump(&cluster)?)?;
    canary.is_not_below(cluster.directory())?;
    canary.is_not_below(project.home())?;
    for tag in cluster.stages(&project)? {
        canary.is_not_in_image(&cluster.local(&format!("{repo}:{tag}")))?;
    }

    // Another value rebuilds nothing.
    let again = project.slipway_with(&arguments, &[("E2E_CANARY", "another value")])?;
    assert!(again.code == 0 && again.built().is_empty(), "{}", again.stderr);
    let detached = project.slipway_with(&[&arguments[..], &["--detach"]].concat(), &variables)?;
    assert!(detached.code != 0 && detached.stderr.contains("secrets of a detached build"), "{}", detached.stderr);
    config(&cluster, &project, "{id: open, value: written out}")?;
    project.commit("second")?;
    let open = project.slipway(&arguments)?;
    assert!(open.code != 0 && open.stderr.contains("use `env` or `src`"), "{}", open.stderr);
    cluster.nothing_left()
}
