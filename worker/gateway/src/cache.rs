//! Blobs on disk, by digest: what was fetched once is read from here.
//!
//! A blob is written aside to a partial file and gets its name only when its bytes were found to have its digest. Who
//! wants a blob that is on its way follows the one download. Reading goes by open files, so removing the least
//! recently used blobs disturbs nobody. Several processes may share the directory: a partial file is locked by its
//! owner, and one that can be locked by another is garbage.

use std::{
    collections::HashMap,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use slipway_oci::BlobDigest;
use slipway_process::Tasks;
use tokio::sync::watch;

use crate::{
    download::{Download, Partial, Progress, Source},
    failure::{Failure, Kind},
    locked::locked,
    reading::Reading,
};

const BLOB_PREFIX: &str = "sha256-";
const PARTIAL_PREFIX: &str = "partial-";

/// The cache.
#[derive(Debug)]
pub(crate) struct Cache {
    directory: PathBuf,
    limit: u64,
    /// How long an upstream may be silent in the middle of a blob.
    pub(crate) idle: Duration,
    pub(crate) tasks: Tasks,
    index: Mutex<Index>,
}

#[derive(Debug, Default)]
struct Index {
    ready: HashMap<BlobDigest, Kept>,
    loading: HashMap<BlobDigest, (Arc<File>, watch::Receiver<Progress>)>,
    total: u64,
    uses: u64,
}

#[derive(Debug)]
struct Kept {
    size: u64,
    used: u64,
}

/// What a look at the index and the disk came to.
enum Found {
    Reading(Reading),
    Missing,
}

impl Cache {
    /// A cache in `directory`, which is made when it is missing, of at most `limit` bytes.
    pub(crate) fn open(directory: PathBuf, limit: u64, idle: Duration, tasks: Tasks) -> io::Result<Self> {
        fs::create_dir_all(&directory)?;
        let mut found = Vec::new();
        for entry in fs::read_dir(&directory)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.starts_with(PARTIAL_PREFIX) {
                remove_garbage(&entry.path());
            } else if let Some(digest) = digest_of(name) {
                let metadata = entry.metadata()?;
                found.push((metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH), digest, metadata.len()));
            }
        }
        found.sort();
        let mut index = Index::default();
        for (_, digest, size) in found {
            index.add(digest, size);
        }
        let cache = Self { directory, limit, idle, tasks, index: Mutex::new(index) };
        cache.remove_files(&locked(&cache.index).excess(limit));
        Ok(cache)
    }

    /// The blob that `source` describes, from disk, from the download that is under way, or from a new one.
    pub(crate) async fn get(self: &Arc<Self>, source: Source) -> Result<Reading, Failure> {
        // Each turn after the first means that another reader's download began or ended in between.
        for _ in 0..10 {
            if let Found::Reading(reading) = self.find(&source).await? {
                return Ok(reading);
            }
            let partial = self.new_partial().await?;
            if let Some(reading) = self.begin(&source, partial) {
                return Ok(reading);
            }
        }
        Err(Failure::new(Kind::Unavailable, format!("blob {} vanishes from the cache again and again", source.digest)))
    }

    /// Makes a verified partial file the cached blob. Not being able to is no reason to fail: it was read all the same.
    pub(crate) async fn keep(self: &Arc<Self>, digest: &BlobDigest, size: u64, partial: Partial) {
        let path = self.path(digest);
        let cache = Arc::clone(self);
        let digest = digest.clone();
        let work = move || {
            let renamed = partial.become_file(&path);
            if let Err(error) = &renamed {
                tracing::warn!(%error, path = %path.display(), "a fetched blob cannot be kept in the cache");
            }
            let removed = {
                let mut index = locked(&cache.index);
                if renamed.is_ok() {
                    index.add(digest, size);
                }
                index.excess(cache.limit)
            };
            cache.remove_files(&removed);
        };
        self.tasks.blocking(work).await;
    }

    /// Forgets a download that failed.
    pub(crate) fn give_up(&self, digest: &BlobDigest) {
        locked(&self.index).loading.remove(digest);
    }

    /// Removes a blob whose bytes turned out wrong.
    pub(crate) async fn discard(&self, digest: &BlobDigest) {
        locked(&self.index).remove(digest);
        let path = self.path(digest);
        self.tasks.blocking(move || drop(fs::remove_file(path))).await;
    }

    async fn find(self: &Arc<Self>, source: &Source) -> Result<Found, Failure> {
        let was_ready = {
            let index = locked(&self.index);
            if let Some((file, progress)) = index.loading.get(&source.digest) {
                return Ok(Found::Reading(Reading::following(self, source, Arc::clone(file), progress.clone())));
            }
            index.ready.contains_key(&source.digest)
        };
        let (path, size) = (self.path(&source.digest), source.size);
        let opened = self.tasks.blocking(move || open_of_size(&path, size)).await;
        let file = opened.map_err(|error| Failure::disk("read a cached blob", &error))?;
        let mut index = locked(&self.index);
        match file {
            Some(file) => {
                index.add(source.digest.clone(), size);
                Ok(Found::Reading(Reading::of_file(self, source, Arc::new(file))))
            }
            None => {
                if was_ready {
                    index.remove(&source.digest);
                }
                Ok(Found::Missing)
            }
        }
    }

    /// Begins a download, unless another one began or ended since the index was looked at.
    fn begin(self: &Arc<Self>, source: &Source, partial: Partial) -> Option<Reading> {
        let (sender, receiver) = watch::channel(Progress::Readable(0));
        let file = partial.file();
        {
            let mut index = locked(&self.index);
            if index.ready.contains_key(&source.digest) || index.loading.contains_key(&source.digest) {
                return None;
            }
            index.loading.insert(source.digest.clone(), (Arc::clone(&file), receiver.clone()));
        }
        let download = Download::new(Arc::clone(self), source.clone(), partial, sender);
        // Nobody waits for the task: it tells of itself through the channel.
        drop(self.tasks.spawn(download.run()));
        Some(Reading::following(self, source, file, receiver))
    }

    async fn new_partial(&self) -> Result<Partial, Failure> {
        let path = self.directory.join(format!("{PARTIAL_PREFIX}{}", slipway_process::random_id()));
        let made = self.tasks.blocking(move || Partial::create(path)).await;
        made.map_err(|error| Failure::disk("make a file in the blob cache", &error))
    }

    fn path(&self, digest: &BlobDigest) -> PathBuf {
        self.directory.join(digest.as_str().replacen(':', "-", 1))
    }

    fn remove_files(&self, digests: &[BlobDigest]) {
        for digest in digests {
            let _ = fs::remove_file(self.path(digest));
        }
    }
}

impl Index {
    /// Adds a blob, or counts a use of it.
    fn add(&mut self, digest: BlobDigest, size: u64) {
        self.uses += 1;
        let kept = Kept { size, used: self.uses };
        let before = self.ready.insert(digest, kept).map_or(0, |kept| kept.size);
        self.total = self.total - before + size;
    }

    fn remove(&mut self, digest: &BlobDigest) {
        self.total -= self.ready.remove(digest).map_or(0, |kept| kept.size);
    }

    /// Takes out the least recently used blobs until the rest has at most `limit` bytes.
    fn excess(&mut self, limit: u64) -> Vec<BlobDigest> {
        let mut removed = Vec::new();
        while self.total > limit {
            let oldest = self.ready.iter().min_by_key(|(_, kept)| kept.used).map(|(digest, _)| digest.clone());
            let Some(oldest) = oldest else { break };
            self.remove(&oldest);
            removed.push(oldest);
        }
        removed
    }
}

fn digest_of(name: &str) -> Option<BlobDigest> {
    name.starts_with(BLOB_PREFIX).then(|| name.replacen('-', ":", 1).parse().ok())?
}

/// Opens a file if it is there and has the right size; one of another size was cut short and is removed.
fn open_of_size(path: &Path, size: u64) -> io::Result<Option<File>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if file.metadata()?.len() == size {
        return Ok(Some(file));
    }
    fs::remove_file(path)?;
    Ok(None)
}

/// Removes a partial file whose owner is dead.
fn remove_garbage(path: &Path) {
    let Ok(file) = File::open(path) else { return };
    match file.try_lock() {
        Ok(()) => drop(fs::remove_file(path)),
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => {}
    }
}

#[cfg(test)]
mod tests;
