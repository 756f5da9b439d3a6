//! Why a template could not be parsed or executed: with the words and the position that Go gives.

use std::fmt;

use crate::limits::LimitError;

/// A place in the text of a template.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Position {
    /// Name of the template file that was parsed, not of a `define` within it.
    pub name: String,
    /// The file it was read from, where that is known and called otherwise.
    pub file: Option<String>,
    /// Line, from 1.
    pub line: usize,
    /// Bytes before the place on its line, from 0; `None` for errors of parsing, which Go gives by line alone.
    pub column: Option<usize>,
    /// The text of that line.
    pub text: String,
}

impl Position {
    /// The file, or the template's name where there is no other.
    pub fn file(&self) -> &str {
        self.file.as_deref().unwrap_or(&self.name)
    }
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
    /// The innermost failure, when it is in a template that this one called through a function.
    pub innermost: Option<Innermost>,
}

/// Where a chain of templates that called one another ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Innermost {
    /// The place.
    pub position: Position,
    /// What went wrong there.
    pub message: String,
}

/// A failure. `Display` is what Go prints.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TemplateError {
    /// The text is not a template.
    #[error("template: {position}: {message}")]
    Parse {
        /// The line.
        position: Box<Position>,
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
        position: Option<Box<Position>>,
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
            TemplateError::Execution(error) => {
                error.innermost.as_ref().map(|innermost| &innermost.position).or(error.position.as_ref())
            }
            TemplateError::Limit { position, .. } => position.as_deref(),
        }
    }

    /// What went wrong at that place, without the chain of templates that led there.
    pub fn reason(&self) -> String {
        match self {
            TemplateError::Parse { message, .. } => message.clone(),
            TemplateError::Missing { .. } => self.to_string(),
            TemplateError::Execution(error) => {
                error.innermost.as_ref().map_or(&error.message, |innermost| &innermost.message).clone()
            }
            TemplateError::Limit { limit, .. } => limit.to_string(),
        }
    }
}

/// The text in Go's double quotes.
pub(crate) fn quoted(text: &str) -> String {
    String::from_utf8_lossy(&crate::format::quote::quote(text.as_bytes(), crate::format::quote::Style::Printable))
        .into_owned()
}
