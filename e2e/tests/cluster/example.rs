//! The example project on a cluster, through what befalls a cluster's etcd and registry.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use slipway_e2e::{Built, Cluster, Project, engine};

use crate::can_run;

/// Its images.
const IMAGES: [&str; 6] = ["runtime", "api", "web", "web-preview", "migrate", "report"];
/// The base image that it names.
const BASE: &str = "localhost/slipway-example-base:1";

/// The project of `examples/shop`, on the base image of a cluster.
fn shop(cluster: &Cluster) -> Result<Project> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("this crate lies in the checkout")?;
    let (project, base) = (Project::new("shop")?, cluster.base()?);
    let mut directories = vec![root.join("examples/shop")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let name = path.strip_prefix(root.join("examples/shop"))?.to_str().context("a UTF-8 path")?;
            let text = fs::read_to_string(&path)?.replace(BASE, &base);
            project.write(name, text.replace("project: shop\n", &format!("project: {}\n", project.name())))?;
        }
    }
    project.commit("first")?;
    Ok(project)
}

fn images(built: &Built) -> Vec<String> {
    IMAGES.iter().map(|image| built.image(image)).collect()
}

#[test]
fn the_example_keeps_its_stages_through_an_older_etcd_and_foreign_tags() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let mut cluster = Cluster::start(2, 4)?;
    let project = shop(&cluster)?;
    let first = cluster.build(&project)?;
    let expected = ["api/gitArchive", "web/dependenciesAfterSetup", "migrate/dockerfile", "assets/setup"];
    let built = first.run.built();
    assert!(expected.iter().all(|stage| built.iter().any(|one| one == stage)), "{built:?}");
    assert!(engine::sh(&first.image("web"), "cat /srv/runtime /www/static/site.css")?.starts_with("runtime 1"));
    restored_to_an_older_snapshot(&mut cluster, &project, &first)?;
    tagged_by_somebody_else(&cluster, &project)?;
    cluster.nothing_left()
}

/// The registry has stages that the restored etcd knows nothing of: they stay the winners.
fn restored_to_an_older_snapshot(cluster: &mut Cluster, project: &Project, first: &Built) -> Result<()> {
    let snapshot = project.home().join("snapshot");
    cluster.etcd.save(&snapshot);
    project.write("web/index.html", "the second\n")?;
    project.commit("second")?;
    let second = cluster.build(project)?;
    assert!(!second.run.built().is_empty(), "{}", second.run.stderr);
    let stages = cluster.stages(project)?;
    // As the documentation asks for: nothing that builds runs meanwhile.
    cluster.kill_coordinator(0);
    cluster.kill_coordinator(1);
    cluster.etcd.restore(&snapshot);
    cluster.start_coordinator(0, None);
    cluster.start_coordinator(1, None);
    cluster.leader()?;
    let again = cluster.build(project)?;
    assert!(again.run.built().is_empty(), "{}\n{}", again.run.stderr, cluster.logs());
    assert_eq!(images(&again), images(&second));
    project.git(&["checkout", "--quiet", "HEAD^"])?;
    let before = cluster.build(project)?;
    assert!(before.run.built().is_empty(), "{}", before.run.stderr);
    assert_eq!(images(&before), images(first));
    project.git(&["checkout", "--quiet", "main"])?;
    assert_eq!(cluster.stages(project)?, stages);
    // Whatever comes after is younger than all that there was.
    project.write("web/index.html", "the third\n")?;
    project.commit("third")?;
    cluster.build(project)?;
    let stamp = |tag: &String| tag[57..].to_owned();
    let youngest = stages.iter().map(stamp).max().context("a stage")?;
    let fresh: Vec<String> = cluster.stages(project)?.into_iter().filter(|tag| !stages.contains(tag)).collect();
    assert!(!fresh.is_empty() && fresh.iter().all(|tag| stamp(tag) > youngest), "{fresh:?} {youngest}");
    Ok(())
}

/// A program that knows nothing of the records stores a stage of a known digest, with a timestamp older than all.
fn tagged_by_somebody_else(cluster: &Cluster, project: &Project) -> Result<()> {
    let before = cluster.build(project)?;
    let ours = before.image("web");
    let (digest, stamp) = ours.rsplit_once('-').context("DIGEST-TIMESTAMP")?;
    let theirs = format!("{digest}-{}", stamp.parse::<u64>()? - 3_600_000);
    let other = engine::run(&["create", &before.image("api")])?;
    engine::run(&["commit", other.trim(), &theirs])?;
    engine::run(&["rm", other.trim()])?;
    engine::run(&["push", "--quiet", &theirs])?;
    engine::run(&["image", "rm", &theirs])?;
    assert!(cluster.registry.stages(project.name())?.iter().any(|tag| theirs.ends_with(tag)));
    for import in [false, true] {
        if import {
            cluster.stages_command(project, "import")?;
        }
        let after = cluster.build(project)?;
        assert!(after.run.built().is_empty(), "{}", after.run.stderr);
        assert_eq!(images(&after), images(&before), "after an import: {import}");
        cluster.stages_command(project, "verify")?;
    }
    Ok(())
}
