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

/// A process, told from later ones that have its id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Process {
    id: i32,
    parent: i32,
    /// When it began, in the kernel's own units.
    began: u64,
    name: String,
}

impl Process {
    fn of(id: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name stands in brackets, and may hold anything.
        let (before, after) = stat.rsplit_once(')')?;
        let name = before.split_once('(')?.1.to_owned();
        let fields: Vec<&str> = after.split_whitespace().collect();
        let is_over = *fields.first()? == "Z";
        let (parent, began) = (fields.get(1)?.parse().ok()?, fields.get(19)?.parse().ok()?);
        (!is_over).then_some(Self { id, parent, began, name })
    }

    /// Whether it still runs.
    pub fn runs(&self) -> bool {
        Self::of(self.id).is_some_and(|now| now.began == self.began)
    }
}

/// All that a process has started, and what that has started.
pub fn below(process: i32) -> Vec<Process> {
    let ids = std::fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .filter_map(|found| found.ok()?.file_name().to_str()?.parse().ok());
    let all: Vec<Process> = ids.filter_map(Process::of).collect();
    let mut found: Vec<Process> = Vec::new();
    let mut parents = vec![process];
    while let Some(parent) = parents.pop() {
        let children = all.iter().filter(|child| child.parent == parent);
        for child in children {
            parents.push(child.id);
            found.push(child.clone());
        }
    }
    found
}
