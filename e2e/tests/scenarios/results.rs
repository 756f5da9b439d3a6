//! What images hold and say: files, owners, configs, labels.

use anyhow::Result;
use slipway_e2e::{Part, Project, Registry, engine, require, takes_engine_images};

const ALL: [Part; 3] = [Part::Docker, Part::Registry, Part::Git];

#[test]
fn an_image_is_what_its_config_asks_for() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("results")?);
    project.write("src/app.sh", "echo from-app\n")?;
    project.write("src/app_test.sh", "no")?;
    project.config(
        "image: app\nfrom: BASE\n\
         git: [{add: /src, to: /srv/app, owner: app, group: '1051', excludePaths: ['*_test.sh']}]\n\
         shell:\n  beforeInstall: [export SEEN=shared, 'echo $SEEN > /before']\n  setup: ['id -u > /who; pwd > /where']\n\
         docker:\n  ENV: {GREETING: hello there}\n  LABEL: {team: shop}\n  USER: app\n  WORKDIR: /srv/app\n  \
         EXPOSE: '8080 9090/udp'\n  VOLUME: /data\n  CMD: [sh, /srv/app/app.sh]\n  \
         HEALTHCHECK: --interval=30s CMD true\n",
    )?;
    let commit = project.commit("first")?;
    let built = project.build(&["--repo", &registry.repo("results")])?;
    let image = built.image("app");
    let files = engine::sh(
        &image,
        "cat /before /who /where; stat -c '%n %u:%g' /srv/app /srv/app/*; ls -a / | grep werf; true",
    )
    .unwrap_or_else(|error| error.to_string());
    assert!(files.contains("shared\n0\n/\n/srv/app 1050:1051\n/srv/app/app.sh 1050:1051\n"), "{files}");
    assert!(!files.contains("_test"), "{files}");

    assert_eq!(engine::run(&["run", "--rm", "--network=none", &image])?, "from-app\n");
    let config = engine::config(&image)?;
    assert_eq!(config["Cmd"], serde_json::json!(["sh", "/srv/app/app.sh"]));
    assert_eq!(config["Entrypoint"], serde_json::json!([""]));
    assert_eq!((&config["User"], &config["WorkingDir"]), (&"app".into(), &"/srv/app".into()));
    assert_eq!(config["Env"], serde_json::json!(["PATH=/bin:/usr/bin", "GREETING=hello there"]));
    assert_eq!(config["ExposedPorts"], serde_json::json!({"8080/tcp": {}, "9090/udp": {}}));
    assert_eq!(config["Volumes"], serde_json::json!({"/data": {}}));
    assert_eq!(config["Healthcheck"]["Interval"], 30_000_000_000_u64);
    let labels = &config["Labels"];
    assert_eq!(labels["team"], "shop");
    assert_eq!(labels["werf"], project.name());
    assert_eq!(labels["werf-project-repo-commit"], commit.as_str());
    assert_eq!(labels["slipway-digest-scheme"], "1");
    let tag = image.rsplit_once(':').expect("a tag").1;
    assert_eq!(labels["werf-stage-digest"], &tag[..56]);
    Ok(())
}

#[test]
fn records_for_cleanup_are_written_with_the_first_stages() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("records")?);
    project.config("image: app/web\nfrom: BASE\n")?;
    let commit = project.commit("first")?;
    let built = project.build(&["--repo", &registry.repo("records")])?;
    let tags = registry.tags("records")?;
    assert!(tags.contains(&"managed-image-app__slash__web".to_owned()), "{tags:?}");
    let tag = built.image("app/web").rsplit_once(':').expect("a tag").1.to_owned();
    let is_meta = |name: &String| name.starts_with("meta-") && name.ends_with(&format!("_{commit}_{tag}"));
    assert!(tags.iter().any(is_meta), "{tags:?}");
    Ok(())
}

#[test]
fn imports_bring_what_their_globs_choose_with_the_owner_asked_for() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("imports")?);
    let config = |text: &str| {
        format!(
            "artifact: made\nfrom: BASE\nfromCacheVersion: '{text}'\nshell:\n  install:\n  - mkdir -p /out/sub /out/empty\n  \
             - echo one > /out/a.txt; echo two > /out/sub/b.txt; echo no > /out/sub/c.bin; chmod 0750 /out/a.txt\n---\n\
             image: user\nfrom: BASE\nimport:\n\
             - {{artifact: made, add: /out, to: /in, includePaths: ['**/*.txt'], owner: app, group: app, after: install}}\n\
             - {{artifact: made, add: /out/a.txt, to: /single/renamed.txt, before: setup}}\n"
        )
    };
    project.config(&config("1"))?;
    project.commit("first")?;
    let repo = registry.repo("imports");
    let first = project.build(&["--repo", &repo])?;
    let seen = engine::sh(
        &first.image("user"),
        "find /in /single -exec stat -c '%n %a %u:%g' {} + | sort; cat /single/renamed.txt",
    )?;
    let expected = "/in 755 1050:1051\n/in/a.txt 750 1050:1051\n/in/sub 755 1050:1051\n/in/sub/b.txt 644 1050:1051\n\
                    /single 755 0:0\n/single/renamed.txt 750 0:0\none\n";
    assert_eq!(seen, expected);
    // Equal files of a rebuilt artifact rebuild none of its users.
    project.config(&config("2"))?;
    project.commit("second")?;
    let second = project.build(&["--repo", &repo])?;
    assert_eq!(second.run.built(), ["made/from", "made/install"], "{}", second.run.stderr);
    assert_eq!(second.image("user"), first.image("user"));
    Ok(())
}

/// What cleanup decides by is in the stored images: it cannot be added later.
#[test]
fn stored_stages_name_what_they_are_made_of() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("made-of")?);
    project.write("src/a.txt", "a")?;
    project.write("Dockerfile", "ARG DEP\nFROM ${DEP}\n")?;
    project.config(
        "image: made\nfrom: BASE\nshell: {setup: [echo made > /made]}\n---\nimage: dep\nfrom: BASE\n---\n\
         image: user\nfrom: BASE\ngit: [{add: /src, to: /src}]\n\
         import: [{image: made, add: /made, to: /made, after: setup}]\n\
         dependencies: [{image: dep, after: setup, imports: [{type: ImageTag, targetEnv: DEP}]}]\n---\n\
         image: file\ndockerfile: Dockerfile\n\
         dependencies: [{image: dep, imports: [{type: ImageName, targetBuildArg: DEP}]}]\n---\n\
         image: top\nfromImage: user\n",
    )?;
    let commit = project.commit("first")?;
    let built = project.build(&["--repo", &registry.repo("made-of")])?;
    let stage = |image: &str| built.report["Images"][image]["DockerTag"].as_str().expect("a tag").to_owned();
    let (made, dep, user) = (stage("made"), stage("dep"), stage("user"));
    let labels = |tag: &str| anyhow::Ok(registry.config("made-of", tag)?["config"]["Labels"].clone());

    let of_user = labels(&user)?;
    assert_eq!(own(&of_user, "werf-import-source-stage-id-", ""), [made.as_str()], "{of_user}");
    assert_eq!(of_user[format!("werf-dependency-stage-id-{dep}")], dep.as_str(), "{of_user}");
    assert_eq!(of_user["werf-version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(of_user["werf-cache-version"], "1.2");
    assert_eq!(of_user["werf-stage-content-digest"].as_str().expect("a digest").len(), 56);
    let stages = built.report["Images"]["user"]["Stages"].as_array().expect("stages");
    let [.., archive, _] = stages.as_slice() else { panic!("{stages:?}") };
    assert_eq!(of_user["werf.io/parent-stage-id"], archive["DockerTag"]);
    assert_eq!(of_user["werf.io/base-image-id"], archive["DockerImageID"]);
    let of_archive = labels(archive["DockerTag"].as_str().expect("a tag"))?;
    assert_eq!(own(&of_archive, "werf-git-", "-commit"), [commit.as_str()], "{of_archive}");
    assert_eq!(own(&of_archive, "werf-git-", "-type"), ["directory"], "{of_archive}");

    let of_file = labels(&stage("file"))?;
    assert_eq!(own(&of_file, "werf-dependency-stage-id-", ""), [dep.as_str()], "{of_file}");
    // What came down from the image below is there and not the stage's own.
    let of_top = labels(&stage("top"))?;
    assert_eq!(of_top[format!("werf-dependency-stage-id-{dep}")], dep.as_str(), "{of_top}");
    assert_eq!(own(&of_top, "werf-dependency-stage-id-", ""), [""; 0], "{of_top}");
    assert_eq!(of_top["werf.io/parent-stage-id"], user.as_str());
    Ok(())
}

/// The values of a stage's own labels whose names begin and end so.
fn own<'a>(labels: &'a serde_json::Value, prefix: &str, suffix: &str) -> Vec<&'a str> {
    let names = labels["slipway-own-labels"].as_str().expect("a list").split(',');
    let names = names.filter(|name| name.starts_with(prefix) && name.ends_with(suffix));
    names.map(|name| labels[name].as_str().expect("a text")).collect()
}

#[test]
fn the_example_builds_and_runs() -> Result<()> {
    if !require(&ALL) || !takes_engine_images() {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("example")?);
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/shop/.");
    let target = project.path().to_str().expect("a UTF-8 path");
    assert!(slipway_process::child::command("cp").args(["-r", example, target]).status()?.success());
    engine::run(&["tag", engine::base_image(), "localhost/slipway-example-base:1"])?;
    // The example names the user `app` by its name only, so any base that has one will do.
    project.commit("first")?;
    let built = project.build(&["--repo", &registry.repo("example")])?;
    let api = engine::run(&["run", "--rm", "--network=none", &built.image("api")])?;
    assert_eq!(api, "the shop api listens on 8080\nrouter\ntemplates\n");
    let web = engine::run(&["run", "--rm", "--network=none", &built.image("web-preview")])?;
    assert!(web.contains("site.css"), "{web}");
    let migrate = engine::run(&["run", "--rm", "--network=none", &built.image("migrate")])?;
    assert_eq!(migrate, "tools: migrating to release 1\n");
    assert!(project.build(&["--repo", &registry.repo("example")])?.run.built().is_empty());
    Ok(())
}
