//! What of a Dockerfile image comes from disk instead of the commit.

use anyhow::Result;
use slipway_e2e::{Built, Part, Project, Registry, engine, require};

use crate::giterminism::{permit, refused};

const ALL: [Part; 3] = [Part::Docker, Part::Registry, Part::Git];

/// An image of everything that the ignore rules leave.
fn context_project(lines: &str) -> Result<Project> {
    let project = Project::new("context")?;
    for path in ["pkg/a/a.go", "pkg/a/a_test.go", "README.md", "README_ru.md", "docs/index.md", "docs/x.html"] {
        project.write(&format!("app/{path}"), path)?;
    }
    let ignored = "pkg/**/*.go\n!**/*_test.go\n**/*.md\n!README.md\ndocs\n.git\nDockerfile\n.dockerignore\n*.added\n";
    project.write("app/.dockerignore", ignored)?;
    project.write("app/Dockerfile", format!("FROM {}\nCOPY . /app\n", project.base()))?;
    // Git ignores what is added.
    project.write(".gitignore", "*.added\nadded\n")?;
    project.config(&format!("image: app\ndockerfile: Dockerfile\ncontext: app\n{lines}"))?;
    Ok(project)
}

/// Builds, and lists what came into `/app`.
fn seen(project: &Project, repo: &str) -> Result<(Built, String)> {
    let built = project.build(&["--repo", repo])?;
    let list = "cd /app && find . ! -type d | sort | while read f; do \
                if [ -L $f ]; then echo $f '->' $(readlink $f); else echo $f $(cat $f); fi; done";
    let seen = engine::sh(&built.image("app"), list)?;
    Ok((built, seen))
}

const CONTEXT: &str = "./README.md README.md\n./pkg/a/a_test.go pkg/a/a_test.go\n";

#[test]
fn fixture_45_files_added_to_a_context_are_in_the_image_and_in_the_digest() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let registry = Registry::start()?;
    let repo = registry.repo("added");
    let project = context_project("")?;
    project.commit("base")?;
    let mut tags = std::collections::BTreeSet::new();
    let mut build = |lines: &str, allowed: &str| -> Result<(Built, String)> {
        project.config(&format!("image: app\ndockerfile: Dockerfile\ncontext: app\n{lines}"))?;
        permit(&project, "")?;
        project.git(&["add", "werf.yaml", "werf-giterminism.yaml"])?;
        project.git(&["commit", "--quiet", "--allow-empty", "--message", "not allowed"])?;
        if !lines.is_empty() {
            let said = "contextAddFile \"app/";
            refused(&project.slipway(&["build", "--repo", &repo])?, said);
        }
        permit(&project, &format!("config: {{dockerfile: {{allowContextAddFiles: {allowed}}}}}"))?;
        project.git(&["add", "werf-giterminism.yaml"])?;
        project.git(&["commit", "--quiet", "--allow-empty", "--message", "allowed"])?;
        let (built, seen) = seen(&project, &repo)?;
        let stages = registry.stages("added")?;
        let before = tags.len();
        tags.extend(stages);
        assert_eq!(tags.len(), before + 1, "a digest of its own for {lines}");
        // Nothing changes: nothing is built.
        assert!(project.build(&["--repo", &repo])?.run.built().is_empty(), "{lines} is built again");
        Ok((built, seen))
    };
    assert_eq!(build("", "[]")?.1, CONTEXT);

    project.write("app/file.added", "one")?;
    let (_, one) = build("contextAddFile: file.added\n", "[app/file.added]")?;
    assert_eq!(one, format!("./README.md README.md\n./file.added one\n./pkg/a/a_test.go pkg/a/a_test.go\n"));

    std::fs::create_dir(project.path().join("app/added"))?;
    for (name, target) in [("link", "../README.md"), ("broken", "nowhere"), ("out", "/etc/passwd")] {
        project.link(&format!("app/added/{name}"), target)?;
    }
    let (_, links) = build("contextAddFiles: [added/link, added/broken, added/out]\n", "[app/added/*]")?;
    let listed = "./added/broken -> nowhere\n./added/link -> ../README.md\n./added/out -> /etc/passwd\n";
    assert_eq!(links, format!("./README.md README.md\n{listed}./pkg/a/a_test.go pkg/a/a_test.go\n"));

    project.write("app/added/a", "a")?;
    project.write("app/added/b/c", "c")?;
    project.chmod("app/added/b/c", 0o755)?;
    let (built, directory) = build("contextAddFiles: [added/]\n", "[app/added]")?;
    assert!(directory.contains("./added/a a\n./added/b/c c\n./added/broken -> nowhere\n"), "{directory}");
    assert_eq!(
        engine::sh(&built.image("app"), "test -x /app/added/b/c && ! test -x /app/added/a && echo yes")?,
        "yes\n"
    );

    let (_, files) = build("contextAddFiles:\n- added/a\n- added/b/c\n", "[app/added]")?;
    assert_eq!(files, "./README.md README.md\n./added/a a\n./added/b/c c\n./pkg/a/a_test.go pkg/a/a_test.go\n");
    assert_eq!(tags.len(), 5, "five distinct digests");
    Ok(())
}

#[test]
fn added_files_win_over_committed_ones_and_need_not_be_committed() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let registry = Registry::start()?;
    let repo = registry.repo("winning");
    let project = context_project("contextAddFiles: [pkg/, docs/index.md]\n")?;
    permit(&project, "config: {dockerfile: {allowContextAddFiles: [app/pkg, app/docs/index.md]}}")?;
    project.commit("first")?;
    project.write("app/pkg/a/a_test.go", "changed")?;
    project.write("app/pkg/new.go", "untracked")?;
    project.write("app/docs/index.md", "changed too")?;
    let (_, list) = seen(&project, &repo)?;
    // Added files are there though the ignore rules name them.
    let expected = "./README.md README.md\n./docs/index.md changed too\n./pkg/a/a.go pkg/a/a.go\n\
                    ./pkg/a/a_test.go changed\n./pkg/new.go untracked\n";
    assert_eq!(list, expected);
    // The rest of the context is still checked.
    project.write("app/README.md", "changed")?;
    let run = project.slipway(&["build", "--repo", &repo])?;
    refused(&run, " - app/README.md\n");
    assert!(!run.stderr.contains("a_test.go"), "{}", run.stderr);
    project.git(&["checkout", "--quiet", "app/README.md"])?;
    // A changed file is another digest; with --dev, added files come on top of the work tree.
    project.write("app/pkg/new.go", "untracked and changed")?;
    assert_eq!(project.build(&["--repo", &repo])?.run.built(), ["app/dockerfile"]);
    let dev = project.build(&["--repo", &repo, "--dev"])?;
    assert!(dev.run.built().is_empty(), "the same files: {}", dev.run.stderr);
    // A file that is not there is named.
    std::fs::remove_file(project.path().join("app/docs/index.md"))?;
    refused(&project.slipway(&["build", "--repo", &repo])?, "`contextAddFiles` names `docs/index.md`");
    Ok(())
}

#[test]
fn fixture_48_the_dockerfile_lies_in_its_context_and_is_committed_or_allowed_not_to_be() -> Result<()> {
    if !require(&ALL) {
        return Ok(());
    }
    let registry = Registry::start()?;
    let repo = registry.repo("dockerfile");
    let project = Project::new("dockerfile")?;
    project.config("image: app\ndockerfile: build/Dockerfile\ncontext: app\n")?;
    project.write("app/file", "committed")?;
    // One that is not below the context is not taken.
    project.write("build/Dockerfile", "FROM nowhere.invalid/x\n")?;
    project.commit("without")?;
    let dockerfile = |last: &str| format!("FROM {}\nCOPY . /ctx\n{last}\n", project.base());
    let build = |more: &[&str]| {
        let mut all = vec!["build", "--repo", repo.as_str()];
        all.extend(more);
        project.slipway(&all)
    };
    refused(&build(&[])?, "the Dockerfile `app/build/Dockerfile` is not in commit");
    project.write("app/build/Dockerfile", dockerfile("RUN echo untracked > /how"))?;
    refused(&build(&[])?, "untracked files must be committed:\n\n - app/build/Dockerfile\n");
    let how = || -> Result<String> { engine::sh(&project.build(&["--repo", &repo])?.image("app"), "cat /how") };
    permit(&project, "config: {dockerfile: {allowUncommitted: [app/build/Dockerfile]}}")?;
    project.git(&["add", "werf-giterminism.yaml"])?;
    project.git(&["commit", "--quiet", "--message", "allow", "werf-giterminism.yaml"])?;
    assert_eq!(how()?, "untracked\n");

    project.commit("with")?;
    project.write("app/build/Dockerfile", dockerfile("RUN echo changed > /how"))?;
    assert_eq!(how()?, "changed\n");
    // Its ignore rules have a permission of their own.
    project.write("app/build/Dockerfile.dockerignore", "file\n")?;
    refused(&build(&[])?, " - app/build/Dockerfile.dockerignore\n");
    permit(
        &project,
        "config: {dockerfile: {allowUncommitted: ['**/Dockerfile'], allowUncommittedDockerignoreFiles: [app]}}",
    )?;
    project.git(&["commit", "--quiet", "--message", "allow more", "werf-giterminism.yaml"])?;
    let ignored = project.build(&["--repo", &repo])?;
    assert_eq!(engine::sh(&ignored.image("app"), "ls /ctx; cat /how")?, "build\nchanged\n");
    // Loose mode reads both from disk without permission, and the context from the commit.
    permit(&project, "")?;
    project.git(&["commit", "--quiet", "--message", "allow nothing", "werf-giterminism.yaml"])?;
    project.write("app/build/Dockerfile.dockerignore", "nothing\n")?;
    project.write("app/file", "not committed")?;
    refused(&build(&[])?, " - app/build/Dockerfile\n");
    let loose = project.build(&["--repo", &repo, "--loose-giterminism"])?;
    assert_eq!(engine::sh(&loose.image("app"), "cat /ctx/file /how")?, "committedchanged\n");
    Ok(())
}
