//! Builds by the program buildah: images and stages equal to those of the other backends, and many at once on one storage.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};
use slipway_e2e::{Built, Project, Registry, Run, cluster::wait, engine, processes, tree};
use slipway_process::{Environment, child::command};

use super::native::{IMAGES, Image, NO_ENGINE, base, can_build, changed, difference, digests, many, meaning, sources};

/// Asks for what takes long, too.
const ALL: &str = "SLIPWAY_TEST_BUILDAH";
/// Where buildah's own settings are.
const SETTINGS: &str = "CONTAINERS_STORAGE_CONF";
/// What the program shows where an image has no name.
const NAMELESS: &str = "<none>";

/// Files that are none, without devices.
const SPECIALS: Image = ("specials", "mkfifo /p", "rm /p; mkdir /p");

/// A storage of buildah's for one test.
struct Storage {
    dir: tempfile::TempDir,
    settings: PathBuf,
}

impl Storage {
    /// `None`, said aloud, where there is no buildah.
    fn new() -> Result<Option<Self>> {
        if !can_build() {
            return Ok(None);
        }
        if command("buildah").arg("--version").output().is_err() {
            slipway_parts::skip("buildah", "it is not installed");
            return Ok(None);
        }
        let dir = tempfile::tempdir()?;
        let settings = dir.path().join("storage.conf");
        let [root, run] = ["root", "run"].map(|name| dir.path().join(name));
        fs::write(
            &settings,
            format!(
                "[storage]\ndriver = \"overlay\"\ngraphroot = \"{}\"\nrunroot = \"{}\"\n",
                root.display(),
                run.display()
            ),
        )?;
        Ok(Some(Self { dir, settings }))
    }

    fn variables(&self) -> Vec<(&str, &str)> {
        let settings = (SETTINGS, self.settings.to_str().expect("a UTF-8 path"));
        NO_ENGINE.into_iter().chain([settings]).collect()
    }

    fn build(&self, project: &Project, arguments: &[&str]) -> Result<Built> {
        project.build_with(&[&["--backend", "buildah"], arguments].concat(), &self.variables())
    }

    /// What buildah itself answers.
    fn ask(&self, arguments: &[&str]) -> Result<String> {
        let output = command("buildah").args(arguments).env(SETTINGS, &self.settings).output()?;
        anyhow::ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        // What it is mounted on by buildah itself.
        drop(command("umount").arg(self.dir.path().join("root/overlay")).output());
    }
}

/// A few images of every kind.
fn few(project: &Project, base: &str) -> Result<()> {
    // Where a base has no `/run`, buildah's interpreter leaves an empty one.
    let dockerfile = format!(
        "ARG BASE={base}\nFROM ${{BASE}}\nCOPY src /srv\nRUN echo b > /b; rm /bin/vi; mkdir -p /run\nUSER app\n"
    );
    project.write("Dockerfile", dockerfile)?;
    let app = format!(
        "image: app\nfrom: {base}\ngit:\n- {{add: /src, to: /srv/app, owner: app, stageDependencies: {{setup: [a]}}}}\n\
         mount: [{{from: tmp_dir, to: /etc/mounted}}]\nshell:\n  install:\n  - rm -r /tmp /bin/vi; echo x > /etc/mounted/x\n  \
         setup:\n  - cat /srv/app/a > /seen; chown 7:8 /seen; chmod 4711 /seen\n\
         docker: {{USER: app, ENV: {{A: b c}}, EXPOSE: ['80'], CMD: [\"x\", \"y z\"], LABEL: {{l: m}}}}\n"
    );
    let imports = format!(
        "image: imports\nfrom: {base}\nimport: [{{image: app, add: /srv/app, to: /in, owner: app, after: install}}]\n"
    );
    project.config(&[app, imports, "image: df\ndockerfile: Dockerfile\n".to_owned()].join("---\n"))
}

/// What [`few`] makes, or what natively built images are held against Docker's by when all is asked for.
fn images(project: &Project, base: &str) -> Result<Vec<&'static str>> {
    if Environment::from_process().non_empty(ALL) == Some("all") {
        // Commands of buildah's may make no devices.
        let images = IMAGES.map(|image| if image.0 == SPECIALS.0 { SPECIALS } else { image });
        many(project, base, &images)?;
        return Ok(IMAGES.iter().map(|(name, ..)| *name).chain(["git", "imports", "config"]).collect());
    }
    few(project, base)?;
    Ok(vec!["app", "imports", "df"])
}

#[test]
fn images_and_stages_are_those_of_docker_and_native() -> Result<()> {
    if Environment::from_process().non_empty(ALL).is_none() {
        slipway_parts::skip("buildah", "the same project by three backends takes long: scripts/test-buildah runs it");
        return Ok(());
    }
    let Some(storage) = Storage::new()? else { return Ok(()) };
    let (registry, project) = (Registry::start()?, Project::new("alike")?);
    sources(&project)?;
    let names = images(&project, &base(&registry)?)?;
    project.commit("first")?;
    let backends = ["docker", "native", "buildah"];
    let repos = backends.map(|backend| registry.repo(backend));
    for step in ["first", "second"] {
        let docker = project.build(&["--repo", &repos[0], "--backend", "docker"])?;
        let native = project.build_with(&["--repo", &repos[1], "--backend", "native"], &NO_ENGINE)?;
        let buildah = storage.build(&project, &["--repo", &repos[2]])?;
        assert!(!buildah.run.built().is_empty(), "{step}: {}", buildah.run.stderr);
        for (backend, other) in [("docker", docker), ("native", native)] {
            assert_eq!(digests(&registry, backend)?, digests(&registry, "buildah")?, "{step} {backend}");
            for name in &names {
                let (expected, found) = (other.image(name), buildah.image(name));
                let differing = difference(&tree::files(&expected)?, &tree::files(&found)?);
                assert!(differing.is_empty(), "{step} {backend} {name}:\n{}", differing.join("\n"));
                let wanted = meaning(&registry, backend, &expected)?;
                assert_eq!(wanted, meaning(&registry, "buildah", &found)?, "{step} {backend} {name}");
            }
        }
        // Each takes the others' stages.
        let again = project.build_with(&["--repo", &repos[2], "--backend", "native"], &NO_ENGINE)?;
        assert!(again.run.built().is_empty(), "{}", again.run.stderr);
        for repo in &repos[..2] {
            let again = storage.build(&project, &["--repo", repo])?;
            assert!(again.run.built().is_empty(), "{}", again.run.stderr);
        }
        if step == "first" {
            changed(&project)?;
        }
    }
    // And builds on them.
    project.write("src/a", "2")?;
    project.commit("third")?;
    let first = names[0];
    let buildah = storage.build(&project, &["--repo", &repos[1], first])?;
    let native = project.build_with(&["--repo", &repos[2], "--backend", "native", first], &NO_ENGINE)?;
    let differing = difference(&tree::files(&native.image(first))?, &tree::files(&buildah.image(first))?);
    assert!(differing.is_empty(), "{}", differing.join("\n"));
    assert_eq!(storage.ask(&["containers", "--noheading"])?, "", "containers are left");
    engine::forget_labelled(project.name())
}

/// Every kind of instruction, in parts that stand on each other and read each other's files. Where a base has no `/run`, buildah's
/// interpreter leaves an empty one.
fn instructions(base: &str) -> String {
    format!(
        "ARG OUTER=outer\nFROM {base} AS tools\nARG OUTER\nARG INNER='two words'\nENV SAID=$INNER-$OUTER\n\
         RUN mkdir -p /run /tools && echo \"$INNER $SAID\" > /tools/said\nONBUILD RUN echo postponed > /postponed\nONBUILD LABEL on=build\n\
         FROM tools AS work\nUSER app\nWORKDIR /deep/work\nWORKDIR here\nCOPY --chown=app:77 --chmod=640 src/a src/sub/ ./\n\
         RUN --mount=type=bind,from=tools,source=/tools,target=/mnt --mount=type=tmpfs,target=/scratch \\\n  \
         cat /mnt/said a > both && echo \"$INNER\" && touch /scratch/x\n\
         RUN <<EOT\necho \"line $SAID\" > lines\necho \"more: 'x'\" >> lines\nEOT\n\
         SHELL [\"/bin/sh\", \"-e\", \"-c\"]\nENV SAID=last INNER=env\nARG INNER=late\nRUN echo \"$SAID $INNER\" > last\nRUN [\"/bin/sh\", \"-c\", \"echo $0 > zero\", \"it's\"]\n\
         FROM {base}\nCOPY --from=work /deep /deep\nCOPY --from=0 /tools/said /copied\nCOPY src/link /link\nCOPY <<one <<'two' /docs/\n$PATH\none\n$PATH\ntwo\n\
         ADD --chown=7:8 <<three /added\nx\nthree\nRUN rm -r /tmp /bin/vi; mkdir -p /run\nEXPOSE 80 90/udp\nVOLUME /data\nLABEL a=\"b c\"\n\
         HEALTHCHECK --interval=5s CMD true\nSTOPSIGNAL SIGTERM\nENTRYPOINT [\"x\"]\nCMD y z\nONBUILD RUN echo later\n"
    )
}

/// Instructions as stages: digests, files and configs are those of native, and each takes what the other has made.
#[test]
fn stages_of_dockerfiles_are_those_of_native() -> Result<()> {
    if Environment::from_process().non_empty(ALL).is_none() {
        slipway_parts::skip("buildah", "a Dockerfile of all instructions takes long: scripts/test-buildah runs it");
        return Ok(());
    }
    let Some(storage) = Storage::new()? else { return Ok(()) };
    let (registry, project) = (Registry::start()?, Project::new("staged")?);
    sources(&project)?;
    project.write("Dockerfile", instructions(&base(&registry)?))?;
    project.config("image: app\ndockerfile: Dockerfile\nstaged: true\n")?;
    project.commit("first")?;
    let repos = ["native", "buildah"].map(|backend| registry.repo(backend));
    let native = project.build_with(&["--repo", &repos[0], "--backend", "native"], &NO_ENGINE)?;
    let buildah = storage.build(&project, &["--repo", &repos[1]])?;
    assert_eq!(native.run.built().len(), buildah.run.built().len(), "{}", buildah.run.stderr);
    assert_eq!(digests(&registry, "native")?, digests(&registry, "buildah")?);
    let (expected, found) = (native.image("app"), buildah.image("app"));
    let differing = difference(&tree::files(&expected)?, &tree::files(&found)?);
    assert!(differing.is_empty(), "{}\n{}", differing.join("\n"), buildah.run.stderr);
    assert_eq!(meaning(&registry, "native", &expected)?, meaning(&registry, "buildah", &found)?);
    let again = project.build_with(&["--repo", &repos[1], "--backend", "native"], &NO_ENGINE)?;
    assert!(again.run.built().is_empty(), "{}", again.run.stderr);
    let again = storage.build(&project, &["--repo", &repos[0]])?;
    assert!(again.run.built().is_empty(), "{}", again.run.stderr);
    // And builds on it.
    project.write("src/a", "2")?;
    project.commit("second")?;
    let buildah = storage.build(&project, &["--repo", &repos[0]])?;
    let native = project.build_with(&["--repo", &repos[1], "--backend", "native"], &NO_ENGINE)?;
    assert_eq!(native.run.built(), buildah.run.built());
    let differing = difference(&tree::files(&native.image("app"))?, &tree::files(&buildah.image("app"))?);
    assert!(differing.is_empty(), "{}", differing.join("\n"));
    // Nothing is left of what was made on the way.
    assert_eq!(storage.ask(&["containers", "--noheading"])?, "", "containers are left");
    let names = storage.ask(&["images", "--all", "--format", "{{.Name}}"])?;
    assert!(!names.lines().any(|name| name == "<none>" || name.contains("slipway-build")), "{names}");
    engine::forget_labelled(project.name())
}

/// Five images at once by three processes on one storage; one is killed in the middle of a stage.
#[test]
fn many_processes_share_one_storage() -> Result<()> {
    let Some(storage) = Storage::new()? else { return Ok(()) };
    let (registry, project) = (Registry::start()?, Project::new("crowd")?);
    let base = base(&registry)?;
    let mark = std::process::id().to_string();
    let image = |number: u32, command: &str| {
        format!("image: i{number}\nfrom: {base}\nshell: {{install: 'echo {number} > /n', setup: '{command}'}}\n")
    };
    let documents = |command: &str| (1..=5).map(|number| image(number, command)).collect::<Vec<_>>().join("---\n");
    project.config(&documents(&format!("sleep 100{mark}")))?;
    project.commit("first")?;
    let arguments = ["build", "--backend", "buildah"];
    let mut doomed = project.start(&arguments, &storage.variables())?;
    let sleeping = format!("100{mark}");
    wait("a stage that sleeps", || (!processes::with(&sleeping).is_empty()).then_some(()))?;
    doomed.kill()?;
    doomed.wait()?;
    wait("an end of all that it started", || processes::with(&sleeping).is_empty().then_some(()))?;
    project.config(&documents("cat /n > /m"))?;
    project.commit("second")?;
    let crowd = (0..3).map(|_| project.start(&arguments, &storage.variables())).collect::<Result<Vec<_>>>()?;
    let mut built = 0;
    for child in crowd {
        let run = Run::wait(child)?;
        assert_eq!(run.code, 0, "{}", run.stderr);
        built += run.built().len();
    }
    // Of five `setup` and what was killed before it was stored; no stage was stored twice.
    assert!(built >= 5, "{built}");
    let listed = storage.ask(&["images", "--format", "{{.Name}}:{{.Tag}}"])?;
    let stages: Vec<&str> = listed.lines().filter_map(|line| line.strip_prefix("localhost/crowd")).collect();
    let digests: std::collections::BTreeSet<&str> =
        stages.iter().filter_map(|tag| tag.rsplit_once('-')?.0.into()).collect();
    assert_eq!(digests.len(), stages.len(), "a stage is there twice: {stages:?}");
    let last = storage.build(&project, &[])?;
    assert!(last.run.built().is_empty(), "{}", last.run.stderr);
    let name = last.image("i3");
    let name = name.rsplit_once('/').map_or(name.as_str(), |(_, name)| name);
    let container = storage.ask(&["from", "--pull=never", &format!("localhost/{name}")])?.trim().to_owned();
    let root = storage.ask(&["mount", &container])?.trim().to_owned();
    assert_eq!(fs::read_to_string(format!("{root}/m")).context("what the last command made")?, "3\n");
    storage.ask(&["rm", &container])?;
    assert_eq!(storage.ask(&["containers", "--noheading"])?, "", "containers are left");
    Ok(())
}

/// Images of repositories go, and what killed builds have left; stages that nobody else has stay, and so does what is somebody's own.
#[test]
fn a_cleanup_of_the_host_takes_what_others_have_or_nobody_needs() -> Result<()> {
    let Some(storage) = Storage::new()? else { return Ok(()) };
    let (registry, project) = (Registry::start()?, Project::new("host-cleanup")?);
    let (base, repo) = (base(&registry)?, registry.repo("host-cleanup"));
    let write = |mark: &str| {
        let shell = format!("{{install: echo a > /a, setup: echo {mark} > /b}}");
        project.config(&format!("image: app\nfrom: {base}\nshell: {shell}\n"))?;
        project.commit(mark)
    };
    let names = || {
        let listed = storage.ask(&["images", "--format", "{{.Name}}"])?;
        Ok::<_, anyhow::Error>(listed.lines().map(str::to_owned).collect::<Vec<_>>())
    };
    let host = |arguments: &[&str]| {
        let run = project.slipway_with(&[&["host"], arguments, &["--output=json"]].concat(), &storage.variables())?;
        anyhow::ensure!(run.code == 0, "{}", run.stderr);
        let said: serde_json::Value = serde_json::from_str(&run.stdout)?;
        let part = said["parts"].as_array().into_iter().flatten().find(|part| part["part"] == "buildah");
        part.cloned().context(run.stdout)
    };
    let clean = ["cleanup", "--allowed-backend-storage-volume-usage=0"];
    write("one")?;
    storage.build(&project, &["--repo", &repo])?;
    storage.build(&project, &[])?;
    storage.ask(&["from", "--name", "mine", "scratch"])?;
    storage.ask(&["commit", "mine", "mine:1"])?;
    storage.ask(&["rm", "mine"])?;

    // When images were used is not known, so all stay while a build runs.
    write("two")?;
    let (build, file) = (["build", "--backend", "buildah", "--repo", &repo], storage.dir.path().join("at"));
    let stop = format!("worker.built@{}", file.display());
    let variables = |point| storage.variables().into_iter().chain([("SLIPWAY_FAILPOINT", point)]).collect::<Vec<_>>();
    let child = project.start(&build, &variables(&stop))?;
    wait("a build that has made an image", || file.exists().then_some(()))?;
    // An image that was only on the way to another is being removed meanwhile, and has no name.
    let named = || anyhow::Ok(names()?.into_iter().filter(|name| name != NAMELESS).collect::<Vec<_>>());
    let before = named()?;
    let part = host(&clean)?;
    assert!(part["removed"] == serde_json::json!({}) && part["stays"]["used by what runs now"].is_object(), "{part}");
    assert_eq!(named()?, before);
    fs::remove_file(&file)?;
    let run = Run::wait(child)?;
    assert_eq!(run.code, 0, "{}", run.stderr);

    // One that is killed leaves a container, or an image.
    for (mark, point) in [("three", "worker.built"), ("four", "worker.ran")] {
        write(mark)?;
        let run = project.slipway_with(&build, &variables(point))?;
        assert_eq!(run.code, 137, "{point}: {}", run.stderr);
    }
    // Whether it had given the image a name, only the moment knows: this one has none.
    let own = format!("localhost/{}", project.name());
    let tagged = storage.ask(&["images", "--format", "{{.Name}}:{{.Tag}}"])?;
    let stage = tagged.lines().find(|name| name.starts_with(&own)).context("a stage")?;
    storage.ask(&["from", "--name", "left", stage])?;
    storage.ask(&["commit", "left"])?;
    storage.ask(&["rm", "left"])?;
    let left = named()?;
    let is_nameless_there = || anyhow::Ok(names()?.iter().any(|name| name == NAMELESS));
    assert!(is_nameless_there()?);
    assert!(!storage.ask(&["containers", "--quiet"])?.trim().is_empty());
    host(&[&clean[..], &["--dry-run"]].concat())?;
    assert_eq!(named()?, left, "a dry run removes nothing");
    assert!(is_nameless_there()?, "a dry run removes nothing");
    let part = host(&clean)?;
    let mine = "localhost/mine".to_owned();
    let stays = names()?;
    assert!(stays.contains(&own) && stays.contains(&mine), "{stays:?}");
    assert!(stays.iter().all(|name| *name == own || *name == mine), "{stays:?}: {part}");
    assert_eq!(storage.ask(&["containers", "--quiet"])?.trim(), "");

    host(&["purge", "--force"])?;
    assert_eq!(names()?, [mine]);
    Ok(())
}
