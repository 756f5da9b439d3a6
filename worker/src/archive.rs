//! Archives of git sources as streams.

use std::{io, sync::Arc};

use bytes::Bytes;
use futures::StreamExt as _;
use slipway_backend::ByteStream;
use slipway_digest::CommitId;
use slipway_git::{ArchiveOptions, GitView};
use slipway_paths::Scope;
use slipway_process::Tasks;
use tokio::sync::mpsc;

/// Size of a chunk on its way, in bytes.
const CHUNK: usize = 1 << 16;
/// Chunks that may wait for their reader.
const WAITING: usize = 8;

/// Streams an archive. It is written on the blocking pool, as fast as it is read; an error of git is the stream's.
pub(crate) fn stream(
    tasks: &Tasks,
    git: Arc<dyn GitView>,
    at: CommitId,
    scope: Scope,
    options: ArchiveOptions,
) -> ByteStream {
    pipe(tasks, move |out| git.archive(at, &scope, &options, out).map_err(io::Error::other))
}

/// Runs `write` on the blocking pool and streams what it writes.
pub(crate) fn pipe(
    tasks: &Tasks,
    write: impl FnOnce(&mut dyn io::Write) -> io::Result<()> + Send + 'static,
) -> ByteStream {
    let (sender, receiver) = mpsc::channel(WAITING);
    let work = tasks.clone();
    tasks.spawn(async move {
        work.blocking(move || {
            let mut chunks = Chunks { sender: sender.clone(), chunk: Vec::with_capacity(CHUNK) };
            let written = write(&mut chunks).and_then(|()| io::Write::flush(&mut chunks));
            if let Err(error) = written {
                // A reader that hung up has its own error already.
                let _ = sender.blocking_send(Err(error));
            }
        })
        .await;
    });
    tokio_stream(receiver).boxed()
}

fn tokio_stream(
    receiver: mpsc::Receiver<io::Result<Bytes>>,
) -> impl futures::Stream<Item = io::Result<Bytes>> + Send + 'static {
    futures::stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) })
}

struct Chunks {
    sender: mpsc::Sender<io::Result<Bytes>>,
    chunk: Vec<u8>,
}

impl io::Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK));
        self.sender.blocking_send(Ok(chunk.into())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
