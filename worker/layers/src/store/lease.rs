//! Leases: locks that say that a layer is in use.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions, TryLockError},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use super::ChainId;

/// Name of the file that is locked.
pub(super) const FILE: &str = "lease";

/// A layer in use: while it lives, no process evicts the layer.
#[derive(Debug)]
pub(super) struct Lease {
    /// Holds the lock.
    file: File,
}

impl Drop for Lease {
    fn drop(&mut self) {
        // A process that is being started at this moment has the file, too, until it runs its program: closing is not enough.
        let _ = self.file.unlock();
    }
}

impl Lease {
    /// One whose shared lock is held.
    pub(super) fn of(file: File) -> Self {
        Self { file }
    }
}

/// The leases of this process: one descriptor per layer, however many use it.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<HashMap<ChainId, Weak<Lease>>>);

impl Leases {
    /// Leases the layer in `directory`; `None` when it is not there.
    pub(super) fn take(&self, chain: &ChainId, directory: &Path) -> io::Result<Option<Arc<Lease>>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lease) = all.get(chain).and_then(Weak::upgrade) {
            return Ok(Some(lease));
        }
        let path = directory.join(FILE);
        let file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        file.lock_shared()?;
        // Somebody may have evicted it before the lock was ours.
        if !is_same(&file, &path)? {
            return Ok(None);
        }
        // The time of its last use.
        touch(&file);
        let lease = Arc::new(Lease::of(file));
        all.retain(|_, known| known.strong_count() > 0);
        all.insert(chain.clone(), Arc::downgrade(&lease));
        Ok(Some(lease))
    }
}

/// The lock of a layer for oneself; `None` while anybody uses it.
pub(super) fn alone(directory: &Path) -> io::Result<Option<File>> {
    let path = directory.join(FILE);
    let file = match OpenOptions::new().read(true).write(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        Ok(()) => Ok(is_same(&file, &path)?.then_some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Whether a file is still the one under its name.
pub(super) fn is_same(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((own.dev(), own.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Says that it was used now.
pub(super) fn touch(file: &File) {
    use rustix::fs::{Timespec, Timestamps, UTIME_NOW, futimens};
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    // Without it the layer only looks older than it is.
    let _ = futimens(file, &Timestamps { last_access: now, last_modification: now });
}

#[cfg(test)]
mod tests {
    use slipway_oci::BlobDigest;

    use super::*;

    #[test]
    fn a_lease_ends_when_it_is_dropped_though_a_child_has_its_file() {
        let layer = tempfile::tempdir().expect("a directory");
        fs::write(layer.path().join(FILE), "").expect("a file");
        let chain = ChainId::of(None, &BlobDigest::of(b"layer"));
        let lease = Leases::default().take(&chain, layer.path()).expect("a look").expect("it is there");
        assert!(alone(layer.path()).expect("a look").is_none(), "it is in use");
        // As a child has it that does not run its program yet.
        let _inherited = lease.file.try_clone().expect("a descriptor");
        drop(lease);
        assert!(alone(layer.path()).expect("a look").is_some(), "nobody uses it");
    }
}
