//! Parts of the host that commands see in their container.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A directory, file or socket of the host, in the place of whatever the container has there while its script runs. What
/// is in it is never in an image. The place itself is made where it is missing; whether an empty one stays in the image
/// is up to the backend, so whoever minds puts it there, or takes it away, before the script runs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HostMount {
    /// What is mounted: absolute, and no symbolic link in the end.
    pub source: PathBuf,
    /// Absolute path in the container; its links are followed inside of the container's root.
    pub target: String,
    /// Whether commands may only read it.
    pub read_only: bool,
}
