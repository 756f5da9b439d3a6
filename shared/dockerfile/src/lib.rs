//! Dockerfiles: parsing, variable expansion, the graph of stages, and what of the context is used.
//!
//! Pure: it is given texts and answers with values. What enters a stage digest and what a builder runs are taken
//! from the same parse.

use std::collections::BTreeMap;

/// A text that is no Dockerfile, or one that does not hold what was asked of it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{file}:{line}: {message}")]
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
    /// Base images that must be at hand, as references with variables expanded, each once, in order of use.
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
    /// Sources of a `COPY` or `ADD` from the context, with wildcards; `None` when it reads no context file.
    pub sources: Option<Vec<String>>,
}

/// Reads `text` and follows `target` (the last stage, when `None`) through everything it needs.
///
/// # Errors
/// [`DockerfileError`] when the text is malformed, the target is unknown, or a `FROM` is empty after expansion.
pub fn inputs(
    _file: &str,
    _text: &str,
    _target: Option<&str>,
    _args: &BTreeMap<String, String>,
    _platform: &str,
) -> Result<Inputs, DockerfileError> {
    unimplemented!("helper")
}

/// The patterns of a `.dockerignore`: comments, blanks and a byte order mark removed, cleaned as Docker does.
pub fn ignore_patterns(_text: &str) -> Vec<String> {
    unimplemented!("helper")
}
