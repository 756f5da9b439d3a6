//! What stops a build before it begins.

use super::harness::{Sandbox, project};

const WERF: &str = "project: shop
configVersion: 1
---
image: app
from: alpine:3
git:
- add: /src
  to: /app
  excludePaths: [notes]
---
image: web
dockerfile: Dockerfile
context: web
";

fn files() -> Option<Sandbox> {
    project(&[
        ("werf.yaml", WERF),
        ("src/main", "x"),
        ("web/Dockerfile", "FROM scratch\nCOPY html /html\n"),
        ("web/html/index", "x"),
        ("web/other", "x"),
        ("web/.dockerignore", "html/*.tmp\n"),
    ])
}

/// An address where no engine is: a build that gets that far ends there.
const NOWHERE: &str = "unix:///nowhere/docker.sock";

/// Nothing is built: the engine that is asked for does not answer.
fn without_an_engine(project: Sandbox) -> Sandbox {
    project.with("DOCKER_HOST", NOWHERE).with("SLIPWAY_BACKEND", "docker")
}

#[test]
fn files_that_are_used_must_be_committed() {
    let Some(project) = files().map(without_an_engine) else { return };
    for unused in ["src/notes", "web/other", "web/html/a.tmp", "elsewhere"] {
        project.write(unused, "changed");
    }
    project.run(&["build"]).ends(1, &["no container engine answers", NOWHERE]);
    project.write("src/new", "x");
    project.write("src/main", "changed");
    project.write("web/html/index", "changed");
    let untracked = "the following untracked files must be committed:\n\n - src/new\n";
    let changed = "the following files must be committed:\n\n - src/main\n - web/html/index\n";
    project.run(&["build"]).ends(3, &[untracked, changed, "--dev"]);
    let web = project.run(&["build", "web"]).ends(3, &[" - web/html/index\n"]);
    assert!(!web.err.contains("src/"), "{}", web.err);
    project.run(&["build", "--loose-giterminism"]).ends(1, &["no container engine answers"]);
    project.run(&["build", "--dev"]).ends(1, &["no container engine answers"]);
}

#[test]
fn a_dockerfile_and_its_ignore_rules_must_be_committed() {
    let Some(project) = files().map(without_an_engine) else { return };
    project.write("web/.dockerignore", "html\n");
    project.run(&["build"]).ends(3, &[" - web/.dockerignore\n"]);
    project.write("web/Dockerfile", "FROM scratch\n");
    project.run(&["build"]).ends(3, &[" - web/.dockerignore\n - web/Dockerfile\n"]);
    project.write("web/Dockerfile.dockerignore", "html\n");
    project.run(&["build"]).ends(3, &[" - web/Dockerfile.dockerignore\n"]);
}

#[test]
fn a_deleted_file_is_named_as_such() {
    let Some(project) = files().map(without_an_engine) else { return };
    std::fs::remove_file(project.path().join("src/main")).expect("removed");
    project.run(&["build"]).ends(3, &[" - src/main (deleted)\n"]);
}

#[test]
fn backends_that_do_not_exist_are_refused() {
    let Some(project) = files() else { return };
    project.run(&["build", "--backend", "kaniko"]).ends(2, &["kaniko"]);
    let project = project.with("WERF_BUILDAH_MODE", "native-chroot").with("DOCKER_HOST", NOWHERE);
    let rootless = files().expect("it was made before").with("WERF_BUILDAH_MODE", "native-rootless");
    if std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").expect("this process")) == 0 {
        rootless.run(&["build"]).ends(2, &["WERF_BUILDAH_MODE=native-rootless is for users other than root"]);
    }
    project.run(&["build", "--backend=docker"]).ends(1, &["no container engine answers"]);
}

#[test]
fn old_names_warn_once() {
    let Some(project) = files().map(without_an_engine) else { return };
    let run = project.run(&["build", "-Z", "--report-path", "r", "--report-format", "envfile"]).ends(1, &[]);
    let warnings: Vec<&str> = run.err.lines().filter(|line| line.starts_with("WARNING:")).collect();
    assert_eq!(
        warnings,
        [
            "WARNING: --skip-build is an old name: use --require-built-images",
            "WARNING: --report-path is an old name: use --save-build-report --build-report-path",
            "WARNING: --report-format is an old name: use --build-report-path with the extension .json or .env",
        ]
    );
}

#[test]
fn secrets_of_the_environment_are_not_shown() {
    let Some(project) = files() else { return };
    let project = project
        .with("WERF_REPO_GITHUB_TOKEN", "hushhush")
        .with("DOCKER_HOST", "unix:///hushhush")
        .with("SLIPWAY_BACKEND", "docker");
    let run = project.run(&["build", "--log-debug"]).ends(1, &["unix:///***"]);
    assert!(!run.err.contains("hushhush"), "{}", run.err);
}
