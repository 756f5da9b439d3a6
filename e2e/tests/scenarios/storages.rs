//! Local storage, primary repo, and what passes between them.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use slipway_e2e::{Part, Project, Registry, engine, require};

const ALL: [Part; 3] = [Part::Docker, Part::Registry, Part::Git];
const APP: &str = "image: app\nfrom: BASE\ngit: [{add: /, to: /app}]\nshell: {setup: date > /date}\n";

fn project() -> Result<Project> {
    let project = Project::new("storages")?;
    project.config(APP)?;
    project.write("file", "1")?;
    project.commit("first")?;
    Ok(project)
}

#[test]
fn without_local_images_a_repo_build_finds_everything() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, project()?);
    let repo = registry.repo("storages");
    let first = project.build(&["--repo", &repo])?;
    for image in
        engine::run(&["image", "ls", "--quiet", "--no-trunc", "--filter", &format!("label=werf={}", project.name())])?
            .lines()
    {
        let _ = engine::run(&["image", "rm", "--force", image]);
    }
    let second = project.build(&["--repo", &repo])?;
    assert!(second.run.built().is_empty(), "{}", second.run.stderr);
    assert_eq!(second.image("app"), first.image("app"));
    // A change is built on stages that have to be pulled back.
    project.write("file", "2")?;
    project.commit("second")?;
    let third = project.build(&["--repo", &repo])?;
    assert_eq!(third.run.built(), ["app/gitLatestPatch"]);
    assert_eq!(engine::sh(&third.image("app"), "cat /app/file")?, "2");
    Ok(())
}

#[test]
fn stages_of_the_local_storage_are_copied_up() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, project()?);
    let local = project.build(&[])?;
    let date = engine::sh(&local.image("app"), "cat /date")?;
    let repo = registry.repo("storages");
    let copied = project.build(&["--repo", &repo])?;
    assert!(copied.run.built().is_empty(), "{}", copied.run.stderr);
    assert_eq!(registry.stages("storages")?.len(), 3);
    assert_eq!(engine::sh(&copied.image("app"), "cat /date")?, date);
    // The local images may go at any time.
    engine::forget(project.name())?;
    assert!(project.build(&["--repo", &repo])?.run.built().is_empty());
    Ok(())
}

#[test]
fn required_stages_that_are_missing_end_with_exit_code_4() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, project()?);
    let repo = registry.repo("storages");
    let run = project.slipway(&["build", "--repo", &repo, "--require-built-images"])?;
    assert_eq!(run.code, 4, "{}", run.stderr);
    assert!(run.stderr.contains("stages required"), "{}", run.stderr);
    assert!(registry.stages("storages")?.is_empty());
    project.build(&["--repo", &repo])?;
    assert_eq!(project.slipway(&["build", "--repo", &repo, "--require-built-images"])?.code, 0);
    Ok(())
}

#[test]
fn a_stage_that_a_foreign_tool_deleted_is_rebuilt_and_told_once() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, project()?);
    let repo = registry.repo("storages");
    let told = |stderr: &str| stderr.matches("Only `slipway cleanup` may delete stages").count();
    let first = project.build(&["--repo", &repo])?;
    engine::forget(project.name())?;
    let below = first.report["Images"]["app"]["Stages"][1]["DockerTag"].as_str().context("a tag")?.to_owned();
    registry.delete("storages", &below)?;
    let mended = project.build(&["--repo", &repo])?;
    assert_eq!(mended.run.built(), ["app/gitArchive", "app/setup"], "{}", mended.run.stderr);
    assert!(told(&mended.run.stderr) == 1 && mended.run.stderr.contains(&below), "{}", mended.run.stderr);
    let again = project.build(&["--repo", &repo])?;
    assert_eq!((again.run.built(), told(&again.run.stderr)), (vec![], 0), "{}", again.run.stderr);
    engine::forget(project.name())?;
    // A foreign tool empties the repository.
    std::fs::remove_dir_all(registry.data().join("docker/registry/v2/repositories/storages"))?;
    let again = project.build(&["--repo", &repo])?;
    assert_eq!(again.run.built().len(), 3, "{}", again.run.stderr);
    assert_eq!(told(&again.run.stderr), 1, "{}", again.run.stderr);
    assert_eq!(registry.stages("storages")?.len(), 3);
    Ok(())
}

/// What a host has seen of a repository it need not ask for again; what others have stored since it sees all the same.
#[test]
fn a_build_of_what_is_stored_lists_nothing_until_others_store_more() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, project()?);
    let repo = registry.repo("storages");
    let build = |home: &str| {
        let before = registry.requests().len();
        let home = project.home().join(home).display().to_string();
        let built = project.build(&["--repo", &repo, "--home-dir", &home])?;
        let requests = registry.requests()[before..].to_vec();
        let listings = requests.iter().filter(|request| request.contains("/tags/list")).count();
        Ok::<_, anyhow::Error>((built, listings, requests))
    };
    let (first, _, _) = build("one")?;
    for home in ["one", "two", "one", "two"] {
        let (again, listings, requests) = build(home)?;
        assert!(again.run.built().is_empty() && again.image("app") == first.image("app"), "{}", again.run.stderr);
        // The other host knows nothing when it begins.
        let cold = home == "two" && !project.home().join("seen").exists();
        assert_eq!(listings, usize::from(cold), "{requests:#?}");
        if cold {
            std::fs::write(project.home().join("seen"), "")?;
            // The note of the image tells all of its stages; of the last one the manifest is read for its layers.
            let read = requests.iter().filter(|request| request.starts_with("GET /v2/storages/manifests/"));
            let read: Vec<&String> = read.collect();
            assert!(read.len() == 1 && read[0].contains("image-stages-"), "{requests:#?}");
        } else {
            // The marker, each stage, whose repository it is, and the layers; no records, no documents.
            let is_one = |request: &&String| request.contains("/storages/") && !request.contains("/blobs/");
            assert_eq!(requests.iter().filter(is_one).count(), 1 + 3 + 1, "{requests:#?}");
        }
    }
    project.write("file", "2")?;
    project.commit("second")?;
    let (second, _, _) = build("two")?;
    assert_eq!(second.run.built(), ["app/gitLatestPatch"]);
    engine::forget(project.name())?;
    let (seen, listings, requests) = build("one")?;
    assert!(seen.run.built().is_empty() && seen.image("app") == second.image("app"), "{}", seen.run.stderr);
    assert_eq!(listings, 1, "{requests:#?}");
    Ok(())
}

/// Nothing has to be built: only the look for its layers tells that the image cannot be pulled.
#[test]
fn a_lost_layer_below_a_found_image_is_noticed_and_built_anew() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, project()?);
    let repo = registry.repo("storages");
    let first = project.build(&["--repo", &repo])?;
    let heads = || registry.requests().iter().filter(|one| one.starts_with("HEAD ") && one.contains("/blobs/")).count();
    let before = heads();
    assert!(project.build(&["--repo", &repo])?.run.built().is_empty());
    let image = first.image("app");
    let (_, tag) = image.rsplit_once(':').context("a tag")?;
    let (_, manifest) = registry.manifest("storages", tag)?;
    let layers = manifest["layers"].as_array().context("layers")?;
    let distinct: BTreeSet<String> = layers.iter().map(|layer| layer["digest"].to_string()).collect();
    assert!(heads() - before <= distinct.len(), "a layer is asked for once");
    registry.lose(layers.last().context("a layer")?["digest"].as_str().context("a digest")?)?;
    let _ = std::fs::remove_dir_all(project.home().join("local_cache"));
    engine::forget_labelled(project.name())?;
    let noticed = project.slipway(&["build", "--repo", &repo])?;
    assert_eq!(noticed.code, 1, "{}", noticed.stderr);
    assert!(noticed.stderr.contains("is not whole") && noticed.stderr.contains(tag), "{}", noticed.stderr);
    let anew = project.build(&["--repo", &repo])?;
    assert!(anew.run.built().contains(&"app/setup".to_owned()), "{}", anew.run.stderr);
    engine::forget_labelled(project.name())?;
    assert!(!engine::sh(&anew.image("app"), "cat /date")?.is_empty(), "it can be pulled");
    Ok(())
}

#[test]
fn a_registry_that_is_down_is_named() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, project()?);
    let repo = registry.repo("storages");
    drop(registry);
    let run = project.slipway(&["build", "--repo", &repo])?;
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(run.stderr.contains(&repo), "{}", run.stderr);
    Ok(())
}

#[test]
fn the_name_of_a_project_may_come_from_a_variable() -> Result<()> {
    if !require(&[Part::Docker, Part::Git]) {
        return Ok(());
    }
    let (project, other) = (project()?, Project::new("named")?);
    let named = project.build_with(&[], &[("WERF_PROJECT_NAME", other.name())])?;
    let image = named.image("app");
    assert!(image.starts_with(&format!("{}:", other.name())), "{image}");
    assert_eq!(engine::config(&image)?["Labels"]["werf"], other.name());
    // It counts as the same name in the configuration would: the stages are found again, and not under the old one.
    let text = std::fs::read_to_string(project.path().join("werf.yaml"))?;
    project.write("werf.yaml", text.replace(project.name(), other.name()))?;
    let again = project.build(&["--loose-giterminism"])?;
    assert_eq!((again.run.built(), again.image("app")), (Vec::new(), image));
    let old = project.build_with(&["--loose-giterminism"], &[("SLIPWAY_PROJECT_NAME", project.name())])?;
    assert_eq!(old.run.built(), named.run.built());
    Ok(())
}

#[test]
fn fixture_76_managed_images_are_listed_added_and_removed() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("managed")?);
    project.config(
        "image: a\nfrom: BASE\n---\nimage: b\nfrom: BASE\n---\nimage: group/c\nfrom: BASE\n---\n\
         image: d\nfinal: false\nfrom: BASE\n",
    )?;
    project.commit("first")?;
    let repo = registry.repo("managed");
    let managed = |arguments: &[&str]| -> Result<String> {
        let run = project.slipway(&[&["managed-images"], arguments, &["--repo", &repo]].concat())?;
        anyhow::ensure!(run.code == 0, "{}", run.stderr);
        Ok(run.stdout)
    };
    assert_eq!(managed(&["ls"])?, "");
    managed(&["add", "a", "old/one", "~"])?;
    managed(&["add", "a"])?;
    assert_eq!(managed(&["ls"])?, "~\na\nold/one\n");
    managed(&["rm", "a", "~", "never"])?;
    assert_eq!(managed(&["ls"])?, "old/one\n");
    project.build(&["--repo", &repo])?;
    assert_eq!(managed(&["ls"])?, "a\nb\nd\ngroup/c\nold/one\n");
    let nowhere = project.slipway(&["managed-images", "ls"])?;
    assert!(nowhere.code == 2 && nowhere.stderr.contains("give --repo"), "{}", nowhere.stderr);
    Ok(())
}
