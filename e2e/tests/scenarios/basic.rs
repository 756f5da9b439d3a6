//! First builds, second builds, what is shared.

use anyhow::Result;
use slipway_e2e::{Part, Project, Registry, backend, engine, require};

const ALL: [Part; 3] = [Part::Docker, Part::Registry, Part::Git];

fn simple(project: &Project) -> Result<()> {
    project.write("file", "filecontent")?;
    project.write("Dockerfile", format!("FROM {}\nCOPY file /file\nRUN touch /created-by-run\n", project.base()))?;
    project.config(
        "image: dockerfile\ndockerfile: Dockerfile\n---\n\
         image: stapel-shell\nfrom: BASE\ngit: [{add: /file, to: /file}]\nshell: {setup: touch /created-by-setup}\n",
    )?;
    project.commit("first")?;
    Ok(())
}

#[test]
fn fixture_1_simple_in_a_repo() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("simple")?);
    simple(&project)?;
    let repo = registry.repo("simple");
    let first = project.build(&["--repo", &repo])?;
    assert!(first.run.reused().is_empty(), "{}", first.run.stderr);
    assert_eq!(first.run.built().len(), 4, "{}", first.run.stderr);
    contents(&first.image("dockerfile"), &first.image("stapel-shell"))?;

    let second = project.build(&["--repo", &repo])?;
    assert!(second.run.built().is_empty(), "{}", second.run.stderr);
    assert_eq!(second.run.reused().len(), 4, "{}", second.run.stderr);
    assert_eq!(second.report["Images"]["dockerfile"]["DockerImageName"], first.image("dockerfile"));
    assert_eq!(second.report["Images"]["dockerfile"]["Rebuilt"], false);
    Ok(())
}

#[test]
fn fixture_1_simple_in_the_local_storage() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let project = Project::new("simple")?;
    simple(&project)?;
    let first = project.build(&[])?;
    assert!(first.run.reused().is_empty() && first.run.built().len() == 4, "{}", first.run.stderr);
    let second = project.build(&[])?;
    assert!(second.run.built().is_empty() && second.run.reused().len() == 4, "{}", second.run.stderr);
    if backend().is_none_or(|backend| backend == "docker") {
        contents(&first.image("dockerfile"), &first.image("stapel-shell"))?;
        return engine::forget(project.name());
    }
    // What lies on the host is looked at where the engine gets it from.
    let registry = Registry::start()?;
    let copied = project.build(&["--repo", &registry.repo("simple")])?;
    assert!(copied.run.built().is_empty(), "{}", copied.run.stderr);
    contents(&copied.image("dockerfile"), &copied.image("stapel-shell"))
}

fn contents(dockerfile: &str, stapel: &str) -> Result<()> {
    assert_eq!(engine::sh(dockerfile, "cat /file; test -e /created-by-run && echo ' yes'")?, "filecontent yes\n");
    let seen = engine::sh(stapel, "cat /file; stat -c ' %u:%g' /file; test -e /created-by-setup && echo yes")?;
    assert_eq!(seen, "filecontent 0:0\nyes\n");
    Ok(())
}

#[test]
fn fixture_6_identical_first_stages_are_shared() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("shared")?);
    let config = |version: &str| {
        format!(
            "image: image\nfrom: BASE\nfromCacheVersion: '{version}'\nshell: {{setup: date}}\n\
             import: [{{artifact: artifact, add: /artifact, to: /imported, before: setup}}]\n---\n\
             artifact: artifact\nfrom: BASE\nfromCacheVersion: '{version}'\n\
             shell: {{install: [mkdir /artifact, echo x > /artifact/x]}}\n"
        )
    };
    project.config(&config("1"))?;
    project.commit("first")?;
    let repo = registry.repo("shared");
    project.build(&["--repo", &repo])?;
    // from (shared), artifact/install, image/dependenciesBeforeSetup, image/setup: four, not five.
    assert_eq!(registry.stages("shared")?.len(), 4);
    project.config(&config("2"))?;
    project.commit("second")?;
    project.build(&["--repo", &repo])?;
    assert_eq!(registry.stages("shared")?.len(), 8);
    Ok(())
}

#[test]
fn fixture_8_from_image_is_rebuilt_with_its_base() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("from-image")?);
    let config = |version: &str| {
        format!("image: app\nfromImage: base\n---\nimage: base\nfrom: BASE\nfromCacheVersion: '{version}'\n")
    };
    let repo = registry.repo("from-image");
    for version in ["1", "2"] {
        project.config(&config(version))?;
        project.commit(version)?;
        let built = project.build(&["--repo", &repo])?;
        assert_eq!(built.run.built(), ["base/from", "app/from"], "{}", built.run.stderr);
        let (app, base) = (registry_config(&registry, &built.image("app"))?, built.image("base"));
        let parent = app["config"]["Labels"]["werf.io/parent-stage-id"].clone();
        assert_eq!(parent, base.rsplit_once(':').expect("a tag").1);
    }
    Ok(())
}

#[test]
fn fixture_9_from_cache_version() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("cache-version")?);
    let repo = registry.repo("cache-version");
    for (version, built) in [("1", vec!["~/from"]), ("1", vec![]), ("2", vec!["~/from"])] {
        project.config(&format!("image: ~\nfrom: BASE\nfromCacheVersion: '{version}'\n"))?;
        project.commit(version)?;
        assert_eq!(project.build(&["--repo", &repo])?.run.built(), built);
    }
    Ok(())
}

#[test]
fn an_image_with_only_a_base_has_one_tag_and_two_names_are_one_build() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("one")?);
    project.config("image: [a, b]\nfrom: BASE\n")?;
    project.commit("first")?;
    let built = project.build(&["--repo", &registry.repo("one")])?;
    assert_eq!(registry.stages("one")?.len(), 1);
    assert_eq!(built.image("a"), built.image("b"));
    assert_eq!(built.run.built(), ["a/from"]);
    Ok(())
}

#[test]
fn the_nameless_image_is_an_empty_key_in_the_report() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("nameless")?);
    project.config("image: ~\nfrom: BASE\n")?;
    project.commit("first")?;
    let built = project.build(&["--repo", &registry.repo("nameless")])?;
    assert!(built.image("").starts_with(registry.host()));
    Ok(())
}

#[test]
fn a_failing_command_is_shown_with_its_stage_line_and_exit_code() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("failing")?);
    project.config("image: app\nfrom: BASE\nshell:\n  setup:\n  - echo before\n  - echo it-is-broken; exit 7\n")?;
    project.commit("first")?;
    let run = project.slipway(&["build", "--repo", &registry.repo("failing")])?;
    assert_eq!(run.code, 1, "{}", run.stderr);
    for part in ["app", "setup", "it-is-broken", "7", "werf.yaml:9"] {
        assert!(run.stderr.contains(part), "`{part}` is not in:\n{}", run.stderr);
    }
    assert_eq!(registry.stages("failing")?.len(), 1, "only `from` is stored");
    Ok(())
}

fn registry_config(registry: &Registry, image: &str) -> Result<serde_json::Value> {
    let (repo, tag) = image.rsplit_once(':').expect("a tag");
    registry.config(repo.rsplit_once('/').expect("a name").1, tag)
}
