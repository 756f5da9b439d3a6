//! Names and documents of container images, as the OCI and Docker formats spell them.
//!
//! Reading order: [`digest`] (names of bytes), [`mod@reference`] (names of images), [`base`] (what images stand on), [`platform`], [`manifest`] and
//! [`config`] (documents), [`change`] (what a build does to a config, with the `CMD`/`ENTRYPOINT` rules), [`respec`]
//! (what `imageSpec` does to the config of a finished image).
//!
//! Raw bytes are kept beside whatever was parsed from them: a digest is of the bytes, never of a re-encoding.

pub mod base;
pub mod change;
pub mod config;
pub mod digest;
pub mod manifest;
pub mod platform;
pub mod reference;
pub mod respec;

pub use base::{ArchiveForm, ArchiveName, BaseName, Which};
pub use change::ConfigChange;
pub use config::{ConfigError, Healthcheck, ImageConfig, RunConfig};
pub use digest::{BlobDigest, DigestError};
pub use manifest::{ATTEMPT_ANNOTATION, Descriptor, Document, Index, Manifest, ManifestError};
pub use platform::{Platform, PlatformError};
pub use reference::{ImageAt, Reference, ReferenceError, Repo};
pub use respec::{Removal, Respec};
