//! The rewriting as a stream: the blocking work runs on a thread of its own, with a bounded channel behind it.

use std::io::{self, Write};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use tokio::sync::mpsc;
use tokio_util::io::{StreamReader, SyncIoBridge};

use super::{Rewrite, rewrite};
use crate::ByteStream;

/// Bytes that are handed on at once.
const CHUNK: usize = 128 * 1024;
/// Chunks that wait for a slow reader.
const WAITING: usize = 8;

/// Rewrites an archive on its way. A failure is the last item: an [`io::Error`] around a
/// [`RetarError`](super::RetarError).
pub fn stream(input: ByteStream, how: Rewrite) -> ByteStream {
    let (sender, receiver) = mpsc::channel(WAITING);
    let start = move || {
        let reader = SyncIoBridge::new(StreamReader::new(input));
        tokio::task::spawn_blocking(move || {
            let mut output = Chunks { sender: sender.clone(), pending: Vec::with_capacity(CHUNK) };
            if let Err(error) = rewrite(reader, &mut output, how) {
                // Nobody listens any more: there is nobody to tell.
                let _ = sender.blocking_send(Err(io::Error::from(error)));
            }
        });
        receiver
    };
    // Nothing is read, and no thread taken, before the first chunk is asked for.
    stream::once(async move { start() })
        .flat_map(|receiver| {
            stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) })
        })
        .boxed()
}

/// A writer into a channel.
struct Chunks {
    sender: mpsc::Sender<io::Result<Bytes>>,
    pending: Vec<u8>,
}

impl Chunks {
    fn send(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.pending, Vec::with_capacity(CHUNK));
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the reader of the archive went away");
        self.sender.blocking_send(Ok(Bytes::from(chunk))).map_err(gone)
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= CHUNK {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}
