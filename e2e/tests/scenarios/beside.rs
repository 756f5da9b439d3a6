//! Repositories beside the primary one: which of them is asked, read and written, by their access logs.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use slipway_e2e::{Built, Part, Project, Registry, engine, require};

const ALL: [Part; 3] = [Part::Docker, Part::Registry, Part::Git];
const APP: &str = "image: app\nfrom: BASE\ngit: [{add: /, to: /app}]\nshell: {setup: date +%s%N > /date}\n";

fn project() -> Result<Project> {
    let project = Project::new("beside")?;
    project.config(APP)?;
    project.write("file", "1")?;
    project.commit("first")?;
    Ok(project)
}

/// Nothing of a project is on this host any more.
fn forget(project: &Project) -> Result<()> {
    for directory in ["local_cache", "native"] {
        let _ = std::fs::remove_dir_all(project.home().join(directory));
    }
    engine::forget_labelled(project.name())
}

/// Where each stage of an image came from.
fn sources(built: &Built) -> Result<Vec<String>> {
    let stages = built.report["Images"]["app"]["Stages"].as_array().context("stages")?;
    Ok(stages.iter().map(|stage| stage["SourceType"].as_str().unwrap_or_default().to_owned()).collect())
}

/// Config digests: the same image, whatever its manifest tells of the attempt.
fn image_id(built: &Built) -> String {
    built.report["Images"]["app"]["DockerImageID"].to_string()
}

fn is_read(request: &str) -> bool {
    request.starts_with("GET ") || request.starts_with("HEAD ")
}

/// The layers of the stages that a repository has.
fn layers(registry: &Registry, name: &str) -> Result<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for tag in registry.stages(name)? {
        let (_, manifest) = registry.manifest(name, &tag)?;
        let layers = manifest["layers"].as_array().context("layers")?.iter();
        all.extend(layers.filter_map(|layer| Some(layer["digest"].as_str()?.to_owned())));
    }
    Ok(all)
}

/// How often one of these layers was sent, by these requests; `verb` is that of the request.
fn sent(requests: &[String], verb: &str, layers: &BTreeSet<String>) -> usize {
    let moves = |request: &&String| {
        let digest =
            request.rsplit_once("sha256").map(|(_, rest)| rest.trim_start_matches(":").trim_start_matches("%3A"));
        request.starts_with(verb) && digest.is_some_and(|hex| layers.contains(&format!("sha256:{hex}")))
    };
    requests.iter().filter(moves).count()
}

#[test]
fn stages_of_a_secondary_repo_are_copied_and_it_is_only_read() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (theirs, ours, project) = (Registry::start()?, Registry::start()?, project()?);
    let (secondary, primary) = (theirs.repo("theirs/shop"), ours.repo("ours/shop"));
    let first = project.build(&["--repo", &secondary])?;
    forget(&project)?;
    let before = theirs.requests().len();
    let copied = project.build_with(&["--repo", &primary], &[("WERF_SECONDARY_REPO_1", &secondary)])?;
    assert!(copied.run.built().is_empty(), "{}", copied.run.stderr);
    assert_eq!(sources(&copied)?, ["secondary"; 3]);
    assert_eq!(
        (image_id(&copied), copied.report["Images"]["app"]["DockerRepo"].as_str()),
        (image_id(&first), Some(primary.as_str()))
    );
    assert!(copied.run.stderr.contains("3 copied"), "{}", copied.run.stderr);
    // With a timestamp of its own: the oldest is chosen, and who has used another must not be surprised.
    assert_ne!(copied.image("app").rsplit_once(':'), first.image("app").rsplit_once(':'));
    assert_eq!(ours.stages("ours/shop")?.len(), 3);

    // What is new goes to the primary alone.
    project.write("file", "2")?;
    project.commit("second")?;
    let more = project.build(&["--repo", &primary, "--secondary-repo", &secondary])?;
    assert_eq!(more.run.built(), ["app/gitLatestPatch"]);
    assert_eq!((ours.stages("ours/shop")?.len(), theirs.stages("theirs/shop")?.len()), (4, 3));
    // It is no longer needed.
    forget(&project)?;
    let alone = project.build(&["--repo", &primary, "--require-built-images"])?;
    assert_eq!(alone.image("app"), more.image("app"));
    let requests = theirs.requests()[before..].to_vec();
    assert!(!requests.is_empty() && requests.iter().all(|request| is_read(request)), "{requests:#?}");
    Ok(())
}

#[test]
fn copies_within_a_registry_move_no_layer() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, project()?);
    let (secondary, primary) = (registry.repo("theirs"), registry.repo("ours"));
    project.build(&["--repo", &secondary])?;
    forget(&project)?;
    let before = registry.requests().len();
    let copied = project.build(&["--repo", &primary, "--secondary-repo", &secondary])?;
    assert!(copied.run.built().is_empty(), "{}", copied.run.stderr);
    let requests = registry.requests()[before..].to_vec();
    let written = |request: &&String| !is_read(request) && request.contains("/v2/theirs/");
    assert_eq!(requests.iter().find(written), None);
    assert_eq!(sent(&requests, "GET ", &layers(&registry, "theirs")?), 0, "{requests:#?}");
    assert!(requests.iter().any(|request| request.starts_with("POST /v2/ours/blobs/uploads/?mount=")), "{requests:#?}");
    assert!(!requests.iter().any(|request| request.starts_with("PATCH ")), "{requests:#?}");
    Ok(())
}

#[test]
fn a_cache_gets_what_is_built_and_fills_an_emptied_primary() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (far, near, project) = (Registry::start()?, Registry::start()?, project()?);
    let (primary, cache) = (far.repo("shop"), near.repo("mirror"));
    let flags = ["--repo", primary.as_str(), "--cache-repo", cache.as_str()];
    let first = project.build(&flags)?;
    assert_eq!(first.run.built().len(), 3);
    let stages = far.stages("shop")?;
    assert_eq!(near.stages("mirror")?, stages, "new stages go to both, under one name");
    for tag in &stages {
        assert_eq!(near.manifest("mirror", tag)?, far.manifest("shop", tag)?);
    }

    // A stage is built on what the cache has: the primary is asked what there is, and for no layer.
    forget(&project)?;
    let below = layers(&far, "shop")?;
    let before = (far.requests().len(), near.requests().len());
    project.write("file", "2")?;
    project.commit("second")?;
    let second = project.build(&flags)?;
    assert_eq!(second.run.built(), ["app/gitLatestPatch"]);
    let (of_far, of_near) = (far.requests()[before.0..].to_vec(), near.requests()[before.1..].to_vec());
    assert_eq!((sent(&of_far, "GET ", &below), sent(&of_far, "PUT ", &below)), (0, 0), "{of_far:#?}");
    assert_ne!(sent(&of_near, "GET ", &below), 0, "{of_near:#?}");
    assert_eq!(sent(&of_near, "PUT ", &below), 0, "{of_near:#?}");
    assert_eq!(near.stages("mirror")?, far.stages("shop")?);

    // The history is lost; what was built is not.
    far.empty("shop")?;
    forget(&project)?;
    let refilled = project.build(&flags)?;
    assert!(refilled.run.built().is_empty(), "{}", refilled.run.stderr);
    assert_eq!((image_id(&refilled), sources(&refilled)?), (image_id(&second), vec!["cache".to_owned(); 4]));
    forget(&project)?;
    let whole = project.build(&["--repo", &primary, "--require-built-images"])?;
    assert_eq!(whole.image("app"), refilled.image("app"));
    // Nobody is told to take an image from a cache.
    for built in [&first, &second, &refilled] {
        assert!(!built.report.to_string().contains(near.host()), "{}", built.report);
    }
    Ok(())
}

#[test]
fn what_is_built_on_comes_to_an_emptied_cache() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (far, near, project) = (Registry::start()?, Registry::start()?, project()?);
    let (primary, cache) = (far.repo("shop"), near.repo("mirror"));
    let flags = ["--repo", primary.as_str(), "--cache-repo", cache.as_str()];
    let first = project.build(&flags)?;
    near.empty("mirror")?;
    forget(&project)?;
    project.write("file", "2")?;
    project.commit("second")?;
    let second = project.build(&flags)?;
    assert_eq!(second.run.built(), ["app/gitLatestPatch"]);
    let tag = |built: &Built| built.image("app").rsplit_once(':').map(|(_, tag)| tag.to_owned());
    let mut expected = vec![tag(&first).context("a tag")?, tag(&second).context("a tag")?];
    expected.sort();
    assert_eq!(near.stages("mirror")?, expected, "the stage below, and the new one");
    Ok(())
}

#[test]
fn a_cache_that_fails_is_a_warning() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (far, near, project) = (Registry::start()?, Registry::start()?, project()?);
    let (primary, cache) = (far.repo("shop"), near.repo("mirror"));
    drop(near);
    let built = project.build_with(&["--repo", &primary], &[("WERF_CACHE_REPO_NEAR", &cache)])?;
    assert_eq!(built.run.built().len(), 3);
    let warning = format!("the cache repository {cache} is not used for 300 s");
    assert_eq!(built.run.stderr.matches(&warning).count(), 1, "{}", built.run.stderr);
    // Where stages of others are is the user's word: what cannot be read there is not silently built.
    let refused = project.slipway(&["build", "--repo", &far.repo("other"), "--secondary-repo", &cache])?;
    assert_eq!(refused.code, 1, "{}", refused.stderr);
    assert!(refused.stderr.contains(&format!("in the secondary repository {cache}")), "{}", refused.stderr);
    Ok(())
}

#[test]
fn a_repo_beside_the_primary_is_another_one() -> Result<()> {
    if !require(&[Part::Git]) {
        return Ok(());
    }
    let project = project()?;
    for (flags, why) in [
        (&["--cache-repo", "localhost:1/a"][..], "give that by --repo"),
        (&["--repo", "localhost:1/a", "--secondary-repo", "localhost:1/a"], "is the primary repository"),
        (
            &["--repo", "localhost:1/a", "--secondary-repo", "localhost:1/b", "--cache-repo", "localhost:1/b"],
            "is named by --cache-repo and by --secondary-repo",
        ),
        (&["--repo", "localhost:1/a", "--cache-repo", "localhost:1/B"], "--cache-repo: `localhost:1/B`"),
    ] {
        let run = project.slipway(&[&["build"], flags].concat())?;
        assert_eq!(run.code, 2, "{}", run.stderr);
        assert!(run.stderr.contains(why), "`{why}` is not in:\n{}", run.stderr);
    }
    Ok(())
}

const SHOP: &str = "artifact: tools\nfrom: BASE\nshell: {install: 'echo made > /made'}\n---\n\
                    image: base\nfinal: false\nfrom: BASE\nshell: {setup: 'echo base > /base'}\n---\n\
                    image: app\nfromImage: base\nimport: [{artifact: tools, add: /made, to: /made, after: setup}]\n\
                    shell: {setup: 'date +%s%N > /date'}\n---\n\
                    image: [web, twin]\nfromImage: base\nshell: {setup: 'echo web > /web'}\n";

/// The tag of an image in a report, and the repository that it is reported in.
fn place(built: &Built, image: &str) -> (String, String) {
    let of = &built.report["Images"][image];
    (of["DockerRepo"].as_str().unwrap_or_default().to_owned(), of["DockerTag"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_final_repo_has_the_images_that_run_and_nothing_else() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (build, run, project) = (Registry::start()?, Registry::start()?, Project::new("final")?);
    project.config(SHOP)?;
    project.commit("first")?;
    let (primary, last) = (build.repo("shop"), run.repo("prod/shop"));
    let first = project.build_with(&["--repo", &primary], &[("WERF_FINAL_REPO", &last)])?;
    let (app, web) = (place(&first, "app"), place(&first, "web"));
    let mut expected = vec![app.1.clone(), web.1.clone()];
    expected.sort();
    assert_eq!(run.tags("prod/shop")?, expected, "one tag for each image that runs, and no record");
    assert_eq!((&app.0, &place(&first, "twin")), (&last, &web));
    assert_eq!(place(&first, "base").0, primary);
    for tag in &expected {
        assert_eq!(run.manifest("prod/shop", tag)?, build.manifest("shop", tag)?);
    }
    assert!(first.run.stderr.contains(&format!("{last}:{}", app.1)), "{}", first.run.stderr);
    assert_eq!(engine::sh(&first.image("app"), "cat /made /base")?, "made\nbase\n");

    // What is there costs a listing.
    let before = run.requests().len();
    let again = project.build(&["--repo", &primary, "--final-repo", &last])?;
    assert_eq!((again.run.built().len(), place(&again, "app")), (0, app.clone()));
    let requests = run.requests()[before..].to_vec();
    assert!(requests.iter().all(|request| request == "GET /v2/" || request.contains("/tags/list")), "{requests:#?}");

    // It was used before: a build without it says so, and its report leads to the primary.
    let without = project.build(&["--repo", &primary])?;
    let warning = format!("the final repository {last} was used with {primary} before");
    assert_eq!(without.run.stderr.matches(&warning).count(), 1, "{}", without.run.stderr);
    assert_eq!(place(&without, "app"), (primary.clone(), app.1.clone()));

    // What is missing there is an error when nothing may be built, and brought there when it may.
    run.empty("prod/shop")?;
    let flags = ["--repo", primary.as_str(), "--final-repo", last.as_str()];
    let required = project.slipway(&[&["build", "--require-built-images"], &flags[..]].concat())?;
    assert_eq!(required.code, 4, "{}", required.stderr);
    assert_eq!(project.build(&flags)?.run.built().len(), 0);
    assert_eq!(run.tags("prod/shop")?, expected);
    assert_eq!(project.slipway(&[&["build", "--require-built-images"], &flags[..]].concat())?.code, 0);

    // One that does not answer fails the build: what should run would not.
    drop(run);
    let failed = project.slipway(&[&["build"], &flags[..]].concat())?;
    assert_eq!(failed.code, 1, "{}", failed.stderr);
    assert!(failed.stderr.contains(&format!("list the final repository {last}")), "{}", failed.stderr);
    Ok(())
}

/// Of one platform; those of several are not built yet.
#[test]
fn fixture_52_custom_tags_are_of_the_images_that_run() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (build, run, project) = (Registry::start()?, Registry::start()?, Project::new("tags")?);
    project.config(SHOP)?;
    project.commit("first")?;
    let primary = build.repo("shop");
    let custom = |registry: &Registry, name: &str| -> Result<Vec<String>> {
        let records = ["managed-image-", "meta-", "import-metadata-", "custom-tag-meta-", "image-stages-", "slipway-"];
        let stages = registry.stages(name)?;
        let tags = registry.tags(name)?.into_iter().filter(|tag| !stages.contains(tag));
        Ok(tags.filter(|tag| !records.iter().any(|record| tag.starts_with(record))).collect())
    };
    let one = project.build(&["app", "--repo", &primary, "--add-custom-tag", "my-tag"])?;
    assert_eq!(custom(&build, "shop")?, ["my-tag"]);
    let (_, stage) = place(&one, "app");
    assert_eq!(build.manifest("shop", "my-tag")?, build.manifest("shop", &stage)?);
    let record = build.config("shop", "custom-tag-meta-my-tag")?["config"]["Labels"].clone();
    assert_eq!((record["stage-id"].as_str(), record["tag"].as_str()), (Some(stage.as_str()), Some("my-tag")));
    assert!(one.run.stderr.contains(&format!("Tagged app as {primary}:my-tag")), "{}", one.run.stderr);

    // Of all images, those that run; with a final repository they are tagged there, and recorded in the primary.
    let last = run.repo("prod");
    let flags = ["--repo", primary.as_str(), "--final-repo", last.as_str()];
    project.build_with(&flags, &[("WERF_ADD_CUSTOM_TAG_1", "%image%-my-tag")])?;
    assert_eq!(custom(&run, "prod")?, ["app-my-tag", "twin-my-tag", "web-my-tag"]);
    assert_eq!(custom(&build, "shop")?, ["my-tag"]);
    assert!(build.tags("shop")?.contains(&"custom-tag-meta-web-my-tag".to_owned()));

    // A tag moves with its image, and is only looked at when nothing may be built.
    project.config(&SHOP.replace("echo web", "echo new"))?;
    project.commit("second")?;
    let check = [&["build", "web", "--require-built-images", "--add-custom-tag", "web-my-tag"], &flags[..]].concat();
    let moved = project.build(&[&flags[..], &["web", "--add-custom-tag", "x"]].concat())?;
    let early = project.slipway(&check)?;
    assert!(early.code == 1 && early.stderr.contains("does not lead to it"), "{} {}", early.code, early.stderr);
    project.build(&[&flags[..], &["web", "--add-custom-tag", "web-my-tag"]].concat())?;
    assert_eq!(project.slipway(&check)?.code, 0);
    assert_eq!(run.manifest("prod", "web-my-tag")?, run.manifest("prod", &place(&moved, "web").1)?);

    let local = project.slipway(&["build", "--add-custom-tag", "x"])?;
    assert!(
        local.code == 2 && local.stderr.contains("--add-custom-tag: images are tagged in a repository"),
        "{}",
        local.stderr
    );
    let same = project.slipway(&[&["build", "--add-custom-tag", "x"], &flags[..]].concat())?;
    assert!(same.code == 2 && same.stderr.contains("would both be tagged `x`"), "{}", same.stderr);
    Ok(())
}
