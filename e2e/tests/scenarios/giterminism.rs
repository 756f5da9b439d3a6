//! Only the commit is built.

use anyhow::Result;
use slipway_e2e::{Parts, Project, Registry, engine, require};

const ALL: [Parts; 3] = [Parts::Docker, Parts::Registry, Parts::Git];

fn project() -> Result<Project> {
    let project = Project::new("strict")?;
    project.config(
        "image: app\nfrom: BASE\ngit: [{add: /src, to: /app}]\n---\nimage: df\ndockerfile: Dockerfile\ncontext: ctx\n",
    )?;
    project.write("src/file", "committed")?;
    project.write("ctx/file", "committed")?;
    project.write("ctx/Dockerfile", format!("FROM {}\nCOPY file /file\n", engine::base_image()))?;
    project.commit("first")?;
    Ok(project)
}

#[test]
fn a_change_that_would_be_built_stops_the_build_and_is_named() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    for path in ["src/file", "src/untracked", "ctx/file", "ctx/Dockerfile", "werf.yaml"] {
        let (registry, project) = (Registry::start()?, project()?);
        let old = std::fs::read_to_string(project.path().join(path)).unwrap_or_default();
        project.write(path, format!("{old}\n# changed"))?;
        let run = project.slipway(&["build", "--repo", &registry.repo("strict")])?;
        assert_eq!(run.code, 3, "{path}: {}", run.stderr);
        assert!(run.stderr.contains(path), "`{path}` is not in:\n{}", run.stderr);
        assert!(registry.tags("strict")?.is_empty());
    }
    Ok(())
}

#[test]
fn a_change_that_is_not_built_does_not_matter() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, project()?);
    project.write("elsewhere", "x")?;
    project.write("ctx/unread", "x")?;
    project.build(&["--repo", &registry.repo("strict")])?;
    Ok(())
}

#[test]
fn loose_mode_builds_the_commit() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, project()?);
    project.write("src/file", "uncommitted")?;
    project.write("ctx/file", "uncommitted")?;
    let built = project.build(&["--repo", &registry.repo("strict"), "--loose-giterminism"])?;
    assert_eq!(engine::sh(&built.image("app"), "cat /app/file")?, "committed");
    assert_eq!(engine::sh(&built.image("df"), "cat /file")?, "committed");
    Ok(())
}

#[test]
fn dev_mode_builds_the_work_tree_and_leaves_the_repository_alone() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, project()?);
    project.write("src/file", "uncommitted")?;
    project.write("src/untracked", "new")?;
    let before = snapshot(&project)?;
    let built = project.build(&["--repo", &registry.repo("strict"), "--dev"])?;
    assert_eq!(engine::sh(&built.image("app"), "cat /app/file /app/untracked")?, "uncommittednew");
    assert_eq!(snapshot(&project)?, before);
    let again = project.build(&["--repo", &registry.repo("strict"), "--dev"])?;
    assert!(again.run.built().is_empty(), "{}", again.run.stderr);
    Ok(())
}

fn snapshot(project: &Project) -> Result<String> {
    let listed = slipway_process::child::command("sh")
        .args(["-c", "find .git | sort | xargs stat -c '%n %s %Y %Z'; git status --porcelain; git for-each-ref"])
        .env("GIT_OPTIONAL_LOCKS", "0")
        .current_dir(project.path())
        .output()?;
    Ok(String::from_utf8_lossy(&listed.stdout).into_owned())
}

#[test]
fn dev_mode_builds_each_change_on_the_stages_of_the_one_before() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, project()?);
    let repo = registry.repo("strict");
    project.write("src/file", "first change")?;
    project.build(&["--repo", &repo, "--dev", "app"])?;
    project.write("src/file", "second change")?;
    let second = project.build(&["--repo", &repo, "--dev", "app"])?;
    assert_eq!(second.run.built(), ["app/gitLatestPatch"], "{}", second.run.stderr);
    assert_eq!(engine::sh(&second.image("app"), "cat /app/file")?, "second change");
    Ok(())
}
