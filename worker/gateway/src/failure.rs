//! Why something came to an end for good: told to the engine at once, and to the worker afterwards.

use std::io;

use axum::response::Response;
use http::StatusCode;
use slipway_backend::BackendError;
use slipway_registry::RegistryError;

use crate::answer;

/// What kind of failure it is: what the worker may do about it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// The image or a blob of it is not there.
    Gone,
    /// The registry wants other credentials.
    Denied,
    /// The registry, or the gateway, refuses for good.
    Refused,
    /// Bytes are not what their digest says, or reading broke off: another request may do better.
    Broken,
    /// The registry does not answer; it was asked several times.
    Unavailable,
    /// The disk of the cache is full.
    NoSpace,
}

/// A failure with what the user should read. Never holds a credential.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    /// A failure of the cache's files; `doing` says what was being done.
    pub(crate) fn disk(doing: &str, error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::NoSpace,
            _ => Kind::Unavailable,
        };
        Self::new(kind, format!("{doing}: {error}"))
    }

    /// Whether a second request for the same thing may end otherwise.
    pub(crate) fn is_passing(&self) -> bool {
        match self.kind {
            Kind::Broken => true,
            Kind::Gone | Kind::Denied | Kind::Refused | Kind::Unavailable | Kind::NoSpace => false,
        }
    }

    /// What a failed look for a blob comes to: some registries refuse questions about a repository that is yet to be
    /// made, so the blob counts as absent, and its upload will tell. One that does not answer will not take it either.
    pub(crate) fn unless_unavailable<T>(self) -> Result<Option<T>, Self> {
        match self.kind {
            Kind::Unavailable => Err(self),
            Kind::Gone | Kind::Denied | Kind::Refused | Kind::Broken | Kind::NoSpace => {
                tracing::debug!(message = self.message, "a look for a blob was refused");
                Ok(None)
            }
        }
    }

    /// What an engine is answered: a status and a code at which it gives up without trying again.
    pub(crate) fn response(&self) -> Response {
        let code = match self.kind {
            Kind::Denied => "DENIED",
            Kind::Gone | Kind::Refused | Kind::Broken | Kind::Unavailable | Kind::NoSpace => "UNSUPPORTED",
        };
        answer::error(StatusCode::FORBIDDEN, code, &self.message)
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        let kind = match &error {
            RegistryError::NotFound(_) => Kind::Gone,
            RegistryError::Denied(_) => Kind::Denied,
            RegistryError::Refused(_) => Kind::Refused,
            RegistryError::Corrupt(_) => Kind::Broken,
            RegistryError::Unavailable(_) => Kind::Unavailable,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<Failure> for BackendError {
    fn from(failure: Failure) -> Self {
        match failure.kind {
            Kind::Gone => Self::Gone(failure.message),
            Kind::Denied | Kind::Refused => Self::Refused(failure.message),
            Kind::Broken | Kind::Unavailable => Self::Engine(failure.message),
            Kind::NoSpace => Self::NoSpace(failure.message),
        }
    }
}
