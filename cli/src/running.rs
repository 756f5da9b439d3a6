//! Who works with a home directory now.
//!
//! Whoever may use what lies there has a file of his own in `service/running`, and holds a lock on it for as long as he lives;
//! its time is that of his beginning. Whoever moves something away first asks who is there, and holds `service/gate` alone
//! meanwhile, which everybody holds together with others while he begins.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use slipway_process::random_id;

/// Directory of the files, below a home directory.
const RUNNING: &str = "service/running";
/// The file that is locked by who begins and by who moves things away, below a home directory.
const GATE: &str = "service/gate";
/// The command that runs jobs of a cluster.
pub(crate) const WORKER: &str = "worker";
/// How long a worker may have used something without telling: it runs for weeks, and its jobs for minutes.
const OF_WORKERS: Duration = Duration::from_secs(3 * 3600);
/// How often a home directory may go while somebody begins to work with it.
const PURGES: u32 = 16;
/// Longest file that is read.
const LONGEST: u64 = 64 << 10;

/// Says that a process works with a home directory. Gone when it is dropped, and when the process ends.
#[derive(Debug)]
pub(crate) struct Running {
    path: PathBuf,
    /// Holds the lock.
    _file: File,
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that stays is nobody's.
        let _ = fs::remove_file(&self.path);
    }
}

/// What a process says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Word {
    /// Its id.
    pub(crate) process: u32,
    /// Which command it is.
    pub(crate) command: String,
    /// Where it was started.
    pub(crate) directory: String,
}

/// A process that works with a home directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Process {
    /// What it says of itself.
    pub(crate) word: Word,
    /// When it began.
    pub(crate) since: SystemTime,
}

impl Process {
    /// In a message.
    pub(crate) fn named(&self) -> String {
        let Word { process, command, directory } = &self.word;
        format!("slipway {command} in {directory} (process {process})")
    }
}

/// The gate of a home directory, shut: nobody begins.
#[derive(Debug)]
pub(crate) struct Gate {
    home: PathBuf,
    file: File,
}

impl Drop for Gate {
    fn drop(&mut self) {
        open(&self.file);
    }
}

/// Begins to work with a home directory; `None` = somebody holds the gate, and `wait` is not wanted. Blocks.
///
/// # Errors
/// When nothing can be written there.
pub(crate) fn begin(home: &Path, word: &Word, wait: bool) -> io::Result<Option<Running>> {
    let gate = match gate(home, &|file| file.try_lock()) {
        Ok(file) => {
            sweep(home)?;
            file
        }
        Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
        Err(_) if wait => gate(home, &|file| file.lock_shared().map_err(TryLockError::Error))?,
        Err(_) => match gate(home, &File::try_lock_shared) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            other => other?,
        },
    };
    let path = home.join(RUNNING).join(random_id());
    let mut file = File::create_new(&path)?;
    file.try_lock().map_err(io::Error::from)?;
    file.write_all(&serde_json::to_vec(word)?)?;
    open(&gate);
    Ok(Some(Running { path, _file: file }))
}

impl Gate {
    /// Shuts the gate, when nobody else holds it for longer than a moment. Blocks.
    ///
    /// # Errors
    /// When nothing can be written there.
    pub(crate) fn shut(home: &Path) -> io::Result<Self> {
        let file = gate(home, &|file| file.lock().map_err(TryLockError::Error))?;
        sweep(home)?;
        Ok(Self { home: home.to_owned(), file })
    }

    /// Who works there; nobody else begins meanwhile.
    ///
    /// # Errors
    /// When that cannot be read.
    pub(crate) fn processes(&self) -> io::Result<Vec<Process>> {
        let mut processes = Vec::new();
        for entry in fs::read_dir(self.home.join(RUNNING))? {
            let entry = entry?;
            // One that cannot be read has just ended.
            let Ok(about) = entry.metadata() else { continue };
            let text = if about.len() <= LONGEST { fs::read(entry.path()).unwrap_or_default() } else { Vec::new() };
            let unknown = || Word { process: 0, command: "?".to_owned(), directory: "?".to_owned() };
            let word = serde_json::from_slice(&text).unwrap_or_else(|_| unknown());
            processes.push(Process { word, since: about.modified()? });
        }
        processes.sort_by_key(|process| process.since);
        Ok(processes)
    }
}

/// From when on a use may be one of those who work there now; `None` = nobody does.
pub(crate) fn in_use_since(processes: &[Process], now: SystemTime) -> Option<SystemTime> {
    let since = |worker: &Process| match worker.word.command.as_str() {
        WORKER => worker.since.max(now.checked_sub(OF_WORKERS).unwrap_or(worker.since)),
        _ => worker.since,
    };
    processes.iter().map(since).min()
}

/// Lets go of the gate. A process that is being started at this moment has the file, too, until it runs its program: closing
/// it is not enough.
fn open(gate: &File) {
    let _ = gate.unlock();
}

/// Removes files of those who have ended. The gate is held alone.
fn sweep(home: &Path) -> io::Result<()> {
    for entry in fs::read_dir(home.join(RUNNING))? {
        let path = entry?.path();
        let Ok(file) = File::options().write(true).open(&path) else { continue };
        if file.try_lock().is_ok() {
            let _ = fs::remove_file(&path);
        }
    }
    Ok(())
}

/// The gate, locked so. It may have been removed before the lock was there: then it is another one.
fn gate(home: &Path, lock: &dyn Fn(&File) -> Result<(), TryLockError>) -> io::Result<File> {
    let path = home.join(GATE);
    let mut made = 0;
    loop {
        let file = match File::options().create(true).truncate(false).write(true).open(&path) {
            // Its directory may go with the home right after it was made.
            Err(error) if error.kind() == io::ErrorKind::NotFound && made < PURGES => {
                fs::create_dir_all(home.join(RUNNING))?;
                made += 1;
                continue;
            }
            other => other?,
        };
        lock(&file).map_err(io::Error::from)?;
        let own = file.metadata()?;
        match fs::metadata(&path) {
            Ok(named) if (named.dev(), named.ino()) == (own.dev(), own.ino()) => {
                fs::create_dir_all(home.join(RUNNING))?;
                return Ok(file);
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(command: &str) -> Word {
        Word { process: 7, command: command.to_owned(), directory: "/p".to_owned() }
    }

    #[test]
    fn who_works_is_known_until_he_ends() {
        let home = tempfile::tempdir().expect("a directory");
        let home = home.path().join("not/there/yet");
        let first = begin(&home, &word("build"), false).expect("a home").expect("the gate is open");
        let second = begin(&home, &word("worker"), false).expect("a home").expect("the gate is open");
        let gate = Gate::shut(&home).expect("a gate");
        // Both may have begun within one tick of the file system's clock.
        let mut workers: Vec<String> = gate.processes().expect("a list").iter().map(Process::named).collect();
        workers.sort();
        assert_eq!(workers, ["build", "worker"].map(|command| format!("slipway {command} in /p (process 7)")));
        assert!(begin(&home, &word("build"), false).expect("a home").is_none(), "the gate is shut");
        // As a child has it that does not run its program yet.
        let inherited = gate.file.try_clone().expect("a descriptor");
        drop(gate);
        let third = begin(&home, &word("purge"), false).expect("a home").expect("the gate is open again");
        drop((third, inherited));
        // As if it was killed.
        fs::write(home.join(RUNNING).join("dead"), "{}").expect("a file");
        drop(first);
        let left = Gate::shut(&home).expect("a gate").processes().expect("a list");
        assert_eq!(left.iter().map(|worker| worker.word.command.as_str()).collect::<Vec<_>>(), ["worker"]);
        drop(second);
        assert!(Gate::shut(&home).expect("a gate").processes().expect("a list").is_empty());
    }

    /// Whoever waits at a gate that goes with its home begins in the new one.
    #[test]
    fn a_gate_that_is_removed_is_no_gate() {
        let home = tempfile::tempdir().expect("a directory");
        let gate = Gate::shut(home.path()).expect("a gate");
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| begin(home.path(), &word("build"), true));
            // At once, as a purge does: whoever begins may make the next one while the old is taken apart.
            fs::rename(home.path().join("service"), home.path().join("gone")).expect("it goes");
            drop(gate);
            let running = waits.join().expect("no panic").expect("a home").expect("it waits");
            assert_eq!(Gate::shut(home.path()).expect("a gate").processes().expect("a list").len(), 1);
            drop(running);
        });
    }

    #[test]
    fn what_a_worker_used_long_ago_is_not_in_use() {
        let hours = |hours: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(hours * 3600);
        let worker = Process { word: word("worker"), since: hours(1) };
        let build = Process { word: word("build"), since: hours(2) };
        assert_eq!(in_use_since(&[], hours(10)), None);
        assert_eq!(in_use_since(std::slice::from_ref(&worker), hours(10)), Some(hours(7)));
        assert_eq!(in_use_since(std::slice::from_ref(&worker), hours(2)), Some(hours(1)));
        assert_eq!(in_use_since(&[worker, build], hours(10)), Some(hours(2)));
    }
}
