//! A process of a cluster: how it is started, what it says, and how it ends.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use slipway_parts::Server;
use slipway_process::{Environment, child};

use super::wait;
use crate::project::program;

/// A process, up or down.
pub(super) struct Process {
    /// In front of the program: what runs it elsewhere.
    pub(super) within: Vec<String>,
    /// Arguments of the program.
    pub(super) arguments: Vec<String>,
    /// Variables that it is given.
    pub(super) variables: Vec<(String, String)>,
    /// Where its output goes.
    pub(super) log: PathBuf,
    /// `None`: it is down.
    pub(super) server: Option<Server>,
}

impl Process {
    /// A process that is down, with a data directory of its own.
    pub(super) fn new(dir: &Path, kind: &str, number: usize, arguments: Vec<String>) -> Self {
        let data = dir.join(format!("{kind}-{number}"));
        let data = ["--data-dir".to_owned(), data.display().to_string(), "--log-verbose".to_owned()];
        let arguments = [vec![kind.to_owned()], arguments, data.to_vec()].concat();
        let log = dir.join(format!("{kind}-{number}.log"));
        Self { within: Vec::new(), arguments, variables: Vec::new(), log, server: None }
    }

    /// Starts it; `failpoint` is where it will be killed.
    pub(super) fn start(&mut self, failpoint: Option<&str>) {
        let mut command = self.command();
        if let Some(failpoint) = failpoint {
            command.env("SLIPWAY_FAILPOINT", failpoint);
        }
        self.server = None;
        self.server = Some(Server::start(&mut command, &self.log));
    }

    fn command(&self) -> Command {
        let mut command = match self.within.split_first() {
            None => child::command(program()),
            Some((first, rest)) => {
                let mut command = child::command(first);
                command.args(rest).arg(program());
                command
            }
        };
        let environment = Environment::from_process();
        for (name, _) in environment.with_prefix("WERF_").chain(environment.with_prefix("SLIPWAY_")) {
            command.env_remove(name);
        }
        // The engine is shared with other tests.
        command.env("SLIPWAY_DISABLE_AUTO_HOST_CLEANUP", "1");
        command.args(&self.arguments).envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Asks it to end, and waits until it has.
    pub(super) fn stop(&mut self) {
        if let Some(server) = self.server.take() {
            server.stop();
        }
    }

    /// Waits until it has died by itself.
    ///
    /// # Errors
    /// When it lives on.
    pub(super) fn dies(&mut self) -> Result<()> {
        let log = self.log.clone();
        let server = self.server.as_mut().context("it is up")?;
        wait("its death", || (!server.is_running()).then_some(()))
            .with_context(|| fs::read_to_string(log).unwrap_or_default())?;
        self.server = None;
        Ok(())
    }
}
