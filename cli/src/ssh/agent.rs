//! A temporary ssh agent: OpenSSH's own, which ends with this process, however that ends.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use anyhow::{Context as _, anyhow, bail};
use slipway_process::child::command;
use slipway_protocol::Hidden;

/// What the agent's own process runs: it waits until this process closes its input, or is gone, and ends the agent.
const KEEPER: &str = "echo ready; cat >/dev/null; kill \"$SSH_AGENT_PID\"";
/// What to install when OpenSSH's programs are not there.
const INSTALL: &str = "is OpenSSH's client installed? (apt-get install openssh-client)";

/// A running agent. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Agent {
    socket: PathBuf,
    keeper: Child,
    _directory: Directory,
}

/// The directory of the socket, which nobody else may enter.
#[derive(Debug)]
struct Directory(PathBuf);

impl Directory {
    fn make() -> anyhow::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        // Addresses of sockets are short: not below the home directory, whose path may be long.
        let path = std::env::temp_dir().join(format!("slipway-ssh-{}", slipway_process::random_id()));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("make the directory {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Agent {
    /// Starts an agent that has these keys. Blocks.
    ///
    /// # Errors
    /// When a key is not there, needs a passphrase, or is none.
    pub(crate) fn start(keys: &[PathBuf]) -> anyhow::Result<Self> {
        keys.iter().try_for_each(|key| check(key))?;
        let agent = Self::empty()?;
        agent.add(keys)?;
        Ok(agent)
    }

    /// Starts an agent that has these keys, which are handed over by pipes. Blocks.
    ///
    /// # Errors
    /// When one needs a passphrase, or is none.
    pub(crate) fn holding(keys: &[Hidden]) -> anyhow::Result<Self> {
        let agent = Self::empty()?;
        keys.iter().try_for_each(|key| agent.take(key))?;
        Ok(agent)
    }

    fn empty() -> anyhow::Result<Self> {
        let directory = Directory::make()?;
        let socket = directory.0.join("agent");
        let mut started = command("ssh-agent");
        started.arg("-a").arg(&socket).args(["sh", "-c", KEEPER]);
        // What is typed to interrupt the build is not for it: it ends after the build.
        started.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let keeper = started.spawn().with_context(|| format!("start ssh-agent: {INSTALL}"))?;
        let mut agent = Self { socket, keeper, _directory: directory };
        let said = agent.keeper.stdout.take().context("start ssh-agent: it has no output")?;
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line).context("start ssh-agent")?;
        if line.trim() != "ready" {
            bail!("start ssh-agent: it ended at once");
        }
        Ok(agent)
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> &Path {
        &self.socket
    }

    fn add(&self, keys: &[PathBuf]) -> anyhow::Result<()> {
        let added = self.adding().args(keys).stdin(Stdio::null()).output();
        loaded(&added.with_context(|| format!("start ssh-add: {INSTALL}"))?)
    }

    /// Adds a key without a file.
    fn take(&self, key: &Hidden) -> anyhow::Result<()> {
        let mut adding = self.adding();
        adding.arg("-").stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut added = adding.spawn().with_context(|| format!("start ssh-add: {INSTALL}"))?;
        if let Some(mut to) = added.stdin.take() {
            // One that ends early says why.
            let _ = to.write_all(key.reveal()).and_then(|()| to.write_all(b"\n"));
        }
        loaded(&added.wait_with_output().context("wait for ssh-add")?)
    }

    fn adding(&self) -> Command {
        let mut adding = command("ssh-add");
        adding.arg("-q").env(super::SOCKET, &self.socket).env("SSH_ASKPASS_REQUIRE", "never");
        adding
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

fn loaded(added: &Output) -> anyhow::Result<()> {
    if added.status.success() {
        return Ok(());
    }
    Err(anyhow!("load ssh keys into an agent: {}", said(&added.stderr)))
}

/// Whether a key can be used without a passphrase.
pub(super) fn is_open(key: &Path) -> bool {
    check(key).is_ok()
}

fn check(key: &Path) -> anyhow::Result<()> {
    let shown = key.display();
    if !key.is_file() {
        bail!("there is no file {shown}");
    }
    let mut asked = command("ssh-keygen");
    asked.args(["-y", "-P", "", "-f"]).arg(key).stdin(Stdio::null());
    let answer = asked.output().with_context(|| format!("start ssh-keygen: {INSTALL}"))?;
    if answer.status.success() {
        return Ok(());
    }
    let said = said(&answer.stderr);
    if said.contains("passphrase") {
        bail!(
            "the key {shown} needs a passphrase, and nobody is asked for one: load it into your own ssh agent \
             (ssh-add {shown}) and leave the flag out"
        );
    }
    Err(anyhow!("read the key {shown}: {said}"))
}

/// The last line of a complaint.
fn said(complaint: &[u8]) -> String {
    let text = String::from_utf8_lossy(complaint);
    text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or("it did not say why").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A new key; `None` where OpenSSH is not installed.
    fn key(directory: &Path, passphrase: &str) -> Option<PathBuf> {
        let path = directory.join(format!("key-{}", passphrase.len()));
        let mut made = command("ssh-keygen");
        made.args(["-q", "-t", "ed25519", "-C", "test", "-N", passphrase, "-f"]).arg(&path).stdin(Stdio::null());
        match made.status() {
            Ok(status) => status.success().then_some(path),
            Err(_) => {
                slipway_parts::skip("ssh", "OpenSSH's client is not installed");
                None
            }
        }
    }

    #[test]
    fn an_agent_has_its_keys_and_ends_when_it_is_dropped() {
        let home = tempfile::tempdir().expect("a directory");
        let Some(open) = key(home.path(), "") else { return };
        let agent = Agent::start(&[open]).expect("an agent");
        let socket = agent.socket().to_owned();
        let listed = command("ssh-add").arg("-l").env(super::super::SOCKET, &socket).output().expect("ssh-add");
        assert!(String::from_utf8_lossy(&listed.stdout).contains("ED25519"), "{listed:?}");
        drop(agent);
        assert!(std::os::unix::net::UnixStream::connect(&socket).is_err() && !socket.exists());
    }

    #[test]
    fn keys_that_cannot_be_used_say_why() {
        let home = tempfile::tempdir().expect("a directory");
        let Some(locked) = key(home.path(), "hush hush") else { return };
        let error = Agent::start(&[locked]).expect_err("nobody knows the passphrase").to_string();
        assert!(error.contains("needs a passphrase") && error.contains("ssh-add"), "{error}");
        let error = Agent::start(&[home.path().join("none")]).expect_err("no file").to_string();
        assert!(error.contains("there is no file"), "{error}");
        let wrong = home.path().join("wrong");
        std::fs::write(&wrong, "no key").expect("a file");
        let error = Agent::start(&[wrong]).expect_err("no key").to_string();
        assert!(error.contains("read the key"), "{error}");
    }
}
