//! What breaks around a build: registries, disks, clocks, processes.

use std::{
    fs,
    path::Path,
    process::Child,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};
use slipway_e2e::{Action, Part, Project, Proxy, Registry, Run, engine, project::Built, require};
use slipway_process::child;

const ALL: [Part; 3] = [Part::Docker, Part::Registry, Part::Git];
const STAGED: &str = "image: app\nfrom: BASE\nshell: {install: date > /install, setup: date > /setup}\n";

struct Setup {
    registry: Registry,
    proxy: Proxy,
    project: Project,
}

impl Setup {
    fn new(config: &str) -> Result<Option<Self>> {
        if !require(&ALL) {
            return Ok(None);
        }
        let registry = Registry::start()?;
        let proxy = Proxy::start(registry.host())?;
        let setup = Self { registry, proxy, project: Project::new("faults")? };
        setup.commit(config)?;
        Ok(Some(setup))
    }

    fn commit(&self, config: &str) -> Result<()> {
        self.project.config(config)?;
        self.project.commit("next").map(drop)
    }

    /// The repository, through the proxy.
    fn repo(&self) -> String {
        self.proxy.repo("faults")
    }

    fn build(&self) -> Result<Built> {
        self.project.build(&["--repo", &self.repo()])
    }

    fn run(&self) -> Result<Run> {
        self.project.slipway(&["build", "--repo", &self.repo()])
    }

    /// Digest and document of the manifest of a stage, by its place in the report.
    fn stage(&self, built: &Built, image: &str, stage: usize) -> Result<(String, serde_json::Value)> {
        let tag = built.report["Images"][image]["Stages"][stage]["DockerTag"].as_str().context("a tag")?;
        self.registry.manifest("faults", tag)
    }

    /// Loses the last layer of a stage, in the registry and in the engine.
    fn lose_layer(&self, built: &Built, image: &str, stage: usize) -> Result<()> {
        let (_, manifest) = self.stage(built, image, stage)?;
        let layers = manifest["layers"].as_array().context("layers")?;
        self.registry.lose(layers.last().context("a layer")?["digest"].as_str().context("a digest")?)?;
        self.forget()
    }

    /// Forgets what this host has of the project beside the registry: images of the engine, cached layers, and what it has
    /// seen of the registry.
    fn forget(&self) -> Result<()> {
        for kept in ["local_cache", "service/index"] {
            let _ = fs::remove_dir_all(self.project.home().join(kept));
        }
        engine::forget_labelled(self.project.name())
    }
}

impl Drop for Setup {
    fn drop(&mut self) {
        let _ = self.forget();
    }
}

fn says(run: &Run, code: i32, parts: &[&str]) {
    assert_eq!(run.code, code, "{}", run.stderr);
    for part in parts {
        assert!(run.stderr.contains(part), "`{part}` is not in:\n{}", run.stderr);
    }
    assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
}

/// Largest memory of a running program so far, in KiB; `None` once it has ended.
fn peak(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Runs a started program to its end; answers its largest memory in KiB, too.
fn watch(mut child: Child) -> Result<(Run, u64)> {
    let number = child.id();
    let mut errors = child.stderr.take().context("a pipe")?;
    let reader = thread::spawn(move || {
        let mut text = Vec::new();
        drop(std::io::Read::read_to_end(&mut errors, &mut text));
        String::from_utf8_lossy(&text).into_owned()
    });
    let mut most = 0;
    while child.try_wait()?.is_none() {
        most = most.max(peak(number).unwrap_or_default());
        thread::sleep(Duration::from_millis(10));
    }
    let mut run = Run::wait(child)?;
    run.stderr = reader.join().expect("the reader ends");
    Ok((run, most))
}

#[test]
fn a_registry_that_stumbles_is_asked_again() -> Result<()> {
    let Some(setup) = Setup::new(STAGED)? else { return Ok(()) };
    let stumbles = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&stumbles);
    setup.proxy.rule(move |request| {
        if request.number % 5 != 2 {
            return Action::Pass;
        }
        let answer = |status, headers: &str| Action::Answer(status, headers.to_owned(), b"{}".to_vec());
        match seen.fetch_add(1, Ordering::SeqCst) % 6 {
            0 => answer(500, ""),
            1 => answer(503, "Retry-After: 1\r\n"),
            2 => answer(429, "Retry-After: 1\r\n"),
            3 => answer(502, ""),
            4 => Action::LoseAnswer,
            _ => Action::HangUp,
        }
    });
    let built = setup.build()?;
    assert!(stumbles.load(Ordering::SeqCst) >= 6, "nothing was tried");
    assert_eq!(built.run.built().len(), 3);
    setup.proxy.heal();
    assert!(setup.build()?.run.built().is_empty());
    assert_eq!(setup.registry.stages("faults")?.len(), 3);
    Ok(())
}

#[test]
fn a_registry_that_dies_ends_the_build_and_a_rerun_finishes_it() -> Result<()> {
    let Some(mut setup) = Setup::new(STAGED)? else { return Ok(()) };
    let registry = Pid::from_raw(i32::try_from(setup.registry.pid())?).context("a pid")?;
    let tags = AtomicUsize::new(0);
    // It dies while the second stage is uploaded: behind the first stage's tag.
    setup.proxy.rule(move |request| {
        // Tags beside those of stages say something of the repository: they go with the first stage.
        let is_beside = request.path.contains("/manifests/slipway-");
        let is_tag =
            request.method == "PUT" && request.is_manifest() && !request.path.contains("sha256:") && !is_beside;
        let count = tags.fetch_add(usize::from(is_tag), Ordering::SeqCst);
        let dies = count > 0 && request.writes() && !is_beside;
        if dies {
            let _ = kill_process(registry, Signal::KILL);
        }
        if dies { Action::HangUp } else { Action::Pass }
    });
    let run = setup.run()?;
    says(&run, 1, &["app/install", "127.0.0.1:"]);
    setup.registry.restart();
    setup.proxy.heal();
    for tag in setup.registry.stages("faults")? {
        setup.registry.config("faults", &tag)?;
    }
    let rerun = setup.build()?;
    assert_eq!(rerun.run.built(), ["app/install", "app/setup"]);
    assert!(setup.build()?.run.built().is_empty());
    Ok(())
}

#[test]
fn a_lost_last_stage_is_built_again_alone() -> Result<()> {
    let Some(setup) = Setup::new(STAGED)? else { return Ok(()) };
    let first = setup.build()?;
    setup.registry.lose(&setup.stage(&first, "app", 2)?.0)?;
    setup.forget()?;
    let second = setup.build()?;
    assert_eq!(second.run.reused(), ["app/from", "app/install"]);
    assert_eq!(second.run.built(), ["app/setup"]);
    let (_, manifest) = setup.stage(&second, "app", 1)?;
    setup.registry.lose(manifest["config"]["digest"].as_str().context("a digest")?)?;
    setup.forget()?;
    // Once somebody needs it.
    setup.commit(&STAGED.replace("/setup", "/changed"))?;
    let third = setup.build()?;
    assert!(third.run.built().contains(&"app/install".to_owned()), "{}", third.run.stderr);
    assert!(setup.build()?.run.built().is_empty());
    Ok(())
}

#[test]
fn a_lost_stage_below_is_built_again_and_so_is_what_stands_on_it() -> Result<()> {
    let Some(setup) = Setup::new(STAGED)? else { return Ok(()) };
    let first = setup.build()?;
    setup.lose_layer(&first, "app", 1)?;
    setup.commit(&STAGED.replace("/setup", "/changed"))?;
    let second = setup.build()?;
    assert_eq!(second.run.reused(), ["app/from", "app/install"], "{}", second.run.stderr);
    assert_eq!(second.run.built(), ["app/setup", "app/install", "app/setup"], "{}", second.run.stderr);
    assert!(second.run.stderr.contains("is lost and is built again"), "{}", second.run.stderr);
    setup.forget()?;
    engine::sh(&second.image("app"), "cat /install /changed")?;
    let tags = setup.registry.tags("faults")?;
    assert_eq!(tags.iter().filter(|tag| tag.ends_with("-rejected")).count(), 1, "{tags:?}");
    // Another host, too, leaves the rejected stage alone.
    setup.forget()?;
    let third = setup.build()?;
    assert!(third.run.built().is_empty(), "{}", third.run.stderr);
    assert_eq!(third.image("app"), second.image("app"));
    Ok(())
}

#[test]
fn a_lost_image_that_others_use_is_built_again() -> Result<()> {
    let config = |word: &str| {
        format!(
            "image: base\nfrom: BASE\nshell: {{setup: date > /base}}\n---\nartifact: source\nfrom: BASE\n\
             shell: {{setup: 'mkdir /out; echo x > /out/x'}}\n---\nimage: child\nfromImage: base\n\
             shell: {{setup: echo {word} > /child}}\n---\nimage: user\nfrom: BASE\n\
             import: [{{artifact: source, add: /out, to: /{word}, after: setup}}]\n"
        )
    };
    let Some(setup) = Setup::new(&config("one"))? else { return Ok(()) };
    let first = setup.build()?;
    // What an import reads, and what another image stands on.
    let source = setup.registry.manifest("faults", &tag_of_artifact(&setup)?)?.1;
    let layers = source["layers"].as_array().context("layers")?;
    setup.registry.lose(layers.last().context("a layer")?["digest"].as_str().context("a digest")?)?;
    setup.lose_layer(&first, "base", 1)?;
    setup.commit(&config("two"))?;
    let second = setup.build()?;
    let built = second.run.built();
    for stage in ["base/setup", "child/from", "child/setup", "source/setup", "user/dependenciesAfterSetup"] {
        assert!(built.iter().any(|built| built == stage), "`{stage}` is not in {built:?}:\n{}", second.run.stderr);
    }
    setup.forget()?;
    assert_eq!(engine::sh(&second.image("child"), "test -s /base && cat /child")?, "two\n");
    assert_eq!(engine::sh(&second.image("user"), "cat /two/x")?, "x\n");
    setup.forget()?;
    assert!(setup.build()?.run.built().is_empty());
    Ok(())
}

/// The tag of the stage of an artifact, which no report has: the one that has `/out` of its own.
fn tag_of_artifact(setup: &Setup) -> Result<String> {
    for tag in setup.registry.stages("faults")? {
        let name = format!("{}:{tag}", setup.registry.repo("faults"));
        if engine::sh(&name, "test -e /out && echo yes || true")?.contains("yes") {
            return Ok(tag);
        }
    }
    anyhow::bail!("no stage has /out")
}

#[test]
fn a_storage_that_loses_everything_is_not_built_for_ever() -> Result<()> {
    let config = |word: &str| {
        let image = |name: &str| {
            format!("image: {name}\nfrom: BASE\nshell: {{install: 'date; echo {name} > /a', setup: echo {word}}}\n")
        };
        ["a", "b", "c", "d", "e"].map(image).join("---\n")
    };
    let Some(setup) = Setup::new(&config("one"))? else { return Ok(()) };
    let first = setup.build()?;
    for image in ["a", "b", "c", "d", "e"] {
        setup.lose_layer(&first, image, 1)?;
    }
    setup.commit(&config("two"))?;
    says(&setup.run()?, 1, &["fetch the stage below", "is not there"]);
    // Each run mends some of it.
    assert_eq!(setup.run()?.code, 0);
    Ok(())
}

#[test]
fn a_registry_that_wants_a_login_says_so_and_no_secret_is_told() -> Result<()> {
    const AUTH: &str = "aGVybzpodW50ZXIyLXNlY3JldA==";
    const WRONG: &str = "aGVybzp3cm9uZy1zZWNyZXQ=";
    let Some(setup) = Setup::new(STAGED)? else { return Ok(()) };
    setup.proxy.rule(|request| {
        let challenge = "WWW-Authenticate: Basic realm=\"test\"\r\nContent-Type: application/json\r\n";
        let refused = br#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
        match request.head.contains(&format!("Basic {AUTH}")) {
            true => Action::Pass,
            false => Action::Answer(401, challenge.to_owned(), refused.to_vec()),
        }
    });
    let repo = setup.repo();
    let host = repo.split('/').next().context("a host")?;
    let docker = tempfile::tempdir()?;
    let directory = docker.path().to_str().context("a UTF-8 path")?;
    let log_in = |auth: &str| {
        let config = format!("{{\"auths\": {{\"{host}\": {{\"auth\": \"{auth}\"}}}}}}");
        fs::write(docker.path().join("config.json"), config)
    };
    let run = || setup.project.slipway(&["build", "--repo", &repo, "--docker-config", directory, "--log-debug"]);
    let quiet = |run: &Run| {
        for secret in [AUTH, WRONG, "hunter2", "wrong-secret"] {
            assert!(!run.stderr.contains(secret) && !run.stdout.contains(secret), "`{secret}` is in:\n{}", run.stderr);
            let kept = child::command("grep").args(["-r", "-l", secret]).arg(setup.project.home()).output();
            let kept = kept.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
            assert!(kept.is_empty(), "`{secret}` is in {kept}");
        }
    };
    let missing = run()?;
    says(&missing, 1, &[&format!("docker login {host}"), "faults"]);
    quiet(&missing);
    log_in(WRONG)?;
    let wrong = run()?;
    says(&wrong, 1, &[&format!("docker login {host}")]);
    quiet(&wrong);
    log_in(AUTH)?;
    let right = run()?;
    says(&right, 0, &["Built stage app/setup"]);
    quiet(&right);
    Ok(())
}

/// A small file system of its own; gone when dropped.
struct Mounted(tempfile::TempDir);

impl Mounted {
    fn new(options: &str) -> Result<Option<Self>> {
        let dir = tempfile::tempdir()?;
        let mounted = child::command("mount").args(["-t", "tmpfs", "-o", options, "none"]).arg(dir.path()).output()?;
        if !mounted.status.success() {
            drop(std::io::Write::write_fmt(
                &mut std::io::stderr(),
                format_args!("skipped: this test may not mount: {}\n", String::from_utf8_lossy(&mounted.stderr).trim()),
            ));
            return Ok(None);
        }
        Ok(Some(Self(dir)))
    }

    fn path(&self) -> &str {
        self.0.path().to_str().expect("a UTF-8 path")
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = child::command("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[test]
fn a_home_that_cannot_be_written_is_named() -> Result<()> {
    let Some(setup) = Setup::new(STAGED)? else { return Ok(()) };
    let repo = setup.repo();
    let build = |home: &str| setup.project.slipway(&["build", "--repo", &repo, "--home-dir", home]);
    let Some(read_only) = Mounted::new("ro")? else { return Ok(()) };
    says(&build(read_only.path())?, 1, &[read_only.path(), "--home-dir"]);
    let Some(full) = Mounted::new("size=1m")? else { return Ok(()) };
    let fill = |leave: usize| fs::write(Path::new(full.path()).join("fill"), vec![1_u8; (1 << 20) - leave]);
    let _ = fill(0);
    says(&build(full.path())?, 1, &[full.path(), "--home-dir"]);
    // Room for some files is no room for a build, or it is: it must not hang or leave half a stage behind.
    for leave in [16 << 10, 64 << 10, 256 << 10] {
        let _ = fs::remove_file(Path::new(full.path()).join("fill"));
        let _ = fill(leave);
        let run = build(full.path())?;
        assert!(run.code == 0 || run.stderr.contains(full.path()) || run.stderr.contains("pace"), "{}", run.stderr);
        for tag in setup.registry.stages("faults")? {
            setup.registry.config("faults", &tag)?;
        }
    }
    assert!(setup.build()?.run.reused().len() <= 3);
    Ok(())
}

#[test]
fn two_homes_on_one_repository_agree() -> Result<()> {
    let Some(setup) = Setup::new(STAGED)? else { return Ok(()) };
    let homes = [tempfile::tempdir()?, tempfile::tempdir()?];
    let start = |home: &tempfile::TempDir| {
        let report = home.path().join("report.json");
        let (home, file) = (home.path().to_str().expect("UTF-8"), report.to_str().expect("UTF-8").to_owned());
        let repo = setup.repo();
        let arguments =
            ["build", "--repo", &repo, "--home-dir", home, "--save-build-report", "--build-report-path", &file];
        setup.project.start(&arguments, &[]).map(|child| (child, report))
    };
    let running = homes.iter().map(start).collect::<Result<Vec<_>>>()?;
    let mut names = Vec::new();
    for (child, report) in running {
        let run = Run::wait(child)?;
        assert_eq!(run.code, 0, "{}", run.stderr);
        let report: serde_json::Value = serde_json::from_slice(&fs::read(report)?)?;
        names.push(report["Images"]["app"]["DockerImageName"].to_string());
    }
    assert_eq!(names[0], names[1]);
    let third = setup.build()?;
    assert!(third.run.built().is_empty());
    let taken = format!("\"{}\"", third.image("app"));
    assert!(names.contains(&taken), "{taken} is none of {names:?}");
    Ok(())
}

#[test]
fn a_registry_that_serves_other_bytes_is_not_believed() -> Result<()> {
    let Some(setup) = Setup::new(STAGED)? else { return Ok(()) };
    let first = setup.build()?;
    let (digest, manifest) = setup.stage(&first, "app", 1)?;
    // The manifest of `install` answers for that of `from`, under the digest that was asked for or none.
    for tells_digest in [true, false] {
        let (_, from) = setup.stage(&first, "app", 0)?;
        let body = serde_json::to_vec(&from)?;
        let digest = digest.clone();
        let tag = first.report["Images"]["app"]["Stages"][1]["DockerTag"].as_str().context("a tag")?.to_owned();
        setup.proxy.rule(move |request| {
            let asked = request.path.ends_with(&digest) || (tells_digest && request.path.ends_with(&tag));
            if request.method != "GET" || !request.is_manifest() || !asked {
                return Action::Pass;
            }
            let told = if tells_digest { format!("Docker-Content-Digest: {digest}\r\n") } else { String::new() };
            let kind = "Content-Type: application/vnd.docker.distribution.manifest.v2+json\r\n";
            Action::Answer(200, format!("{told}{kind}"), body.clone())
        });
        setup.forget()?;
        setup.commit(&STAGED.replace("/setup", &format!("/{tells_digest}")))?;
        let run = setup.run()?;
        assert!(matches!(run.code, 0 | 1), "{}", run.stderr);
        assert!(run.stderr.contains("expected sha256:") || run.code == 0, "{}", run.stderr);
        setup.proxy.heal();
        let mended = setup.build()?;
        engine::sh(&mended.image("app"), "cat /install")?;
    }
    assert!(!manifest.is_null());
    Ok(())
}

#[test]
fn endless_output_takes_no_memory() -> Result<()> {
    let config = "image: long\nfrom: BASE\nshell: {setup: 'head -c 2097152 /dev/zero | tr \"\\\\0\" x; echo; echo the-end'}\n---\n\
                  image: many\nfrom: BASE\nshell: {setup: 'seq 200000; echo the-end'}\n---\n\
                  image: failing\nfrom: BASE\nshell: {setup: 'seq 20000; head -c 2097152 /dev/zero; exit 3'}\n";
    let Some(setup) = Setup::new(config)? else { return Ok(()) };
    let repo = setup.repo();
    let (run, most) = watch(setup.project.start(&["build", "long", "many", "--repo", &repo], &[])?)?;
    says(&run, 0, &["long/setup the-end", "many/setup the-end", "many/setup 123456\n", "many/setup 200000\n"]);
    assert!(most < 200 << 10, "{most} KiB");
    let (run, most) = watch(setup.project.start(&["build", "failing", "--repo", &repo], &[])?)?;
    says(&run, 1, &["exit code 3", "failing/setup"]);
    assert!(most < 200 << 10, "{most} KiB");
    Ok(())
}

#[test]
fn terminated_while_pushing() -> Result<()> {
    let Some(setup) = Setup::new(STAGED)? else { return Ok(()) };
    let (sender, pushing) = mpsc::channel();
    setup.proxy.rule(move |request| {
        if request.method == "PATCH" || request.method == "PUT" {
            let _ = sender.send(());
        }
        Action::Pass
    });
    let child = Started(Some(setup.project.start(&["build", "--repo", &setup.repo()], &[])?));
    for _ in 0..4 {
        pushing.recv_timeout(Duration::from_secs(60))?;
    }
    let run = child.end(Signal::TERM)?;
    says(&run, 130, &["interrupted"]);
    let left = engine::run(&["ps", "--all", "--quiet", "--filter", &format!("label=werf={}", setup.project.name())])?;
    assert!(left.is_empty(), "{left}");
    setup.proxy.heal();
    for tag in setup.registry.stages("faults")? {
        setup.registry.config("faults", &tag)?;
    }
    setup.build()?;
    assert!(setup.build()?.run.built().is_empty());
    assert_eq!(setup.registry.stages("faults")?.len(), 3);
    Ok(())
}

/// The build containers of a program's home that the engine has, by the locks of their attempts.
fn containers(setup: &Setup) -> Result<Vec<String>> {
    let attempts = setup.project.home().join("service/attempts");
    let Ok(attempts) = fs::read_dir(attempts) else { return Ok(Vec::new()) };
    let own: Vec<String> = attempts.flatten().map(|file| file.file_name().to_string_lossy().into_owned()).collect();
    let listed = engine::run(&["ps", "--format={{.Names}}", "--filter", "name=werf.build."])?;
    let is_own = |name: &&str| own.iter().any(|own| name.ends_with(own));
    Ok(listed.lines().filter(is_own).map(str::to_owned).collect())
}

/// Waits until a home has `count` build containers, none of them among `without`.
fn wait_for_containers(setup: &Setup, count: usize, without: &[String]) -> Result<Vec<String>> {
    for _ in 0..600 {
        let running = containers(setup)?;
        if running.len() == count && !running.iter().any(|name| without.contains(name)) {
            return Ok(running);
        }
        thread::sleep(Duration::from_millis(50));
    }
    anyhow::bail!("there are not {count} containers: {:?}", containers(setup)?)
}

/// A started program that does not outlive its test.
struct Started(Option<Child>);

impl Started {
    fn pid(&self) -> Result<Pid> {
        self.0.as_ref().map(Pid::from_child).context("it runs")
    }

    fn end(mut self, signal: Signal) -> Result<Run> {
        kill_process(self.pid()?, signal)?;
        Run::wait(self.0.take().context("it runs")?)
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn what_a_killed_build_left_is_swept_and_nothing_else() -> Result<()> {
    let image = |name: &str| format!("image: {name}\nfrom: BASE\nshell: {{setup: 'echo {name}; sleep 600'}}\n");
    let Some(setup) = Setup::new(&["a", "b", "c"].map(image).join("---\n"))? else { return Ok(()) };
    let repo = setup.repo();
    let dead = Started(Some(setup.project.start(&["build", "--repo", &repo], &[])?));
    let left = wait_for_containers(&setup, 3, &[])?;
    dead.end(Signal::KILL)?;
    assert_eq!(containers(&setup)?.len(), 3, "killing the program does not stop its containers");
    setup.commit(&image("alive"))?;
    let alive = Started(Some(setup.project.start(&["build", "--repo", &repo], &[])?));
    // Its own start sweeps what the dead one left.
    let running = wait_for_containers(&setup, 1, &left)?;
    setup.commit("image: quick\nfrom: BASE\nshell: {setup: date}\n")?;
    setup.build()?;
    assert_eq!(containers(&setup)?, running, "a living build keeps its container");
    assert_eq!(alive.end(Signal::INT)?.code, 130);
    assert!(containers(&setup)?.is_empty());
    Ok(())
}

#[test]
fn a_clock_that_goes_back_makes_no_child_older_than_its_parent() -> Result<()> {
    let Some(setup) = Setup::new(STAGED)? else { return Ok(()) };
    let build = |clock: &str| {
        let arguments = ["build", "--repo", &setup.repo()];
        setup.project.slipway_with(&arguments, &[("SLIPWAY_TEST_CLOCK", clock)])
    };
    says(&build("1700000000000")?, 0, &[]);
    setup.commit(&STAGED.replace("/setup", "/changed"))?;
    for clock in ["1600000000000", "1", "99999999999999"] {
        let run = build(clock)?;
        assert_eq!(run.code, 0, "{clock}: {}", run.stderr);
    }
    let built = setup.build()?;
    assert!(built.run.built().is_empty());
    let stages = built.report["Images"]["app"]["Stages"].as_array().context("stages")?.clone();
    let stamps: Vec<&str> = stages.iter().filter_map(|stage| Some(&stage["DockerTag"].as_str()?[57..])).collect();
    assert!(stamps.len() == 3 && stamps.windows(2).all(|pair| pair[0] < pair[1]), "{stamps:?}");
    Ok(())
}

#[test]
fn fifty_images_take_little_memory_and_few_requests() -> Result<()> {
    let image = |number: usize| {
        format!(
            "image: image-{number}\nfrom: BASE\nfromCacheVersion: '{number}'\nshell: {{setup: echo {number} > /number}}\n"
        )
    };
    let config = (0..50).map(image).collect::<Vec<_>>().join("---\n");
    let Some(setup) = Setup::new(&config)? else { return Ok(()) };
    let repo = setup.registry.repo("faults");
    let (first, most) = watch(setup.project.start(&["build", "--repo", &repo], &[])?)?;
    assert_eq!(first.code, 0, "{}", first.stderr);
    assert_eq!(setup.registry.stages("faults")?.len(), 100);
    assert!(most < 300 << 10, "{most} KiB");
    let requests = |log: &str| log.matches("http.request.method=").count();
    let before = requests(&setup.registry.log());
    let second = setup.project.slipway(&["build", "--repo", &repo])?;
    says(&second, 0, &[]);
    assert!(second.built().is_empty() && second.reused().len() == 100, "{}", second.stderr);
    let took = requests(&setup.registry.log()) - before;
    assert!(took <= 4 * 100 + 40, "{took} requests for 100 stages");
    Ok(())
}
