//! Cleaning up repositories, from the command line; some of it on a registry of another make, too.

mod beside;

use std::{collections::BTreeSet, path::PathBuf};

use anyhow::{Context as _, Result};
use slipway_e2e::{Built, Run, Setup};
use slipway_parts::OtherRegistry;

/// Keeps the newest image of every branch.
const NEWEST: &str = "cleanup:\n  keepPolicies:\n  - references: {branch: /.*/}\n    imagesPerReference: {last: 1}\n";
const IMAGE: &str = "image: app\nfrom: BASE\nfromCacheVersion: VERSION\ngit: [{add: /src, to: /src}]\n";

/// A project with an `origin`.
struct World {
    setup: Setup,
    origin: PathBuf,
    /// Where stages are, if not in the registry of the set-up.
    other: Option<OtherRegistry>,
    place: tempfile::TempDir,
}

impl World {
    fn new(name: &str) -> Result<Option<Self>> {
        let Some(setup) = Setup::new(name, IMAGE)? else { return Ok(None) };
        let place = tempfile::tempdir()?;
        let origin = place.path().join("origin.git");
        setup.project.git(&["init", "--quiet", "--bare", origin.to_str().expect("UTF-8")])?;
        setup.project.git(&["remote", "add", "origin", origin.to_str().expect("UTF-8")])?;
        Ok(Some(Self { setup, origin, other: None, place }))
    }

    /// The same on a registry of another make.
    fn elsewhere(name: &str) -> Result<Option<Self>> {
        let Some(other) = OtherRegistry::start() else { return Ok(None) };
        Ok(Self::new(name)?.map(|world| Self { other: Some(other), ..world }))
    }

    fn repo(&self) -> String {
        match &self.other {
            Some(other) => format!("{}/{}", other.host(), self.setup.project.name()),
            None => self.setup.repo(),
        }
    }

    /// Builds the commit that is checked out.
    fn build_again(&self, more: &[&str]) -> Result<Built> {
        self.setup.project.build(&[&["--repo", &self.repo()], more].concat())
    }

    /// Deletes a branch of `origin`.
    fn forget(&self, branch: &str) -> Result<()> {
        let origin = self.origin.to_str().expect("UTF-8");
        let reference = format!("refs/heads/{branch}");
        self.setup.project.git(&["--git-dir", origin, "update-ref", "-d", &reference]).map(drop)
    }

    /// Commits a configuration and a file, pushes that to a branch, and builds it.
    fn build(&self, documents: &str, version: &str, branch: &str, more: &[&str]) -> Result<Built> {
        self.commit(documents, version, branch)?;
        self.build_again(more)
    }

    fn commit(&self, documents: &str, version: &str, branch: &str) -> Result<()> {
        let project = &self.setup.project;
        project.write("src/file", version)?;
        project.config(&documents.replace("VERSION", &format!("'{version}'")))?;
        let whole = std::fs::read_to_string(project.path().join("werf.yaml"))?;
        project.write("werf.yaml", whole.replacen("---", &format!("{NEWEST}---"), 1))?;
        project.commit(version)?;
        project.git(&["push", "--quiet", "--force", "origin", &format!("HEAD:refs/heads/{branch}")]).map(drop)
    }

    fn cleanup(&self, more: &[&str]) -> Result<Run> {
        self.cleanup_with(more, &[])
    }

    fn cleanup_with(&self, more: &[&str], variables: &[(&str, &str)]) -> Result<Run> {
        let arguments = ["cleanup", "--repo", &self.repo(), "--without-kube", "--second-look-after", "0"];
        self.setup.project.slipway_with(&[&arguments, more].concat(), variables)
    }

    fn cleaned(&self, more: &[&str]) -> Result<Run> {
        let run = self.cleanup(more)?;
        assert_eq!(run.code, 0, "{}", run.stderr);
        Ok(run)
    }

    fn tags(&self) -> Result<BTreeSet<String>> {
        Ok(slipway_e2e::registry::tags(&self.repo())?.into_iter().collect())
    }

    fn with(&self, prefix: &str) -> Result<usize> {
        Ok(self.tags()?.iter().filter(|tag| tag.starts_with(prefix)).count())
    }

    fn stages(&self) -> Result<BTreeSet<String>> {
        Ok(self.tags()?.into_iter().filter(|tag| slipway_e2e::registry::is_stage(tag)).collect())
    }
}

/// Keep for being new: nothing.
const OLD: &str = "--keep-stages-built-within-last-n-hours=0";

#[test]
fn fixture_70_the_newest_image_of_a_remote_branch_stays() -> Result<()> {
    let Some(world) = World::new("history")? else { return Ok(()) };
    the_newest_image_stays(&world)
}

#[test]
fn fixture_70_on_a_registry_of_another_make() -> Result<()> {
    let Some(world) = World::elsewhere("history-elsewhere")? else { return Ok(()) };
    the_newest_image_stays(&world)
}

fn the_newest_image_stays(world: &World) -> Result<()> {
    world.commit(IMAGE, "0", "main")?;
    // An empty repository is clean (fixture 69).
    world.cleaned(&[])?;
    world.build(IMAGE, "1", "main", &["--add-custom-tag", "first"])?;
    let one = world.stages()?;
    let second = world.build(IMAGE, "2", "main", &["--add-custom-tag", "second"])?;
    let both = world.stages()?;
    assert!(one.len() >= 2 && both.len() == 2 * one.len(), "{one:?} {both:?}");
    assert_eq!(world.with("custom-tag-meta-")?, 2);
    // What was built within two hours stays.
    world.cleaned(&[])?;
    assert_eq!(world.stages()?, both);

    let told = world.cleaned(&[OLD, "--dry-run"])?;
    assert!(told.stdout.contains("branch main: image app at commit"), "{}", told.stdout);
    assert!(
        one.iter().all(|stage| told.stdout.contains(&format!("stage {stage}: nothing needs it"))),
        "{}",
        told.stdout
    );
    assert_eq!(world.stages()?, both, "a dry run deletes nothing");
    assert!(told.stderr.contains("This was a dry run") && !told.stderr.contains("Deleting"), "{}", told.stderr);
    let run = world.cleaned(&[OLD, "--save-cleanup-report", "--cleanup-report-path", "report.json"])?;
    assert!(run.stderr.contains("no stage is kept for being new"), "{}", run.stderr);
    assert_eq!(world.stages()?, both.difference(&one).cloned().collect());
    let report = std::fs::read_to_string(world.setup.project.path().join("report.json"))?;
    let report: serde_json::Value = serde_json::from_str(&report)?;
    assert_eq!(report["kept"].as_array().map(Vec::len), Some(one.len()), "{report}");
    // Custom tags go with their stages, the others stay (fixture 73).
    let tags = world.tags()?;
    assert!(tags.contains("second") && !tags.contains("first"), "{tags:?}");
    assert_eq!((world.with("custom-tag-meta-")?, world.with("meta-")?), (1, 1));
    // The next build finds all, and says nothing of what went.
    let third = world.build_again(&[])?;
    assert!(third.run.built().is_empty() && !third.run.stderr.contains("another program"), "{}", third.run.stderr);
    assert_eq!(third.image("app"), second.image("app"));

    // Branches of the clone do not count: without its branch of origin, the image goes.
    world.forget("main")?;
    let run = world.cleaned(&[OLD])?;
    assert!(run.stderr.contains("no branch or tag of origin counts"), "{}", run.stderr);
    assert_eq!(world.stages()?, BTreeSet::new());
    assert_eq!((world.with("meta-")?, world.with("custom-tag-meta-")?, world.with("image-stages-")?), (0, 0, 0));
    assert!(!world.tags()?.contains("second"));
    Ok(())
}

/// Artifacts whose files are the same as those that an image was built with stay; others go.
#[test]
fn fixture_75_sources_of_the_same_files_stay() -> Result<()> {
    let Some(world) = World::new("imports")? else { return Ok(()) };
    sources_of_the_same_files_stay(&world)
}

#[test]
fn fixture_75_on_a_registry_of_another_make() -> Result<()> {
    let Some(world) = World::elsewhere("imports-elsewhere")? else { return Ok(()) };
    sources_of_the_same_files_stay(&world)
}

fn sources_of_the_same_files_stay(world: &World) -> Result<()> {
    let documents = |out: &str| {
        format!(
            "artifact: made\nfrom: BASE\nfromCacheVersion: VERSION\nshell: {{install: ['echo {out} > /out']}}\n---\n\
             image: app\nfrom: BASE\nimport: [{{artifact: made, add: /out, to: /out, after: install}}]\n"
        )
    };
    let first = world.build(&documents("one"), "1", "main", &[])?;
    let five = world.stages()?.len();
    let list = world.setup.project.path().join("in-use");
    std::fs::write(&list, format!("# what runs\n{}\n", first.image("app")))?;
    let path = list.to_str().expect("UTF-8").to_owned();
    let uses = ["--images-in-use", path.as_str(), OLD];
    // The branch is gone: only what runs stays.
    let forget = || world.forget("main");
    forget()?;
    world.cleaned(&uses)?;
    assert_eq!(world.stages()?.len(), five);
    world.build(&documents("one"), "2", "main", &[])?;
    forget()?;
    let more = world.stages()?.len();
    assert!(more > five);
    world.cleaned(&uses)?;
    assert_eq!((world.stages()?.len(), world.with("import-metadata-")?), (more, 2));
    world.build(&documents("two"), "3", "main", &[])?;
    forget()?;
    assert!(world.stages()?.len() > more);
    world.cleaned(&uses)?;
    assert_eq!((world.stages()?.len(), world.with("import-metadata-")?), (more, 2));
    // Nothing runs any more: nothing stays.
    world.cleaned(&[OLD])?;
    assert_eq!((world.stages()?.len(), world.with("import-metadata-")?), (0, 0));
    Ok(())
}

/// Of one stage that three commits had, the record of the newest one stays on each branch; one of a branch that went while it was
/// cleaned up counts no more the next time.
#[test]
fn fixture_72_the_newest_record_stays() -> Result<()> {
    let Some(world) = World::new("records-of-commits")? else { return Ok(()) };
    the_newest_record_stays(&world)
}

#[test]
fn fixture_72_on_a_registry_of_another_make() -> Result<()> {
    let Some(world) = World::elsewhere("records-elsewhere")? else { return Ok(()) };
    the_newest_record_stays(&world)
}

fn the_newest_record_stays(world: &World) -> Result<()> {
    let same = "image: app\nfrom: BASE\nshell: {setup: echo VERSION > /same}\n".replace("VERSION", "same");
    for (version, branch) in [("1", "main"), ("2", "second"), ("3", "third")] {
        world.build(&same, version, branch, &[])?;
    }
    let stages = world.stages()?;
    world.cleaned(&[OLD])?;
    assert_eq!((world.stages()?, world.with("meta-")?), (stages.clone(), 3), "one of each branch");
    world.setup.project.git(&["push", "--quiet", "--force", "origin", "HEAD:refs/heads/main"])?;
    world.forget("third")?;
    // The second branch goes when its name is known and its commits are not looked at yet.
    let stopped = world.start_cleanup(&[OLD], "cleanup.listed")?;
    world.forget("second")?;
    stopped.go_on()?;
    assert_eq!((world.stages()?, world.with("meta-")?), (stages.clone(), 2));
    world.cleaned(&[OLD])?;
    assert_eq!((world.stages()?, world.with("meta-")?), (stages, 1), "the newest of the only branch");
    Ok(())
}

/// An address of `origin` that begins with dots leads from the top of the work tree, wherever the command is run.
#[test]
fn a_relative_address_of_origin_is_taken_as_git_takes_it() -> Result<()> {
    let Some(world) = World::new("relative")? else { return Ok(()) };
    let project = &world.setup.project;
    let place = world.place.path().file_name().and_then(|name| name.to_str()).context("a UTF-8 name")?;
    project.git(&["remote", "set-url", "origin", &format!("../{place}/origin.git")])?;
    world.build(IMAGE, "1", "main", &[])?;
    // The same project in a directory of its own.
    project.write("below/werf.yaml", std::fs::read(project.path().join("werf.yaml"))?)?;
    project.commit("below")?;
    let told = world.cleaned(&[OLD, "--dry-run"])?;
    let text = |path: &std::path::Path| path.to_str().map(str::to_owned).context("a UTF-8 path");
    // A work tree of its own, as far from the server as the first one.
    let linked = tempfile::tempdir()?;
    project.git(&["worktree", "add", "--quiet", "--detach", &text(linked.path())?])?;
    let below = text(&project.path().join("below"))?;
    for directory in [below, text(linked.path())?] {
        let run = world.cleaned(&[OLD, "--dry-run", "--dir", &directory])?;
        assert!(run.stdout.contains("branch main: image app at commit"), "{directory}: {}", run.stdout);
        assert_eq!(run.stdout, told.stdout, "{directory}");
    }
    // Below the work tree, where it is no file of the project.
    project.git(&["clone", "--quiet", "--bare", &text(&world.origin)?, "src/x.git"]).context("clone")?;
    project.write(".git/info/exclude", "x.git\n")?;
    project.git(&["remote", "set-url", "origin", "./src/x.git"])?;
    assert_eq!(world.cleaned(&[OLD, "--dry-run"])?.stdout, told.stdout);
    Ok(())
}

#[test]
fn what_a_cleanup_cannot_do_is_said() -> Result<()> {
    let Some(world) = World::new("refusals")? else { return Ok(()) };
    world.commit(IMAGE, "0", "main")?;
    let project = &world.setup.project;
    let repo = world.repo();
    let nothing = [("KUBECONFIG", "/nowhere"), ("KUBERNETES_SERVICE_HOST", "")];
    let run = project.slipway_with(&["cleanup", "--repo", &repo], &nothing)?;
    assert!(run.code == 2 && run.stderr.contains("give --without-kube"), "{}", run.stderr);
    // A cluster that cannot be asked ends it.
    let config = "contexts: [{name: far, context: {cluster: c}}]\nclusters: [{name: c, cluster: {server: 'http://127.0.0.1:1'}}]\n";
    project.write("kube.yaml", config)?;
    let run = project.slipway(&["cleanup", "--repo", &repo, "--kube-config", "kube.yaml"])?;
    assert!(run.code == 1 && run.stderr.contains("context far: list pods"), "{}", run.stderr);
    project.git(&["remote", "remove", "origin"])?;
    let run = world.cleanup(&[])?;
    assert!(run.code == 3 && run.stderr.contains("allowFetchOriginBranchesAndTags: false"), "{}", run.stderr);
    assert!(run.stderr.contains("git remote add origin ADDRESS"), "{}", run.stderr);
    project.git(&["remote", "add", "origin", "/nowhere.git"])?;
    let run = world.cleanup(&[])?;
    assert!(
        run.code == 3 && run.stderr.contains("say what stays") && run.stderr.contains("/nowhere.git"),
        "{}",
        run.stderr
    );
    // What is wrong with the command itself is said before anybody is asked.
    let run = world.cleanup(&["--keep-stages-built-within-last-n-hours=-1"])?;
    assert!(run.code == 2 && run.stderr.contains("-1 is no number of hours"), "{}", run.stderr);
    Ok(())
}
