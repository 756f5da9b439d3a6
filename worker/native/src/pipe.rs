//! What blocking code writes, as a stream.

use std::io::{self, Write};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use slipway_backend::ByteStream;
use slipway_process::Tasks;
use tokio::sync::mpsc;

/// Bytes of a chunk.
const CHUNK: usize = 256 * 1024;
/// Chunks that may wait; the writer waits when there are more. More than one request of an upload takes, so that
/// nothing stops while a registry answers.
const WAITING: usize = 24;

/// A writer into a channel.
pub struct Chunks {
    sender: mpsc::Sender<io::Result<Bytes>>,
    pending: Vec<u8>,
}

impl Chunks {
    fn send(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.pending, Vec::with_capacity(CHUNK));
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the reader went away");
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

/// A pair: blocking code writes to the first, the second is read. The writer must be flushed at its end.
pub(crate) fn pair() -> (Chunks, mpsc::Receiver<io::Result<Bytes>>) {
    let (sender, receiver) = mpsc::channel(WAITING);
    (Chunks { sender, pending: Vec::with_capacity(CHUNK) }, receiver)
}

/// What `write` writes, from the moment somebody reads. An error ends the stream.
pub fn stream(tasks: &Tasks, write: impl FnOnce(&mut Chunks) -> io::Result<()> + Send + 'static) -> ByteStream {
    let tasks = tasks.clone();
    let start = async move {
        let (mut chunks, receiver) = pair();
        let owned = tasks.clone();
        tasks.spawn(async move {
            owned
                .blocking(move || {
                    let written = write(&mut chunks).and_then(|()| chunks.flush());
                    if let Err(error) = written {
                        // Nobody listens any more: there is nobody to tell.
                        let _ = chunks.sender.blocking_send(Err(error));
                    }
                })
                .await;
        });
        receiver
    };
    let items = |receiver| {
        stream::unfold(
            receiver,
            |mut receiver: mpsc::Receiver<_>| async move { Some((receiver.recv().await?, receiver)) },
        )
    };
    stream::once(start).flat_map(items).boxed()
}
