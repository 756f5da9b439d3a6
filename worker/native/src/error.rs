//! Errors of the parts as errors of the backend.

use slipway_backend::BackendError;
use slipway_registry::RegistryError;

pub(crate) use slipway_rootfs::error::{archive, layers, system};

/// What an error of a registry means.
pub(crate) fn registry(doing: &str, error: RegistryError) -> BackendError {
    let text = format!("{doing}: {error}");
    match error {
        RegistryError::NotFound(_) => BackendError::Gone(text),
        RegistryError::Denied(_) | RegistryError::Refused(_) => BackendError::Refused(text),
        RegistryError::Corrupt(_) | RegistryError::Unavailable(_) => BackendError::Engine(text),
    }
}
