//! Image layers on disk: read from and written to tar streams, kept unpacked, evicted.
//!
//! This crate knows files, archives and digests; not containers, registries or stages. All of it blocks.
//!
//! Reading order: [`entry`] (a file as archives describe it), [`tar`] (a strict reader and a deterministic writer),
//! [`codec`] (compression and digests of streams), [`root`] (a directory that paths cannot leave), [`unpack`] (archive
//! to directory) and [`pack`] (directory to archive) with the whiteouts of both, [`stream`] (directory to compressed
//! archive, all steps at once), [`copy`] and [`changes`] (layers without overlay), [`store`] (layers and images of a host);
//! by itself: [`archive`] (images in archives of a project).

pub mod archive;
pub mod changes;
pub mod codec;
pub mod copy;
pub mod entry;
mod error;
pub mod pack;
pub mod root;
pub mod store;
pub mod stream;
pub mod tar;
pub mod unpack;
pub mod userns;

pub use error::LayerError;
pub use store::{ChainId, Layer, Store};
