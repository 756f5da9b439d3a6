//! The user's terminal, lent to a shell inside a stage.

use tokio::sync::{mpsc, watch};

/// Rows and columns.
pub type Size = (u16, u16);

/// A terminal that passes bytes on as they are typed. Whoever lends it gets it back when this is dropped.
#[derive(Debug)]
pub struct Terminal {
    /// What is typed.
    pub input: mpsc::Receiver<Vec<u8>>,
    /// What is shown.
    pub output: mpsc::Sender<Vec<u8>>,
    /// How large it is.
    pub size: watch::Receiver<Size>,
    /// `TERM`: what it understands.
    pub kind: String,
    /// What the shell's prompt begins with.
    pub prompt: String,
}

impl Terminal {
    /// Variables that a shell on it has beside those of its commands.
    pub fn variables(&self) -> [(String, String); 2] {
        [("TERM".to_owned(), self.kind.clone()), ("PS1".to_owned(), format!("[{}] \\w \\$ ", self.prompt))]
    }
}
