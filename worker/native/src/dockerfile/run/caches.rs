//! Directories that last from build to build: `RUN --mount=type=cache`.
//!
//! They lie among the directories that builds share, named by what they are made of; so they count against the store's limit,
//! and go when they are long unused. Who is in one, with others or alone, is told by a lock on its door.

use std::{
    fs::{self, File, TryLockError},
    io,
    os::{fd::AsRawFd as _, unix::fs::PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustix::fs::OFlags;
use slipway_backend::BackendError;
use slipway_dockerfile::Sharing;
use slipway_layers::{
    Layer, Store,
    copy::{Names, lay_all},
    store::SharedDirectory,
};
use slipway_oci::BlobDigest;

use crate::{Shared, driver::look, error, workspace::lowers};

/// Copies of one private cache: whoever finds none free waits.
const MOST_PRIVATE: usize = 64;
/// How long is waited before it is looked again whether a cache is free.
const PAUSE: Duration = Duration::from_millis(20);

/// A cache as it is asked for.
#[derive(Clone)]
pub(super) struct Cache {
    pub(super) id: String,
    pub(super) sharing: Sharing,
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    /// What is in it at first: a path in these layers.
    pub(super) from: Option<(Vec<Layer>, String)>,
}

/// A cache in use.
pub(super) struct Taken {
    pub(super) directory: SharedDirectory,
    /// Holds the lock.
    _door: File,
}

impl Cache {
    /// What tells it from others.
    pub(super) fn key(&self) -> String {
        self.name(0)
    }

    /// Names its directory.
    fn name(&self, number: usize) -> String {
        let from = self.from.iter().map(|(layers, path)| {
            let chain = layers.last().map_or("", |layer| layer.chain.hex());
            format!("{chain} {path}")
        });
        let (uid, gid) = self.owner;
        let text = format!("{:?} {:o} {uid}:{gid} {}", self.id, self.mode, from.collect::<String>());
        let digest = BlobDigest::of(text.as_bytes());
        let hex = digest.as_str().trim_start_matches("sha256:");
        if number == 0 { format!("cache-{hex}") } else { format!("cache-{hex}-{number}") }
    }

    /// Takes it for a command; waits until it is free.
    pub(super) async fn take(&self, shared: &Arc<Shared>) -> Result<Taken, BackendError> {
        loop {
            let (cache, owned) = (self.clone(), Arc::clone(shared));
            if let Some(taken) = shared.tasks.blocking(move || cache.try_take(&owned)).await? {
                return Ok(taken);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn try_take(&self, shared: &Shared) -> Result<Option<Taken>, BackendError> {
        let count = if self.sharing == Sharing::Private { MOST_PRIVATE } else { 1 };
        for number in 0..count {
            let name = self.name(number);
            let directory =
                shared.store.shared_directory(&name).map_err(|error| error::layers("open a cache", error))?;
            let system = |error: io::Error| error::system("open a cache", error);
            let door = directory.door().map_err(system)?;
            let locked = match self.sharing {
                Sharing::Shared => door.try_lock_shared(),
                Sharing::Private | Sharing::Locked => door.try_lock(),
            };
            match locked {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => return Err(system(error)),
            }
            self.fill(shared, &directory).map_err(system)?;
            return Ok(Some(Taken { directory, _door: door }));
        }
        Ok(None)
    }

    /// Brings in what it has at first, once.
    fn fill(&self, shared: &Shared, directory: &SharedDirectory) -> io::Result<()> {
        let path = directory.path();
        let mark = path.with_file_name("filled");
        if mark.exists() {
            return Ok(());
        }
        // Of those who share it, one does.
        let lock = File::create(path.with_file_name("filling"))?;
        lock.lock()?;
        if mark.exists() {
            return Ok(());
        }
        if let Some((layers, from)) = &self.from {
            seed(shared, layers, from, &path)?;
        } else {
            fs::set_permissions(&path, fs::Permissions::from_mode(self.mode))?;
            std::os::unix::fs::chown(&path, Some(self.owner.0), Some(self.owner.1))?;
        }
        File::create(mark).map(drop)
    }
}

/// Copies a directory of an image.
fn seed(shared: &Shared, layers: &[Layer], from: &str, to: &Path) -> io::Result<()> {
    let store: &Store = &shared.store;
    let work = store.work(&format!("seed-{}", slipway_process::random_id())).map_err(io::Error::other)?;
    let aside = work.path().join("seed");
    let tree = look(&shared.driver, store, &lowers(shared, layers))?;
    let found = tree.root.at(from.trim_matches('/').as_bytes(), OFlags::PATH | OFlags::DIRECTORY);
    let found = found.map_err(|error| io::Error::new(error.kind(), format!("`{from}`: {error}")))?;
    // By descriptor: what a link leads to stays the same.
    lay_all(&[PathBuf::from(format!("/proc/self/fd/{}", found.as_raw_fd()))], &aside, Names::Kept)?;
    drop((found, tree));
    fs::remove_dir_all(to)?;
    fs::rename(aside, to)
}
