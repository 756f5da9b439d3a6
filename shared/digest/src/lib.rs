//! Canonical encoding, checksums, and the identities made of them.
//!
//! Everything that is hashed goes through [`Encoder`]: a length-prefixed encoding in which no two different
//! inputs give the same bytes, with the scheme's version in front. `docs/reference/digest.md` specifies it byte
//! for byte; the golden vectors in this crate's tests hold it.
//!
//! Reading order: [`encoder`] (how bytes are made), [`checksum`] (what is made of them), [`ids`] (what is named), [`text`] (how it travels).
//!
//! This crate does no IO and knows nothing of images: which fields a stage hashes is decided in `stages`.

pub mod checksum;
pub mod encoder;
pub mod ids;
pub mod text;

pub use checksum::Checksum;
pub use encoder::{Encoder, SCHEME};
pub use ids::{CommitId, Millis, ParseIdError, StageDigest, StageId};
