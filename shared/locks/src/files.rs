//! Locks on files of this host: flock, which ends with its process.
//!
//! A lock is a file named after the checksum of its key. Who takes it writes his process id into it, for messages, and
//! removes the file when he lets go, still holding the lock. So a lock is only had when the locked file is still the
//! one under the name: otherwise somebody removed it between opening and locking, and the attempt is repeated. A file
//! that a killed process left is unlocked, and harmless.

use std::{
    collections::HashMap,
    fs::{File, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use async_trait::async_trait;
use slipway_digest::Encoder;
use slipway_process::Tasks;
use tokio::{
    sync::{Mutex as AsyncMutex, OwnedMutexGuard},
    time::{Instant, sleep_until, timeout_at},
};

use crate::{Lease, LockError, LockManager};

/// First pause between two looks at a lock that another process holds; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// Who waits longer than this is told for whom.
const SILENCE: Duration = Duration::from_secs(1);
/// Longer than what a holder writes into a lock file.
const MAX_NOTE: u64 = 64;

/// Locks as files of one directory. Clones and other handles on the same directory exclude each other.
#[derive(Clone, Debug)]
pub struct FileLocks {
    directory: PathBuf,
    queues: Arc<Queues>,
    tasks: Tasks,
}

/// Those of this process who want the same lock stand in line here, so that only the first looks at the file.
#[derive(Debug, Default)]
struct Queues(Mutex<HashMap<String, Weak<AsyncMutex<()>>>>);

impl FileLocks {
    /// Locks in `directory`, usually `HOME/service/locks`; it is made when the first lock is taken.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into(), queues: Arc::default(), tasks: Tasks::new() }
    }

    /// The file of a lock.
    pub fn path(&self, key: &str) -> PathBuf {
        self.directory.join(format!("{}.lock", Encoder::new("lock").text(key).finish()))
    }

    fn unavailable(&self, key: &str, why: &std::io::Error) -> LockError {
        LockError::Unavailable(format!(
            "take the lock `{key}` in {}: {why}; make the directory writable or choose another with --home-dir",
            self.directory.display()
        ))
    }
}

#[async_trait]
impl LockManager for FileLocks {
    async fn acquire(&self, key: &str, wait: Duration) -> Result<Box<dyn Lease>, LockError> {
        let mut patience = Patience::new(key, wait);
        let turn = patience.wait_for_turn(self.queues.of(key)).await?;
        let mut pause = FIRST_PAUSE;
        loop {
            let path = self.path(key);
            let attempt = self.tasks.blocking(move || try_take(&path)).await;
            match attempt.map_err(|why| self.unavailable(key, &why))? {
                Attempt::Taken(lock) => return Ok(Box::new(FileLease { lock, _turn: turn })),
                Attempt::Replaced => {}
                Attempt::Held { by } => {
                    patience.pause(pause, &by).await?;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }
}

/// How long somebody is still ready to wait, and whether he was told for whom.
struct Patience<'a> {
    key: &'a str,
    wait: Duration,
    deadline: Instant,
    tell_at: Option<Instant>,
}

impl<'a> Patience<'a> {
    fn new(key: &'a str, wait: Duration) -> Self {
        // A wait longer than the clock can count is a wait of a year.
        let wait = wait.min(Duration::from_secs(365 * 24 * 3600));
        let now = Instant::now();
        Self { key, wait, deadline: now + wait, tell_at: Some(now + SILENCE) }
    }

    async fn wait_for_turn(&mut self, queue: Arc<AsyncMutex<()>>) -> Result<OwnedMutexGuard<()>, LockError> {
        let holder = "another task of this process";
        let turn = queue.lock_owned();
        tokio::pin!(turn);
        loop {
            let until = self.tell_at.unwrap_or(self.deadline).min(self.deadline);
            if let Ok(turn) = timeout_at(until, &mut turn).await {
                return Ok(turn);
            }
            self.still_waiting(holder)?;
        }
    }

    async fn pause(&mut self, pause: Duration, holder: &str) -> Result<(), LockError> {
        self.still_waiting(holder)?;
        sleep_until(self.deadline.min(Instant::now() + pause)).await;
        Ok(())
    }

    fn still_waiting(&mut self, holder: &str) -> Result<(), LockError> {
        let now = Instant::now();
        if now >= self.deadline {
            return Err(LockError::TimedOut { key: self.key.to_owned(), holder: holder.to_owned(), waited: self.wait });
        }
        if self.tell_at.is_some_and(|at| now >= at) {
            self.tell_at = None;
            tracing::info!("waiting for the lock `{}`, which {holder} holds", self.key);
        }
        Ok(())
    }
}

impl Queues {
    fn of(&self, key: &str) -> Arc<AsyncMutex<()>> {
        let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(queue) = queues.get(key).and_then(Weak::upgrade) {
            return queue;
        }
        queues.retain(|_, queue| queue.strong_count() > 0);
        let queue = Arc::new(AsyncMutex::new(()));
        queues.insert(key.to_owned(), Arc::downgrade(&queue));
        queue
    }
}

/// One look at a lock file.
enum Attempt {
    /// The lock is ours.
    Taken(LockedFile),
    /// The file was locked, but is not the one under the name any more.
    Replaced,
    /// Another process has it.
    Held {
        /// Who.
        by: String,
    },
}

fn try_take(path: &Path) -> std::io::Result<Attempt> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    try_lock(File::options().read(true).write(true).create(true).truncate(false).open(path)?, path)
}

/// Locks a file that was just opened under `path`.
fn try_lock(mut file: File, path: &Path) -> std::io::Result<Attempt> {
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(Attempt::Held { by: read_holder(&mut file) }),
        Err(TryLockError::Error(why)) => return Err(why),
    }
    if !is_named(&file, path)? {
        return Ok(Attempt::Replaced);
    }
    // The note is for messages only: a full disk must not keep anybody from locking.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "process {}", std::process::id()));
    Ok(Attempt::Taken(LockedFile { file, path: path.to_owned() }))
}

/// Whether `path` still names the open file.
fn is_named(file: &File, path: &Path) -> std::io::Result<bool> {
    let open = file.metadata()?;
    match std::fs::symlink_metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (open.dev(), open.ino())),
        Err(why) if why.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(why) => Err(why),
    }
}

fn read_holder(file: &mut File) -> String {
    let mut note = Vec::new();
    let read = file.rewind().and_then(|()| file.take(MAX_NOTE).read_to_end(&mut note));
    let text = String::from_utf8_lossy(&note);
    let number = text.trim_end().strip_prefix("process ").filter(|rest| rest.bytes().all(|b| b.is_ascii_digit()));
    match (read, number) {
        (Ok(_), Some(number)) if !number.is_empty() => format!("process {number}"),
        _ => "another process".to_owned(),
    }
}

/// A locked file; dropping it removes and then unlocks it.
#[derive(Debug)]
struct LockedFile {
    file: File,
    path: PathBuf,
}

impl Drop for LockedFile {
    fn drop(&mut self) {
        // Still locked: nobody can have put another file under the name. If it stays, it is unlocked and harmless.
        let _ = std::fs::remove_file(&self.path);
        // A process that is being started at this moment has the file, too, until it runs its program: closing is not enough.
        let _ = self.file.unlock();
    }
}

/// The file first, so that the next in line finds it free.
#[derive(Debug)]
struct FileLease {
    #[expect(dead_code, reason = "held for its drop")]
    lock: LockedFile,
    _turn: OwnedMutexGuard<()>,
}

impl Lease for FileLease {}

#[cfg(test)]
mod tests;
