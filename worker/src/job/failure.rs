//! Errors of a job as the coordinator is told them.

use slipway_backend::BackendError;
use slipway_git::GitError;
use slipway_protocol::Failure;

/// A failure of the engine, with what was being done.
pub(super) fn backend(doing: &str, error: BackendError) -> Failure {
    let retryable = error.is_retryable();
    let why = match &error {
        BackendError::Command { .. } => error.to_string(),
        BackendError::Refused(_) | BackendError::Gone(_) | BackendError::NoSpace(_) | BackendError::Engine(_) => {
            format!("{doing}: {error}")
        }
    };
    match error {
        BackendError::Command { exit, line, tail } => Failure { retryable, why, exit: Some(exit), line, tail },
        BackendError::Refused(_) | BackendError::Gone(_) | BackendError::NoSpace(_) | BackendError::Engine(_) => {
            Failure { retryable, why, exit: None, line: None, tail: Vec::new() }
        }
    }
}

/// A failure of git, with what was being done. Another try would find the same repository.
pub(super) fn git(doing: &str, error: &GitError) -> Failure {
    Failure { retryable: false, why: format!("{doing}: {error}"), exit: None, line: None, tail: Vec::new() }
}
