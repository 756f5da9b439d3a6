//! Errors of a job as the coordinator is told them.

use slipway_backend::BackendError;
use slipway_git::GitError;
use slipway_oci::ImageAt;
use slipway_protocol::Failure;

use crate::sources::SourceError;

/// A failure of the engine, with what was being done.
pub(super) fn backend(doing: &str, error: BackendError) -> Failure {
    let retryable = error.is_retryable();
    let told = |why: String| Failure { retryable, why, exit: None, line: None, tail: Vec::new(), lost: None };
    match error {
        BackendError::Command { exit, line, ref tail, .. } => {
            Failure { exit: Some(exit), line, tail: tail.clone(), ..told(error.to_string()) }
        }
        // The place says which file it is.
        BackendError::Instruction { line, error } => Failure { line: Some(line), ..told(error.to_string()) },
        BackendError::Refused(_) | BackendError::Gone(_) | BackendError::NoSpace(_) | BackendError::Engine(_) => {
            told(format!("{doing}: {error}"))
        }
    }
}

/// A failure to get at a stored stage. When it is gone, another try would not find it either: it must be built again.
pub(super) fn stage(doing: &str, at: &ImageAt, error: BackendError) -> Failure {
    let gone = matches!(error, BackendError::Gone(_));
    let failure = backend(doing, error);
    if gone { Failure { retryable: false, lost: Some(at.clone()), ..failure } } else { failure }
}

/// A source that is not at hand, with what was being done.
pub(super) fn source(doing: &str, error: &SourceError) -> Failure {
    let retryable = matches!(error, SourceError::NotBrought(_));
    Failure { retryable, ..plain(format!("{doing}: {error}")) }
}

/// A failure of git, with what was being done. Another try would find the same repository.
pub(super) fn git(doing: &str, error: &GitError) -> Failure {
    plain(format!("{doing}: {error}"))
}

/// A failure that another try would not mend, in these words.
pub(super) fn plain(why: String) -> Failure {
    Failure { retryable: false, why, exit: None, line: None, tail: Vec::new(), lost: None }
}
