//! Tar archives: a strict reader and a deterministic writer.
//!
//! The reader takes ustar, pax and GNU archives (long names, sparse files of all four forms). Wherever tar programs are
//! known to read the same bytes differently, it refuses: a size that pax and ustar headers tell apart, content behind
//! what has none, sizes and names in global headers, numbers that are none, names told twice or not at all, files named as
//! directories, holes described in part. `scripts/fuzz tar` holds it against two of them.

mod header;
mod pax;
mod reader;
mod sparse;
#[cfg(test)]
mod tests;
mod writer;

pub use reader::{Limits, TarReader};
pub use writer::TarWriter;

/// Bytes of a block: headers are one block, content is padded to blocks.
pub(crate) const BLOCK: usize = 512;

/// Whether the beginning of a file is that of an archive with at least one entry.
pub fn begins_archive(beginning: &[u8]) -> bool {
    let block = beginning.get(..BLOCK).and_then(|block| <[u8; BLOCK]>::try_from(block).ok());
    block.is_some_and(|block| block != [0; BLOCK] && header::Header::check(block).is_ok())
}
