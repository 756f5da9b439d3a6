//! Many builds of one commit at once.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use slipway_e2e::{Part, Project, Registry, Run, require};

const ALL: [Part; 3] = [Part::Docker, Part::Registry, Part::Git];

fn tags_are_unique_per_digest(stages: &[String]) {
    let digests: BTreeSet<&str> = stages.iter().map(|tag| &tag[..56]).collect();
    assert_eq!(digests.len(), stages.len(), "a digest has two tags: {stages:#?}");
}

#[test]
fn eight_builds_at_once_store_one_stage_per_digest_and_agree() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("eight")?);
    project.write("src/file", "1")?;
    project.config(
        "image: a\nfrom: BASE\ngit: [{add: /src, to: /app}]\nshell: {install: date > /a, setup: date > /b}\n---\n\
         image: b\nfromImage: a\nshell: {setup: date > /c}\n",
    )?;
    project.commit("first")?;
    let repo = registry.repo("eight");
    let start = |number: usize| {
        let report = project.home().join(format!("report-{number}.json"));
        let report = report.to_str().expect("a UTF-8 path").to_owned();
        let arguments = ["build", "--repo", &repo, "--save-build-report", "--build-report-path", &report];
        project.start(&arguments, &[]).map(|child| (child, report))
    };
    let running = (0..8).map(start).collect::<Result<Vec<_>>>()?;
    let mut names = BTreeSet::new();
    for (child, report) in running {
        let run = Run::wait(child)?;
        assert_eq!(run.code, 0, "{}", run.stderr);
        let report: serde_json::Value = serde_json::from_slice(&std::fs::read(report)?)?;
        let images = report["Images"].as_object().expect("images by name");
        let named = images.iter().map(|(image, entry)| (image.clone(), entry["DockerImageName"].to_string()));
        names.insert(named.collect::<BTreeMap<String, String>>());
    }
    assert_eq!(names.len(), 1, "{names:?}");
    let images: Vec<&str> = names.iter().flat_map(BTreeMap::keys).map(String::as_str).collect();
    assert_eq!(images, ["a", "b"]);
    let stages = registry.stages("eight")?;
    tags_are_unique_per_digest(&stages);
    assert_eq!(stages.len(), 6);
    Ok(())
}

#[test]
fn a_frozen_clock_still_gives_growing_timestamps() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, Project::new("frozen")?);
    project.config(
        "image: a\nfrom: BASE\nshell: {install: date, setup: date}\n---\nimage: b\nfrom: BASE\nshell: {setup: date}\n",
    )?;
    project.commit("first")?;
    let frozen = [("SLIPWAY_TEST_CLOCK", "1700000000000")];
    let run = project.slipway_with(&["build", "--repo", &registry.repo("frozen")], &frozen)?;
    assert_eq!(run.code, 0, "{}", run.stderr);
    let stages = registry.stages("frozen")?;
    tags_are_unique_per_digest(&stages);
    let built = project.build(&["--repo", &registry.repo("frozen")])?;
    assert!(built.run.built().is_empty());
    let stamps: Vec<String> = built.report["Images"]["a"]["Stages"]
        .as_array()
        .expect("stages")
        .iter()
        .map(|stage| stage["DockerTag"].as_str().expect("a tag")[57..].to_owned())
        .collect();
    assert_eq!(stamps.len(), 3);
    assert!(stamps.windows(2).all(|pair| pair[0] < pair[1]), "a child is not younger than its parent: {stamps:?}");
    Ok(())
}
