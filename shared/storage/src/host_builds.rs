//! Builds of one host that use a repository, and what a cleanup of that host hides from them.
//!
//! Where no records are shared, files say who is there. A build holds the lock of a file of its own while it runs. A cleanup writes
//! down what it is going to delete, and waits for the builds that run by then; one that begins later reads that, and takes none of it:
//! it builds it anew. So no build loses what it uses, and none waits for a cleanup. What a killed process leaves is unlocked, and
//! does not count.

use std::{
    collections::{BTreeSet, HashSet},
    fs::{File, TryLockError},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use slipway_digest::{Encoder, StageId};
use slipway_locks::{FileLocks, Lease, LockManager as _};
use slipway_oci::Repo;
use slipway_process::{Tasks, random_id};

use crate::{StorageError, kv::condemn::Waiting};

/// How long the others of this host may take to say what they do.
const GATE_WAIT: Duration = Duration::from_secs(60);
/// Between two looks at whether a build has ended.
const PAUSE: Duration = Duration::from_millis(100);
/// Ending of the files of builds.
const BUILD: &str = "build";
/// The file with what is hidden.
const HIDDEN: &str = "hidden";
/// Longest note of a build that is read, in bytes.
const MAX_NOTE: u64 = 200;

/// Who is there, of this host. All processes that use the same directory know of each other.
#[derive(Clone, Debug)]
pub struct HostBuilds {
    directory: PathBuf,
    locks: FileLocks,
    gate: String,
    tasks: Tasks,
}

/// A build that runs, until this is dropped.
#[derive(Debug)]
pub struct HostBuild {
    _held: Held,
    /// Stages that it must not use: a cleanup deletes them.
    pub hidden: Arc<HashSet<StageId>>,
}

/// Stages that are hidden, until this is dropped.
#[derive(Debug)]
pub struct Hiding {
    _held: Held,
    older: Vec<(File, PathBuf, String)>,
}

/// A locked file; dropping it removes it.
#[derive(Debug)]
struct Held {
    _file: File,
    path: PathBuf,
}

impl Drop for Held {
    fn drop(&mut self) {
        // If it stays, it is unlocked and does not count.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl HostBuilds {
    /// Those that use `repo`, by files in `service`.
    pub fn new(service: &Path, repo: &Repo) -> Self {
        let name = Encoder::new("repository").text(&repo.to_string()).finish();
        Self {
            directory: service.join("builds").join(name.to_string()),
            locks: FileLocks::new(service.join("locks")),
            gate: format!("who uses {repo}"),
            tasks: Tasks::new(),
        }
    }

    /// A build begins; `note` says to others what it is.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub async fn begin(&self, note: &str) -> Result<HostBuild, StorageError> {
        let _gate = self.gate().await?;
        let (directory, note) = (self.directory.clone(), note.to_owned());
        let begun = self.tasks.blocking(move || {
            let path = directory.join(format!("{}.{BUILD}", random_id()));
            let held = hold(path, &note)?;
            Ok(HostBuild { _held: held, hidden: Arc::new(hidden(&directory)?) })
        });
        begun.await.map_err(|error| self.failed(&error))
    }

    /// Hides stages from the builds that begin from now on. One at a time: whoever calls this holds a lock.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub async fn hide(&self, stages: impl IntoIterator<Item = StageId>) -> Result<Hiding, StorageError> {
        let mut text = String::new();
        stages.into_iter().for_each(|stage| text.push_str(&format!("{stage}\n")));
        let _gate = self.gate().await?;
        let directory = self.directory.clone();
        let hiding = self.tasks.blocking(move || {
            let path = directory.join(HIDDEN);
            remove(&path)?;
            let held = hold(path, &text)?;
            Ok(Hiding { _held: held, older: running(&directory)? })
        });
        hiding.await.map_err(|error| self.failed(&error))
    }

    async fn gate(&self) -> Result<Box<dyn Lease>, StorageError> {
        let gate = self.locks.acquire(&self.gate, GATE_WAIT).await;
        gate.map_err(|error| StorageError::Unavailable(error.to_string()))
    }

    fn failed(&self, error: &io::Error) -> StorageError {
        StorageError::Unavailable(format!(
            "note who uses a repository in {}: {error}; make the directory writable or choose another with --home-dir",
            self.directory.display()
        ))
    }
}

impl Hiding {
    /// Waits until the builds have ended that ran before; `waiting` is told which, whenever that changes.
    pub async fn wait(&mut self, waiting: Waiting<'_>) {
        let mut told = BTreeSet::new();
        loop {
            self.older.retain(|(file, path, _)| !is_over(file, path));
            if self.older.is_empty() {
                return;
            }
            let notes: BTreeSet<String> = self.older.iter().map(|(_, _, note)| note.clone()).collect();
            if notes != told {
                waiting(&notes.iter().cloned().collect::<Vec<_>>());
                told = notes;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Makes a file, and locks it.
fn hold(path: PathBuf, text: &str) -> io::Result<Held> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let mut file = File::create_new(&path)?;
    file.lock()?;
    let held = Held { _file: file.try_clone()?, path };
    file.write_all(text.as_bytes())?;
    Ok(held)
}

/// Whether the build of a file has ended; what it left is removed.
fn is_over(file: &File, path: &Path) -> bool {
    let over = file.try_lock().is_ok();
    if over {
        let _ = std::fs::remove_file(path);
    }
    over
}

/// The builds that run, with what they say of themselves.
fn running(directory: &Path) -> io::Result<Vec<(File, PathBuf, String)>> {
    let mut running = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != BUILD) {
            continue;
        }
        let Some(file) = open(&path)? else { continue };
        if !is_over(&file, &path) {
            let mut note = Vec::new();
            (&file).take(MAX_NOTE).read_to_end(&mut note)?;
            running.push((file, path, String::from_utf8_lossy(&note).into_owned()));
        }
    }
    Ok(running)
}

/// What a cleanup hides that runs.
fn hidden(directory: &Path) -> io::Result<HashSet<StageId>> {
    let path = directory.join(HIDDEN);
    let Some(mut file) = open(&path)? else { return Ok(HashSet::new()) };
    match file.try_lock_shared() {
        // It was killed.
        Ok(()) => {
            remove(&path)?;
            return Ok(HashSet::new());
        }
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(error),
    }
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let read = text.lines().map(|line| line.parse().map_err(|_| io::Error::other(format!("{HIDDEN}: `{line}`"))));
    read.collect()
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
