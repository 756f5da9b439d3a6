//! Sources of other repositories than the project's.

use anyhow::Result;
use slipway_e2e::{GitHost, Part, Project, Registry, engine, require};

use crate::giterminism::{permit, refused};

const ALL: [Part; 3] = [Part::Docker, Part::Registry, Part::Git];

/// Another repository with a library.
fn library() -> Result<Project> {
    let library = Project::new("library")?;
    library.write("lib/file", "one")?;
    library.write("lib/other", "x")?;
    library.write("outside", "x")?;
    library.commit("first")?;
    Ok(library)
}

fn url(repository: &Project) -> String {
    format!("file://{}", repository.path().display())
}

#[test]
fn a_branch_of_another_repository_is_followed_stage_by_stage() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project, library) = (Registry::start()?, Project::new("remote")?, library()?);
    let repo = registry.repo("remote");
    project.config(&format!(
        "image: app\nfrom: BASE\ngit:\n- {{add: /src, to: /app}}\n- url: {}\n  branch: main\n  add: /lib\n  to: /lib-of-others\n  \
         owner: 1050\n  stageDependencies: {{setup: file}}\nshell:\n  setup: cat /lib-of-others/file > /seen\n",
        url(&library)
    ))?;
    project.write("src/own", "own")?;
    project.commit("first")?;
    refused(&project.slipway(&["build", "--repo", &repo])?, "git branch directive not allowed");
    permit(&project, "config: {stapel: {git: {allowBranch: true}}}")?;
    project.commit("allow")?;

    let built = project.build(&["--repo", &repo])?;
    let seen = "cat /app/own /seen /lib-of-others/file; ls /lib-of-others; stat -c %u /lib-of-others/file";
    assert_eq!(engine::sh(&built.image("app"), seen)?, "ownoneonefile\nother\n1050\n");
    assert!(project.build(&["--repo", &repo])?.run.built().is_empty());

    // What no stage depends on comes by a patch; what one depends on builds it anew.
    library.write("lib/other", "y")?;
    library.write("outside", "y")?;
    library.commit("second")?;
    let patched = project.build(&["--repo", &repo])?;
    assert_eq!(patched.run.built(), ["app/gitLatestPatch"]);
    assert_eq!(engine::sh(&patched.image("app"), "cat /lib-of-others/other /seen")?, "yone");
    library.write("lib/file", "two")?;
    library.commit("third")?;
    let again = project.build(&["--repo", &repo])?;
    assert_eq!(again.run.built(), ["app/setup"]);
    assert_eq!(engine::sh(&again.image("app"), "cat /seen /lib-of-others/other")?, "twoy");
    // A change of the project alone leaves the rest.
    project.write("src/own", "changed")?;
    project.commit("own")?;
    assert_eq!(project.build(&["--repo", &repo])?.run.built(), ["app/gitLatestPatch"]);
    Ok(())
}

#[test]
fn tags_and_commits_of_another_repository_stay_where_they_are() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project, library) = (Registry::start()?, Project::new("remote")?, library()?);
    let repo = registry.repo("remote");
    library.git(&["tag", "v1"])?;
    let first = library.git(&["rev-parse", "HEAD"])?;
    library.write("lib/file", "two")?;
    library.commit("second")?;
    let config = |revision: &str| {
        project.config(&format!(
            "image: app\nfrom: BASE\ngit: [{{url: '{}', {revision}, add: /lib/file, to: /file}}]\n",
            url(&library)
        ))
    };
    config("tag: v1")?;
    project.commit("tag")?;
    let tagged = project.build(&["--repo", &repo])?;
    assert_eq!(engine::sh(&tagged.image("app"), "cat /file")?, "one");
    config(&format!("commit: {}", first.trim()))?;
    project.commit("commit")?;
    let pinned = project.build(&["--repo", &repo])?;
    assert_eq!(engine::sh(&pinned.image("app"), "cat /file")?, "one");
    // The commit is here: the other repository is not asked again.
    std::fs::rename(library.path().join(".git"), library.path().join("gone"))?;
    assert!(project.build(&["--repo", &repo])?.run.built().is_empty());
    config("tag: v1")?;
    project.commit("tag again")?;
    refused(&project.slipway(&["build", "--repo", &repo])?, "image app: take files from");
    // Looking at the configuration asks nobody.
    assert_eq!(project.slipway(&["config", "render"])?.code, 0);
    assert_eq!(project.slipway(&["plan"])?.code, 0);
    Ok(())
}

/// By https the user's credential helper has the login, by ssh the agent has the key; over both what is fetched is the same, and
/// a commit that is here is fetched no more.
#[test]
fn other_repositories_are_read_over_https_and_ssh_with_what_the_user_has_set_up() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let (registry, project, library) = (Registry::start()?, Project::new("remote")?, library()?);
    let Some(host) = GitHost::start(library.path())? else { return Ok(()) };
    let repo = registry.repo("remote");
    let git = library.path().join(".git");
    library.git(&["tag", "v1"])?;
    let commit = library.git(&["rev-parse", "HEAD"])?;
    let config = |revision: &str| {
        project.config(&format!(
            "image: app\nfrom: BASE\ngit:\n- {{url: '{}', {revision}, add: /lib, to: /https}}\n\
             - {{url: '{}', {revision}, add: /lib/file, to: /ssh}}\n",
            host.https(&git),
            host.ssh(&git)
        ))
    };
    permit(&project, "config: {stapel: {git: {allowBranch: true}}}")?;
    config("branch: main")?;
    project.commit("first")?;
    let variables = host.variables()?;
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let first = project.build_with(&["--repo", &repo, "--log-debug"], &variables)?;
    let seen = "cat /https/file /https/other /ssh";
    assert_eq!(engine::sh(&first.image("app"), seen)?, "onexone");
    assert!(!first.run.stderr.contains(host.password()), "{}", first.run.stderr);
    let inspected = engine::run(&["image", "inspect", &first.image("app")])?;
    assert!(!inspected.contains(host.password()) && !inspected.contains("localhost:"), "{inspected}");

    library.write("lib/file", "two")?;
    library.commit("second")?;
    let second = project.build_with(&["--repo", &repo], &variables)?;
    assert_eq!(second.run.built(), ["app/gitLatestPatch"]);
    assert_eq!(engine::sh(&second.image("app"), seen)?, "twoxtwo");
    assert!(project.build_with(&["--repo", &repo], &variables)?.run.built().is_empty());

    config(&format!("commit: {commit}"))?;
    project.commit("a commit")?;
    let pinned = project.build_with(&["--repo", &repo], &variables)?;
    assert_eq!(engine::sh(&pinned.image("app"), seen)?, "onexone");
    host.lock_out();
    // Nobody is asked for a commit that is here; a tag is asked for, and refused.
    assert!(project.build_with(&["--repo", &repo], &variables)?.run.built().is_empty());
    config("tag: v1")?;
    project.commit("a tag")?;
    let refused = project.slipway_with(&["build", "--repo", &repo], &variables)?;
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert!(refused.stderr.contains("Permission denied") && refused.stderr.contains("ssh agent"), "{}", refused.stderr);
    let without: Vec<(&str, &str)> =
        variables.iter().copied().filter(|(name, _)| *name != "GIT_CONFIG_GLOBAL").collect();
    let without = [without.as_slice(), &[("GIT_CONFIG_GLOBAL", "/dev/null")]].concat();
    let refused = project.slipway_with(&["build", "--repo", &repo], &without)?;
    assert_eq!(refused.code, 3, "{}", refused.stderr);
    assert!(refused.stderr.contains("set up a credential helper"), "{}", refused.stderr);
    Ok(())
}
