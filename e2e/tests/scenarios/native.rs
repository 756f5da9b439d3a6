//! The native backend: images equal to Docker's, stages shared with it, no engine, nothing left behind.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use slipway_e2e::{Part, Project, Registry, Run, engine, processes, require, tree};

const ALL: [Part; 3] = [Part::Docker, Part::Registry, Part::Git];
/// Where no engine listens.
pub(super) const NO_ENGINE: [(&str, &str); 1] = [("DOCKER_HOST", "unix:///nonexistent/engine.sock")];

/// Whether this machine can build natively; said aloud when not.
pub(super) fn can_build() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        slipway_parts::skip("native", "the native backend needs root");
    }
    is_root && require(&ALL)
}

/// The base image in a registry: the native backend knows no images of an engine.
pub(super) fn base(registry: &Registry) -> Result<String> {
    let name = format!("{}/base:1", registry.host());
    engine::run(&["tag", engine::base_image(), &name])?;
    engine::run(&["push", &name])?;
    engine::run(&["rmi", &name])?;
    Ok(name)
}

/// Commands of one stage each, and what they are about: every image has a lower stage made by the first, and an upper
/// one made by the second.
pub(super) const IMAGES: [Image; 18] = [
    ("plain", "echo a > /a", "echo b > /b"),
    ("deleted", "mkdir /d; echo a > /d/a; echo b > /d/b", "rm /d/a"),
    ("deleted-dir", "mkdir -p /d/e; echo a > /d/e/a; echo b > /d/b", "rm -r /d/e"),
    ("deleted-base", "echo a > /a", "rm -r /tmp /bin/vi"),
    ("opaque", "mkdir -p /d/e; echo a > /d/a; echo b > /d/e/b", "rm -r /d; mkdir /d; echo c > /d/c"),
    ("opaque-empty", "mkdir -p /d/e; echo a > /d/a", "rm -r /d; mkdir -m 700 /d"),
    ("dir-to-file", "mkdir -p /d/e; echo a > /d/e/a", "rm -r /d; echo file > /d"),
    ("file-to-dir", "echo a > /d", "rm /d; mkdir /d; echo b > /d/b"),
    ("link-to-dir", "mkdir /real; ln -s real /d; echo a > /real/a", "rm /d; mkdir /d; echo b > /d/b"),
    ("dir-to-link", "mkdir /d; echo a > /d/a", "rm -r /d; ln -s /bin /d"),
    ("hard-links", "echo a > /a; ln /a /b; mkdir /d; ln /a /d/c", "echo new > /x; ln /x /d/y; chmod 600 /b"),
    ("holes", "truncate -s 3M /s; echo end >> /s", "truncate -s 1M /t; echo x | dd of=/s bs=1 seek=9 conv=notrunc"),
    ("twice-moved", "mkdir -p /d/e/f; echo a > /d/e/f/a", "mv /d/e /e; ln -s /e /d/e; mkdir /d/f"),
    ("modes", "echo a > /a; chmod 4755 /a; mkdir -m 3777 /d", "chmod 640 /a; chmod 711 /d; chmod 1777 /etc"),
    ("owners", "echo a > /a; chown app:app /a; mkdir /d; chown 7:8 /d", "chown -R 9:10 /d /a; chown -h app /bin/sh"),
    ("specials", "mkfifo /p; mknod /n c 1 3; mknod /blk b 7 200", "rm /p; mkdir /p"),
    ("renamed", "mkdir -p /d/e; echo a > /d/e/a; echo b > /d/b", "mv /d /moved; mv /etc/group /etc/group-"),
    ("names", "mkdir '/a b'; echo x > '/a b/ö'; echo y > /-n", "n=$(printf 'n%.0s' $(seq 200)); echo z > /$n; rm /-n"),
];

/// A name, and what its lower and its upper stage run.
pub(super) type Image = (&'static str, &'static str, &'static str);

pub(super) fn many(project: &Project, base: &str, images: &[Image]) -> Result<()> {
    let mut documents = Vec::new();
    for (name, lower, upper) in images {
        documents.push(format!(
            "image: {name}\nfrom: {base}\nshell:\n  install:\n  - |\n    {lower}\n  setup:\n  - |\n    {upper}\n"
        ));
    }
    documents.push(format!(
        "image: git\nfrom: {base}\ngit:\n- {{add: /src, to: /srv/app, owner: app, group: '77', stageDependencies: {{setup: [a]}}}}\n\
         - {{add: /src/sub/c, to: /one/file}}\nshell:\n  setup:\n  - cat /srv/app/a > /seen\n"
    ));
    documents.push(format!(
        "artifact: made\nfrom: {base}\nshell:\n  install:\n  - mkdir -p /out/e; echo a > /out/a; ln -s a /out/l; ln /out/a /out/h; chmod 4711 /out/a\n"
    ));
    documents.push(format!(
        "image: imports\nfrom: {base}\nimport:\n- {{artifact: made, add: /out, to: /in, owner: app, after: install}}\n\
         - {{artifact: made, add: /out, to: /some, includePaths: ['a', 'h'], before: setup}}\n"
    ));
    documents.push(format!(
        "image: mounted\nfrom: {base}\nmount: [{{from: tmp_dir, to: /etc/mounted}}]\nnetwork: none\nimport:\n\
         - {{artifact: made, add: /out/a, to: /etc, after: install}}\n- {{artifact: made, add: /out/l, to: /a-link, after: install}}\n\
         - {{artifact: made, add: /out, to: /etc/mounted, after: install}}\nshell:\n  setup:\n  - echo x > /etc/mounted/x\n"
    ));
    documents.push(format!(
        "image: config\nfrom: {base}\ndocker:\n  USER: app\n  WORKDIR: /srv\n  ENV: {{A: b c, PATH: /mine}}\n  EXPOSE: ['80', 90/udp]\n  \
         VOLUME: [/data]\n  CMD: [\"x\", \"y z\"]\n  LABEL: {{l: m}}\n"
    ));
    project.config(&documents.join("---\n"))
}

/// The parts of a config that a user sees; labels of the program name stages, whose times differ.
pub(super) fn meaning(registry: &Registry, name: &str, image: &str) -> Result<serde_json::Value> {
    let tag = image.rsplit_once(':').expect("a tag").1;
    let mut config = registry.config(name, tag)?["config"].clone();
    let map = config.as_object_mut().expect("a config");
    if let Some(labels) = map.get_mut("Labels").and_then(serde_json::Value::as_object_mut) {
        labels.retain(|label, _| !label.starts_with("werf"));
    }
    // What an engine adds of its own.
    for empty in [
        "Hostname",
        "Domainname",
        "AttachStdin",
        "AttachStdout",
        "AttachStderr",
        "Tty",
        "OpenStdin",
        "StdinOnce",
        "Image",
        "ArgsEscaped",
        "NetworkDisabled",
        "MacAddress",
    ] {
        map.remove(empty);
    }
    map.retain(|_, value| !value.is_null() && value != "");
    Ok(config)
}

pub(super) fn digests(registry: &Registry, name: &str) -> Result<BTreeSet<String>> {
    Ok(registry.stages(name)?.into_iter().map(|tag| tag[..56].to_owned()).collect())
}

pub(super) fn sources(project: &Project) -> Result<()> {
    for (path, text) in [("src/a", "1"), ("src/gone/b", "x"), ("src/sub/c", "c"), ("src/sub/d", "d")] {
        project.write(path, text)?;
    }
    project.chmod("src/sub/d", 0o755)?;
    project.link("src/link", "sub/c")
}

pub(super) fn changed(project: &Project) -> Result<()> {
    project.git(&["rm", "-q", "-r", "src/gone"])?;
    project.write("src/sub/new/e", "e")?;
    project.write("src/sub/c", "changed")?;
    project.commit("second").map(drop)
}

#[test]
fn images_and_stages_are_those_of_docker() -> Result<()> {
    if !can_build() {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("equal")?);
    let base = base(&registry)?;
    sources(&project)?;
    many(&project, &base, &IMAGES)?;
    project.commit("first")?;
    let (by_docker, by_native) = (registry.repo("docker"), registry.repo("native"));
    for step in ["first", "second"] {
        let docker = project.build(&["--repo", &by_docker, "--backend", "docker"])?;
        let native = project.build_with(&["--repo", &by_native, "--backend", "native"], &NO_ENGINE)?;
        assert!(!native.run.built().is_empty(), "{step}: {}", native.run.stderr);
        assert_eq!(digests(&registry, "docker")?, digests(&registry, "native")?, "{step}");
        let names = IMAGES.iter().map(|(name, ..)| *name).chain(["git", "imports", "config"]);
        for name in names {
            let (expected, found) = (docker.image(name), native.image(name));
            let differing = difference(&tree::files(&expected)?, &tree::files(&found)?);
            assert!(differing.is_empty(), "{step} {name}:\n{}", differing.join("\n"));
            assert_eq!(
                meaning(&registry, "docker", &expected)?,
                meaning(&registry, "native", &found)?,
                "{step} {name}"
            );
        }
        // Each takes the other's stages.
        for (repo, backend) in [(&by_docker, "native"), (&by_native, "docker")] {
            let again = project.build(&["--repo", repo, "--backend", backend])?;
            assert!(again.run.built().is_empty(), "{backend}: {}", again.run.stderr);
        }
        if step == "first" {
            changed(&project)?;
        }
    }
    // And builds on them.
    project.write("src/a", "2")?;
    project.commit("third")?;
    let docker = project.build(&["--repo", &by_native, "--backend", "docker", "git"])?;
    let native = project.build(&["--repo", &by_docker, "--backend", "native", "git"])?;
    let differing = difference(&tree::files(&docker.image("git"))?, &tree::files(&native.image("git"))?);
    assert!(differing.is_empty(), "{}", differing.join("\n"));
    engine::forget_labelled(project.name())
}

/// The engine leaves the empty place of the toolbox in every image that ran a command; the native backend does not.
const TOOLBOX: [&str; 2] = [".werf", ".werf/stapel"];

pub(super) fn difference(docker: &BTreeMap<String, String>, native: &BTreeMap<String, String>) -> Vec<String> {
    let all: BTreeSet<&String> = docker.keys().chain(native.keys()).collect();
    let all = all.into_iter().filter(|path| !TOOLBOX.contains(&path.as_str()));
    let differs = all.filter(|path| docker.get(*path) != native.get(*path));
    differs.map(|path| format!("{path}\n  docker {:?}\n  native {:?}", docker.get(path), native.get(path))).collect()
}

#[test]
fn without_an_engine_stages_are_kept_on_the_host() -> Result<()> {
    if !can_build() {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("alone")?);
    project.write("src/a", "1")?;
    project.config(&format!(
        "image: app\nfrom: {}\ngit: [{{add: /src, to: /app}}]\nshell: {{setup: cp /app/a /b}}\n",
        base(&registry)?
    ))?;
    project.commit("first")?;
    // It goes first where it can build.
    let automatic = [("SLIPWAY_BACKEND", "")];
    let first = project.build_with(&[], &automatic)?;
    assert!(first.run.stderr.contains(" (chosen automatically; "), "{}", first.run.stderr);
    assert!(
        first.run.stderr.contains("Backend native at ") && first.run.stderr.contains("--to docker"),
        "{}",
        first.run.stderr
    );
    assert_eq!(first.run.built().len(), 3, "{}", first.run.stderr);
    let second = project.build_with(&["--backend", "native"], &NO_ENGINE)?;
    assert!(second.run.built().is_empty() && second.run.reused().len() == 3, "{}", second.run.stderr);
    assert_eq!(second.image("app"), first.image("app"));
    // A repository gets what the host has.
    let repo = registry.repo("alone");
    let copied = project.build_with(&["--backend", "native", "--repo", &repo], &NO_ENGINE)?;
    assert!(copied.run.built().is_empty(), "{}", copied.run.stderr);
    assert_eq!(engine::sh(&copied.image("app"), "cat /b")?, "1");
    engine::forget_labelled(project.name())
}

/// Layers compressed by zstd are read by other hosts as by this one; the stages are the same.
#[test]
fn layers_are_compressed_as_asked() -> Result<()> {
    if !can_build() {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("zstd")?);
    project.config(&format!("image: app\nfrom: {}\nshell: {{setup: seq 1 20000 > /numbers}}\n", base(&registry)?))?;
    project.commit("first")?;
    for (compression, kind) in [("gzip", "+gzip"), ("zstd", "+zstd")] {
        let repo = registry.repo(compression);
        let all = ["--backend", "native", "--repo", &repo, "--compression", compression];
        project.build_with(&all, &NO_ENGINE)?;
        // What is here is not used again: layers come from the repository.
        std::fs::remove_dir_all(project.home().join("native"))?;
        let manifests =
            registry.stages(compression)?.into_iter().map(|tag| Ok(registry.manifest(compression, &tag)?.1));
        let manifests = manifests.collect::<Result<Vec<serde_json::Value>>>()?;
        let layers = |manifest: &serde_json::Value| manifest["layers"].as_array().map_or(0, Vec::len);
        let manifest = manifests.iter().max_by_key(|manifest| layers(manifest)).expect("a stage");
        let last = manifest["layers"][1]["mediaType"].as_str().expect("a layer above the base's");
        assert!(last.ends_with(kind), "{compression}: {manifest}");
    }
    assert_eq!(digests(&registry, "gzip")?, digests(&registry, "zstd")?);
    let repo = registry.repo("zstd");
    let used = project.build_with(&["--backend", "native", "--repo", &repo], &NO_ENGINE)?;
    assert!(used.run.built().is_empty(), "{}", used.run.stderr);
    project.config(&format!(
        "image: app\nfrom: {}/base:1\nshell: {{setup: seq 1 20000 > /numbers}}\n---\nimage: more\nfromImage: app\nshell: {{setup: tail -n 1 /numbers > /last}}\n",
        registry.host()
    ))?;
    project.commit("second")?;
    let all = ["--backend", "native", "--repo", &repo];
    let more = project.build_with(&all, &NO_ENGINE)?;
    assert!(more.run.built().iter().all(|stage| stage.starts_with("more/")), "{}", more.run.stderr);
    let refused = project.slipway(&["build", "--backend", "docker", "--compression", "zstd"])?;
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    Ok(())
}

#[test]
fn a_command_that_fails_is_named_by_its_line() -> Result<()> {
    if !can_build() {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("fails")?);
    let base = base(&registry)?;
    project.config(&format!("image: app\nfrom: {base}\nshell:\n  install:\n  - echo fine\n  - (exit 7)\n"))?;
    project.commit("first")?;
    let run = project.slipway_with(&["build", "--backend", "native"], &NO_ENGINE)?;
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(run.stderr.contains("werf.yaml:9") && run.stderr.contains("exit code 7"), "{}", run.stderr);
    Ok(())
}

/// Images are the same, however layers lie on each other and whatever runs the commands.
#[test]
fn drivers_and_runtimes_make_the_same_images() -> Result<()> {
    if !can_build() {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("drivers")?);
    let base = base(&registry)?;
    sources(&project)?;
    many(&project, &base, &IMAGES)?;
    project.commit("first")?;
    let names = || IMAGES.iter().map(|(name, ..)| *name).chain(["git", "imports", "config"]);
    let usual = project.build_with(&["--repo", &registry.repo("usual"), "--backend", "native"], &NO_ENGINE)?;
    // The base was nowhere here; each stage stands on one that was made here.
    let images = usual.report["Images"].as_object().expect("images");
    let stages = images.values().filter_map(|image| image["Stages"].as_array()).flatten();
    let (bases, others): (Vec<_>, Vec<_>) = stages.partition(|stage| stage["Name"] == "from");
    // The one that fetched it may be of the artifact, of which no report tells.
    let by_artifact = usual.run.built().iter().any(|stage| stage == "made/from");
    assert!(by_artifact || bases.iter().any(|stage| stage["BaseImagePulled"] == true), "{}", usual.run.stderr);
    assert!(others.iter().all(|stage| stage["BaseImagePulled"] == false), "{}", usual.report);
    let mut expected = Vec::new();
    for name in names() {
        expected.push(layers(&registry, "usual", &usual.image(name))?);
    }
    for (flag, value) in [
        ("--native-storage-driver", "vfs"),
        ("--native-storage-driver", "fuse-overlayfs"),
        ("--native-runtime", "runc"),
        ("--native-runtime", "crun"),
    ] {
        let (repo, home) = (registry.repo(value), project.home().join(value));
        let home = home.to_str().expect("a UTF-8 path");
        let arguments = ["build", "--repo", &repo, "--backend", "native", "--home-dir", home, flag, value];
        let run = project.slipway_with(&arguments, &NO_ENGINE)?;
        if run.stderr.contains("is not installed") || run.stderr.contains("open /dev/fuse") {
            slipway_parts::skip("native", &format!("{value} cannot be used here"));
            continue;
        }
        assert_eq!(run.code, 0, "{value}: {}", run.stderr);
        assert_eq!(digests(&registry, value)?, digests(&registry, "usual")?, "{value}");
        for (name, expected) in names().zip(&expected) {
            let tag = newest(&registry, value, &usual.image(name))?;
            let found = layers(&registry, value, &format!("{repo}:{tag}"))?;
            assert_eq!(&found, expected, "{value} {name}");
        }
    }
    Ok(())
}

/// What is set for Buildah holds here too.
#[test]
fn variables_of_buildah_apply() -> Result<()> {
    if !can_build() {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("variables")?);
    let base = base(&registry)?;
    project.config(&format!(
        "image: app\nfrom: {base}\nshell:\n  setup:\n  - echo limits $(ulimit -Sn) $(ulimit -Hn) $(ulimit -Sc)\n  \
         - awk '$2 == \"/\" {{ print \"root\", $3 }}' /proc/mounts\n"
    ))?;
    project.commit("first")?;
    let build = |variables: &[(&str, &str)]| {
        project.slipway_with(&["build", "--backend", "native"], &[&NO_ENGINE, variables].concat())
    };
    let limits = ("WERF_BUILDAH_ULIMIT", "nofile:1024:4096,core:0");
    let refused = build(&[limits, ("WERF_BUILDAH_STORAGE_DRIVER", "zfs")])?;
    assert_eq!(refused.code, 2, "{}", refused.stderr);
    assert!(refused.stderr.contains("WERF_BUILDAH_STORAGE_DRIVER: `zfs` is none of"), "{}", refused.stderr);
    let run = build(&[limits, ("WERF_BUILDAH_STORAGE_DRIVER", "vfs")])?;
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("limits 1024 4096 0"), "{}", run.stderr);
    assert!(run.stderr.contains("root ") && !run.stderr.contains("root overlay"), "{}", run.stderr);
    Ok(())
}

/// Names in the layers of an image above its base, with all that they are but their times: those of commands are of the
/// moment.
fn layers(registry: &Registry, name: &str, image: &str) -> Result<Vec<String>> {
    let tag = image.rsplit_once(':').expect("a tag").1;
    let manifest = registry.manifest(name, tag)?.1;
    let mut all = Vec::new();
    for layer in manifest["layers"].as_array().into_iter().flatten().skip(1) {
        let digest = layer["digest"].as_str().expect("a digest").trim_start_matches("sha256:");
        let blob = registry.data().join(format!("docker/registry/v2/blobs/sha256/{}/{digest}/data", &digest[..2]));
        let listed = slipway_process::child::command("tar").args(["--numeric-owner", "-tvzf"]).arg(blob).output()?;
        let text = String::from_utf8(listed.stdout)?;
        all.push(format!("layer of {} entries", text.lines().count()));
        // Mode, owner, size or device, date, time, name.
        let entry = |line: &str| -> String {
            let words: Vec<&str> = line.split_whitespace().collect();
            words
                .iter()
                .enumerate()
                .filter(|(at, _)| ![3, 4].contains(at))
                .map(|(_, word)| *word)
                .collect::<Vec<_>>()
                .join(" ")
        };
        all.extend(text.lines().map(entry));
    }
    Ok(all)
}

/// How many processes of this machine have a word among their arguments.
pub(super) fn running(word: &str) -> usize {
    processes::with(word).len()
}

/// A cleanup that is to leave nothing takes what nobody uses, and nothing of a build that runs.
#[test]
fn a_cleanup_leaves_running_builds_alone() -> Result<()> {
    if !can_build() {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("cleaned")?);
    let base = base(&registry)?;
    let mark = format!("{}", 600_000 + std::process::id());
    let waiting = |command: &str| {
        project.config(&format!(
            "image: app\nfrom: {base}\nshell:\n  install: echo below > /below\n  setup: [{command}, cat /below > /up]\n"
        ))
    };
    waiting("'true'")?;
    project.commit("first")?;
    project.build_with(&["--backend", "native"], &NO_ENGINE)?;
    waiting(&format!("sleep {mark} || true"))?;
    project.commit("second")?;
    let mut child = project.start(&["build", "--backend", "native"], &NO_ENGINE)?;
    while running(&mark) == 0 {
        assert!(child.try_wait()?.is_none(), "it ended: {:?}", Run::wait(child));
        std::thread::yield_now();
    }
    let kept = || -> Result<serde_json::Value> {
        let run = project.slipway(&["host", "df", "--output", "json"])?;
        assert_eq!(run.code, 0, "{}", run.stderr);
        Ok(serde_json::from_str(&run.stdout)?)
    };
    let cleanup = |more: &[&str]| -> Result<serde_json::Value> {
        let all = [&["host", "cleanup", "--output=json", "--allowed-backend-storage-volume-usage=0"], more].concat();
        let run = project.slipway(&all)?;
        assert_eq!(run.code, 0, "{}", run.stderr);
        Ok(serde_json::from_str(&run.stdout)?)
    };
    // The base, the places for mounts, `install`, and the `setup` of the first build, which nobody uses.
    let before = kept()?;
    assert_eq!((&before["layers"]["number"], &before["layersInUse"]["number"]), (&4.into(), &3.into()), "{before}");
    assert_eq!((&before["building"]["number"], &before["leftovers"]["number"]), (&1.into(), &0.into()), "{before}");
    let said = cleanup(&["--dry-run"])?;
    assert_eq!((&said["layers"]["number"], &said["stages"]), (&1.into(), &1.into()), "{said}");
    assert_eq!(kept()?, before, "a dry run removes nothing");
    let done = cleanup(&[])?;
    assert_eq!((&done["layers"], &done["stages"]), (&said["layers"], &said["stages"]), "{done}");
    let after = kept()?;
    assert_eq!((&after["layers"]["number"], &after["building"]["number"]), (&3.into(), &1.into()), "{after}");
    for process in processes::with(&mark) {
        processes::kill(process)?;
    }
    let run = Run::wait(child)?;
    assert_eq!(run.code, 0, "{}", run.stderr);
    // Nobody builds any more: all goes, and the next build makes it again.
    cleanup(&[])?;
    assert_eq!(kept()?["layers"]["number"], 0);
    waiting("'true'")?;
    project.commit("third")?;
    let again = project.build_with(&["--backend", "native"], &NO_ENGINE)?;
    assert_eq!(again.run.built().len(), 3, "{}", again.run.stderr);
    Ok(())
}

/// Runs a program as a user who is not root and has some ids of the host. `$0` is a directory of that user, the rest the
/// program; `TUN` = the mode that the device of networks has.
pub(super) const AS_USER: &str = "set -e; printf 'nobody:100000:65536\\n' | tee \"$0/subuid\" > \"$0/subgid\"; touch /etc/subuid /etc/subgid; \
                       mount --bind \"$0/subuid\" /etc/subuid; mount --bind \"$0/subgid\" /etc/subgid; export HOME=\"$0\" TMPDIR=\"$0\"; \
                       rm -f \"$0/tun\"; mknod -m \"$TUN\" \"$0/tun\" c 10 200; \
                       if [ -e /dev/net/tun ]; then mount --bind \"$0/tun\" /dev/net/tun; fi; \
                       exec setpriv --reuid nobody --regid nogroup --clear-groups \"$@\"";

/// Stages of a user who is not root are those of root, and commands are root of their images.
#[test]
fn a_user_without_root_builds_too() -> Result<()> {
    if !can_build() {
        return Ok(());
    }
    let helpers = ["newuidmap", "newgidmap", "setpriv"]
        .into_iter()
        .find(|name| slipway_process::child::command(name).arg("--version").output().is_err());
    if let Some(name) = helpers {
        slipway_parts::skip("rootless", &format!("{name} is not installed"));
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("rootless")?);
    let base = base(&registry)?;
    project.write("src/a", "1")?;
    project.config(&format!(
        "image: app\nfrom: {base}\ngit: [{{add: /src, to: /app, owner: app}}]\nshell:\n  install:\n  - mkdir -p /d/e; echo a > /d/a\n  \
         setup:\n  - rm -r /d; mkdir /d; echo c > /d/c; chown 7:8 /d/c; id -u > /id; chmod 4755 /id\n"
    ))?;
    project.commit("first")?;
    let by_root = project.build_with(&["--backend", "native", "--repo", &registry.repo("root")], &NO_ENGINE)?;
    let home = tempfile::tempdir()?;
    let place = home.path().to_str().expect("a UTF-8 path");
    for directory in [home.path(), project.path()] {
        give(directory, "nobody:nogroup")?;
    }
    let wrapper =
        |tun: &'static str| ["env", tun, "unshare", "--mount", "--propagation", "private", "sh", "-c", AS_USER, place];
    let (closed, open) = (wrapper("TUN=0"), wrapper("TUN=666"));
    let (own, repo) = (format!("{place}/own"), registry.repo("user"));
    let arguments = ["build", "--backend", "native", "--home-dir", &own, "--repo", &repo];
    let run = project.slipway_by(&closed, &arguments)?;
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("native-rootless, as this is not root"), "{}", run.stderr);
    // Two stages run commands.
    assert_eq!(run.stderr.matches("commands see this host's network").count(), 1, "{}", run.stderr);
    assert_eq!(run.built().len(), by_root.run.built().len(), "{}", run.stderr);
    assert_eq!(digests(&registry, "root")?, digests(&registry, "user")?);
    let again = project.slipway_by(&closed, &arguments)?;
    assert!(again.code == 0 && again.built().is_empty(), "{}", again.stderr);
    // Docker runs the result, and finds the same in it.
    let of_root = by_root.image("app");
    let of_user = format!("{repo}:{}", newest(&registry, "user", &of_root)?);
    let differing = difference(&tree::files(&of_root)?, &tree::files(&of_user)?);
    assert!(differing.is_empty(), "{}", differing.join("\n"));
    assert_eq!(engine::sh(&of_user, "cat /id")?.trim(), "0");
    // What users of the image have there is removed by whoever made it.
    let emptied = project
        .slipway_by(&closed, &["host", "cleanup", "--home-dir", &own, "--allowed-backend-storage-volume-usage=0"])?;
    assert_eq!(emptied.code, 0, "{}", emptied.stderr);
    assert_eq!(std::fs::read_dir(format!("{own}/native/layers"))?.count(), 0, "{}", emptied.stdout);
    engine::forget_labelled(project.name())?;
    connected(&project, &open, &own, &base)
}

/// Makes a directory and all that is in it somebody's.
pub(super) fn give(directory: &std::path::Path, owner: &str) -> Result<()> {
    slipway_process::child::command("chown").args(["-R", owner]).arg(directory).status()?;
    Ok(())
}

/// With a helper, commands of a user who is not root have a network of their own, by whatever runs them.
fn connected(project: &Project, wrapper: &[&str], home: &str, base: &str) -> Result<()> {
    let installed = |name: &str| {
        ["/usr/bin", "/usr/sbin", "/bin"].iter().any(|place| std::path::Path::new(place).join(name).is_file())
    };
    if !std::path::Path::new("/dev/net/tun").exists() || !(installed("pasta") || installed("slirp4netns")) {
        slipway_parts::skip("network", "neither pasta nor slirp4netns can be used here");
        return Ok(());
    }
    for runtime in ["", "crun", "runc"].into_iter().filter(|runtime| runtime.is_empty() || installed(runtime)) {
        let mark = if runtime.is_empty() { "own" } else { runtime };
        project.config(&format!("image: app\nfrom: {base}\nshell: {{setup: ['ls /sys/class/net', 'echo {mark} > /made; test ! -e /sys/class/net/docker0']}}\n"))?;
        give(project.path(), "root:root")?;
        project.git(&["commit", "-q", "-a", "-m", mark])?;
        give(project.path(), "nobody:nogroup")?;
        let mut arguments = vec!["build", "--backend", "native", "--home-dir", home];
        if !runtime.is_empty() {
            arguments.extend(["--native-runtime", runtime]);
        }
        let run = project.slipway_by(wrapper, &arguments)?;
        assert_eq!(run.code, 0, "{runtime}: {}", run.stderr);
        assert!(!run.stderr.contains("commands see this host's network"), "{runtime}: {}", run.stderr);
        assert!(run.stderr.contains("eth0"), "{runtime}: {}", run.stderr);
    }
    Ok(())
}

/// The tag in a repository with the digest that another image has.
fn newest(registry: &Registry, name: &str, like: &str) -> Result<String> {
    let digest = like.rsplit_once(':').and_then(|(_, tag)| tag.split_once('-')).expect("a tag").0;
    let tags = registry.tags(name)?;
    Ok(tags.into_iter().find(|tag| tag.starts_with(digest)).expect("the same stage"))
}
