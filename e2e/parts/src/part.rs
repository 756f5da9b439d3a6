//! What this machine has.
//!
//! A skip is written to standard error itself: what a passing test prints by macros is never shown.

use std::{
    io::{Write as _, stderr},
    path::Path,
    process::Stdio,
};

use slipway_process::{Environment, child::command};

/// A part of the machine that a test needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// A Docker engine that answers.
    Docker,
    /// The static busybox and bash of which images for a Docker engine are made. Required together with it.
    Busybox,
    /// The `docker-registry` program.
    Registry,
    /// The `git` program.
    Git,
    /// The programs `etcd` and `etcdctl`.
    Etcd,
    /// The `openssl` program, which makes certificates.
    Openssl,
    /// The `skopeo` program.
    Skopeo,
}

impl Part {
    /// The name in `SLIPWAY_TEST_REQUIRE`.
    fn name(self) -> &'static str {
        match self {
            Self::Docker | Self::Busybox => "docker",
            Self::Registry => "registry",
            Self::Git => "git",
            Self::Etcd => "etcd",
            Self::Openssl => "openssl",
            Self::Skopeo => "skopeo",
        }
    }

    /// Why a test cannot run; `None` when the part is here.
    fn missing(self) -> Option<&'static str> {
        let (here, missing) = match self {
            Self::Docker => (runs(docker(), "version"), "no Docker engine answers"),
            Self::Busybox => (
                ["/bin/busybox", "/bin/bash-static"].iter().all(|program| Path::new(program).exists()),
                "there is no static busybox and bash (packages busybox-static, bash-static)",
            ),
            Self::Registry => (runs("docker-registry", "--version"), "docker-registry cannot be run"),
            Self::Git => (runs("git", "--version"), "git cannot be run"),
            Self::Etcd => (runs("etcd", "--version") && runs("etcdctl", "version"), "etcd and etcdctl cannot be run"),
            Self::Openssl => (runs("openssl", "version"), "openssl cannot be run"),
            Self::Skopeo => (runs("skopeo", "--version"), "skopeo cannot be run"),
        };
        (!here).then_some(missing)
    }
}

fn runs(program: &str, argument: &str) -> bool {
    let mut probe = command(program);
    probe.arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    probe.env("ETCDCTL_API", "3").status().is_ok_and(|status| status.success())
}

/// The docker command line: Debian's where there is one, for its engine.
pub fn docker() -> &'static str {
    if Path::new("/usr/bin/docker").exists() { "/usr/bin/docker" } else { "docker" }
}

/// Whether all `parts` are here. A missing one is said aloud; it fails the test when `SLIPWAY_TEST_REQUIRE` names it.
///
/// # Panics
/// When a required part is missing.
#[must_use]
pub fn require(parts: &[Part]) -> bool {
    match parts.iter().find_map(|part| Some((part, part.missing()?))) {
        None => true,
        Some((part, why)) => {
            skip(part.name(), why);
            false
        }
    }
}

/// Says aloud that a test is skipped, and why; fails it instead when `SLIPWAY_TEST_REQUIRE`, a list of names with
/// commas, names `part`.
///
/// # Panics
/// When the part is required.
pub fn skip(part: &str, why: &str) {
    let environment = Environment::from_process();
    let required = environment.get("SLIPWAY_TEST_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|name| name.trim() == part), "`{part}` is required, but {why}");
    // What cannot be said is not worth failing for.
    let _ = stderr().write_all(format!("skipped: {why}\n").as_bytes());
}
