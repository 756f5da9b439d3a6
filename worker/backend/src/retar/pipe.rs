//! The rewriting as a stream: the blocking work runs on a thread of its own, with a bounded channel behind it.

use std::io;

use tokio_util::io::{StreamReader, SyncIoBridge};

use super::{Rewrite, rewrite};
use crate::{
    ByteStream,
    pipe::{sized, started},
};

/// Bytes that are handed on at once.
const CHUNK: usize = 128 * 1024;
/// Chunks that wait for a slow reader.
const WAITING: usize = 8;

/// Rewrites an archive on its way. A failure is the last item: an [`io::Error`] around a
/// [`RetarError`](super::RetarError). Nothing is read, and no thread taken, before the first chunk is asked for.
pub fn stream(input: ByteStream, how: Rewrite) -> ByteStream {
    started(async move {
        let (mut output, pieces) = sized(CHUNK, WAITING);
        let reader = SyncIoBridge::new(StreamReader::new(input));
        tokio::task::spawn_blocking(move || {
            if let Err(error) = rewrite(reader, &mut output, how) {
                output.fail(io::Error::from(error));
            }
        });
        pieces
    })
}
