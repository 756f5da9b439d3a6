//! Names of repositories and images.

use std::{fmt, str::FromStr};

use crate::BlobDigest;

/// A text that names no image or repository.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{text}` is no image reference: {why}")]
pub struct ReferenceError {
    text: String,
    why: &'static str,
}

/// A repository: registry host and path, without tag or digest. For local storages, the project's name.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Repo {
    /// Host and optional port; `docker.io` when the text names none; empty for a local storage.
    pub host: String,
    /// Path below the host.
    pub path: String,
}

/// An image in a place: a repository and the digest of a manifest in it (of a config, in a local storage).
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ImageAt {
    /// Where.
    pub repo: Repo,
    /// What.
    pub digest: BlobDigest,
}

/// An image reference as a user writes it: `[HOST/]PATH[:TAG][@DIGEST]`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Reference {
    /// Host and path.
    pub repo: Repo,
    /// Tag; `latest` when neither tag nor digest is given.
    pub tag: Option<String>,
    /// Manifest digest.
    pub digest: Option<BlobDigest>,
}

impl fmt::Display for Repo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.is_empty() { f.write_str(&self.path) } else { write!(f, "{}/{}", self.host, self.path) }
    }
}

impl fmt::Display for ImageAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repo, self.digest)
    }
}

impl FromStr for Repo {
    type Err = ReferenceError;

    fn from_str(_text: &str) -> Result<Self, ReferenceError> {
        unimplemented!("helper")
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(_text: &str) -> Result<Self, ReferenceError> {
        unimplemented!("helper")
    }
}
