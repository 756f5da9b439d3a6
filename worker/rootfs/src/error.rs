//! Errors of files, archives and registries as errors of the backend.

use std::io;

use slipway_backend::BackendError;
use slipway_layers::LayerError;
use slipway_registry::RegistryError;

/// What an error of layers means for whoever was `doing` something.
pub fn layers(doing: &str, error: LayerError) -> BackendError {
    let text = format!("{doing}: {error}");
    if error.is_full() {
        return BackendError::NoSpace(text);
    }
    match error {
        LayerError::Bad(_) => BackendError::Refused(text),
        LayerError::Corrupt(_) | LayerError::TooMuch(_) | LayerError::Io { .. } => BackendError::Engine(text),
    }
}

/// What an error of the system means.
pub fn system(doing: &str, error: io::Error) -> BackendError {
    layers(doing, LayerError::io("ask the system", error))
}

/// What an error of an archive on its way means: its own reason, where it has one.
pub fn archive(doing: &str, error: LayerError) -> BackendError {
    let LayerError::Io { doing: inner, error } = error else { return layers(doing, error) };
    let retar = error.get_ref().and_then(|inner| inner.downcast_ref::<slipway_backend::retar::RetarError>());
    match retar {
        Some(bad) => BackendError::Refused(format!("{doing}: {bad}")),
        None => layers(doing, LayerError::Io { doing: inner, error }),
    }
}

/// What an error of a registry means.
pub fn registry(doing: &str, error: RegistryError) -> BackendError {
    let text = format!("{doing}: {error}");
    match error {
        RegistryError::NotFound(_) => BackendError::Gone(text),
        RegistryError::Denied(_) | RegistryError::Refused(_) => BackendError::Refused(text),
        RegistryError::Corrupt(_) | RegistryError::Unavailable(_) => BackendError::Engine(text),
    }
}
