//! The program `git`, in an environment of its own: nothing of the user's configuration counts.

use std::{ffi::OsStr, path::Path, process::Stdio, time::Duration};

use slipway_process::child;
use tokio::process::Command;

use super::Mirrors;

/// How long a program may run that nobody sends anything to.
const PATIENCE: Duration = Duration::from_secs(600);
/// Most of git's own words that are repeated in an error, in characters.
const MAX_COMPLAINT: usize = 1000;

/// Why git did not do what it was to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GitFailure {
    /// It could not be run, or its files could not be written.
    #[error("{purpose}: {why}")]
    Unable {
        /// What it was for.
        purpose: &'static str,
        /// What went wrong.
        why: String,
    },
    /// It ended without success.
    #[error("{purpose}: git failed: {complaint}")]
    Failed {
        /// What it was for.
        purpose: &'static str,
        /// Its own words.
        complaint: String,
    },
}

impl GitFailure {
    pub(crate) fn new(purpose: &'static str, why: impl std::fmt::Display) -> Self {
        Self::Unable { purpose, why: why.to_string() }
    }
}

/// One call of the program.
pub(crate) struct Git {
    command: Command,
    purpose: &'static str,
}

impl Git {
    /// A call in a directory.
    pub(crate) fn new(mirrors: &Mirrors, directory: &Path, purpose: &'static str) -> Self {
        let mut command = child::async_command("git");
        command
            .current_dir(directory)
            .env_clear()
            .env("PATH", mirrors.path_variable())
            .env("HOME", mirrors.root())
            .env("LC_ALL", "C")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CEILING_DIRECTORIES", mirrors.root())
            .env("GIT_TERMINAL_PROMPT", "0");
        Self { command, purpose }
    }

    pub(crate) fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.command.args(arguments);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it to its end; answers what it printed.
    ///
    /// # Errors
    /// When it cannot be run, takes too long or fails.
    pub(crate) async fn run(mut self) -> Result<String, GitFailure> {
        let purpose = self.purpose;
        let output = self.command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).output();
        let output = tokio::time::timeout(PATIENCE, output).await;
        let output = output.map_err(|_| GitFailure::new(purpose, "git takes too long; it was ended"))?;
        let output = output.map_err(|error| cannot_start(purpose, &error))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let complaint = String::from_utf8_lossy(&output.stderr).trim().chars().take(MAX_COMPLAINT).collect();
        Err(GitFailure::Failed { purpose, complaint })
    }

    /// Starts it; its input and output are pipes.
    ///
    /// # Errors
    /// When it cannot be run.
    pub(crate) fn start(mut self) -> Result<tokio::process::Child, GitFailure> {
        let purpose = self.purpose;
        let started = self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        started.map_err(|error| cannot_start(purpose, &error))
    }
}

fn cannot_start(purpose: &'static str, error: &std::io::Error) -> GitFailure {
    let hint = if error.kind() == std::io::ErrorKind::NotFound { "; install git on the coordinator" } else { "" };
    GitFailure::new(purpose, format!("run the program `git`: {error}{hint}"))
}
