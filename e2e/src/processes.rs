//! Processes of this machine.

use anyhow::{Context as _, Result};

/// Ids of those that have a word among their arguments.
pub fn with(word: &str) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().filter_map(|found| {
        let path = found.ok()?.path();
        let arguments = std::fs::read(path.join("cmdline")).ok()?;
        let is_it = String::from_utf8_lossy(&arguments).split('\0').any(|argument| argument == word);
        path.file_name()?.to_str()?.parse().ok().filter(|_| is_it)
    });
    processes.collect()
}

/// Kills one.
///
/// # Errors
/// When it may not be killed, or is gone.
pub fn kill(process: i32) -> Result<()> {
    let process = rustix::process::Pid::from_raw(process).context("a process has an id")?;
    Ok(rustix::process::kill_process(process, rustix::process::Signal::KILL)?)
}
