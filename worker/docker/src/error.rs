//! Engine errors as backend errors: every message says what was being done.

use std::io;

use bollard::errors::Error;
use slipway_backend::{BackendError, retar::RetarError};

/// What the engine's error means for whoever asked for `doing`.
pub(crate) fn failed(doing: &str, error: Error) -> BackendError {
    let text = match &error {
        Error::DockerResponseServerError { message, .. } => message.clone(),
        Error::DockerStreamError { error } => error.clone(),
        Error::RequestTimeoutError => "the Docker engine did not answer in time".to_owned(),
        Error::IOError { err } => format!("the Docker engine does not answer: {err}"),
        other => chain(other),
    };
    let message = format!("{doing}: {}", text.trim());
    if text.contains("no space left on device") {
        BackendError::NoSpace(message)
    } else {
        BackendError::Engine(message)
    }
}

/// Whether the engine says that what was named is not there.
pub(crate) fn is_missing(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 404, .. })
}

/// Whether the engine says that something stands in the way: a name taken, an image in use.
pub(crate) fn is_conflict(error: &Error) -> bool {
    matches!(error, Error::DockerResponseServerError { status_code: 409, .. })
}

/// What a failing archive means: a bad archive is the user's to mend, a broken stream may be tried again.
pub(crate) fn archive_failed(doing: &str, error: &io::Error) -> BackendError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<RetarError>()) {
        Some(bad) => BackendError::Refused(format!("{doing}: {bad}")),
        None if error.kind() == io::ErrorKind::StorageFull => BackendError::NoSpace(format!("{doing}: {error}")),
        None => BackendError::Engine(format!("{doing}: {error}")),
    }
}

/// An error with its causes: those of the HTTP client tell nothing by themselves.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        cause = inner.source();
    }
    text
}
