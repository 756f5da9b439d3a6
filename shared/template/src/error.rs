//! Why a template could not be parsed or executed: with the words and the position that Go gives.

use std::fmt;

use crate::limits::LimitError;

/// A place in the text of a template.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Position {
    /// Name of the template file that was parsed, not of a `define` within it.
    pub name: String,
    /// Line, from 1.
    pub line: usize,
    /// Bytes before the place on its line, from 0; `None` for errors of parsing, which Go gives by line alone.
    pub column: Option<usize>,
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.name, self.line)?;
        self.column.map_or(Ok(()), |column| write!(formatter, ":{column}"))
    }
}

/// What an execution was at when it failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecutionError {
    /// Where; `None` when there is no place, as when the template to execute is not there.
    pub position: Option<Position>,
    /// The executing template, as its `define` names it.
    pub template: String,
    /// The action or its part, as Go prints it back; cut when it is long.
    pub context: String,
    /// What went wrong.
    pub message: String,
    /// The innermost place, when the failure is in a template that this one called through a function.
    pub innermost: Option<Position>,
}

/// A failure. `Display` is what Go prints.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TemplateError {
    /// The text is not a template.
    #[error("template: {position}: {message}")]
    Parse {
        /// The line.
        position: Position,
        /// What is wrong there.
        message: String,
    },
    /// There is no template of that name.
    #[error("template: no template {wanted:?} associated with template {asked:?}")]
    Missing {
        /// The template that is not there.
        wanted: String,
        /// The template by which the set is known.
        asked: String,
    },
    /// The template failed while it was executing.
    #[error("{}", .0.display())]
    Execution(Box<ExecutionError>),
    /// The run reached a limit.
    #[error("template: {}{limit}", .position.as_ref().map(|position| format!("{position}: ")).unwrap_or_default())]
    Limit {
        /// Where the run was then.
        position: Option<Position>,
        /// The limit.
        limit: LimitError,
    },
}

impl ExecutionError {
    fn display(&self) -> String {
        let ExecutionError { template, context, message, .. } = self;
        match &self.position {
            Some(position) => format!("template: {position}: executing {} at <{context}>: {message}", quoted(template)),
            None => format!("template: {template}: {message}"),
        }
    }
}

impl TemplateError {
    /// The innermost place the error is about: what a reader should look at.
    pub fn position(&self) -> Option<&Position> {
        match self {
            TemplateError::Parse { position, .. } => Some(position),
            TemplateError::Missing { .. } => None,
            TemplateError::Execution(error) => error.innermost.as_ref().or(error.position.as_ref()),
            TemplateError::Limit { position, .. } => position.as_ref(),
        }
    }
}

/// The text in Go's double quotes.
pub(crate) fn quoted(text: &str) -> String {
    String::from_utf8_lossy(&crate::format::quote::quote(text.as_bytes(), crate::format::quote::Style::Printable))
        .into_owned()
}
