//! What a container runs: a line for a shell, or a list of arguments.

/// A command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// A line that the shell of the image reads.
    Shell(String),
    /// A program and its arguments.
    Exec(Vec<String>),
}

impl Command {
    pub(crate) fn read(text: &str) -> Self {
        super::json_or_text(text)
    }

    /// The list of arguments, by this shell where it needs one.
    pub fn arguments(&self, shell: &[String]) -> Vec<String> {
        match self {
            Self::Shell(line) => shell.iter().cloned().chain([line.clone()]).collect(),
            Self::Exec(list) => list.clone(),
        }
    }
}
