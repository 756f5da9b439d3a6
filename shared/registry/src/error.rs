//! What can go wrong in talking to a registry.

/// A request that did not succeed. The message names the operation, the repository and what the registry said;
/// never a credential.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RegistryError {
    /// A blob, manifest, repository or upload is not there.
    #[error("{0}")]
    NotFound(String),
    /// Credentials are missing or do not suffice.
    #[error("{0}")]
    Denied(String),
    /// The registry refuses the request for good: malformed, unsupported, too large.
    #[error("{0}")]
    Refused(String),
    /// Bytes are not what their digest says.
    #[error("{0}")]
    Corrupt(String),
    /// No answer, or answers that promise a later try (after all tries were used up).
    #[error("{0}")]
    Unavailable(String),
}

impl RegistryError {
    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}
