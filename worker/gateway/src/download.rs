//! One blob on its way into the cache.
//!
//! The bytes go to a partial file; readers are told how far they may read. The last bytes are readable only when the
//! whole was found to have its digest, so nobody ever reads a wrong blob to its end.

use std::{
    fmt,
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, future::BoxFuture};
use sha2::{Digest as _, Sha256};
use slipway_backend::ByteStream;
use slipway_oci::BlobDigest;
use slipway_registry::RegistryError;
use tokio::{sync::watch, time::Instant};

use crate::{
    cache::Cache,
    failure::{Failure, Kind},
};

/// Bytes that are gathered before they are written.
const WRITE_SIZE: usize = 256 * 1024;
/// How often a blob is begun, when it breaks off.
const STARTS: u32 = 3;
/// How long a download goes on when nobody reads it: an engine that lost its connection comes back.
const UNREAD_LIMIT: Duration = Duration::from_secs(30);

/// Begins to read a blob upstream: its size and bytes.
type Fetch = Arc<dyn Fn() -> BoxFuture<'static, Result<(u64, ByteStream), RegistryError>> + Send + Sync>;

/// A blob to be had.
#[derive(Clone)]
pub(crate) struct Source {
    /// Its digest.
    pub(crate) digest: BlobDigest,
    /// Its size in bytes, as the manifest has it.
    pub(crate) size: u64,
    /// Where it comes from.
    pub(crate) fetch: Fetch,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("digest", &self.digest).field("size", &self.size).finish_non_exhaustive()
    }
}

/// How far a download is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// That many bytes can be read; more are coming.
    Readable(u64),
    /// All bytes can be read.
    Done,
    /// No more will come.
    Failed(Failure),
}

/// A file that is being written and locked by this process. Removed when dropped.
#[derive(Debug)]
pub(crate) struct Partial {
    file: Arc<File>,
    path: Option<PathBuf>,
}

impl Partial {
    /// Makes the file.
    pub(crate) fn create(path: PathBuf) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create_new(true).open(&path)?;
        match file.try_lock() {
            Ok(()) | Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        Ok(Self { file: Arc::new(file), path: Some(path) })
    }

    /// The open file.
    pub(crate) fn file(&self) -> Arc<File> {
        Arc::clone(&self.file)
    }

    /// Gives the file its final name.
    pub(crate) fn become_file(mut self, path: &Path) -> io::Result<()> {
        if let Some(own) = &self.path {
            fs::rename(own, path)?;
        }
        self.path = None;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}

/// A download: to be run as a task.
pub(crate) struct Download {
    cache: Arc<Cache>,
    source: Source,
    partial: Partial,
    progress: watch::Sender<Progress>,
    hash: Sha256,
    written: u64,
    unread_since: Option<Instant>,
}

/// How a try ended before the blob did.
enum Broken {
    /// Another try may go on from here.
    Off(String),
    /// It is over.
    Final(Failure),
}

impl Download {
    /// A download into `partial`, watched through `progress`.
    pub(crate) fn new(cache: Arc<Cache>, source: Source, partial: Partial, progress: watch::Sender<Progress>) -> Self {
        Self { cache, source, partial, progress, hash: Sha256::new(), written: 0, unread_since: None }
    }

    /// Fetches the blob and tells how it ended. Dropped before its end (at a shutdown), it leaves no file.
    pub(crate) async fn run(mut self) {
        // The index must never name a download that is no more.
        let forget = Forget { cache: Arc::clone(&self.cache), digest: self.source.digest.clone() };
        let end = match self.fetch().await {
            Ok(()) => {
                self.cache.keep(&self.source.digest, self.source.size, self.partial).await;
                Progress::Done
            }
            Err(failure) => Progress::Failed(failure),
        };
        drop(forget);
        self.progress.send_replace(end);
    }

    async fn fetch(&mut self) -> Result<(), Failure> {
        let mut last = String::new();
        for _ in 0..STARTS {
            let (size, stream) = (self.source.fetch)().await?;
            if size != self.source.size {
                return Err(self.wrong(format!("its manifest says {} bytes, the registry {size}", self.source.size)));
            }
            match self.copy(stream).await {
                Ok(()) => return Ok(()),
                Err(Broken::Off(why)) => last = why,
                Err(Broken::Final(failure)) => return Err(failure),
            }
            tracing::debug!(digest = %self.source.digest, written = self.written, %last, "a download broke off");
        }
        let digest = &self.source.digest;
        Err(Failure::new(Kind::Unavailable, format!("read blob {digest}: it broke off {STARTS} times: {last}")))
    }

    /// Copies a stream from its beginning, passing over what was written before.
    async fn copy(&mut self, mut stream: ByteStream) -> Result<(), Broken> {
        let mut skip = self.written;
        let mut gathered = BytesMut::new();
        loop {
            let Ok(next) = tokio::time::timeout(self.cache.idle, stream.next()).await else {
                return Err(Broken::Off(format!("nothing came for {} s", self.cache.idle.as_secs())));
            };
            let (mut bytes, ended) = match next {
                Some(Ok(bytes)) => (bytes, false),
                Some(Err(error)) => return Err(Broken::Off(error.to_string())),
                None => (Bytes::new(), true),
            };
            let passed = skip.min(bytes.len() as u64);
            skip -= passed;
            let _ = bytes.split_to(usize::try_from(passed).unwrap_or(usize::MAX).min(bytes.len()));
            gathered.extend_from_slice(&bytes);
            if gathered.len() >= WRITE_SIZE || ended {
                self.write(gathered.split().freeze()).await.map_err(Broken::Final)?;
                self.check_readers().map_err(Broken::Final)?;
            }
            if ended {
                return self.verify();
            }
        }
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), Failure> {
        let offset = self.written;
        self.written += bytes.len() as u64;
        if self.written > self.source.size {
            return Err(self.wrong(format!("it has more than the {} bytes it should have", self.source.size)));
        }
        let (file, mut hash) = (self.partial.file(), self.hash.clone());
        let work = move || {
            hash.update(&bytes);
            file.write_all_at(&bytes, offset).map(|()| hash)
        };
        let done = self.cache.tasks.blocking(work).await;
        self.hash = done.map_err(|error| Failure::disk("write to the blob cache", &error))?;
        if self.written < self.source.size {
            self.progress.send_replace(Progress::Readable(self.written));
        }
        Ok(())
    }

    fn verify(&self) -> Result<(), Broken> {
        if self.written < self.source.size {
            return Err(Broken::Off(format!("only {} of {} bytes came", self.written, self.source.size)));
        }
        if is_digest(&self.hash, &self.source.digest) {
            return Ok(());
        }
        Err(Broken::Final(self.wrong("its bytes have another digest".to_owned())))
    }

    fn check_readers(&mut self) -> Result<(), Failure> {
        // The index holds a receiver too.
        if self.progress.receiver_count() > 1 {
            self.unread_since = None;
            return Ok(());
        }
        if self.unread_since.get_or_insert_with(Instant::now).elapsed() < UNREAD_LIMIT {
            return Ok(());
        }
        Err(Failure::new(Kind::Broken, format!("nobody reads blob {} any more", self.source.digest)))
    }

    fn wrong(&self, why: String) -> Failure {
        Failure::new(Kind::Broken, format!("read blob {}: {why}", self.source.digest))
    }
}

/// Takes a download out of the index when it ends in whatever way.
struct Forget {
    cache: Arc<Cache>,
    digest: BlobDigest,
}

impl Drop for Forget {
    fn drop(&mut self) {
        self.cache.give_up(&self.digest);
    }
}

/// Whether the bytes hashed so far have `digest`.
pub(crate) fn is_digest(hash: &Sha256, digest: &BlobDigest) -> bool {
    digest.as_str().strip_prefix("sha256:") == Some(hex::encode(hash.clone().finalize()).as_str())
}
