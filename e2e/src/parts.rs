//! What this machine has.
//!
//! A skip is written to standard error itself: what a passing test prints by macros is never shown.

use slipway_process::{Environment, child};

/// The parts that a scenario needs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Parts {
    /// A Docker engine that answers.
    Docker,
    /// The `docker-registry` program.
    Registry,
    /// The `git` program.
    Git,
}

impl Parts {
    fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Registry => "registry",
            Self::Git => "git",
        }
    }

    fn is_here(self) -> bool {
        let (program, argument) = match self {
            Self::Docker => (docker(), "version"),
            Self::Registry => ("docker-registry", "--version"),
            Self::Git => ("git", "--version"),
        };
        child::command(program).arg(argument).output().is_ok_and(|output| output.status.success())
    }
}

/// The docker command line: Debian's where there is one, for its engine.
pub fn docker() -> &'static str {
    if std::path::Path::new("/usr/bin/docker").exists() { "/usr/bin/docker" } else { "docker" }
}

/// Whether all `parts` are here. A missing one is said aloud; it fails the test when `SLIPWAY_TEST_REQUIRE` names it.
///
/// # Panics
/// When a required part is missing.
#[must_use]
pub fn require(parts: &[Parts]) -> bool {
    let environment = Environment::from_process();
    let required = environment.get("SLIPWAY_TEST_REQUIRE").unwrap_or_default();
    let Some(missing) = parts.iter().find(|part| !part.is_here()) else { return true };
    let name = missing.name();
    assert!(!required.split(',').any(|wanted| wanted == name), "`{name}` is required, but not on this machine");
    drop(std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("skipped: `{name}` is not on this machine\n")));
    false
}
