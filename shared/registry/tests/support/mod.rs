//! A real `docker-registry`, started for one test on a free port with its own folder.
//!
//! Other crates may use this file by `#[path = "…/registry/tests/support/mod.rs"] mod support;`. It needs
//! `slipway-process` and `tempfile` only.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::allow_attributes,
    clippy::print_stderr,
    reason = "each test binary that includes this file uses a part of it; what is skipped is said aloud"
)]

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

use slipway_process::{Environment, child::command};

/// User that [`Setup::password`] lets in.
pub const USER: &str = "builder";
/// The password of [`USER`].
pub const PASSWORD: &str = "open sesame";
/// A line of an htpasswd file that says so.
const HTPASSWD: &str = "builder:$2b$05$abcdefghijklmnopqrstuupx2xBUC4954936wVIjyyPHmUBFu0wCW\n";

/// How a registry is set up.
#[derive(Clone, Copy, Default, Debug)]
pub struct Setup {
    /// Only [`USER`] with [`PASSWORD`] is let in.
    pub password: bool,
    /// It speaks TLS, with a certificate that nobody trusts.
    pub tls: bool,
}

/// A running registry; it is killed, and its files are removed, when this is dropped.
pub struct DockerRegistry {
    child: Child,
    folder: tempfile::TempDir,
    /// `127.0.0.1:PORT`.
    pub host: String,
}

/// Whether `program` can be run. Says aloud what is skipped when it cannot.
///
/// # Panics
/// When the environment requires `part`, by its name in `SLIPWAY_TEST_REQUIRE`.
pub fn available(part: &str, program: &str, argument: &str) -> bool {
    let run = command(program).arg(argument).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if run.is_ok_and(|status| status.success()) {
        return true;
    }
    let required = Environment::from_process().get("SLIPWAY_TEST_REQUIRE").unwrap_or_default().to_owned();
    assert!(!required.split(',').any(|name| name.trim() == part), "{program} is required, but cannot be run");
    drop(std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("skipped: {program} cannot be run\n")));
    false
}

impl DockerRegistry {
    /// A registry that lets everyone in; `None` when this machine has none.
    pub fn start() -> Option<Self> {
        Self::start_with(Setup::default())
    }

    /// A registry; `None` when this machine has none.
    pub fn start_with(setup: Setup) -> Option<Self> {
        if !available("registry", "docker-registry", "--version") {
            return None;
        }
        if setup.tls && !available("openssl", "openssl", "version") {
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let config = folder.path().join("config.yml");
        std::fs::write(&config, configuration(folder.path(), setup)).expect("the configuration can be written");
        let mut child = command("docker-registry")
            .arg("serve")
            .arg(&config)
            .env("OTEL_TRACES_EXPORTER", "none")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("docker-registry can be started");
        let mut log = BufReader::new(child.stderr.take().expect("its messages are piped"));
        let host = listening_at(&mut log);
        // Read on, or the registry would stop when the pipe is full.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Some(Self { child, folder, host })
    }

    /// A Docker config with the right password, or with a wrong one.
    pub fn docker_config(&self, right: bool) -> PathBuf {
        let password = if right { PASSWORD } else { "wrong" };
        let text = format!(r#"{{"auths": {{"{}": {{"username": "{USER}", "password": "{password}"}}}}}}"#, self.host);
        let path = self.folder.path().join(format!("docker-{right}.json"));
        std::fs::write(&path, text).expect("the Docker config can be written");
        path
    }

    /// Where the registry keeps its files.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(folder: &Path, setup: Setup) -> String {
    let place = folder.display();
    let mut text = format!(
        "version: 0.1\nlog: {{level: info}}\n\
         storage: {{filesystem: {{rootdirectory: {place}/data}}, delete: {{enabled: true}}}}\n"
    );
    if setup.password {
        std::fs::write(folder.join("htpasswd"), HTPASSWD).expect("the password file can be written");
        text += &format!("auth: {{htpasswd: {{realm: test, path: {place}/htpasswd}}}}\n");
    }
    text += "http:\n  addr: 127.0.0.1:0\n";
    if setup.tls {
        make_certificate(folder);
        text += &format!("  tls: {{certificate: {place}/cert.pem, key: {place}/key.pem}}\n");
    }
    text
}

fn make_certificate(folder: &Path) {
    let made = command("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(made.is_ok_and(|status| status.success()), "openssl makes a certificate");
}

/// The address that the registry says it listens at.
fn listening_at(log: &mut impl std::io::BufRead) -> String {
    let mut said = String::new();
    for line in log.lines().map_while(Result::ok) {
        if let Some((_, rest)) = line.split_once("listening on ") {
            let address: String = rest.chars().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ':')).collect();
            return address;
        }
        said += &line;
        said.push('\n');
    }
    panic!("docker-registry does not start:\n{said}");
}
