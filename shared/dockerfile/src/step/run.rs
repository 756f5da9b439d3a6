//! `RUN`.

use super::{Command, Expand, flags::Flags, mounts::Mount, written_out};
use crate::{
    lines::{self, Heredoc},
    parse::Instruction,
    shown,
};

/// Where the script of a here-document that names its own program is seen.
const SCRIPTS: &str = "/dev/pipes";

/// A command that is run while the image is built.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// What is run, its here-documents left out.
    pub command: Command,
    /// `--mount`, in order.
    pub mounts: Vec<Mount>,
    /// `--network`; `None` = as the build has it.
    pub network: Option<Network>,
    heredocs: Vec<Heredoc>,
}

/// `--network`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Network {
    /// That of the build.
    Default,
    /// None.
    None,
    /// The host's.
    Host,
}

/// What is started for a `RUN`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Process {
    /// The program and its arguments.
    pub arguments: Vec<String>,
    /// A script that has to be there: its absolute path and its text.
    pub script: Option<(String, String)>,
}

pub(super) fn read(instruction: &Instruction, mut flags: Flags) -> Result<Run, String> {
    let mounts = flags.all("mount")?.iter().map(|text| Mount::read(text)).collect::<Result<_, _>>()?;
    let network = match flags.one("network")?.as_deref() {
        None => None,
        Some("default") => Some(Network::Default),
        Some("none") => Some(Network::None),
        Some("host") => Some(Network::Host),
        Some(other) => return Err(format!("RUN: --network={} is none of: default, none, host", shown(other))),
    };
    match flags.one("security")?.as_deref() {
        None | Some("sandbox") => {}
        Some("insecure") => {
            return Err("RUN: --security=insecure is refused: commands of a build have no more rights here".to_owned());
        }
        Some(other) => return Err(format!("RUN: --security={} is none of: sandbox, insecure", shown(other))),
    }
    flags.end()?;
    let command = Command::read(&instruction.rest);
    if matches!(&command, Command::Exec(list) if list.is_empty()) {
        return Err("RUN: the list of arguments is empty".to_owned());
    }
    if matches!(command, Command::Exec(_)) && !instruction.heredocs.is_empty() {
        return Err("RUN: a list of arguments has no here-documents".to_owned());
    }
    Ok(Run { command, mounts, network, heredocs: instruction.heredocs.clone() })
}

impl Run {
    pub(super) fn expanded(&self, word: &mut Expand<'_>) -> Result<Self, String> {
        let mounts = self.mounts.iter().map(|mount| mount.expanded(word)).collect::<Result<_, _>>()?;
        Ok(Self { mounts, ..self.clone() })
    }

    /// What is started, by this shell where one is needed. A command that is one here-document is its content: a script of
    /// the shell, or of the program that its first line names. Any other is read by the shell with its here-documents.
    pub fn process(&self, shell: &[String]) -> Process {
        let by_shell = |line: String| Process { arguments: Command::Shell(line).arguments(shell), script: None };
        let line = match &self.command {
            Command::Exec(list) => return Process { arguments: list.clone(), script: None },
            Command::Shell(line) => line,
        };
        match self.heredocs.as_slice() {
            [] => by_shell(line.clone()),
            [only] if lines::is_document(line) => {
                if !only.content.starts_with("#!") {
                    return by_shell(only.content.clone());
                }
                let path = format!("{SCRIPTS}/{}", only.name);
                Process { arguments: vec![path.clone()], script: Some((path, only.content.clone())) }
            }
            many => by_shell(format!("{line}{}", written_out(many))),
        }
    }
}
