//! Which attempts are alive: each holds a lock on a file of its own for as long as its process lives.
//!
//! A container whose lock file can be locked has no owner any more. One without a lock file is not ours.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
};

use crate::BackendError;

/// What the names of build containers start with.
const CONTAINER: &str = "werf.build.";
/// More than any attempt's name takes.
const MAX_NAME: usize = 128;

/// Name of the container of an attempt.
///
/// # Errors
/// [`BackendError::Refused`] when the attempt's name could not be part of a container's.
pub fn container_name(attempt: &str) -> Result<String, BackendError> {
    check(attempt).map(|()| format!("{CONTAINER}{attempt}"))
}

/// An attempt's name becomes part of names of containers and files.
fn check(attempt: &str) -> Result<(), BackendError> {
    let plain = !attempt.is_empty() && attempt.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if plain && attempt.len() <= MAX_NAME {
        return Ok(());
    }
    Err(BackendError::Refused(format!("`{attempt}` cannot name a build: only letters, digits and dashes can")))
}

/// The attempt that a container belongs to by its name, with or without the engine's leading slash.
pub fn attempt_of(container: &str) -> Option<&str> {
    container.strip_prefix('/').unwrap_or(container).strip_prefix(CONTAINER)
}

/// Says that an attempt is alive, for as long as it lives.
#[derive(Debug)]
pub struct Alive {
    path: PathBuf,
    /// Holds the lock.
    file: File,
}

impl Drop for Alive {
    fn drop(&mut self) {
        // A process that is being started at this moment has the file, too, until it runs its program: closing is not enough.
        let _ = self.file.unlock();
    }
}

impl Alive {
    /// Takes the lock of an attempt; its file goes to `directory`, which is made when it is missing.
    ///
    /// # Errors
    /// When the name cannot be a file's, somebody holds the lock, or the disk fails.
    pub fn declare(directory: &Path, attempt: &str) -> Result<Self, BackendError> {
        check(attempt)?;
        let path = directory.join(attempt);
        let take = || {
            fs::create_dir_all(directory)?;
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
            file.try_lock().map_err(io::Error::from)?;
            Ok::<File, io::Error>(file)
        };
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::StorageFull => BackendError::NoSpace(format!("lock {}: {error}", path.display())),
            _ => BackendError::Engine(format!("lock {}: {error}", path.display())),
        };
        let file = take().map_err(failed)?;
        Ok(Self { path, file })
    }

    /// Forgets the attempt: its container is gone.
    pub fn end(self) {
        // A file that stays is found by the next sweep.
        let _ = fs::remove_file(&self.path);
    }
}

/// Takes over an attempt whose owner is dead; `None` when it lives, or was never one of ours.
///
/// # Errors
/// When the lock cannot be asked for.
pub fn take_over(directory: &Path, attempt: &str) -> io::Result<Option<Alive>> {
    let path = directory.join(attempt);
    let file = match OpenOptions::new().write(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(Alive { path, file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Names of all attempts that have a lock file.
///
/// # Errors
/// When the directory cannot be listed.
pub fn known(directory: &Path) -> io::Result<Vec<String>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_dead_are_taken_over() {
        let home = tempfile::tempdir().expect("a directory");
        let alive = Alive::declare(home.path(), "one").expect("the first lock");
        assert!(Alive::declare(home.path(), "one").is_err());
        assert!(take_over(home.path(), "one").expect("a look").is_none());
        assert!(take_over(home.path(), "stranger").expect("a look").is_none());
        // As a child has it that does not run its program yet.
        let _inherited = alive.file.try_clone().expect("a descriptor");
        drop(alive);
        let taken = take_over(home.path(), "one").expect("a look").expect("it is dead");
        taken.end();
        assert_eq!(known(home.path()).expect("a listing"), [""; 0]);
    }

    #[test]
    fn names_are_checked() {
        assert_eq!(container_name("a-1").ok().as_deref().and_then(attempt_of), Some("a-1"));
        assert_eq!(attempt_of("/werf.build.x"), Some("x"));
        for bad in ["", "a/b", "..", "a.b", &"x".repeat(200)] {
            assert!(container_name(bad).is_err(), "{bad}");
            let home = tempfile::tempdir().expect("a directory");
            assert!(matches!(Alive::declare(home.path(), bad), Err(BackendError::Refused(_))), "{bad}");
        }
    }
}
