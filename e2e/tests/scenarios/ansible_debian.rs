//! Tasks of Ansible on a base of Debian, with secrets and keys; and by a toolbox of the user that has Ansible.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use slipway_e2e::{Project, debian, engine, ssh::key};
use slipway_process::child::command;

use crate::{ansible::Setup, toolbox::toolbox};

const CONFIG: &str = "\
image: app
from: DEBIAN
git:
- add: /src
  to: /app
  stageDependencies: {install: [hello.deb]}
secrets: [{env: E2E_TOKEN}]
ansible:
  beforeInstall:
  - group: {name: builders, gid: 4321}
  - user: {name: worker, uid: 1234, group: builders, groups: staff, shell: /bin/sh, create_home: true}
  install:
  - apt: {deb: /app/hello.deb}
  - package_facts: {manager: apt}
  - assert: {that: \"'e2e-hello' in ansible_facts.packages\"}
  - copy: {src: /app/plain, dest: /etc/plain, owner: worker, group: builders, mode: 0640}
  - template: {src: /app/page.j2, dest: /etc/page}
    vars: {who: world}
  - lineinfile: {path: /etc/page, regexp: ^hello, line: bye}
  - getent: {database: passwd, key: worker}
  - copy: {content: \"{{ `{{ getent_passwd.worker[1] }}` }}\", dest: /etc/uid}
  setup:
  - slurp: {src: /run/secrets/E2E_TOKEN}
    register: token
  - copy: {content: \"{{ `{{ token.content | b64decode | hash('md5') }}` }}\", dest: /etc/sum}
  - debug: {var: token}
  - command: cat /run/secrets/E2E_TOKEN
  - shell: ssh-add -L > /etc/keys
";

/// A package that says hello.
fn package(project: &Project, word: &str) -> Result<()> {
    let home = tempfile::tempdir()?;
    let control = "Package: e2e-hello\nVersion: 1\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: says hello\n";
    for (path, text) in [("DEBIAN/control", control), ("usr/share/e2e-hello", word)] {
        let path = home.path().join(path);
        fs::create_dir_all(path.parent().context("a parent")?)?;
        fs::write(path, text)?;
    }
    let file = project.path().join("src/hello.deb");
    fs::create_dir_all(file.parent().context("a parent")?)?;
    let made = command("dpkg-deb").args(["--root-owner-group", "--build"]).arg(home.path()).arg(&file).output()?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Ok(())
}

#[test]
fn modules_work_on_debian_with_secrets_and_keys() -> Result<()> {
    let Some(base) = debian::image() else { return Ok(()) };
    let Some(setup) = Setup::new("image: app\nfrom: BASE\n")? else { return Ok(()) };
    let (project, home) = (&setup.project, tempfile::tempdir()?);
    let Some((file, public)) = key(home.path(), "")? else { return Ok(()) };
    let own = setup.registry.repo("debian:1");
    engine::run(&["tag", base, &own])?;
    engine::run(&["push", "--quiet", &own])?;
    project.config(&CONFIG.replace("DEBIAN", &own))?;
    project.write(
        "werf-giterminism.yaml",
        "giterminismConfigVersion: 1\nconfig: {secrets: {allowEnvVariables: [E2E_TOKEN]}}\n",
    )?;
    package(project, "hello\n")?;
    project.write("src/plain", "plain\n")?;
    project.write("src/page.j2", "hello {{ who }}\nend\n")?;
    project.commit("first")?;
    let repo = setup.registry.repo("ansible");
    let build = |token: &str, more: &[&str]| {
        project.build_with(&[&["--repo", repo.as_str()], more].concat(), &[("E2E_TOKEN", token)])
    };
    let built = build("open sesame", &["--ssh-key", &file])?;
    let see = |command: &str| setup.see(&built, command);
    assert_eq!(
        see("cat /usr/share/e2e-hello /etc/plain /etc/page /etc/uid; echo; id worker")?,
        "hello\nplain\nbye\nend\n1234\n\
        uid=1234(worker) gid=4321(builders) groups=4321(builders),50(staff)\n"
    );
    assert_eq!(
        see("stat -c '%a %U:%G' /etc/plain; stat -c %U:%G /home/worker; dpkg-query -W e2e-hello")?,
        "640 worker:builders\nworker:builders\ne2e-hello\t1\n"
    );
    assert_eq!(
        see("printf 'open sesame' | md5sum | cut -d' ' -f1; cat /etc/sum")?
            .lines()
            .collect::<std::collections::BTreeSet<_>>()
            .len(),
        1
    );
    assert!(see("cat /etc/keys")?.contains(&public));
    // Neither as it is nor in base64.
    let said = &built.run.stderr;
    assert!(said.contains("***") && !said.contains("sesame") && !said.contains("b3BlbiBzZXNhbW"), "{said}");

    // Another secret, and no key, rebuild nothing; another package does.
    assert!(build("another", &[])?.run.built().is_empty());
    package(project, "goodbye\n")?;
    project.commit("second")?;
    let second = build("open sesame", &["--ssh-key", &file])?;
    assert_eq!(second.run.built(), ["app/install", "app/setup"]);
    assert_eq!(setup.see(&second, "cat /usr/share/e2e-hello")?, "goodbye\n");
    // A task that fails is named, and shows no secret either.
    let written = fs::read_to_string(project.path().join("werf.yaml"))?;
    let failing = written.replace("  - command: cat /run", "  - name: it breaks\n    shell: exit 4; cat /run");
    project.write(
        "werf.yaml",
        failing.replace("exit 4; cat /run/secrets/E2E_TOKEN", "cat /run/secrets/E2E_TOKEN; exit 4"),
    )?;
    project.commit("third")?;
    let failed =
        project.slipway_with(&["build", "--repo", &repo, "--ssh-key", &file], &[("E2E_TOKEN", "open sesame")])?;
    assert_eq!(failed.code, 1, "{}", failed.stderr);
    for part in ["task `it breaks` (line 30)", "build stage app/setup (werf.yaml:30)", "exit code 4"] {
        assert!(failed.stderr.contains(part), "`{part}` is not in:\n{}", failed.stderr);
    }
    assert!(!failed.stderr.contains("sesame"), "{}", failed.stderr);
    Ok(())
}

#[test]
fn a_toolbox_image_may_have_ansible() -> Result<()> {
    let Some(setup) = Setup::new("image: app\nfrom: BASE\nansible: {setup: [{command: touch /one}]}\n")? else {
        return Ok(());
    };
    setup.build("first")?;
    let trees: Vec<_> =
        fs::read_dir(Path::new(env!("CARGO_TARGET_TMPDIR")).join("ansible/trees"))?.collect::<Result<_, _>>()?;
    let newest =
        trees.iter().max_by_key(|tree| tree.metadata().and_then(|found| found.modified()).ok()).context("a tree")?;
    let version = format!("ansible-{}", slipway_process::random_id());
    let name = toolbox(&setup.registry, &version, &[], Some(&newest.path().join("tree/ansible")))?;

    // A project whose home directory has no Ansible.
    let project = Project::new("toolbox-ansible")?;
    project.config("image: app\nfrom: BASE\nansible: {setup: [{command: touch /two}]}\n")?;
    project.commit("first")?;
    let repo = setup.registry.repo("toolbox-ansible");
    let variables = [("WERF_STAPEL_IMAGE_NAME", name.as_str()), ("WERF_STAPEL_IMAGE_VERSION", version.as_str())];
    let built = project.build_with(&["--repo", &repo], &variables)?;
    assert_eq!(engine::sh(&built.image("app"), "ls /two; find /.werf -type f | wc -l")?, "/two\n0\n");
    assert!(!project.home().join("ansible").exists(), "nothing is set up");
    assert!(project.build_with(&["--repo", &repo], &variables)?.run.built().is_empty());
    let _ = engine::run(&["rm", "--volumes", &format!("stapel_{version}")]);
    let _ = engine::run(&["image", "rm", &format!("{name}:{version}")]);
    Ok(())
}
