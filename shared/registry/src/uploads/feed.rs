//! Part of a blob as the body of a request, read from where the blob lies while the request is sent.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use reqwest::Body;
use tokio::{sync::Notify, time::timeout};

use crate::{RegistryError, call::STORING, download::Pieces};

/// A blob that is read.
pub(super) struct Source {
    pieces: Pieces,
    /// What of the piece read last belongs to the next request.
    over: Bytes,
    /// Bytes given so far, from the start of the blob.
    pub(super) position: u64,
}

impl Source {
    /// A stream that begins at `position` of its blob.
    pub(super) fn new(pieces: Pieces, position: u64) -> Self {
        Self { pieces, over: Bytes::new(), position }
    }

    /// The next bytes, at least one and at most `most`.
    async fn next(&mut self, most: u64) -> Result<Bytes, RegistryError> {
        if self.over.is_empty() {
            let piece = self.pieces.next().await.transpose().map_err(read_error)?;
            self.over = piece.ok_or_else(|| read_error(io::ErrorKind::UnexpectedEof.into()))?;
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX).min(self.over.len());
        let piece = self.over.split_to(most);
        self.position += super::length(&piece);
        Ok(piece)
    }
}

/// What ended a stream too early.
pub(crate) fn read_error(error: io::Error) -> RegistryError {
    match error.downcast::<RegistryError>() {
        Ok(error) => error,
        Err(error) => RegistryError::Unavailable(format!("read a blob: {error}")),
    }
}

/// The body of one request, and what comes back when it is over: the source, unless the request broke off.
#[derive(Default)]
pub(super) struct Feed(Arc<Shared>);

#[derive(Default)]
struct Shared {
    left: Mutex<Left>,
    /// Whether the source is waited for, and not who takes the bytes.
    reading: AtomicBool,
    /// Told with each piece.
    moved: Notify,
}

#[derive(Default)]
struct Left {
    source: Option<Source>,
    error: Option<RegistryError>,
}

impl Feed {
    /// The next `length` bytes of a source, as a body.
    pub(super) fn body(&self, source: Source, length: u64) -> Body {
        Body::wrap_stream(stream::unfold(
            (Some(source), length, Arc::clone(&self.0)),
            |(source, left, shared)| async move {
                let mut source = source?;
                shared.reading.store(true, Ordering::Relaxed);
                let piece = source.next(left).await;
                shared.reading.store(false, Ordering::Relaxed);
                shared.moved.notify_one();
                match piece {
                    Ok(piece) => {
                        let left = left - super::length(&piece);
                        // Whoever sends this does not ask for more after the last byte.
                        let source = if left == 0 { shared.give_back(source) } else { Some(source) };
                        Some((Ok::<Bytes, io::Error>(piece), (source, left, shared)))
                    }
                    Err(error) => {
                        shared.left().error = Some(error);
                        Some((Err(io::Error::other("the blob cannot be read on")), (None, left, shared)))
                    }
                }
            },
        ))
    }

    /// Comes back when nothing was taken for too long, or no answer came after all was.
    pub(super) async fn stalled(&self) {
        while timeout(STORING, self.0.moved.notified()).await.is_ok() || self.0.reading.load(Ordering::Relaxed) {}
    }

    /// The source, if the whole body was taken from it; or why it could not be read.
    pub(super) fn end(self) -> Result<Option<Source>, RegistryError> {
        let left = std::mem::take(&mut *self.0.left());
        left.error.map_or(Ok(left.source), Err)
    }
}

impl Shared {
    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, source: Source) -> Option<Source> {
        self.left().source = Some(source);
        None
    }
}
