//! Only the commit is built.

use anyhow::Result;
use slipway_e2e::{Part, Project, Registry, Run, engine, require};

const ALL: [Part; 3] = [Part::Docker, Part::Registry, Part::Git];

fn project() -> Result<Project> {
    let project = Project::new("strict")?;
    project.config(
        "image: app\nfrom: BASE\ngit: [{add: /src, to: /app}]\n---\nimage: df\ndockerfile: Dockerfile\ncontext: ctx\n",
    )?;
    project.write("src/file", "committed")?;
    project.write("ctx/file", "committed")?;
    project.write("ctx/Dockerfile", format!("FROM {}\nCOPY file /file\n", project.base()))?;
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

#[test]
fn dev_mode_leaves_out_what_is_to_be_ignored() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project) = (Registry::start()?, project()?);
    for name in ["src/file", "src/one", "src/two", "src/three"] {
        project.write(name, "uncommitted")?;
    }
    let arguments = ["--repo", &registry.repo("strict"), "--dev", "--dev-ignore", "src/o*", "app"];
    let built = project.build_with(&arguments, &[("WERF_DEV_IGNORE_1", "src/two")])?;
    assert_eq!(engine::sh(&built.image("app"), "cd /app && ls && cat file")?, "file\nthree\nuncommitted");
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

/// A project with a single image and nothing committed yet, whose lines of `werf.yaml` after `image: app` are given.
fn plain(lines: &str) -> Result<Project> {
    let project = Project::new("rules")?;
    project.config(&format!("image: app\n{lines}"))?;
    Ok(project)
}

pub(crate) fn permit(project: &Project, lines: &str) -> Result<()> {
    project.write("werf-giterminism.yaml", format!("giterminismConfigVersion: 1\n{lines}"))
}

pub(crate) fn refused(run: &Run, said: &str) {
    assert_eq!(run.code, 3, "{}", run.stderr);
    assert!(run.stderr.contains(said), "`{said}` is not in:\n{}", run.stderr);
}

fn accepted(run: &Run) {
    assert_eq!(run.code, 0, "{}", run.stderr);
}

#[test]
fn fixture_53_the_configuration_is_committed_or_allowed_not_to_be() -> Result<()> {
    if !require(&[Part::Git]) {
        return Ok(());
    }
    for below in ["", "sub"] {
        let project = plain("from: BASE\n")?;
        let text = std::fs::read_to_string(project.path().join("werf.yaml"))?;
        std::fs::remove_file(project.path().join("werf.yaml"))?;
        let at = |name: &str| if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
        project.write(&at("other"), "x")?;
        project.commit("nothing")?;
        let render = || match below {
            "" => project.slipway(&["config", "render"]),
            below => project.slipway(&["config", "render", "--dir", below]),
        };
        refused(&render()?, "werf.yaml not found");
        project.write(&at("werf.yaml"), &text)?;
        refused(&render()?, "unable to read werf config: the untracked file \"werf.yaml\" must be committed");
        project.commit("the configuration")?;
        accepted(&render()?);
        project.write(&at("werf.yaml"), format!("{text}# changed\n"))?;
        refused(&render()?, "unable to read werf config: the file \"werf.yaml\" must be committed");

        project
            .write(&at("werf-giterminism.yaml"), "giterminismConfigVersion: 1\nconfig: {allowUncommitted: true}\n")?;
        project.git(&["add", &at("werf-giterminism.yaml")])?;
        project.git(&["commit", "--quiet", "--message", "allow", &at("werf-giterminism.yaml")])?;
        let run = render()?;
        accepted(&run);
        assert!(run.stdout.ends_with("# changed\n"), "{}", run.stdout);
        project.git(&["rm", "--quiet", "--cached", &at("werf.yaml")])?;
        project.git(&["commit", "--quiet", "--message", "without"])?;
        accepted(&render()?);
    }
    Ok(())
}

#[test]
fn fixture_55_the_giterminism_configuration_itself_is_committed() -> Result<()> {
    if !require(&[Part::Git]) {
        return Ok(());
    }
    let project = plain("from: BASE\n")?;
    project.commit("absent")?;
    let render = || project.slipway(&["config", "render"]);
    accepted(&render()?);
    let name = "werf-giterminism.yaml";
    for version in ["1", "\"1\""] {
        let refusal = "unable to read werf giterminism config: the ";
        project.write(name, format!("giterminismConfigVersion: {version}\n"))?;
        refused(&render()?, &format!("{refusal}untracked file \"{name}\" must be committed"));
        project.commit("add")?;
        accepted(&render()?);
        project.write(name, format!("giterminismConfigVersion: {version}\nconfig: {{allowUncommitted: true}}\n"))?;
        refused(&render()?, &format!("{refusal}file \"{name}\" must be committed"));
        // No permission covers the permissions.
        project.commit("allow")?;
        project.write(name, "giterminismConfigVersion: 1\n")?;
        refused(&render()?, &format!("{refusal}file \"{name}\" must be committed"));
        accepted(&project.slipway(&["config", "render", "--loose-giterminism"])?);
        std::fs::remove_file(project.path().join(name))?;
        project.commit("absent again")?;
    }
    project.write(name, "giterminismConfigVersion: 2\n")?;
    project.write("other.yaml", "giterminismConfigVersion: 1\nconfig: {alowUncommitted: true}\n")?;
    project.commit("wrong ones")?;
    refused(&render()?, &format!("{name}:1:27: `giterminismConfigVersion` must be 1, not `2`"));
    let other = project.slipway(&["config", "render", "--giterminism-config", "other.yaml"])?;
    refused(&other, "other.yaml:2:10: unknown key `alowUncommitted` in `config`");
    refused(&project.slipway(&["config", "render", "--giterminism-config", "none.yaml"])?, "none.yaml not found");
    Ok(())
}

#[test]
fn fixture_59_directives_that_leave_the_commit_are_allowed_one_by_one() -> Result<()> {
    if !require(&[Part::Git]) {
        return Ok(());
    }
    let found = "the configuration with potential external dependency found in the werf config: ";
    for (lines, said, permissions) in [
        (
            "from: BASE\nfromLatest: true\n",
            "fromLatest directive not allowed by giterminism",
            &["config: {stapel: {allowFromLatest: true}}"][..],
        ),
        (
            "from: BASE\ngit: [{url: 'https://localhost/x.git', branch: main, to: /x}]\n",
            "git branch directive not allowed",
            &["config: {stapel: {git: {allowBranch: true}}}"],
        ),
        (
            "from: BASE\nmount: [{from: build_dir, to: /x}]\n",
            "\"mount { from: build_dir, ... }\" not allowed",
            &["config: {stapel: {mount: {allowBuildDir: true}}}"],
        ),
        (
            "from: BASE\nmount: [{fromPath: /a/b/c, to: /x}]\n",
            "\"mount { fromPath: /a/b/c, ... }\" not allowed",
            &[
                "config: {stapel: {mount: {allowFromPaths: [/a/b/c]}}}",
                "config: {stapel: {mount: {allowFromPaths: ['**/*']}}}",
            ],
        ),
    ] {
        let project = plain(lines)?;
        project.commit("denied")?;
        let render = || project.slipway(&["config", "render"]);
        let run = render()?;
        refused(&run, &format!("{found}{said}"));
        assert!(run.stderr.contains("werf-giterminism.yaml") && run.stderr.contains("werf.yaml:"), "{}", run.stderr);
        accepted(&project.slipway(&["config", "render", "--loose-giterminism"])?);
        for permission in permissions {
            permit(&project, permission)?;
            project.commit("allowed")?;
            accepted(&render()?);
        }
        permit(&project, "config: {stapel: {mount: {allowFromPaths: [/a/b/d]}}}")?;
        project.commit("another allowed")?;
        refused(&render()?, said);
    }
    Ok(())
}
