//! Directives that hand something over or rewrite something: `dependencies`, `imageSpec`, `fromLatest`, `final`.

use anyhow::Result;
use serde_json::{Value, json};
use slipway_e2e::{Part, Project, Registry, Run, engine, require, takes_engine_images};

use crate::giterminism::refused;

const ALL: [Part; 3] = [Part::Docker, Part::Registry, Part::Git];

/// Every type of import on a Stapel image and on a Dockerfile image that stands on the dependency.
const HANDED: &str = "image: user\nfrom: BASE\ndependencies:\n- image: dep\n  before: setup\n  imports:\n  \
    - {type: ImageName, targetEnv: NAME}\n  - {type: ImageTag, targetEnv: TAG}\n  - {type: ImageRepo, targetEnv: REPO}\n  \
    - {type: ImageID, targetEnv: ID}\n  - {type: ImageDigest, targetEnv: DIGEST}\n\
    shell: {setup: ['echo $NAME > /seen']}\n---\n\
    image: file\ndockerfile: Dockerfile\ndependencies:\n- image: dep\n  imports:\n  \
    - {type: ImageName, targetBuildArg: NAME}\n  - {type: ImageTag, targetBuildArg: TAG}\n  \
    - {type: ImageRepo, targetBuildArg: REPO}\n  - {type: ImageID, targetBuildArg: ID}\n  \
    - {type: ImageDigest, targetBuildArg: DIGEST}\n---\n\
    image: dep\nfrom: BASE\nfinal: false\nshell: {setup: ['echo VERSION > /dep']}\n";
const STANDS_ON_DEP: &str = "ARG NAME=nothing\nFROM ${NAME}\nARG NAME=default\nARG TAG\nARG REPO\nARG ID\nARG DIGEST\n\
    RUN echo $NAME $TAG $REPO $ID $DIGEST > /seen\n";

fn env(config: &Value, name: &str) -> String {
    let prefix = format!("{name}=");
    let entries = config["Env"].as_array().map(Vec::as_slice).unwrap_or_default();
    let found = entries.iter().filter_map(|entry| entry.as_str()?.strip_prefix(&prefix)).next_back();
    found.unwrap_or_default().to_owned()
}

/// An image of a repository as the engine tells it.
fn inspect(image: &str) -> Result<Value> {
    engine::run(&["pull", "--quiet", image])?;
    let inspected: Value = serde_json::from_str(&engine::run(&["image", "inspect", image])?)?;
    Ok(inspected[0].clone())
}

#[test]
fn dependencies_hand_over_every_kind_of_name() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("handed")?);
    project.config(&HANDED.replace("VERSION", "1"))?;
    project.write("Dockerfile", format!("{STANDS_ON_DEP}COPY linked/name.txt /name\n"))?;
    project.write("files/name.txt", "first")?;
    project.link("linked", "files")?;
    project.commit("first")?;
    let repo = registry.repo("handed");
    let built = project.build(&["--repo", &repo])?;
    let dep = &built.report["Images"]["dep"];
    let part = |key: &str| dep[key].as_str().unwrap_or_default().to_owned();
    let (name, tag, id, digest) =
        (part("DockerImageName"), part("DockerTag"), part("DockerImageID"), part("DockerImageDigest"));
    assert!(digest.starts_with("sha256:") && digest != id, "{dep}");
    let config = inspect(&built.image("user"))?["Config"].clone();
    let seen = ["NAME", "TAG", "REPO", "ID", "DIGEST"].map(|variable| env(&config, variable));
    assert_eq!(seen, [name.clone(), tag.clone(), repo.clone(), id.clone(), digest.clone()]);
    assert_eq!(engine::sh(&built.image("user"), "cat /seen")?, format!("{name}\n"));
    let seen = engine::sh(&built.image("file"), "cat /dep /seen")?;
    assert_eq!(seen, format!("1\n{name} {tag} {repo} {id} {digest}\n"));
    assert!(project.build(&["--repo", &repo])?.run.built().is_empty());

    // Another dependency is another value: what was told of it is built again.
    project.config(&HANDED.replace("VERSION", "2"))?;
    project.commit("second")?;
    let second = project.build(&["--repo", &repo])?;
    let mut stages = second.run.built();
    stages.sort();
    assert_eq!(stages, ["dep/setup", "file/dockerfile", "user/dependenciesBeforeSetup", "user/setup"]);
    assert_eq!(engine::sh(&second.image("file"), "cat /dep")?, "2\n");

    // A file is used though it is known only later what the Dockerfile stands on, and though a link leads to it.
    project.write("files/name.txt", "third")?;
    refused(&project.slipway(&["build", "--repo", &repo])?, " - files/name.txt\n");
    project.commit("third")?;
    let third = project.build(&["--repo", &repo])?;
    assert_eq!(third.run.built(), ["file/dockerfile"]);
    assert_eq!(engine::sh(&third.image("file"), "cat /name")?, "third");
    Ok(())
}

#[test]
fn a_dockerfile_stands_on_a_stage_that_only_the_repository_has() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("stands-on")?);
    project.config(&HANDED.replace("VERSION", "1"))?;
    project.write("Dockerfile", STANDS_ON_DEP)?;
    project.commit("first")?;
    let repo = registry.repo("stands-on");
    project.build(&["--repo", &repo])?;
    engine::forget_labelled(project.name())?;
    project.write("Dockerfile", format!("{STANDS_ON_DEP}RUN echo more > /more\n"))?;
    project.commit("second")?;
    let second = project.build(&["--repo", &repo])?;
    assert_eq!(second.run.built(), ["file/dockerfile"]);
    assert_eq!(engine::sh(&second.image("file"), "cat /dep /more")?, "1\nmore\n");
    Ok(())
}

#[test]
fn without_a_repository_names_are_local_and_there_is_no_manifest_digest() -> Result<()> {
    if !require(&[Part::Docker, Part::Git]) || !takes_engine_images() {
        return Ok(());
    }
    let project = Project::new("local-names")?;
    let documents = HANDED.replace("VERSION", "1");
    project.config(&documents)?;
    project.write("Dockerfile", STANDS_ON_DEP)?;
    project.commit("first")?;
    let refused = project.slipway(&["build"])?;
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    for part in ["`ImageDigest` of image `dep`", "--repo", "werf.yaml:"] {
        assert!(refused.stderr.contains(part), "`{part}` is not in:\n{}", refused.stderr);
    }
    let documents: Vec<&str> = documents.lines().filter(|line| !line.contains("ImageDigest")).collect();
    project.config(&(documents.join("\n") + "\n"))?;
    project.commit("second")?;
    let built = project.build(&[])?;
    let name = built.image("dep");
    assert!(name.starts_with(&format!("{}:", project.name())), "{name}");
    assert_eq!(env(&engine::config(&built.image("user"))?, "NAME"), name);
    assert!(engine::sh(&built.image("file"), "cat /dep /seen")?.starts_with(&format!("1\n{name} ")));
    engine::forget_labelled(project.name())
}

const SPEC_BASE: &str = "---\nimage: base\nfrom: BASE\nfinal: false\ndocker:\n  \
    ENV: {APP_ONE: '1', APP_TWO: '2', REMOVE: x, KEEP: y}\n  LABEL: {team-a: '1', team-b: '2', other: '3'}\n  \
    VOLUME: [/data, /cache]\n  USER: app\n  WORKDIR: /srv\n  CMD: [base-cmd]\n  ENTRYPOINT: [/bin/sh, -c]\n";
const GLOBAL: &str = "  imageSpec:\n    author: Frontend Maintainer\n    clearHistory: true\n    config:\n      \
    labels: {frontend-version: '1.2'}\n      removeLabels: [other]\n";

#[test]
fn fixture_39_an_image_spec_rewrites_the_config() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("spec")?);
    let spec = "imageSpec:\n  author: Own\n  clearHistory: false\n  config:\n    \
        removeLabels: [/team-.*/, /^werf.*/]\n    keepEssentialWerfLabels: true\n    labels: {own: 'yes'}\n    \
        removeEnv: [/^APP_.*/, REMOVE]\n    env: {ADD: me, PATH: '${PATH}:/add/path'}\n    \
        removeVolumes: [/cache]\n    volumes: [/new]\n    expose: ['99']\n    user: '1000:1000'\n    workingDir: /work\n    \
        cmd: [echo from-cmd]\n    stopSignal: SIGINT\n    healthcheck: {test: [CMD, 'true'], interval: 30}\n";
    let meta = format!("project: {}\nconfigVersion: 1\nbuild:\n{GLOBAL}---\n", project.name());
    let stapel = format!("image: app\nfrom: BASE\nshell: {{setup: ['echo made > /made']}}\n{spec}");
    let file = format!("---\nimage: file\ndockerfile: Dockerfile\n{spec}");
    project.write("werf.yaml", (meta + &stapel + &file).replace("BASE", &project.base()))?;
    let dockerfile = "ENV APP_ONE=1 APP_TWO=2 REMOVE=x KEEP=y\nLABEL team-a=1 team-b=2 other=3\nVOLUME /data /cache\n\
        USER app\nWORKDIR /srv\nENTRYPOINT [\"/bin/sh\", \"-c\"]\nCMD [\"echo base\"]\nRUN echo made > /tmp/made\n";
    project.write("Dockerfile", format!("FROM {}\n{dockerfile}", project.base()))?;
    project.commit("first")?;
    let repo = registry.repo("spec");
    let built = project.build(&["--repo", &repo])?;
    let stages = built.run.built();
    for stage in ["app/imageSpec", "file/imageSpec"] {
        assert!(stages.contains(&stage.to_owned()), "{stages:?}");
    }
    let image = inspect(&built.image("file"))?;
    assert_eq!(image["Author"], "Frontend Maintainer", "the author of the meta section wins");
    let config = &image["Config"];
    assert_eq!(config["Env"], json!(["PATH=/bin:/usr/bin:/add/path", "KEEP=y", "ADD=me"]));
    assert_eq!(config["Volumes"], json!({"/data": {}, "/new": {}}));
    assert_eq!(config["ExposedPorts"], json!({"99/tcp": {}}));
    assert_eq!((&config["User"], &config["WorkingDir"]), (&json!("1000:1000"), &json!("/work")));
    assert_eq!((&config["Cmd"], &config["Entrypoint"]), (&json!(["echo from-cmd"]), &json!(["/bin/sh", "-c"])));
    assert_eq!(config["StopSignal"], "SIGINT");
    assert_eq!(config["Healthcheck"]["Interval"], 30_000_000_000_u64);
    let labels = config["Labels"].as_object().expect("labels");
    assert!(!labels.keys().any(|label| label.starts_with("team-") || label == "other"), "{labels:?}");
    for (label, value) in [("own", "yes"), ("frontend-version", "1.2"), ("werf", project.name())] {
        assert_eq!(labels[label], value, "{label}");
    }
    assert!(labels.contains_key("werf.io/parent-stage-id"));
    assert_eq!(engine::run(&["run", "--rm", "--network=none", &built.image("file")])?, "from-cmd\n");
    assert_eq!(engine::sh(&built.image("file"), "cat /tmp/made")?, "made\n");
    let tag = built.image("file").rsplit_once(':').expect("a tag").1.to_owned();
    let stored = registry.config("spec", &tag)?;
    assert_eq!((&stored["author"], stored.get("history")), (&json!("Frontend Maintainer"), None));
    assert_eq!(engine::sh(&built.image("app"), "cat /made; echo $ADD $PATH")?, "made\nme /bin:/usr/bin:/add/path\n");
    assert!(project.build(&["--repo", &repo])?.run.built().is_empty());
    Ok(())
}

#[test]
fn fixture_39_what_is_cleared_is_gone() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("spec-clean")?);
    let clean = "image: clean\nfromImage: base\nimageSpec:\n  config:\n    removeEnv: [/.*/]\n    removeVolumes: [/data, /cache]\n    \
        labels: {global: stays}\n    clearCmd: true\n    clearEntrypoint: true\n    clearUser: true\n    clearWorkingDir: true\n---\n\
        image: entry\nfromImage: base\nimageSpec: {config: {entrypoint: [/bin/echo, entry]}}\n---\n\
        image: cmd\nfromImage: base\nimageSpec: {config: {cmd: [echo cmd]}}\n";
    project.config(&format!("{clean}{SPEC_BASE}"))?;
    project.commit("first")?;
    let built = project.build(&["--repo", &registry.repo("spec-clean")])?;
    let empty = |value: &Value| value.is_null() || *value == "" || *value == json!([]) || *value == json!({});
    let config = inspect(&built.image("clean"))?["Config"].clone();
    for key in ["Env", "Volumes", "Cmd", "Entrypoint", "User", "WorkingDir"] {
        assert!(empty(&config[key]), "{key}: {}", config[key]);
    }
    assert_eq!(config["Labels"]["global"], "stays");
    let history = inspect(&built.image("entry"))?;
    assert!(empty(&history["Config"]["Cmd"]), "the base's command goes: {}", history["Config"]);
    assert_eq!(history["Config"]["Entrypoint"], json!(["/bin/echo", "entry"]));
    assert_eq!(engine::run(&["run", "--rm", "--network=none", &built.image("entry")])?, "entry\n");
    assert_eq!(engine::run(&["run", "--rm", "--network=none", &built.image("cmd")])?, "cmd\n");
    let steps = engine::run(&["history", "--quiet", &built.image("cmd")])?.lines().count();
    assert!(steps > 1, "the history stays unless it is cleared: {steps}");
    Ok(())
}

#[test]
fn fixture_62_images_are_listed_and_final_ones_alone() -> Result<()> {
    if !require(&[Part::Git]) {
        return Ok(());
    }
    let project = Project::new("listed")?;
    project.config(
        "image: [image_a, image_b, image_c]\nfrom: alpine\ndependencies: [{image: image_d, after: install}]\n---\n\
         image: image_d\nfrom: alpine\nfinal: false\n",
    )?;
    project.commit("first")?;
    let printed = |arguments: &[&str]| project.slipway(arguments).map(|run| (run.code, run.stdout));
    let all = "image_a\nimage_b\nimage_c\nimage_d\n".to_owned();
    assert_eq!(printed(&["config", "list"])?, (0, all));
    for flag in ["--images-only", "--final-images-only"] {
        assert_eq!(printed(&["config", "list", flag])?, (0, "image_a\nimage_b\nimage_c\n".to_owned()));
    }
    let (_, yaml) = printed(&["config", "graph", "image_b"])?;
    assert!(yaml.contains("- image: image_b\n  dependsOn:\n    dependencies:\n    - image_d\n"), "{yaml}");
    let (_, graph) = printed(&["config", "graph", "--output", "json"])?;
    let graph: Value = serde_json::from_str(&graph)?;
    assert_eq!(graph[0], json!({"image": "image_a", "dependsOn": {"dependencies": ["image_d"]}}));
    let (_, dot) = printed(&["config", "graph", "--output", "dot"])?;
    assert!(dot.contains("\"image_c\" -> \"image_d\" [label=dependencies];"), "{dot}");
    assert_eq!(printed(&["config", "graph", "--output", "text"])?.0, 2);
    Ok(())
}

#[test]
fn an_image_that_is_not_final_is_built_for_others_only() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("not-final")?);
    project.config(
        "image: app\nfromImage: base\nplatform: [HOST]\n---\nimage: base\nfrom: BASE\nfinal: false\n---\n\
         image: unused\nfrom: BASE\nfinal: false\nfromCacheVersion: '2'\n"
            .replace("HOST", &platform())
            .as_str(),
    )?;
    project.commit("first")?;
    let built = project.build(&["--repo", &registry.repo("not-final"), "--final-images-only"])?;
    assert_eq!(built.report["Images"]["base"]["Final"], false);
    assert_eq!(built.report["Images"]["app"]["Final"], true);
    assert!(built.report["Images"]["unused"].is_null(), "{}", built.report);
    let all = project.build(&["--repo", &registry.repo("not-final")])?;
    assert_eq!(all.run.built(), ["unused/from"]);
    Ok(())
}

/// What the engine builds for.
fn platform() -> String {
    let said = engine::run(&["version", "--format", "{{.Server.Os}}/{{.Server.Arch}}"]).unwrap_or_default();
    said.trim().to_owned()
}

#[test]
fn a_moved_tag_of_the_base_rebuilds_with_from_latest() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("latest")?);
    let base = format!("{}:1", registry.repo("base"));
    let push = |text: &str| -> Result<()> {
        let container = format!("slipway-e2e-{}-{text}", project.name());
        engine::run(&[
            "run",
            "--name",
            &container,
            "--network=none",
            engine::base_image(),
            "sh",
            "-c",
            &format!("echo {text} > /base"),
        ])?;
        engine::run(&["commit", &container, &base])?;
        engine::run(&["rm", &container])?;
        engine::run(&["push", "--quiet", &base]).map(drop)
    };
    push("one")?;
    project.config(&format!("image: latest\nfrom: {base}\nfromLatest: true\n---\nimage: named\nfrom: {base}\n"))?;
    project.commit("first")?;
    let repo = registry.repo("latest");
    let refused = project.slipway(&["build", "--repo", &repo])?;
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert!(refused.stderr.contains("fromLatest directive not allowed by giterminism"), "{}", refused.stderr);
    let options = ["--repo", repo.as_str(), "--loose-giterminism"];
    let first = project.build(&options)?;
    assert_eq!(engine::sh(&first.image("latest"), "cat /base")?, "one\n");
    assert!(project.build(&options)?.run.built().is_empty());
    push("two")?;
    let second = project.build(&options)?;
    assert_eq!(second.run.built(), ["latest/from"]);
    assert_eq!(engine::sh(&second.image("latest"), "cat /base")?, "two\n");
    assert_eq!(second.image("named"), first.image("named"));
    if takes_engine_images() {
        project.config("image: latest\nfrom: BASE\nfromLatest: true\n")?;
        project.commit("second")?;
        let nowhere = project.slipway(&["build", "--repo", &repo, "--loose-giterminism"])?;
        assert_ne!(nowhere.code, 0);
        assert!(nowhere.stderr.contains("can not get base image id from registry"), "{}", nowhere.stderr);
    }
    engine::run(&["image", "rm", "--force", &base]).map(drop)
}

#[test]
fn fixture_64_wrong_dependencies_are_told_at_once() -> Result<()> {
    if !require(&[Part::Git]) {
        return Ok(());
    }
    let project = Project::new("wrong")?;
    let import = |text: &str| format!("[{{image: dep, after: setup, imports: [{text}]}}]");
    let in_file = |text: &str| format!("[{{image: dep, imports: [{text}]}}]");
    let stapel = [
        ("[{after: setup}]".to_owned(), "a dependency has no `image`"),
        ("[{image: dep}]".to_owned(), "a dependency needs a stage: `before` or `after`"),
        (import("{targetEnv: A}"), "an import of a dependency has no `type`"),
        (import("{type: ImageName}"), "an import of a dependency has no `targetEnv`"),
        (import("{type: ImageName, targetBuildArg: A}"), "`targetBuildArg` is not for this kind of image"),
        (import("{type: ImageName, targetEnv: A}, {type: ImageTag, targetEnv: A}"), "`targetEnv: A` stands twice"),
    ];
    let file = [
        ("[{image: dep, before: setup}]".to_owned(), "a dependency of a `dockerfile` image has no `before`"),
        (in_file("{type: ImageName, targetEnv: A}"), "`targetEnv` is not for this kind of image"),
        (in_file("{type: ImageName, targetBuildArg: GIVEN}"), "`GIVEN` is set by `args` and by `targetBuildArg`"),
    ];
    let mut documents = "image: dep\nfrom: b\n".to_owned();
    for (number, (dependencies, _)) in stapel.iter().enumerate() {
        documents.push_str(&format!("---\nimage: s{number}\nfrom: b\ndependencies: {dependencies}\n"));
    }
    for (number, (dependencies, _)) in file.iter().enumerate() {
        documents.push_str(&format!(
            "---\nimage: f{number}\ndockerfile: D\nargs: {{GIVEN: x}}\ndependencies: {dependencies}\n"
        ));
    }
    project.config(&documents)?;
    project.commit("first")?;
    let run = project.slipway(&["config", "list"])?;
    assert_eq!(run.code, 3, "{}", run.stderr);
    for (dependencies, message) in stapel.iter().chain(&file) {
        assert!(run.stderr.contains(message), "{dependencies}: `{message}` is not in:\n{}", run.stderr);
    }
    Ok(())
}

#[test]
fn a_lost_dependency_under_a_dockerfile_is_built_again() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("lost-dep")?);
    let documents = "image: file\ndockerfile: Dockerfile\ndependencies:\n\
        - {image: dep, imports: [{type: ImageName, targetBuildArg: NAME}]}\n---\n\
        image: dep\nfrom: BASE\nshell: {setup: ['echo lost > /dep']}\n";
    project.config(documents)?;
    project.write("Dockerfile", "ARG NAME\nFROM ${NAME}\nRUN echo 1 > /one\n")?;
    project.commit("first")?;
    let repo = registry.repo("lost-dep");
    // The classic builder: BuildKit keeps layers of its own.
    let build = || -> Result<(Run, Value)> {
        let report = project.home().join("report.json");
        let path = report.to_str().expect("a UTF-8 path");
        let arguments = ["build", "--repo", &repo, "--save-build-report", "--build-report-path", path];
        let run = project.slipway_with(&arguments, &[("DOCKER_BUILDKIT", "0")])?;
        assert_eq!(run.code, 0, "{}", run.stderr);
        Ok((run, serde_json::from_slice(&std::fs::read(report)?)?))
    };
    let (_, first) = build()?;
    let tag = first["Images"]["dep"]["DockerTag"].as_str().expect("a tag").to_owned();
    let (_, manifest) = registry.manifest("lost-dep", &tag)?;
    let layer = manifest["layers"].as_array().and_then(|layers| layers.last()).expect("a layer");
    registry.lose(layer["digest"].as_str().expect("a digest"))?;
    for cache in ["local_cache", "native"] {
        let _ = std::fs::remove_dir_all(project.home().join(cache));
    }
    engine::forget_labelled(project.name())?;
    project.write("Dockerfile", "ARG NAME\nFROM ${NAME}\nRUN echo 2 > /one\n")?;
    project.commit("second")?;
    let (run, second) = build()?;
    assert!(run.built().contains(&"dep/setup".to_owned()), "{}", run.stderr);
    assert_ne!(second["Images"]["dep"]["DockerTag"], tag.as_str());
    let image = second["Images"]["file"]["DockerImageName"].as_str().expect("a name");
    assert_eq!(engine::sh(image, "cat /dep /one")?, "lost\n2\n");
    Ok(())
}
