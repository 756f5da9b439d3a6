//! Directories of what is being made. Each is locked by its owner; one whose lock can be taken is garbage.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use slipway_process::random_id;

use super::Store;
use crate::LayerError;

/// Name of the lock that makers of directories share.
pub(super) const MAKERS: &str = "work";
/// Name of the file in it that its owner locks.
pub(super) const LOCK: &str = "lock";

/// A directory of one's own, gone when it is dropped.
#[derive(Debug)]
pub struct Work {
    path: PathBuf,
    /// Holds the lock.
    _lock: File,
}

impl Work {
    /// Its path. The name `lock` in it is taken.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it the name `name`, as if it had been made under that.
    ///
    /// # Errors
    /// When the name is taken by somebody alive, or is none.
    pub fn renamed(mut self, name: &str) -> Result<Self, LayerError> {
        let path = self.path.with_file_name(checked(name)?);
        renameat_with(CWD, &self.path, CWD, &path, RenameFlags::NOREPLACE).map_err(|error| {
            LayerError::io(format!("make the directory {}", path.display()), io::Error::from(error))
        })?;
        self.path = path;
        Ok(self)
    }

    /// Gives its name free at once: what is left lies under another one, until it is gone.
    pub fn aside(mut self) -> Self {
        let aside = self.path.with_file_name(format!("gone-{}", random_id()));
        // Where that fails, the name is free when it is gone.
        if fs::rename(&self.path, &aside).is_ok() {
            self.path = aside;
        }
        self
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // What stays is found by the next sweep.
        let _ = remove(&self.path);
    }
}

impl Store {
    /// A new directory below `work`; `name` is letters, digits and dashes, and nobody else's.
    ///
    /// # Errors
    /// When the name is taken by somebody alive, or the directory cannot be made.
    pub fn work(&self, name: &str) -> Result<Work, LayerError> {
        let path = self.path("work").join(checked(name)?);
        let doing = |error: io::Error| LayerError::io(format!("make the directory {}", path.display()), error);
        // A sweep must not see the lock before it is held.
        let made = self.makers(false).map_err(doing)?;
        fs::create_dir(&path).map_err(doing)?;
        let lock = lock_in(&path).map_err(doing)?;
        drop(made);
        Ok(Work { path, _lock: lock })
    }

    /// Removes what dead owners left, and old notes; answers how many directories went.
    ///
    /// # Errors
    /// When the directory cannot be listed.
    pub fn sweep(&self) -> Result<u32, LayerError> {
        let doing = |error: io::Error| LayerError::io("look for leftovers of dead builds", error);
        let mut gone = 0;
        for found in fs::read_dir(self.path("work")).map_err(doing)? {
            let path = found.map_err(doing)?.path();
            let Some(_dead) = self.dead(&path).map_err(doing)? else { continue };
            if remove(&path).is_ok() {
                gone += 1;
            }
        }
        self.prune().map_err(doing)?;
        Ok(gone)
    }
}

impl Store {
    /// The lock of a directory whose owner is dead; `None` while he lives.
    pub(super) fn dead(&self, path: &Path) -> io::Result<Option<File>> {
        let _nobody = self.makers(true)?;
        // One without a lock file is of a maker that died in that very moment, or is being removed.
        let Ok(lock) = OpenOptions::new().read(true).write(true).open(path.join(LOCK)) else { return Ok(None) };
        Ok(lock.try_lock().is_ok().then_some(lock))
    }

    /// Shared by those who make a directory and lock it; alone for whoever asks which ones are locked.
    fn makers(&self, alone: bool) -> io::Result<File> {
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(self.path("locks").join(MAKERS))?;
        if alone {
            file.lock()?
        } else {
            file.lock_shared()?
        }
        Ok(file)
    }
}

/// A name that can be a directory's and an attempt's.
fn checked(name: &str) -> Result<&str, LayerError> {
    let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if plain && name.len() <= 128 {
        return Ok(name);
    }
    Err(LayerError::Bad(format!("`{name}` cannot name a directory: only letters, digits and dashes can")))
}

fn lock_in(path: &Path) -> io::Result<File> {
    let lock = OpenOptions::new().create_new(true).write(true).open(path.join(LOCK))?;
    lock.try_lock().map_err(io::Error::from)?;
    Ok(lock)
}

/// Removes a directory; its lock file goes last, so that what a kill leaves is found again.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    for found in fs::read_dir(path)? {
        let found = found?;
        if found.file_name() == LOCK {
            continue;
        }
        if found.file_type()?.is_dir() { fs::remove_dir_all(found.path())? } else { fs::remove_file(found.path())? }
    }
    match fs::remove_file(path.join(LOCK)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    fs::remove_dir(path)
}
