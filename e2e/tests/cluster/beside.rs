//! Repositories beside the primary one: the coordinator looks, workers copy.

use anyhow::{Context as _, Result};
use slipway_e2e::{Built, Cluster, Project, Registry, engine};

use crate::can_run;

/// Where each stage of an image came from.
fn sources(built: &Built, image: &str) -> Vec<String> {
    let stages = built.report["Images"][image]["Stages"].as_array().cloned().unwrap_or_default();
    stages.iter().map(|stage| stage["SourceType"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn stages_of_others_are_copied_and_caches_filled_by_workers() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let (cluster, theirs, near, runs) =
        (Cluster::start(1, 1)?, Registry::start()?, Registry::start()?, Registry::start()?);
    let project = Project::new("beside")?;
    cluster.config(&project, "image: app\nfrom: BASE\ngit: [{add: /, to: /app}]\nshell: {setup: date > /date}\n")?;
    project.write("file", "1")?;
    project.commit("first")?;
    let (secondary, cache) = (theirs.repo("theirs"), near.repo("mirror"));
    let first = project.build(&["--repo", &secondary])?;
    engine::forget_labelled(project.name())?;
    let before = theirs.requests().len();
    let (urls, repo) = (cluster.urls(), cluster.repo(&project));
    let flags = ["--coordinator", &urls, "--repo", &repo, "--secondary-repo", &secondary, "--cache-repo", &cache];
    let copied = project.build(&flags)?;
    assert!(copied.run.built().is_empty(), "{}", copied.run.stderr);
    assert_eq!(sources(&copied, "app"), ["secondary"; 3]);
    assert_eq!(copied.report["Images"]["app"]["DockerImageID"], first.report["Images"]["app"]["DockerImageID"]);
    let stages = cluster.registry.stages(project.name())?;
    assert_eq!((stages.len(), near.stages("mirror")?), (3, stages));

    // What is built on top is built on the cache's, and goes to both.
    project.write("file", "2")?;
    project.commit("second")?;
    let second = project.build(&flags)?;
    assert_eq!(second.run.built(), ["app/gitLatestPatch"], "{}", second.run.stderr);
    assert_eq!(near.stages("mirror")?, cluster.registry.stages(project.name())?);
    let reads = near.requests().iter().filter(|request| request.starts_with("GET /v2/mirror/blobs/")).count();
    assert_ne!(reads, 0, "{:#?}", near.requests());
    let requests = theirs.requests()[before..].to_vec();
    let is_read = |request: &String| request.starts_with("GET ") || request.starts_with("HEAD ");
    assert!(!requests.is_empty() && requests.iter().all(is_read), "{requests:#?}");

    // The images that run are brought where they run from, by a worker.
    let last = runs.repo("prod");
    let delivered = project.build(&[&flags[..], &["--final-repo", &last]].concat())?;
    let name = delivered.image("app");
    let tag = name.strip_prefix(&format!("{last}:")).context("a name in the final repository")?;
    assert_eq!(runs.tags("prod")?, [tag]);
    assert_eq!(delivered.run.built().len(), 0, "{}", delivered.run.stderr);

    // Without the cache the build goes on, and says so once.
    drop(near);
    project.write("file", "3")?;
    project.commit("third")?;
    let third = project.build(&flags)?;
    let warning = format!("the cache repository {cache} is not used for 300 s");
    assert_eq!(third.run.stderr.matches(&warning).count(), 1, "{}", third.run.stderr);
    let unfilled = format!("the final repository {last} was used");
    assert_eq!(third.run.stderr.matches(&unfilled).count(), 1, "{}", third.run.stderr);
    cluster.nothing_left()
}
