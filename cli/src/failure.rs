//! Why a command ends without success, and the exit code that says so.

use std::fmt::Display;

/// What an exit code means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Exit {
    /// A stage or anything else failed.
    Failed,
    /// The command was used wrongly.
    Usage,
    /// The configuration is wrong, or a file that is used is not committed.
    Project,
    /// A stage is missing, and none may be built.
    StageMissing,
    /// The user gave up.
    Interrupted,
    /// Another program ended with this code; it is ours, too.
    Program(u8),
}

impl Exit {
    /// The code.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Project => 3,
            Self::StageMissing => 4,
            Self::Interrupted => 130,
            Self::Program(code) => code,
        }
    }
}

/// Why a command ends without success.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What the exit code says.
    pub(crate) exit: Exit,
    /// What was being done and what went wrong, outermost first.
    pub(crate) error: anyhow::Error,
}

impl Failure {
    /// The command was used wrongly.
    pub(crate) fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Usage, error: error.into() }
    }

    /// The project is wrong.
    pub(crate) fn project(error: impl Into<anyhow::Error>) -> Self {
        Self { exit: Exit::Project, error: error.into() }
    }

    /// The project is wrong, in these words.
    pub(crate) fn project_text(text: impl Display) -> Self {
        Self::project(anyhow::Error::msg(text.to_string()))
    }

    /// The user gave up.
    pub(crate) fn interrupted() -> Self {
        Self { exit: Exit::Interrupted, error: anyhow::Error::msg("interrupted") }
    }

    /// The same failure, with what was being done in front.
    pub(crate) fn context(self, doing: String) -> Self {
        Self { error: self.error.context(doing), ..self }
    }

    /// The whole chain on one line.
    pub(crate) fn text(&self) -> String {
        format!("{:#}", self.error)
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { exit: Exit::Failed, error: error.into() }
    }
}
