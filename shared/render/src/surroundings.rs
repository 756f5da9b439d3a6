//! What templates may ask of the outside.

/// Why a template does not get what it asks for.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Refusal {
    /// A refusal without advice.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None }
    }

    /// The same refusal with advice.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Files, variables and debug output of a project. Paths are relative to the project directory, with `/` between. The
/// implementer judges: what is not committed, or not allowed, is refused; nothing outside of the project is ever read.
pub trait Surroundings: Send + Sync {
    /// The content of a file.
    ///
    /// # Errors
    /// When there is no such file or it may not be used.
    fn read(&self, path: &str) -> Result<Vec<u8>, Refusal>;

    /// The paths of all files that a glob takes, sorted.
    ///
    /// # Errors
    /// When it is no glob, or when a file that it takes may not be used.
    fn glob(&self, pattern: &str) -> Result<Vec<String>, Refusal>;

    /// Whether there is a file that may be used.
    ///
    /// # Errors
    /// When that cannot be found out.
    fn is_file(&self, path: &str) -> Result<bool, Refusal>;

    /// Whether there is a directory with files that may be used.
    ///
    /// # Errors
    /// When that cannot be found out.
    fn is_directory(&self, path: &str) -> Result<bool, Refusal>;

    /// The value of an environment variable; `None` when it is not set, which is for the template to answer.
    ///
    /// # Errors
    /// When the variable may not be used.
    fn variable(&self, name: &str) -> Result<Option<String>, Refusal>;

    /// Whether output for debugging is wanted.
    fn is_debugging(&self) -> bool;

    /// Says something for debugging.
    fn say(&self, text: &str);
}
