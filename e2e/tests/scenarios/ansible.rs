//! Tasks of Ansible in the user stages, on a base that has no Python. The controller is made of PyPI once for all of
//! these tests, and stays in cargo's target directory.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    path::Path,
    sync::OnceLock,
};

use anyhow::{Context as _, Result};
use slipway_e2e::{
    Part, Project, Registry, Run,
    ansible::{is_missing, share},
    engine,
    project::Built,
    require,
};

const ALL: [Part; 4] = [Part::Docker, Part::Busybox, Part::Registry, Part::Git];

/// A project whose home directory has what was set up for Ansible by any other, and shares the locks of it.
fn project() -> Result<Project> {
    let project = Project::new("ansible")?;
    share(project.home(), &Path::new(env!("CARGO_TARGET_TMPDIR")).join("ansible"))?;
    Ok(project)
}

/// A project whose builds find what was set up for Ansible.
pub(crate) struct Setup {
    pub(crate) registry: Registry,
    pub(crate) project: Project,
}

impl Setup {
    /// `None`, aloud, when Ansible cannot be set up here.
    pub(crate) fn new(documents: &str) -> Result<Option<Self>> {
        static READY: OnceLock<Option<String>> = OnceLock::new();
        if !require(&ALL) {
            return Ok(None);
        }
        if let Some(why) = READY.get_or_init(|| lacking().unwrap_or_else(|error| Some(error.to_string()))) {
            slipway_parts::skip("ansible", why);
            return Ok(None);
        }
        let setup = Self { registry: Registry::start()?, project: project()? };
        setup.project.config(documents)?;
        Ok(Some(setup))
    }

    pub(crate) fn run(&self, message: &str, arguments: &[&str]) -> Result<Run> {
        self.project.commit(message)?;
        let repo = self.registry.repo("ansible");
        let all: Vec<&str> = ["build", "--repo", &repo].iter().chain(arguments).copied().collect();
        self.project.slipway(&all)
    }

    pub(crate) fn build(&self, message: &str) -> Result<Built> {
        self.project.commit(message)?;
        self.project.build(&["--repo", &self.registry.repo("ansible")])
    }

    pub(crate) fn see(&self, built: &Built, command: &str) -> Result<String> {
        engine::sh(&built.image("app"), command)
    }
}

/// Why Ansible cannot be set up on this machine; `None` when it can.
fn lacking() -> Result<Option<String>> {
    let setup = Setup { registry: Registry::start()?, project: project()? };
    setup.project.config("image: app\nfrom: BASE\nansible: {setup: [{debug: {msg: ready}}]}\n")?;
    let run = setup.run("first", &[])?;
    if run.code != 0 && is_missing(&run.stderr) {
        return Ok(Some(run.stderr));
    }
    assert_eq!(run.code, 0, "{}", run.stderr);
    Ok(None)
}

const STAGES: &str = "\
image: app
from: BASE
git:
- add: /
  to: /app
  includePaths: [src]
  stageDependencies: {install: [src/greeting.j2]}
ansible:
  beforeInstall:
  - name: a directory
    file: {path: /made, state: directory, mode: 0750, owner: app}
  - {copy: {content: \"one\\n\", dest: /made/lines, mode: 0640}}
  install:
  - template: {src: /app/src/greeting.j2, dest: /made/greeting}
    vars: {who: world}
  beforeSetup:
  - lineinfile: {path: /made/lines, line: two}
  - shell: cat /made/lines | tr a-z A-Z > /made/upper; echo $0 > /made/shell
    args: {creates: /made/upper}
  setup:
  - command: touch /made/{{ `{{ item }}` }}
    loop: [a, b]
  - block:
    - name: it may fail
      command: cat /nothing
    rescue:
    - copy: {content: rescued, dest: /made/rescued}
    always:
    - raw: echo always > /made/always
  - find: {paths: /made, patterns: 'l*'}
    register: found
  - assert: {that: found.matched == 1}
";

#[test]
fn tasks_of_every_stage_work_on_a_base_without_python() -> Result<()> {
    let Some(setup) = Setup::new(STAGES)? else { return Ok(()) };
    setup.project.write("src/greeting.j2", "hello {{ who }}\n")?;
    setup.project.write("src/other", "1")?;
    let first = setup.build("first")?;
    let stages = ["from", "beforeInstall", "gitArchive", "install", "beforeSetup", "setup"];
    assert_eq!(first.run.built(), stages.map(|stage| format!("app/{stage}")));
    assert_eq!(setup.see(&first, "cat /made/lines /made/upper /made/greeting")?, "one\ntwo\nONE\nTWO\nhello world\n");
    assert_eq!(setup.see(&first, "stat -c '%a %U' /made /made/lines")?, "750 app\n640 root\n");
    assert_eq!(setup.see(&first, "ls /made")?, "a\nalways\nb\ngreeting\nlines\nrescued\nshell\nupper\n");
    assert_eq!(setup.see(&first, "cat /made/rescued /made/always /made/shell")?, "rescuedalways\n/bin/sh\n");
    // Nothing of Ansible stays: no files, no variables.
    let left =
        "find / -xdev -path /proc -prune -o \\( -iname '*ansible*' -o -name '*python*' \\) -print; find /.werf -type f";
    assert_eq!(setup.see(&first, &format!("{left} 2>/dev/null; ls -A /tmp /root /dev/shm | grep -v :"))?.trim(), "");
    let config = engine::config(&first.image("app"))?.to_string();
    assert!(!config.contains("ANSIBLE") && !config.contains("SLIPWAY"), "{config}");
    assert_eq!(first.run.stderr.matches("task `a directory` (line 13)").count(), 1, "{}", first.run.stderr);

    // Neither a second build nor another way to write the same tasks builds anything.
    assert!(setup.build("again")?.run.built().is_empty());
    let written = fs::read_to_string(setup.project.path().join("werf.yaml"))?;
    let moved = written.replace("ansible:\n", "# moved\nansible:\n").replace(
        "{path: /made, state: directory, mode: 0750, owner: app}",
        "{owner: app, mode: 488, state: directory, path: '/made'}",
    );
    assert_ne!(moved, written);
    setup.project.write("werf.yaml", &moved)?;
    assert!(setup.build("written otherwise")?.run.built().is_empty());

    // A file that a stage depends on, a file that none depends on, a task.
    setup.project.write("src/greeting.j2", "goodbye {{ who }}\n")?;
    let second = setup.build("another greeting")?;
    assert_eq!(second.run.built(), ["app/install", "app/beforeSetup", "app/setup"]);
    assert_eq!(setup.see(&second, "cat /made/greeting")?, "goodbye world\n");
    setup.project.write("src/other", "2")?;
    assert_eq!(setup.build("another file")?.run.built(), ["app/gitLatestPatch"]);
    setup.project.write("werf.yaml", moved.replace("loop: [a, b]", "loop: [a, z]"))?;
    let third = setup.build("another task")?;
    assert_eq!(third.run.built(), ["app/setup"]);
    assert_eq!(setup.see(&third, "ls /made/z /app/src/other; cat /app/src/other")?, "/app/src/other\n/made/z\n2");
    Ok(())
}

const FAILING: &str = "\
image: app
from: BASE
ansible:
  install:
  - name: before
    command: touch /before
  setup:
  - name: a password
    shell: echo hush-hush; echo secret-$0
    no_log: true
  - name: it prints
    shell: echo shown; echo aside >&2
  - block:
    - name: it breaks
      shell: echo first; echo last >&2; exit 7
  - name: never
    command: touch /never
";

#[test]
fn a_failing_task_is_named_with_its_line() -> Result<()> {
    let Some(setup) = Setup::new(FAILING)? else { return Ok(()) };
    let failed = setup.run("first", &[])?;
    assert_eq!(failed.code, 1, "{}", failed.stderr);
    for part in [
        "task `it breaks` (line 17)",
        "failed: non-zero return code (exit code 7)",
        "build stage app/setup (werf.yaml:17)",
        " shown\n",
        " aside\n",
        " last\n",
    ] {
        assert!(failed.stderr.contains(part), "{part}: {}", failed.stderr);
    }
    // Once each: what is shown while a command runs is not shown again at its end.
    assert_eq!(failed.stderr.matches("app/setup shown\n").count(), 1, "{}", failed.stderr);
    for hidden in ["hush-hush", "secret-", "`never`"] {
        assert!(!failed.stderr.contains(hidden), "{hidden}: {}", failed.stderr);
    }
    let written = fs::read_to_string(setup.project.path().join("werf.yaml"))?;
    setup.project.write("werf.yaml", written.replace("exit 7", "exit 0"))?;
    let mended = setup.build("mended")?;
    assert_eq!(mended.run.built(), ["app/setup"]);
    assert_eq!(setup.see(&mended, "ls /before /never")?, "/before\n/never\n");
    Ok(())
}

#[test]
fn a_task_that_cannot_work_is_refused_before_anything_is_built() -> Result<()> {
    let Some(setup) = Setup::new("image: app\nfrom: BASE\nansible:\n  setup:\n  - {npm: {name: x}}\n")? else {
        return Ok(());
    };
    let refused = setup.run("first", &[])?;
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert!(refused.stderr.contains("`npm` is in the collection community.general"), "{}", refused.stderr);
    assert!(refused.built().is_empty() && refused.reused().is_empty(), "{}", refused.stderr);
    // What only Ansible knows is said by it, with the user's line.
    setup
        .project
        .config("image: app\nfrom: BASE\nansible:\n  setup:\n  - name: odd\n    copy: {dest: /x, contents: y}\n")?;
    let failed = setup.run("second", &[])?;
    assert_eq!(failed.code, 1, "{}", failed.stderr);
    for part in ["werf.yaml:8", "task `odd` (line 8)", "failed: src (or content) is required"] {
        assert!(failed.stderr.contains(part), "{part}: {}", failed.stderr);
    }
    Ok(())
}

#[test]
fn output_is_shown_while_a_task_runs_and_an_interrupt_ends_it() -> Result<()> {
    let Some(setup) = Setup::new(
        "image: app\nfrom: BASE\nansible:\n  setup:\n  - name: endless\n    shell: echo up; while :; do sleep 1; done\n",
    )?
    else {
        return Ok(());
    };
    setup.project.commit("first")?;
    let repo = setup.registry.repo("ansible");
    let mut child = setup.project.start(&["build", "--repo", &repo], &[])?;
    let mut lines = BufReader::new(child.stderr.take().context("a pipe")?).lines();
    let seen = lines.by_ref().map_while(Result::ok).any(|line| line.ends_with("app/setup up"));
    assert!(seen, "the line comes although the task does not end");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT)?;
    // It is read to its end, so that it can be written.
    lines.for_each(drop);
    assert_eq!(Run::wait(child)?.code, 130);
    Ok(())
}

#[test]
fn an_environment_of_ones_own_is_refused_when_it_is_none() -> Result<()> {
    let Some(setup) = Setup::new("image: app\nfrom: BASE\nansible: {setup: [{debug: {}}]}\n")? else { return Ok(()) };
    let failed = setup.run("first", &["--ansible-path", "src"])?;
    assert_eq!(failed.code, 1, "{}", failed.stderr);
    let path = setup.project.path().join("src").display().to_string();
    assert!(failed.stderr.contains(&format!("{path} is no virtual environment")), "{}", failed.stderr);
    Ok(())
}
