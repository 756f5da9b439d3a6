//! What blocking code writes, as a stream.

use std::io::{self, Write};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use slipway_process::Tasks;
use tokio::sync::mpsc;

use crate::ByteStream;

/// Bytes of a chunk.
const CHUNK: usize = 256 * 1024;
/// Chunks that may wait; the writer waits when there are more. More than one request of an upload takes, so that
/// nothing stops while a registry answers.
const WAITING: usize = 24;

/// A writer into a channel.
pub struct Chunks {
    sender: mpsc::Sender<io::Result<Bytes>>,
    pending: Vec<u8>,
    /// Bytes of a chunk.
    size: usize,
}

/// What is read of it.
pub type Pieces = mpsc::Receiver<io::Result<Bytes>>;

impl Chunks {
    fn send(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.pending, Vec::with_capacity(self.size));
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the reader went away");
        self.sender.blocking_send(Ok(Bytes::from(chunk))).map_err(gone)
    }

    /// Ends with an error. Blocks.
    pub(crate) fn fail(&self, error: io::Error) {
        // Nobody listens any more: there is nobody to tell.
        let _ = self.sender.blocking_send(Err(error));
    }
}

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= self.size {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

/// A pair: blocking code writes to the first, the second is read. The writer must be flushed at its end.
pub fn pair() -> (Chunks, Pieces) {
    sized(CHUNK, WAITING)
}

/// The same with chunks of so many bytes, of which so many may wait.
pub(crate) fn sized(size: usize, waiting: usize) -> (Chunks, Pieces) {
    let (sender, receiver) = mpsc::channel(waiting);
    (Chunks { sender, pending: Vec::with_capacity(size), size }, receiver)
}

/// What `write` writes, from the moment somebody reads. An error ends the stream.
pub fn stream(tasks: &Tasks, write: impl FnOnce(&mut Chunks) -> io::Result<()> + Send + 'static) -> ByteStream {
    let tasks = tasks.clone();
    started(async move {
        let (mut chunks, pieces) = pair();
        let owned = tasks.clone();
        tasks.spawn(async move {
            owned
                .blocking(move || {
                    if let Err(error) = write(&mut chunks).and_then(|()| chunks.flush()) {
                        chunks.fail(error);
                    }
                })
                .await;
        });
        pieces
    })
}

/// A stream that is started when its first chunk is asked for.
pub(crate) fn started(start: impl Future<Output = Pieces> + Send + 'static) -> ByteStream {
    let items =
        |pieces| stream::unfold(pieces, |mut pieces: Pieces| async move { Some((pieces.recv().await?, pieces)) });
    stream::once(start).flat_map(items).boxed()
}
