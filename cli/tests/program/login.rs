//! `cr login|logout` and `ci-env`, with a real registry that asks for a password.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use slipway_parts::{
    Registry,
    registry::{PASSWORD, Setup, USER},
};

use super::harness::{Run, Sandbox, project};

fn guarded() -> Option<Registry> {
    Registry::with(Setup { password: true, ..Setup::default() })
}

/// Runs a program that is told something.
fn told(mut program: Command, text: &str) -> Run {
    let mut child =
        program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    // It may end without reading.
    let _ = child.stdin.take().expect("a pipe").write_all(text.as_bytes());
    let run = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("output is UTF-8");
    Run { code: run.status.code(), out: text(run.stdout), err: text(run.stderr) }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

#[test]
fn a_login_is_checked_and_kept_for_its_owner() {
    let Some(registry) = guarded() else { return };
    let sandbox = Sandbox::new();
    let config = sandbox.path().join("docker/config.json");
    let login = |user: &str, password: &str| {
        let arguments = ["cr", "login", registry.host(), "-u", user, "--password-stdin", "--docker-config", "docker"];
        told(sandbox.command(&arguments), password)
    };
    let wrong = login(USER, "wrong secret").ends(1, &["log in to 127.0.0.1", "401"]);
    assert!(!wrong.err.contains("wrong secret") && !config.exists(), "{wrong:?}");
    login(USER, &format!("{PASSWORD}\n")).ends(0, &["Logged in to 127.0.0.1"]);
    assert_eq!(mode(&config), 0o600);
    let kept: serde_json::Value = serde_json::from_slice(&fs::read(&config).expect("read")).expect("JSON");
    assert!(kept["auths"][registry.host()]["auth"].is_string(), "{kept}");
    // Whoever speaks to that registry is let in.
    let repo = format!("{}/any", registry.host());
    let list = |config: &str| sandbox.run(&["managed-images", "ls", "--repo", &repo, "--docker-config", config]);
    list("docker").prints("");
    list("elsewhere").ends(1, &["log in"]);
    let logout = || sandbox.run(&["cr", "logout", registry.host(), "--docker-config", "docker"]);
    logout().ends(0, &["Logged out of"]);
    logout().ends(0, &["There was no login"]);
    list("docker").ends(1, &["log in"]);
}

#[test]
fn a_helper_keeps_what_the_configuration_gives_it() {
    let Some(registry) = guarded() else { return };
    let sandbox = Sandbox::new();
    sandbox.write("docker/config.json", r#"{"credsStore":"test","proxies":{"default":{}}}"#);
    let script = "#!/bin/sh\ncat > \"$HELPER_DIR/$1\"\n";
    let write =
        r#"mkdir -p bin && printf '%s' "$1" > bin/docker-credential-test && chmod 755 bin/docker-credential-test"#;
    let written =
        slipway_process::child::command("sh").current_dir(sandbox.path()).args(["-c", write, "sh", script]).status();
    assert!(written.expect("sh runs").success());
    #[expect(clippy::disallowed_methods, reason = "programs are found by it")]
    let search = format!("{}:{}", sandbox.path().join("bin").display(), std::env::var("PATH").unwrap_or_default());
    let mut command =
        sandbox.command(&["cr", "login", registry.host(), "--username", USER, "--docker-config", "docker"]);
    command.env("PATH", &search).env("HELPER_DIR", sandbox.path()).env("WERF_PASSWORD", PASSWORD);
    told(command, "").ends(0, &[]);
    let stored: serde_json::Value =
        serde_json::from_slice(&fs::read(sandbox.path().join("store")).expect("the helper was told")).expect("JSON");
    assert_eq!(stored, serde_json::json!({"ServerURL": registry.host(), "Username": USER, "Secret": PASSWORD}));
    let kept = fs::read_to_string(sandbox.path().join("docker/config.json")).expect("read");
    assert!(kept.contains("proxies") && kept.contains("credsStore") && !kept.contains("\"auth\""), "{kept}");
    let mut command = sandbox.command(&["cr", "logout", registry.host(), "--docker-config", "docker"]);
    command.env("PATH", &search).env("HELPER_DIR", sandbox.path());
    told(command, "").ends(0, &["Logged out of"]);
    assert_eq!(fs::read_to_string(sandbox.path().join("erase")).expect("the helper was told"), registry.host());
}

#[test]
fn a_login_says_what_it_lacks() {
    let run = |arguments: &[&str]| told(Sandbox::new().command(arguments), "");
    run(&["cr", "login", "r.example"]).ends(2, &["--password-stdin"]);
    run(&["cr", "login", "r.example", "--password-stdin"]).ends(2, &["the password is empty"]);
    run(&["cr", "login", "r.example", "-p", "xxxx", "--password-stdin"]).ends(2, &["leave one of them out"]);
    run(&["cr", "login", "r.example/path", "-p", "xxxx"]).ends(1, &["write HOST or HOST:PORT", "list of processes"]);
    run(&["cr", "login"]).ends(2, &["REGISTRY"]);
}

#[test]
fn a_job_of_gitlab_reads_its_variables() {
    let Some(sandbox) = project(&[("werf.yaml", "project: shop\nconfigVersion: 1\n")]) else { return };
    let sandbox = sandbox
        .with("CI_REGISTRY_IMAGE", "r.example/group/it's $(id)")
        .with("CI_JOB_TOKEN", "hush-hush")
        .with("CI_ENVIRONMENT_SLUG", "stage")
        .with("TMPDIR", &std::env::temp_dir().display().to_string());
    sandbox.write("tmp/.keep", "");
    let arguments = ["ci-env", "gitlab", "--as-file", "--login-to-registry=false", "--tmp-dir", "tmp"];
    let run = sandbox.run(&arguments).ends(0, &[]);
    let file = Path::new(run.out.trim_end());
    assert_eq!(mode(file), 0o600);
    let script = r#". "$1" && printf '%s|%s|%s' "$WERF_REPO" "$WERF_ENV" "$DOCKER_CONFIG""#;
    let read = slipway_process::child::command("sh").args(["-c", script, "sh"]).arg(file).env_clear().output();
    let read = String::from_utf8(read.expect("sh runs").stdout).expect("UTF-8");
    let mut parts = read.split('|');
    assert_eq!((parts.next(), parts.next()), (Some("r.example/group/it's $(id)"), Some("stage")));
    assert!(parts.next().is_some_and(|config| mode(Path::new(config)) == 0o700), "{read}");
    // What fails ends the shell that reads the lines.
    let failed = sandbox.run(&["ci-env", "gitlab", "--tmp-dir", "tmp", "--docker-config", "none"]);
    assert_eq!((failed.code, failed.out.as_str()), (Some(1), "exit 1\n"), "{}", failed.err);
    assert!(!failed.err.contains("hush-hush"), "{}", failed.err);
    let env = sandbox.run(&[
        "ci-env",
        "gitlab",
        "--as-env-file",
        "-o",
        "job.env",
        "--login-to-registry=false",
        "--tmp-dir",
        "tmp",
    ]);
    env.prints("");
    let lines = fs::read_to_string(sandbox.path().join("job.env")).expect("read");
    assert!(lines.contains("WERF_REPO=r.example/group/it's $(id)\n"), "{lines}");
    sandbox.run(&["ci-env", "jenkins"]).ends(2, &["gitlab", "github"]);
}

#[test]
fn names_are_made_fit() {
    let run = |arguments: &[&str]| Sandbox::new().run(&[&["slugify"], arguments].concat());
    run(&["v1.0"]).prints("v1.0\n");
    run(&["group/app"]).prints("group-app-b1cace51\n");
    run(&["-f", "ns", "my-space"]).prints("my-space\n");
    run(&["--format=helm-release", "group/app"]).prints("group-app-b1cace51\n");
    run(&[""]).ends(2, &["an empty text"]);
}
