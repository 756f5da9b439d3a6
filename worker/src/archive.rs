//! Archives of git sources as streams.

use std::{io, sync::Arc};

use bytes::Bytes;
use futures::StreamExt as _;
use slipway_backend::ByteStream;
use slipway_digest::CommitId;
use slipway_git::{ArchiveOptions, GitView};
use slipway_paths::Scope;
use slipway_process::{Tasks, caught};
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

/// Runs `write` on the blocking pool and streams what it writes. A stream that ends without an error is whole.
pub(crate) fn pipe(
    tasks: &Tasks,
    write: impl FnOnce(&mut dyn io::Write) -> io::Result<()> + Send + 'static,
) -> ByteStream {
    let (sender, receiver) = mpsc::channel(WAITING);
    let (work, end) = (tasks.clone(), sender.clone());
    tasks.spawn(async move {
        let written = work.blocking(move || {
            let mut chunks = Chunks { sender, chunk: Vec::with_capacity(CHUNK) };
            write(&mut chunks).and_then(|()| io::Write::flush(&mut chunks))
        });
        let written = caught(written).await.map_err(io::Error::other).and_then(|written| written);
        // A reader that hung up has its own error already.
        let _ = end.send(written.map(|()| Bytes::new())).await;
    });
    let broken_off = || Err(io::Error::other("the archive broke off: the build is being given up"));
    let next = move |state: Option<mpsc::Receiver<io::Result<Bytes>>>| async move {
        let mut receiver = state?;
        match receiver.recv().await {
            // The end, and not only the end of what came through.
            Some(Ok(chunk)) if chunk.is_empty() => None,
            Some(Ok(chunk)) => Some((Ok(chunk), Some(receiver))),
            Some(Err(error)) => Some((Err(error), None)),
            None => Some((broken_off(), None)),
        }
    };
    futures::stream::unfold(Some(receiver), next).boxed()
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

#[cfg(test)]
mod tests {
    use futures::TryStreamExt as _;

    use super::*;

    async fn read(stream: ByteStream) -> io::Result<usize> {
        stream.try_fold(0, |sum, chunk| async move { Ok(sum + chunk.len()) }).await
    }

    #[tokio::test]
    async fn what_is_written_comes_through_whole() {
        let stream = pipe(&Tasks::new(), |out| out.write_all(&vec![7; 3 * CHUNK + 5]));
        assert_eq!(read(stream).await.ok(), Some(3 * CHUNK + 5));
        assert_eq!(read(pipe(&Tasks::new(), |_| Ok(()))).await.ok(), Some(0));
    }

    /// A reader must never take a part for the whole.
    #[tokio::test]
    async fn what_breaks_off_does_not_look_like_the_end() {
        let half = |out: &mut dyn io::Write| out.write_all(&vec![7; CHUNK]);
        let failed = pipe(&Tasks::new(), move |out| half(out).and(Err(io::Error::other("no more"))));
        assert!(read(failed).await.is_err_and(|error| error.to_string() == "no more"));
        let panicked = pipe(&Tasks::new(), move |out| {
            half(out)?;
            panic!("a bug")
        });
        assert!(read(panicked).await.is_err_and(|error| error.to_string().contains("a bug")));
        let cancelled = Tasks::new();
        cancelled.shut_down().await;
        assert!(read(pipe(&cancelled, half)).await.is_err());
    }
}
