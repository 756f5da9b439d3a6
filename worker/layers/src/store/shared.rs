//! Directories that builds share from one to the next: caches that commands keep. They count as layers do, and the
//! longest unused goes first.
//!
//! `mounts/NAME/` holds `data/`, the directory; `lease`, which whoever uses it has locked together with others; `door`,
//! which whoever wants to be alone in it locks; and `size`, what it took when it was last used.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use slipway_process::random_id;

use super::{
    Store,
    inventory::size_of,
    lease::{self, Lease},
    write_whole,
};
use crate::LayerError;

/// Directory of the store that they lie in.
pub(super) const MOUNTS: &str = "mounts";
/// Name of the directory itself.
const DATA: &str = "data";
/// Name of the file that its users may lock.
const DOOR: &str = "door";
/// Name of the file with its size.
const SIZE: &str = "size";
/// Evictions that may get in between.
const TRIES: u32 = 100;

/// A shared directory in use: while it lives, no process evicts it.
#[derive(Debug)]
pub struct SharedDirectory {
    path: PathBuf,
    /// Holds the lock.
    _lease: Lease,
}

impl SharedDirectory {
    /// Where it is.
    pub fn path(&self) -> PathBuf {
        self.path.join(DATA)
    }

    /// A file to be locked by those who do not want others in the directory meanwhile, or do not mind them.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn door(&self) -> io::Result<File> {
        OpenOptions::new().create(true).truncate(false).read(true).write(true).open(self.path.join(DOOR))
    }
}

impl Drop for SharedDirectory {
    fn drop(&mut self) {
        // Not knowing its size only lets it count with the one that it had.
        let _ = write_whole(&self.path, SIZE, size_of(&self.path()).to_string().as_bytes());
    }
}

/// A shared directory as the order of eviction sees it.
pub(super) struct Share {
    pub(super) path: PathBuf,
    pub(super) used: SystemTime,
    pub(super) size: u64,
    /// Somebody uses it.
    pub(super) held: bool,
}

impl Store {
    /// The shared directory of a name (letters, digits and dashes), made when it is missing; its owner is whoever
    /// builds. It is measured when it is given back, which may take a while.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn shared_directory(&self, name: &str) -> Result<SharedDirectory, LayerError> {
        let path = self.path(MOUNTS).join(name);
        let doing = |error: io::Error| LayerError::io(format!("make the directory {}", path.display()), error);
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(LayerError::Bad(format!(
                "`{name}` cannot name a directory: only letters, digits and dashes can"
            )));
        }
        for _ in 0..TRIES {
            match take(&path) {
                Ok(Some(lease)) => return Ok(SharedDirectory { path, _lease: Lease::of(lease) }),
                // It was evicted in that very moment.
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(doing(error)),
            }
        }
        Err(doing(io::Error::other("it is removed again and again")))
    }

    /// All shared directories.
    pub(super) fn shares(&self) -> io::Result<Vec<Share>> {
        let mut shares = Vec::new();
        for found in fs::read_dir(self.path(MOUNTS))? {
            let path = found?.path();
            // One that cannot be read is being evicted by another process.
            let Ok(about) = fs::metadata(path.join(lease::FILE)) else { continue };
            let held = lease::alone(&path)?.is_none();
            let used = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            shares.push(Share { size: noted_size(&path), used, held, path });
        }
        Ok(shares)
    }

    /// Bytes of all shared directories.
    pub(super) fn shared_bytes(&self) -> io::Result<u64> {
        fs::read_dir(self.path(MOUNTS))?.try_fold(0, |sum, found| Ok(sum + noted_size(&found?.path())))
    }

    /// Evicts a shared directory unless somebody uses it; whether it went.
    pub(super) fn evict_share(&self, path: &Path) -> io::Result<bool> {
        let Some(_alone) = lease::alone(path)? else { return Ok(false) };
        // First out of sight, then gone.
        let work = self.work(&format!("evicted-{}", random_id())).map_err(io::Error::from)?;
        fs::rename(path, work.path().join("share"))?;
        Ok(true)
    }
}

/// Makes a directory and leases it; `None` when it was evicted before the lock was held.
fn take(path: &Path) -> io::Result<Option<File>> {
    fs::create_dir_all(path.join(DATA))?;
    let lease = path.join(lease::FILE);
    let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&lease)?;
    file.lock_shared()?;
    if !lease::is_same(&file, &lease)? || !path.join(DATA).is_dir() {
        return Ok(None);
    }
    lease::touch(&file);
    Ok(Some(file))
}

fn noted_size(path: &Path) -> u64 {
    fs::read_to_string(path.join(SIZE)).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Options;

    fn store(limit: u64) -> (tempfile::TempDir, Store) {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(&directory.path().join("store"), &Options { limit: Some(limit) }).expect("a store");
        (directory, store)
    }

    fn fill(share: &SharedDirectory, bytes: usize) {
        fs::write(share.path().join("file"), vec![1; bytes]).expect("a file");
    }

    #[test]
    fn what_is_shared_stays_counts_and_goes_when_it_is_long_unused() {
        let (_directory, store) = store(100_000);
        let (old, new) = (store.shared_directory("old").expect("one"), store.shared_directory("new").expect("one"));
        let again = store.shared_directory("old").expect("by two at once");
        fill(&old, 40_000);
        fill(&new, 20_000);
        assert_eq!(again.path(), old.path());
        let paths = [old.path(), new.path()];
        drop((old, new));
        let past = fs::FileTimes::new().set_modified(SystemTime::UNIX_EPOCH);
        let lease = store.path("mounts/old").join(lease::FILE);
        fs::File::options().write(true).open(lease).and_then(|file| file.set_times(past)).expect("a time");
        let usage = store.usage().expect("a measure");
        assert!((60_000..80_000).contains(&usage.shared), "{usage:?}");
        assert_eq!(store.inventory().expect("a look").shared.number, 2);
        // In use: the newer one goes.
        drop(store.admit(70_000).expect_err("one is in use"));
        assert_eq!(paths.clone().map(|path| path.join("file").exists()), [true, false]);
        drop(again);
        drop(store.admit(90_000).expect("nobody uses it now"));
        assert!(!paths[0].exists());
        assert_eq!(store.usage().expect("a measure").shared, 0);
        let fresh = store.shared_directory("old").expect("made again");
        assert!(fs::read_dir(fresh.path()).expect("a listing").next().is_none());
    }

    #[test]
    fn what_would_go_is_told_and_goes() {
        let (_directory, store) = store(100_000);
        fill(&store.shared_directory("cache").expect("one"), 30_000);
        let would = store.reclaim(1000, true).expect("a dry run");
        assert_eq!(would.shared.number, 1);
        assert_eq!(store.inventory().expect("a look").shared.number, 1);
        assert_eq!(store.reclaim(1000, false).expect("a cleanup"), would);
        assert_eq!(store.inventory().expect("a look").shared.number, 0);
        for bad in ["", "a/b", "..", "a.b"] {
            assert!(store.shared_directory(bad).is_err(), "{bad}");
        }
    }

    /// Whoever has the directory has one that is there, whoever evicts meanwhile.
    #[test]
    fn users_and_evictions_get_along() {
        let (_directory, store) = store(1 << 40);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let share = store.shared_directory("busy").expect("a directory");
                        fill(&share, 10);
                        assert!(share.path().join("file").exists());
                    }
                });
            }
            scope.spawn(|| {
                for _ in 0..50 {
                    store.reclaim(0, false).expect("a cleanup");
                }
            });
        });
    }
}
