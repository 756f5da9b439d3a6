//! Instructions as a builder does them: one type, before its variables are expanded and after.

mod command;
mod files;
mod flags;
mod health;
mod mounts;
mod run;
mod signal;

pub use command::Command;
pub use files::{Content, Files, Source};
pub use health::Health;
pub use mounts::{Mount, MountKind, Sharing};
pub use run::{Network, Process, Run};

use crate::{
    keyword::Keyword,
    lines::Heredoc,
    normal,
    parse::{Body, Instruction},
    words::{self, Json},
};
use flags::Flags;

/// One instruction of a stage. What `ARG` declares has its value once it is expanded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// `ENV`.
    Env(Vec<(String, String)>),
    /// `LABEL`.
    Label(Vec<(String, String)>),
    /// `ARG`; `None` = it has no value.
    Arg(Vec<(String, Option<String>)>),
    /// `RUN`.
    Run(Run),
    /// `COPY` and `ADD`.
    Files(Files),
    /// `CMD`.
    Cmd(Command),
    /// `ENTRYPOINT`.
    Entrypoint(Command),
    /// `SHELL`.
    Shell(Vec<String>),
    /// `HEALTHCHECK`; `None` = `NONE`.
    Healthcheck(Option<Health>),
    /// `EXPOSE`: ports, as they are written.
    Expose(Vec<String>),
    /// `VOLUME`.
    Volume(Vec<String>),
    /// `USER`.
    User(String),
    /// `WORKDIR`, as it is written.
    Workdir(String),
    /// `STOPSIGNAL`.
    Stopsignal(String),
    /// `MAINTAINER`.
    Maintainer(String),
    /// `ONBUILD`: the instruction that is postponed.
    Onbuild(String),
}

/// An instruction with the place where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Written {
    /// Line, from 1.
    pub line: u32,
    /// The instruction in one line, its variables not expanded.
    pub text: String,
    pub(crate) step: Step,
}

/// Expands one word.
pub(crate) type Expand<'a> = dyn FnMut(&str) -> Result<String, String> + 'a;

impl Written {
    /// Whether it may change files, not the config alone.
    pub fn makes_files(&self) -> bool {
        matches!(self.step, Step::Run(_) | Step::Files(_) | Step::Workdir(_))
    }

    /// Whether it runs a command.
    pub fn runs(&self) -> bool {
        matches!(self.step, Step::Run(_))
    }

    /// Whether it declares arguments.
    pub fn declares(&self) -> bool {
        matches!(self.step, Step::Arg(_))
    }

    /// Whether it says what variables are in force behind it.
    pub fn sets_variables(&self) -> bool {
        matches!(self.step, Step::Arg(_) | Step::Env(_))
    }

    /// Whether it sets the command of the image.
    pub fn sets_command(&self) -> bool {
        matches!(self.step, Step::Cmd(_))
    }

    /// What it postpones for the stages that stand on its own; `None` = it is no `ONBUILD`.
    pub fn postpones(&self) -> Option<&str> {
        match &self.step {
            Step::Onbuild(text) => Some(text),
            _ => None,
        }
    }

    /// Types an instruction. The error says what is wrong with it.
    pub(crate) fn of(instruction: &Instruction) -> Result<Self, String> {
        let line = normal::verbatim(&Instruction { heredocs: Vec::new(), ..instruction.clone() });
        Ok(Self { line: instruction.line, text: line, step: step(instruction)? })
    }
}

fn step(instruction: &Instruction) -> Result<Step, String> {
    let flags = Flags::of(instruction);
    let rest = &instruction.rest;
    match (instruction.keyword, &instruction.body) {
        (Keyword::Run, _) => return Ok(Step::Run(run::read(instruction, flags)?)),
        (Keyword::Add | Keyword::Copy, Body::Words(list)) => {
            return Ok(Step::Files(files::read(instruction, list, flags)?));
        }
        (Keyword::Healthcheck, _) => return Ok(Step::Healthcheck(health::read(rest, flags)?)),
        _ => flags.end()?,
    }
    Ok(match (instruction.keyword, &instruction.body) {
        (Keyword::Env, Body::Pairs(pairs)) => Step::Env(with_values(pairs)),
        (Keyword::Label, Body::Pairs(pairs)) => Step::Label(with_values(pairs)),
        (Keyword::Arg, Body::Pairs(pairs)) => Step::Arg(pairs.clone()),
        (Keyword::Cmd, _) => Step::Cmd(Command::read(rest)),
        (Keyword::Entrypoint, _) => Step::Entrypoint(Command::read(rest)),
        (Keyword::Shell, Body::Words(list)) => Step::Shell(list.clone()),
        (Keyword::Expose, Body::Words(list)) => Step::Expose(list.clone()),
        (Keyword::Volume, Body::Words(list)) => Step::Volume(list.clone()),
        (Keyword::User, _) => Step::User(rest.clone()),
        (Keyword::Workdir, _) => Step::Workdir(rest.clone()),
        (Keyword::Stopsignal, _) => Step::Stopsignal(rest.clone()),
        (Keyword::Maintainer, _) => Step::Maintainer(rest.clone()),
        (Keyword::Onbuild, Body::Later(later)) => {
            // What is wrong with it is told where it stands, not where it is done.
            step(later)?;
            Step::Onbuild(format!("{rest}{}", normal::heredocs(&instruction.heredocs)))
        }
        (keyword, _) => return Err(format!("{} cannot stand here", keyword.name())),
    })
}

fn with_values(pairs: &[(String, Option<String>)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| (name.clone(), value.clone().unwrap_or_default())).collect()
}

impl Step {
    /// The instruction with its variables expanded; those of `ARG` are another matter.
    pub(crate) fn expanded(&self, word: &mut Expand<'_>) -> Result<Self, String> {
        let pairs = |list: &[(String, String)], word: &mut Expand<'_>| {
            list.iter().map(|(name, value)| Ok((word(name)?, word(value)?))).collect::<Result<Vec<_>, String>>()
        };
        Ok(match self {
            Self::Env(list) => Self::Env(pairs(list, word)?),
            Self::Label(list) => Self::Label(pairs(list, word)?),
            Self::Run(run) => Self::Run(run.expanded(word)?),
            Self::Files(files) => Self::Files(files.expanded(word)?),
            Self::Expose(list) => {
                let words = list.iter().map(|port| word(port)).collect::<Result<Vec<_>, _>>()?;
                // One variable may stand for several ports.
                Self::Expose(words.iter().flat_map(|text| text.split_whitespace()).map(str::to_owned).collect())
            }
            Self::Volume(list) => Self::Volume(list.iter().map(|path| word(path)).collect::<Result<_, _>>()?),
            Self::User(name) => Self::User(word(name)?),
            Self::Workdir(path) => Self::Workdir(word(path)?),
            Self::Stopsignal(name) => Self::Stopsignal(word(name)?),
            Self::Arg(_)
            | Self::Cmd(_)
            | Self::Entrypoint(_)
            | Self::Shell(_)
            | Self::Healthcheck(_)
            | Self::Maintainer(_)
            | Self::Onbuild(_) => self.clone(),
        })
    }

    /// What is wrong with an instruction whose variables are expanded, if anything.
    pub(crate) fn check(&self) -> Result<(), String> {
        let empty = |name: &str, what: &str| Err(format!("{name}: {what} is empty once its variables are expanded"));
        match self {
            Self::Env(list) if list.iter().any(|(name, _)| name.is_empty()) => empty("ENV", "a name"),
            Self::Label(list) if list.iter().any(|(name, _)| name.is_empty()) => empty("LABEL", "a name"),
            Self::Volume(list) if list.iter().any(|path| path.trim().is_empty()) => empty("VOLUME", "a path"),
            Self::Workdir(path) if path.is_empty() => empty("WORKDIR", "the path"),
            Self::User(name) if name.is_empty() => empty("USER", "the name"),
            Self::Stopsignal(name) if !signal::is_known(name) => Err(format!(
                "STOPSIGNAL: `{}` is no signal; write a name such as SIGTERM, or a number",
                crate::shown(name)
            )),
            Self::Expose(list) => list.iter().try_for_each(|port| check_port(port)),
            _ => Ok(()),
        }
    }

    /// The stage or image that it copies from or mounts, by the names that are written.
    pub(crate) fn froms(&self) -> Vec<&str> {
        match self {
            Self::Run(run) => run.mounts.iter().filter_map(|mount| mount.from.as_deref()).collect(),
            Self::Files(files) => files.from.as_deref().into_iter().collect(),
            _ => Vec::new(),
        }
    }
}

/// `PORT[-PORT][/tcp|udp|sctp]`.
fn check_port(text: &str) -> Result<(), String> {
    let (numbers, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (first, last) = numbers.split_once('-').unwrap_or((numbers, numbers));
    let (first, last) = (first.parse::<u16>(), last.parse::<u16>());
    let in_order = matches!((&first, &last), (Ok(first), Ok(last)) if first <= last);
    if in_order && ["tcp", "udp", "sctp"].iter().any(|known| known.eq_ignore_ascii_case(protocol)) {
        return Ok(());
    }
    Err(format!("EXPOSE: `{}` is no port; write PORT or FIRST-LAST, with /tcp, /udp or /sctp", crate::shown(text)))
}

/// A JSON array of strings, or a command line.
fn json_or_text(text: &str) -> Command {
    match words::json(text) {
        Json::Strings(list) => Command::Exec(list),
        Json::Mixed | Json::No => Command::Shell(text.to_owned()),
    }
}

/// Here-documents as a shell would read them.
fn written_out(heredocs: &[Heredoc]) -> String {
    normal::heredocs(heredocs)
}
