//! Calls of the program `git` that speak to another repository: with its user's own proxies, keys and credential
//! helpers, and without questions, helpers of addresses and hooks.

use std::{
    fs::File,
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use slipway_process::Environment;

use super::{Address, Login};
use crate::{GitError, program::Git};

/// A transfer over http that is slower than 1,000 bytes per second for this long, in seconds, is given up.
const STALLED: &str = "60";
/// How ssh is called when nothing else is set up: it asks nothing, and gives up a host that does not answer.
const SSH: &str = "ssh -o BatchMode=yes -o ConnectTimeout=30 -o ServerAliveInterval=30";
/// Answers git's question for a login from the environment, which other users of the host cannot read.
const LOGIN_HELPER: &str = "!f() { test \"$1\" = get || exit 0; echo \"username=$SLIPWAY_GIT_USERNAME\"; \
                            echo \"password=$SLIPWAY_GIT_PASSWORD\"; }; f";

/// How git speaks to other repositories.
#[derive(Clone, Debug)]
pub struct Speech {
    /// `GIT_SSH_COMMAND`; `None` = the user's own, or one that asks nothing.
    pub ssh_command: Option<String>,
    /// `SSH_AUTH_SOCK`; `None` = the process's own.
    pub agent: Option<PathBuf>,
    /// Addresses of the host that git must speak to, without following a server elsewhere; none = as git finds them. Over
    /// ssh the host is looked up by ssh itself.
    pub pinned: Vec<IpAddr>,
    /// The longest that one transfer, or the wait for another process that does it, may take.
    pub longest: Duration,
}

impl Default for Speech {
    fn default() -> Self {
        Self { ssh_command: None, agent: None, pinned: Vec::new(), longest: Duration::from_secs(30 * 60) }
    }
}

/// Runs `git ARGS` in the bare repository `directory`, whose remote `origin` is `address`. `lock` is held until git and
/// all that it started have ended, even when this process ends before.
pub(super) fn speak(
    directory: &Path,
    address: &Address,
    speech: &Speech,
    lock: File,
    args: &[&str],
) -> Result<(), GitError> {
    let plain_http = if address.url().starts_with("http://") { "always" } else { "never" };
    let mut settings = vec![
        ("protocol.allow", "never"),
        ("protocol.https.allow", "always"),
        ("protocol.http.allow", plain_http),
        ("protocol.ssh.allow", "always"),
        ("protocol.file.allow", "always"),
        ("protocol.ext.allow", "never"),
        ("http.lowSpeedLimit", "1000"),
        ("http.lowSpeedTime", STALLED),
        ("http.followRedirects", "initial"),
        ("remote.origin.url", address.url()),
    ];
    let resolved = pin(address, &speech.pinned);
    if let Some(resolved) = &resolved {
        settings.extend([("http.followRedirects", "false"), ("http.curloptResolve", resolved)]);
    }
    let mut git = Git::bare(directory, "fetch from another git repository");
    if let Some(Login { username, password }) = address.login() {
        settings.extend([("credential.helper", ""), ("credential.helper", LOGIN_HELPER)]);
        git = git.env("SLIPWAY_GIT_USERNAME", username).env("SLIPWAY_GIT_PASSWORD", password);
    }
    if let Some(agent) = &speech.agent {
        git = git.env("SSH_AUTH_SOCK", agent);
    }
    if let Some(command) = ssh_command(directory, speech) {
        git = git.env("GIT_SSH_COMMAND", command);
    }
    git = git.env("GIT_CONFIG_COUNT", settings.len().to_string());
    for (number, (name, value)) in settings.iter().enumerate() {
        git = git.env(&format!("GIT_CONFIG_KEY_{number}"), name).env(&format!("GIT_CONFIG_VALUE_{number}"), value);
    }
    git.args(args).run_for(lock, speech.longest).map(drop)
}

/// Where git finds the host of an address: `HOST:PORT:ADDRESS,…`. `None` = nothing is said, or it is not of the web.
fn pin(address: &Address, pinned: &[IpAddr]) -> Option<String> {
    let (scheme, rest) = address.url().split_once("://").filter(|(scheme, _)| scheme.starts_with("http"))?;
    if pinned.is_empty() {
        return None;
    }
    let authority = rest.split('/').next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let usual = if scheme == "https" { "443" } else { "80" };
    let (host, port) = match host.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
        Some(_) | None => (host, usual),
    };
    let addresses: Vec<String> = pinned.iter().map(IpAddr::to_string).collect();
    Some(format!("{host}:{port}:{}", addresses.join(",")))
}

/// What `GIT_SSH_COMMAND` is set to; `None` = the user has set up something.
fn ssh_command(directory: &Path, speech: &Speech) -> Option<String> {
    if speech.ssh_command.is_some() {
        return speech.ssh_command.clone();
    }
    let environment = Environment::from_process();
    let is_set = ["GIT_SSH_COMMAND", "GIT_SSH"].into_iter().any(|name| environment.non_empty(name).is_some());
    let configured = || {
        let asked = Git::bare(directory, "read the configuration of git").args(["config", "core.sshCommand"]).run(b"");
        asked.is_ok_and(|answer| !answer.trim_ascii().is_empty())
    };
    (!is_set && !configured()).then(|| SSH.to_owned())
}
