//! Ssh keys, and what asks an agent for them.

use std::{fs, path::Path, process::Stdio};

use anyhow::{Context as _, Result};
use slipway_process::child::command;

use crate::Project;

/// A new key in a directory: its path, and its public half. `None`, said aloud, where OpenSSH is missing.
///
/// # Errors
/// When its files cannot be read.
pub fn key(directory: &Path, passphrase: &str) -> Result<Option<(String, String)>> {
    let path = directory.join(format!("key-{}", slipway_process::random_id()));
    let mut made = command("ssh-keygen");
    made.args(["-q", "-t", "ed25519", "-C", "e2e", "-N", passphrase, "-f"]).arg(&path).stdin(Stdio::null());
    if made.status().is_err() {
        slipway_parts::skip("ssh", "OpenSSH's client is not installed");
        return Ok(None);
    }
    let public = fs::read_to_string(path.with_extension("pub"))?;
    let public = public.split(' ').nth(1).context("a public key")?.to_owned();
    Ok(Some((path.to_str().context("a UTF-8 path")?.to_owned(), public)))
}

/// Puts `ssh-add` of this machine with all that it needs below `ssh/` of a project: the base image has none.
///
/// # Errors
/// When it cannot be read.
pub fn ssh_add(project: &Project) -> Result<()> {
    project.bring("ssh", "/usr/bin/ssh-add")
}
