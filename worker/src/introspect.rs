//! Shells for the user inside stages.

use async_trait::async_trait;
use slipway_backend::Terminal;

/// When a shell is opened in a stage whose commands failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// In the state that the commands were to start from.
    Before,
    /// In the state that they left.
    After,
}

/// Who lends the user's terminal.
#[async_trait]
pub trait Introspect: Send + Sync {
    /// Whether a shell is wanted when commands fail, and in which state.
    fn on_error(&self) -> Option<Moment>;
    /// Waits for the terminal, says what the shell is about, and lends it; `prompt` begins the shell's.
    async fn lend(&self, said: &str, prompt: &str) -> Option<Terminal>;
}
