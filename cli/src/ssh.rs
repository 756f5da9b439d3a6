//! Ssh keys for git and for commands of builds.
//!
//! Reading order: [`agent`] (a temporary one, for keys that are named), [`relay`] (how containers reach an agent), [`lender`]
//! (agents for the jobs of a worker).

mod agent;
mod lender;
mod relay;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use slipway_process::Environment;
use slipway_protocol::{
    Hidden,
    secrets::{LONGEST_SECRET, MOST_SSH_KEYS},
};

use crate::failure::Failure;

pub(crate) use agent::Agent;
pub(crate) use lender::Lender;
pub(crate) use relay::Relay;

/// The variable that says where an agent listens.
pub(crate) const SOCKET: &str = "SSH_AUTH_SOCK";
/// Keys of the user that are taken when there is no agent.
const USUAL: [&str; 2] = [".ssh/id_rsa", ".ssh/id_dsa"];

/// A temporary agent with the keys that flags name; `None` = they name none. From then on the environment says where it
/// is. Blocks.
///
/// # Errors
/// When a key cannot be loaded.
pub(crate) fn named(keys: &[String], here: &Path, environment: &mut Environment) -> Result<Option<Agent>, Failure> {
    if keys.is_empty() {
        return Ok(None);
    }
    let files: Vec<PathBuf> = keys.iter().map(|key| file(key, here, environment)).collect();
    let agent = Agent::start(&files).map_err(|error| Failure::usage(error.context("--ssh-key")))?;
    environment.set(SOCKET, &agent.socket().display().to_string());
    Ok(Some(agent))
}

/// What is in the files of keys that flags name, for a cluster. Blocks.
///
/// # Errors
/// When one cannot be read, or they are too many.
pub(crate) fn contents(keys: &[String], here: &Path, environment: &Environment) -> Result<Vec<Hidden>, Failure> {
    if keys.len() > MOST_SSH_KEYS as usize {
        let why = format!("--ssh-key: {} keys are given, and a cluster takes at most {MOST_SSH_KEYS}", keys.len());
        return Err(Failure::usage(anyhow::Error::msg(why)));
    }
    let read = |key: &String| {
        let path = file(key, here, environment);
        let content = std::fs::read(&path).with_context(|| format!("--ssh-key: read {}", path.display()))?;
        anyhow::ensure!(
            content.len() < LONGEST_SECRET,
            "--ssh-key: {} is longer than {LONGEST_SECRET} bytes",
            path.display()
        );
        Ok(Hidden::new(content))
    };
    keys.iter().map(read).collect::<anyhow::Result<Vec<_>>>().map_err(Failure::usage)
}

/// The agent that the environment names, if it answers, or one with the user's usual keys, as far as they need no
/// passphrase. Blocks.
pub(crate) fn usual(environment: &Environment) -> (Option<PathBuf>, Option<Agent>) {
    if let Some(socket) = environment.non_empty(SOCKET).map(PathBuf::from) {
        match std::os::unix::net::UnixStream::connect(&socket) {
            Ok(_) => return (Some(socket), None),
            Err(error) => tracing::debug!("the ssh agent at {} does not answer: {error}", socket.display()),
        }
    }
    let home = environment.non_empty("HOME").map(PathBuf::from);
    let keys = home.into_iter().flat_map(|home| USUAL.map(|name| home.join(name)));
    let keys: Vec<PathBuf> = keys.filter(|key| key.is_file() && agent::is_open(key)).collect();
    if keys.is_empty() {
        return (None, None);
    }
    match Agent::start(&keys) {
        Ok(agent) => (Some(agent.socket().to_owned()), Some(agent)),
        Err(error) => {
            tracing::warn!("commands have no ssh agent: {error:#}");
            (None, None)
        }
    }
}

fn file(key: &str, here: &Path, environment: &Environment) -> PathBuf {
    match (key.strip_prefix("~/"), environment.non_empty("HOME")) {
        (Some(rest), Some(home)) => Path::new(home).join(rest),
        _ => here.join(key),
    }
}
