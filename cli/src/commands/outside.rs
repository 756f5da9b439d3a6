//! Other programs, run on the terminal of this one.

use std::os::unix::process::ExitStatusExt as _;

use anyhow::{Context as _, anyhow};
use rustix::process::{Pid, Signal, kill_process};
use slipway_process::child::async_command;

use super::session::Session;
use crate::failure::{Exit, Failure};

/// Runs a program and waits for its end, passing on what interrupts us. Its exit code is that of the command.
///
/// # Errors
/// When it cannot be run, or ends with another code than 0.
pub(super) async fn run(
    session: &Session,
    program: &[String],
    arguments: &[String],
    variables: &[(String, String)],
) -> Result<(), Failure> {
    let (name, first) = program.split_first().context("there is no program to run")?;
    session.printer.lend();
    let ended = wait(session, name, first.iter().chain(arguments), variables).await;
    session.printer.take_back();
    let status = ended?;
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
    match u8::try_from(code).unwrap_or(1) {
        0 => Ok(()),
        code => Err(Failure { exit: Exit::Program(code), error: anyhow!("{name} ended with exit code {code}") }),
    }
}

async fn wait(
    session: &Session,
    name: &str,
    arguments: impl Iterator<Item = &String>,
    variables: &[(String, String)],
) -> anyhow::Result<std::process::ExitStatus> {
    let mut command = async_command(name);
    command.args(arguments).envs(variables.iter().map(|(name, value)| (name, value)));
    let mut child = command.spawn().with_context(|| format!("run {name}"))?;
    tokio::select! {
        ended = child.wait() => return Ok(ended?),
        () = session.world.interrupted.cancelled() => {}
    }
    // A terminal interrupts both of us; whoever sends a signal sends it to us alone.
    if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
        // It may have ended by now.
        let _ = kill_process(pid, Signal::TERM);
    }
    Ok(child.wait().await?)
}

/// What a program prints to standard output; why it failed, otherwise.
pub(super) async fn output(session: &Session, program: &[String], arguments: &[String]) -> Result<String, Failure> {
    let (name, first) = program.split_first().context("there is no program to run")?;
    let mut command = async_command(name);
    command.args(first).args(arguments).stdin(std::process::Stdio::null());
    let ended =
        session.world.interrupted.run_until_cancelled(command.output()).await.ok_or_else(Failure::interrupted)?;
    let ended = ended.with_context(|| format!("run {name}"))?;
    if !ended.status.success() {
        let why = String::from_utf8_lossy(&ended.stderr).trim().to_owned();
        return Err(anyhow!("{} {}: {why}", program.join(" "), arguments.join(" ")).into());
    }
    Ok(String::from_utf8_lossy(&ended.stdout).into_owned())
}
