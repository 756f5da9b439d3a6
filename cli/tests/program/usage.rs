//! Wrong usage, and commands that need no project.

use super::harness::Sandbox;

#[test]
fn versions_and_help_are_data() {
    let version = format!("slipway {}\n", env!("CARGO_PKG_VERSION"));
    let told = Sandbox::new().run(&["version"]).ends(0, &[]).out;
    let toolbox = told.strip_prefix(&version).expect("the version is the first line");
    let carries = ["/bin/bash-static", "/bin/busybox"].iter().all(|program| std::path::Path::new(program).exists());
    if carries && option_env!("SLIPWAY_TOOLBOX_DIR").is_none() {
        assert_eq!(toolbox, "toolbox: carried by this program\n");
    } else {
        assert!(toolbox.starts_with("toolbox: "), "{toolbox}");
    }
    Sandbox::new().run(&["--version"]).prints(&version);
    let help = Sandbox::new().run(&["build", "--help"]).ends(0, &[]);
    for text in ["--parallel-tasks-limit", "[default: 5]", "SLIPWAY_REPO, WERF_REPO", "--loose-giterminism"] {
        assert!(help.out.contains(text), "`{text}` is not in:\n{}", help.out);
    }
    assert!(!help.out.contains("--meta-repo"), "what is not supported is not advertised");
}

#[test]
fn completion_scripts_are_written_for_every_shell() {
    for (shell, text) in [
        ("bash", "_slipway()"),
        ("zsh", "#compdef slipway"),
        ("fish", "complete -c slipway"),
        ("powershell", "Register"),
    ] {
        let run = Sandbox::new().run(&["completion", shell]).ends(0, &[]);
        assert!(run.out.contains(text), "{shell}");
    }
    let by_flag = Sandbox::new().run(&["completion", "--shell=fish"]).ends(0, &[]);
    assert!(by_flag.out.contains("complete -c slipway"));
    let default = Sandbox::new().run(&["completion"]).ends(0, &[]);
    assert!(default.out.contains("_slipway()"));
}

#[test]
fn unknown_words_are_answered_with_near_ones() {
    let run = |arguments: &[&str]| Sandbox::new().run(arguments);
    run(&["biuld"]).ends(2, &["biuld", "build"]);
    run(&["build", "--paralel"]).ends(2, &["--paralel", "--parallel"]);
    run(&["build", "--backend", "podman"]).ends(2, &["podman", "docker, native, buildah"]);
    run(&["build", "--log-color-mode=blue"]).ends(2, &["blue"]);
    run(&["build", "--parallel-tasks-limit=many"]).ends(2, &["many"]);
    run(&["build", "--parallel=perhaps"]).ends(2, &["perhaps"]);
    run(&[]).ends(2, &["Usage"]);
    run(&["config"]).ends(2, &["Usage"]);
}

#[test]
fn foreign_and_later_commands_say_what_to_do() {
    let run = |arguments: &[&str]| Sandbox::new().run(arguments);
    run(&["converge", "--repo", "r", "--anything"])
        .ends(2, &["`converge` is not a command of Slipway", "helm or kubectl"]);
    run(&["helm", "install"]).ends(2, &["use the helm program itself"]);
    run(&["sbom", "--repo", "r"]).ends(2, &["not supported yet: slipway sbom"]);
}

#[test]
fn what_is_not_supported_yet_is_never_ignored() {
    let run = |arguments: &[&str]| Sandbox::new().run(arguments);
    run(&["build", "--meta-repo", "r"]).ends(2, &["Error: not supported yet: --meta-repo\n"]);
    run(&["build", "-S", "http://locks"]).ends(2, &["--synchronization http://locks", "give --repo"]);
    run(&["build", "-S", "kubernetes://ns"])
        .ends(2, &["is not spoken to", ":local", "etcd://HOST:PORT", "coordinator"]);
    run(&["build", "-S", "etcd://a:1"]).ends(2, &["give --repo"]);
    run(&["stages", "winners", "--repo", "localhost:1/x"]).ends(2, &["--synchronization"]);
    let both = Sandbox::new()
        .with("WERF_META_REPO", "r")
        .with("SLIPWAY_DISABLE_GIT_COMMIT_ANCESTRY_CHECK", "yes")
        .run(&["plan"]);
    both.ends(
        2,
        &[
            "--meta-repo (set by the variable WERF_META_REPO)",
            "--disable-git-commit-ancestry-check (set by the variable SLIPWAY_DISABLE_GIT_COMMIT_ANCESTRY_CHECK)",
        ],
    );
}

#[test]
fn malformed_variables_are_named() {
    let run = Sandbox::new().with("WERF_PARALLEL", "perhaps").run(&["build"]);
    run.ends(2, &["WERF_PARALLEL: `perhaps` is neither yes nor no"]);
}

#[test]
fn a_cluster_needs_a_repository_and_plain_addresses() {
    let run = |arguments: &[&str]| Sandbox::new().run(arguments);
    let url = "http://127.0.0.1:1";
    run(&["build", "--coordinator", url]).ends(2, &["--coordinator: a cluster keeps stages in a repository", "--repo"]);
    let by_variable = Sandbox::new().with("SLIPWAY_COORDINATOR", url).run(&["build"]);
    by_variable.ends(2, &["SLIPWAY_COORDINATOR: a cluster keeps stages in a repository"]);
    run(&["build", "--detach", "--repo", "r.example/r"]).ends(2, &["--detach: only a cluster goes on by itself"]);
    run(&["build", "--detach", "--repo", "r.example/r", "--coordinator", url, "--save-build-report"])
        .ends(2, &["--detach does not wait for what --save-build-report is to hold"]);
    for wrong in ["coordinator:8080", "ftp://a", "http://a?b"] {
        run(&["builds", "list", "--coordinator", wrong]).ends(2, &["--coordinator: ", "is no address"]);
    }
    let secret = run(&["builds", "list", "--coordinator", "http://me:hushhush@a"]).ends(2, &["SLIPWAY_TOKEN"]);
    assert!(!secret.err.contains("hushhush"), "{}", secret.err);
}

#[test]
fn commands_of_a_cluster_say_what_they_lack() {
    let run = |arguments: &[&str]| Sandbox::new().run(arguments);
    run(&["worker"]).ends(2, &["say which cluster to work for: --coordinator URL"]);
    for command in [&["attach", "b-000000"][..], &["builds", "list"], &["explain", "b-000000"]] {
        run(command).ends(2, &["say which cluster to ask: --coordinator URL"]);
    }
    let url = ["--coordinator", "http://127.0.0.1:1"];
    run(&[&["cancel", "No Such"][..], &url].concat()).ends(2, &["`No Such` names no build"]);
    run(&[&["worker", "--name", "a/b"][..], &url].concat()).ends(2, &["--name: `a/b` names no worker"]);
    run(&[&["worker", "--slots", "0"][..], &url].concat()).ends(2, &["--slots: 0 is not between 1 and 1024"]);
    run(&[&["worker", "--health-listen", "9090"][..], &url].concat()).ends(2, &["--health-listen: `9090`"]);
    let words = Sandbox::new().with("SLIPWAY_TOKEN", "two hush-words");
    let words = words.run(&[&["builds", "list"][..], &url].concat()).ends(2, &["SLIPWAY_TOKEN: a token is one word"]);
    assert!(!words.err.contains("hush"), "{}", words.err);
    run(&[&["builds", "list", "--token-file", "absent"][..], &url].concat()).ends(2, &["--token-file absent: "]);
}

#[test]
fn reports_are_refused_before_anything_is_read() {
    let run = |arguments: &[&str]| Sandbox::new().run(arguments);
    run(&["build", "--save-build-report", "--build-report-path", "r.xml"]).ends(2, &["ends in .xml"]);
    run(&["build", "--save-build-report", "--build-report-path", "no/such/r.json"]).ends(2, &["does not exist"]);
    run(&["build", "--report-path", "r.json", "--save-build-report"])
        .ends(2, &["--report-path is the old form of --save-build-report"]);
    run(&["build", "--repo", "Not A Repo"]).ends(2, &["--repo"]);
}
