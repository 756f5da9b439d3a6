//! Stapel images in full on a cluster: imports of stages, mounts, tasks of Ansible.

use std::path::Path;

use anyhow::Result;
use slipway_e2e::{
    Cluster, Project,
    ansible::{is_missing, share},
    engine,
};

use crate::can_run;

fn configure(cluster: &Cluster, project: &Project, (made, mark): (&str, &str)) -> Result<()> {
    let made = format!(
        "artifact: made\nfrom: BASE\nshell:\n  install: ['mkdir /out; echo of-install > /out/file']\n  setup: ['{made}']\n"
    );
    let count = "for d in tmp build; do echo x >> /mount/$d/n; wc -l < /mount/$d/n >> /counted-$d; done";
    let app = format!(
        "image: app\nfrom: BASE\nimport:\n- {{artifact: made, stage: install, add: /out, to: /of-install, after: install}}\n\
         - {{artifact: made, add: /out, to: /of-last, before: setup, owner: app, includePaths: [file]}}\n\
         mount: [{{from: tmp_dir, to: /mount/tmp}}, {{from: build_dir, to: /mount/build}}]\n\
         shell: {{install: ['{count}'], setup: ['{count}; echo {mark}']}}\n"
    );
    cluster.config(project, &format!("{made}---\n{app}"))
}

#[test]
fn imports_of_stages_and_mounts_are_those_of_one_machine() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let cluster = Cluster::start(1, 1)?;
    let project = Project::new("stapel")?;
    project.write(
        "werf-giterminism.yaml",
        "giterminismConfigVersion: 1\nconfig: {stapel: {mount: {allowBuildDir: true}}}\n",
    )?;
    configure(&cluster, &project, ("echo of-last > /out/file", "one"))?;
    project.commit("first")?;
    let first = cluster.build(&project)?;
    let look = "cat /of-install/file /of-last/file; stat -c %U /of-last/file; ls -A /mount/tmp /mount/build; cat /counted-tmp /counted-build";
    let of_first = "of-install\nof-last\napp\n/mount/build:\n\n/mount/tmp:\n1\n2\n1\n2\n";
    assert_eq!(engine::sh(&first.image("app"), look)?, of_first);
    assert!(cluster.build(&project)?.run.built().is_empty());

    // The artifact is built anew and holds the same: who imports of it is not.
    configure(&cluster, &project, ("echo of-last > /out/file; echo more > /elsewhere", "one"))?;
    project.commit("same files")?;
    assert_eq!(cluster.build(&project)?.run.built(), ["made/setup"]);
    // Another file at its end, not at `install`.
    configure(&cluster, &project, ("echo changed > /out/file", "one"))?;
    project.commit("another file")?;
    let third = cluster.build(&project)?;
    assert_eq!(third.run.built(), ["made/setup", "app/dependenciesBeforeSetup", "app/setup"]);
    // What a build has counted is gone, what the project has counted is not.
    let of_third = "of-install\nchanged\napp\n/mount/build:\n\n/mount/tmp:\n1\n1\n1\n3\n";
    assert_eq!(engine::sh(&third.image("app"), look)?, of_third);
    let config = std::fs::read_to_string(project.path().join("werf.yaml"))?;
    project.write("werf.yaml", config.replace("from: build_dir", "fromPath: /tmp"))?;
    project.commit("a path")?;
    let refused = cluster.ask(&project, &["build", "--loose-giterminism", "--repo", &cluster.repo(&project)])?;
    assert!(refused.code != 0 && refused.stderr.contains("write `from: build_dir`"), "{}", refused.stderr);
    cluster.nothing_left()
}

#[test]
fn tasks_of_ansible_run_on_workers() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let mut cluster = Cluster::start(1, 0)?;
    share(&cluster.directory().join("worker-0"), &Path::new(env!("CARGO_TARGET_TMPDIR")).join("ansible"))?;
    cluster.add_worker();
    let project = Project::new("tasks")?;
    let config = |last: &str| {
        cluster.config(
            &project,
            &format!(
                "image: app\nfrom: BASE\ngit: [{{add: /src, to: /app, stageDependencies: {{install: [page.j2]}}}}]\nansible:\n  install:\n  \
                 - template: {{src: /app/page.j2, dest: /page}}\n    vars: {{who: world}}\n  setup:\n  - name: the last\n    shell: {last}\n"
            ),
        )
    };
    config("cat /page > /last")?;
    project.write("src/page.j2", "hello {{ who }}\n")?;
    project.write("src/other", "1")?;
    project.commit("first")?;
    let (urls, repo) = (cluster.urls(), cluster.repo(&project));
    let arguments = ["build", "--coordinator", &urls, "--repo", &repo];
    let run = project.slipway(&arguments)?;
    if run.code != 0 && is_missing(&run.stderr) {
        slipway_parts::skip("ansible", &run.stderr);
        return Ok(());
    }
    assert_eq!(run.code, 0, "{}\n{}", run.stderr, cluster.logs());
    assert!(run.stderr.contains("task `the last` (line 12)"), "{}", run.stderr);
    let first = cluster.build(&project)?;
    assert!(first.run.built().is_empty(), "{:?}", first.run.built());
    assert_eq!(engine::sh(&first.image("app"), "cat /last")?, "hello world\n");
    // What no stage depends on is a patch; a task that fails is named.
    project.write("src/other", "2")?;
    project.commit("second")?;
    assert_eq!(cluster.build(&project)?.run.built(), ["app/gitLatestPatch"]);
    config("exit 5")?;
    project.commit("third")?;
    let failed = project.slipway(&arguments)?;
    assert_eq!(failed.code, 1, "{}", failed.stderr);
    for part in ["task `the last` (line 12)", "build stage app/setup (werf.yaml:12)", "exit code 5"] {
        assert!(failed.stderr.contains(part), "`{part}` is not in:\n{}", failed.stderr);
    }
    cluster.nothing_left()
}
