//! Dockerfiles: parsing, variable expansion, the graph of stages, and what of the context is used.
//!
//! Pure: it is given texts and answers with values. What enters a stage digest and what a builder runs are taken
//! from the same parse. The rules are those of BuildKit's Dockerfile frontend.
//!
//! Reading order: [`inputs`] is the door. Below it: `lines` (physical lines to logical ones, here-documents),
//! `words` (splitting one line), `keyword` and `parse` (instructions), `graph` (stages and how they are named), `scope` and
//! `expand` (variables; `pattern` for `${x#p}`), `walk` (everything that a target needs), `instruct` (one instruction), `normal` (hashed
//! lines), `mount` (`RUN --mount`). What a builder does is [`Program`], of [`Step`]s; [`outline`] and `replay` are for one that takes one
//! instruction at a time. `target` tells whose programs commands are. `ignore` reads a `.dockerignore`.

use std::collections::BTreeMap;

mod expand;
mod graph;
mod ignore;
mod instruct;
mod keyword;
mod lines;
mod mount;
mod normal;
mod outline;
mod parse;
mod pattern;
mod program;
mod replay;
mod scope;
mod step;
mod target;
mod walk;
mod words;

#[cfg(test)]
mod tests;

pub use graph::Origin;
pub use ignore::ignore_patterns;
pub use keyword::Keyword;
pub use outline::{Argument, INSTRUCTIONS_LIMIT, Outline, OutlinedInstruction, OutlinedLine, OutlinedStage, outline};
pub use program::{Given, Head, Program, Variables};
pub use step::{
    Command, Content, Files, Health, Mount, MountKind, Network, Process, Run, Sharing, Source, Step, Written,
};
pub use target::runs_on_target;

/// Longest Dockerfile that is read, in bytes.
pub const TEXT_LIMIT: usize = 1024 * 1024;
/// Most stages that a Dockerfile may have.
pub const STAGES_LIMIT: usize = 500;
/// Most bytes that all instructions of a target may have once variables are expanded.
pub const EXPANSION_LIMIT: usize = 32 * 1024 * 1024;

/// A text that is no Dockerfile, or one that does not hold what was asked of it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}: {message}", place(.file, *.line))]
pub struct DockerfileError {
    /// The Dockerfile's path.
    pub file: String,
    /// Line, from 1; 0 when the file as a whole is meant.
    pub line: u32,
    /// What is wrong.
    pub message: String,
}

/// What one target of a Dockerfile depends on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Inputs {
    /// Base images that must be at hand for the platform, as references with variables expanded, each once, in order of use;
    /// without those that a `FROM --platform` wants for another one.
    pub bases: Vec<String>,
    /// Everything that decides the result, stage by stage and instruction by instruction, in the order in which the
    /// target reaches it: to be hashed as it is.
    pub lines: Vec<Line>,
}

/// One hashed line: an instruction with its variables expanded, and the context files that it reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    /// The instruction in a normal form.
    pub text: String,
    /// Sources of a `COPY`, an `ADD` or a bind mount from the context, with wildcards; `.` is the whole context.
    /// `None` when it reads no context file.
    pub sources: Option<Vec<String>>,
}

/// Reads `text` and follows `target` (the last stage, when `None`) through everything it needs.
///
/// `args` are the build arguments given from outside, `platform` is the target platform (`linux/amd64`), which also
/// stands for the build platform: the answer must not depend on the machine that asks.
///
/// A stage is the lines from a `FROM` to the next. Other stages are named `#0`, `#1`, … by that order, not by their
/// names, and stages that the target does not need are left out. A variable that only the base image can define
/// cannot be expanded here: the word that uses it is kept as written, and a source that uses it counts as the whole
/// context.
///
/// # Errors
/// [`DockerfileError`] when the text is malformed, the target is unknown, or a `FROM` is empty after expansion.
pub fn inputs(
    file: &str,
    text: &str,
    target: Option<&str>,
    args: &BTreeMap<String, String>,
    platform: &str,
) -> Result<Inputs, DockerfileError> {
    let answer = parse::parse(text).and_then(|dockerfile| walk::follow(&dockerfile, target, args, platform));
    answer.map_err(|fault| fault.of(file))
}

/// The stages of a Dockerfile in order: each one's name, or its number when it has none.
///
/// # Errors
/// [`DockerfileError`] when the text is malformed.
pub fn stage_names(file: &str, text: &str) -> Result<Vec<String>, DockerfileError> {
    parse::parse(text).map(|dockerfile| dockerfile.stage_names()).map_err(|fault| fault.of(file))
}

/// What is wrong, before the file's name is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Fault {
    pub(crate) line: u32,
    pub(crate) message: String,
}

impl Fault {
    pub(crate) fn new(line: u32, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }

    fn of(self, file: &str) -> DockerfileError {
        DockerfileError { file: file.to_owned(), line: self.line, message: self.message }
    }
}

/// At most 100 characters of what stands in the file, for a message.
pub(crate) fn shown(text: &str) -> String {
    match text.char_indices().nth(100) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn place(file: &str, line: u32) -> String {
    if line == 0 { file.to_owned() } else { format!("{file}:{line}") }
}
