//! Client of the OCI distribution API: tags, manifests, blobs; authentication, retries, pagination, mounts.
//!
//! The only things a caller says are what and where; tokens, redirects, back-off and `Retry-After` are handled here.

pub mod client;
pub mod error;

pub use client::{Client, Options, RawManifest, Upload};
pub use error::RegistryError;
