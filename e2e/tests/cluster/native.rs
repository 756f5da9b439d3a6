//! Workers with an engine and without one, in one cluster.

use anyhow::Result;
use slipway_e2e::{Cluster, Project, Run, engine};

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
    if !can_run() {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() {
        slipway_parts::skip("native", "the native backend needs root");
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

    // And the first one on those of the other, which also runs a Dockerfile for it.
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
    cluster.nothing_left()
}
