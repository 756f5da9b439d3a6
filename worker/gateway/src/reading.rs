//! Reading a cached blob, or one that is on its way into the cache.

use std::{fs::File, ops::Range, os::unix::fs::FileExt as _, sync::Arc};

use bytes::Bytes;
use futures::{Stream, stream};
use sha2::{Digest as _, Sha256};
use slipway_oci::BlobDigest;
use tokio::sync::watch;

use crate::{
    cache::Cache,
    download::{Progress, Source, is_digest},
    failure::{Failure, Kind},
};

/// Bytes that are read at once.
const READ_SIZE: u64 = 256 * 1024;

/// An open blob.
#[derive(Debug)]
pub(crate) struct Reading {
    cache: Arc<Cache>,
    digest: BlobDigest,
    size: u64,
    file: Arc<File>,
    /// `None` when all of it is there.
    progress: Option<watch::Receiver<Progress>>,
}

impl Reading {
    /// Reads a file that is complete.
    pub(crate) fn of_file(cache: &Arc<Cache>, source: &Source, file: Arc<File>) -> Self {
        Self { cache: Arc::clone(cache), digest: source.digest.clone(), size: source.size, file, progress: None }
    }

    /// Reads a file that is being written.
    pub(crate) fn following(
        cache: &Arc<Cache>,
        source: &Source,
        file: Arc<File>,
        progress: watch::Receiver<Progress>,
    ) -> Self {
        Self { progress: Some(progress), ..Self::of_file(cache, source, file) }
    }

    /// Waits until there is something to read, so that a failure can still be told in words.
    pub(crate) async fn ready(&mut self) -> Result<(), Failure> {
        self.readable(0).await.map(drop)
    }

    /// The bytes of `range`, as they come. Read as a whole, a complete file is verified before its last bytes are
    /// handed out; a file on its way is verified by its download.
    pub(crate) fn bytes(self, range: Range<u64>) -> impl Stream<Item = Result<Bytes, Failure>> + Send + 'static {
        let whole = range == (0..self.size) && self.progress.is_none();
        let state = (self, range, whole.then(Sha256::new));
        stream::try_unfold(state, |(mut reading, range, mut hash)| async move {
            if range.is_empty() {
                return Ok(None);
            }
            let until = reading.readable(range.start).await?.min(range.end).min(range.start + READ_SIZE);
            let bytes = reading.read(range.start..until).await?;
            if let Some(hash) = &mut hash {
                hash.update(&bytes);
                if until == reading.size && !is_digest(hash, &reading.digest) {
                    return Err(reading.spoilt().await);
                }
            }
            Ok(Some((bytes, (reading, until..range.end, hash))))
        })
    }

    /// How far can be read, once it is beyond `position` (or the end).
    async fn readable(&mut self, position: u64) -> Result<u64, Failure> {
        let Some(progress) = &mut self.progress else { return Ok(self.size) };
        let beyond = |progress: &Progress| match progress {
            Progress::Readable(readable) => *readable > position,
            Progress::Done | Progress::Failed(_) => true,
        };
        let Ok(now) = progress.wait_for(beyond).await else {
            return Err(Failure::new(Kind::Broken, format!("read blob {}: it was cancelled", self.digest)));
        };
        match &*now {
            Progress::Readable(readable) => Ok(*readable),
            Progress::Done => Ok(self.size),
            Progress::Failed(failure) => Err(failure.clone()),
        }
    }

    async fn read(&self, range: Range<u64>) -> Result<Bytes, Failure> {
        let file = Arc::clone(&self.file);
        let length = usize::try_from(range.end - range.start).unwrap_or_default();
        let work = move || {
            let mut buffer = vec![0; length];
            file.read_exact_at(&mut buffer, range.start).map(|()| Bytes::from(buffer))
        };
        let read = self.cache.tasks.blocking(work).await;
        read.map_err(|error| Failure::disk("read the blob cache", &error))
    }

    async fn spoilt(&self) -> Failure {
        self.cache.discard(&self.digest).await;
        Failure::new(Kind::Broken, format!("the cached bytes of blob {} were damaged; removed", self.digest))
    }
}
