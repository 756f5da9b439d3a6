//! Copies of other repositories, one per address and host, kept up to date by git's own program.
//!
//! A copy is a bare repository below a directory of ours. It is written under a lock between processes, which git itself
//! holds too: a copy whose writer was killed is taken over when the last of it has ended. What was cut short is thrown
//! away or fetched again; a ref is written when everything it leads to is there, so only what a ref leads to is believed.

mod address;
mod call;
mod checkout;
mod kept;
mod submodules;

use std::{
    fs::{self, File, TryLockError},
    io::ErrorKind,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use slipway_digest::{CommitId, Encoder};
use slipway_process::{Clock as _, SystemClock, random_id};

use crate::{GitError, GitView as _, Repository, program::Git};

pub use address::{Address, AddressError, Login};
pub use call::Speech;
pub use checkout::{CheckedOut, checkout};
pub use kept::{Kept, kept, put_aside};

const PURPOSE: &str = "keep a copy of another git repository";
/// Where commits that were asked for by name are kept: `refs/slipway/commits/COMMIT`.
const COMMITS: &str = "refs/slipway/commits";
/// Where the branch that a repository calls its own is kept.
const DEFAULT: &str = "refs/slipway/default";
/// How often a lock that another process holds is asked for.
const PATIENCE: Duration = Duration::from_millis(50);
/// Longest part of an address in the name of a directory.
const NAMED: usize = 40;

/// A commit of another repository.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Wanted {
    /// The last of the branch that the repository calls its own.
    Default,
    /// The last of a branch.
    Branch(String),
    /// That of a tag.
    Tag(String),
    /// This one.
    Commit(CommitId),
}

impl std::fmt::Display for Wanted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("the default branch"),
            Self::Branch(name) => write!(f, "branch `{name}`"),
            Self::Tag(name) => write!(f, "tag `{name}`"),
            Self::Commit(id) => write!(f, "commit {id}"),
        }
    }
}

/// The copy of another repository.
#[derive(Debug)]
pub struct Upstream {
    /// A directory of ours: copies lie below it.
    home: PathBuf,
    address: Address,
    speech: Speech,
    /// The bare repository.
    directory: PathBuf,
    /// The file whose lock allows to write it.
    lock: PathBuf,
}

impl Upstream {
    /// The copy of `address` below `home`, a directory of ours. Nothing is read or written yet.
    pub fn new(home: &Path, address: Address, speech: Speech) -> Self {
        let name = directory_name(&address);
        let root = home.join("git");
        let (lock, directory) = (root.join(format!("{name}.lock")), root.join(name));
        Self { home: home.to_owned(), lock, directory, address, speech }
    }

    /// Fetches what is missing of a commit, and says which it is. Blocks. A commit that was fetched before costs nothing;
    /// branches and tags are looked up every time.
    ///
    /// # Errors
    /// [`GitError::Missing`] when the repository does not have it, [`GitError::Program`] when `git` is missing, is refused
    /// or takes too long, [`GitError::Unusable`] when the copy cannot be written.
    pub fn fetch(&self, wanted: &Wanted) -> Result<CommitId, GitError> {
        {
            let _using = kept::using(&self.directory);
            if let Wanted::Commit(id) = wanted
                && self.has(*id)
            {
                return Ok(*id);
            }
        }
        let lock = self.lock()?;
        self.prepare()?;
        let name = match wanted {
            Wanted::Commit(id) => return self.fetch_commit(&lock, *id).map(|()| *id),
            Wanted::Default => {
                self.git_fetch(&lock, &[&format!("+HEAD:{DEFAULT}")]).map_err(|error| self.failed(wanted, error))?;
                DEFAULT.to_owned()
            }
            Wanted::Branch(name) => self.fetch_ref(&lock, wanted, &format!("refs/heads/{name}"))?,
            Wanted::Tag(name) => self.fetch_ref(&lock, wanted, &format!("refs/tags/{name}"))?,
        };
        self.tidy(&lock);
        self.repository()?.resolve(&format!("{name}^{{commit}}"))
    }

    /// What was fetched. Refs are those of the other repository as they were fetched last; ask for commits by id.
    ///
    /// # Errors
    /// When nothing was ever fetched, or the copy cannot be read.
    pub fn repository(&self) -> Result<Repository, GitError> {
        Repository::open(&self.directory)
    }

    /// The address.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether a commit is here with all that it needs.
    fn has(&self, id: CommitId) -> bool {
        let found = self.repository().and_then(|repository| repository.resolve(&format!("{COMMITS}/{id}")));
        found.is_ok_and(|found| found == id)
    }

    /// Fetches one ref under its own name.
    fn fetch_ref(&self, lock: &File, wanted: &Wanted, name: &str) -> Result<String, GitError> {
        let refused = |c: char| c.is_whitespace() || c.is_control() || "~^:?*[\\".contains(c);
        if name.contains(refused) || name.contains("..") || name.contains("//") || name.ends_with('/') {
            return Err(GitError::Missing(format!("{wanted} of {}", self.address)));
        }
        self.git_fetch(lock, &[&format!("+{name}:{name}")]).map_err(|error| self.failed(wanted, error))?;
        Ok(name.to_owned())
    }

    /// Fetches a commit by its name, or with everything else from a server that gives no single commits.
    fn fetch_commit(&self, lock: &File, id: CommitId) -> Result<(), GitError> {
        let kept = format!("{COMMITS}/{id}");
        let alone = self.git_fetch(lock, &[&format!("+{id}:{kept}")]);
        if alone.is_err() {
            let all = self.git_fetch(lock, &["--prune", "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]);
            all.map_err(|error| self.failed(&Wanted::Commit(id), error))?;
            let git = || Git::bare(&self.directory, PURPOSE);
            let range = [id.to_string(), "--not".to_owned(), "--all".to_owned()];
            let beyond = git().args(["rev-list", "--max-count=1"]).args(range).run(b"");
            if !beyond.is_ok_and(|beyond| beyond.is_empty()) {
                return Err(GitError::Missing(format!("commit {id} of {}", self.address)));
            }
            git().args(["update-ref", &kept, &id.to_string()]).run(b"")?;
        }
        self.tidy(lock);
        Ok(())
    }

    fn git_fetch(&self, lock: &File, more: &[&str]) -> Result<(), GitError> {
        let (options, refspecs): (Vec<&str>, Vec<&str>) = more.iter().partition(|arg| arg.starts_with("--"));
        let always = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--force"];
        let args: Vec<&str> = always
            .into_iter()
            .chain(options)
            .chain(["--recurse-submodules=no", "--", "origin"])
            .chain(refspecs)
            .collect();
        let held = lock.try_clone().map_err(|error| self.cannot_write(&error))?;
        call::speak(&self.directory, &self.address, &self.speech, held, &args)
    }

    /// An error of git, with what was wanted and what may help.
    fn failed(&self, wanted: &Wanted, error: GitError) -> GitError {
        let GitError::Program(said) = error else { return error };
        let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
        if says(&["couldn't find remote ref", "not our ref"]) {
            return GitError::Missing(format!("{wanted} of {}", self.address));
        }
        let advice = if says(&["could not read Username", "Authentication failed", "terminal prompts disabled"]) {
            "; set up a credential helper of git, or give a name and password"
        } else if says(&["Permission denied", "Host key verification failed"]) {
            "; load a key that the host knows into the ssh agent, and add the host to `known_hosts`"
        } else if says(&["does not appear to be a git repository", "not found", "Repository not found"]) {
            "; check the address, and that you may read it"
        } else {
            ""
        };
        GitError::Program(format!("fetch {wanted} of {}: {said}{advice}", self.address))
    }

    /// Waits until no other process writes the copy.
    fn lock(&self) -> Result<File, GitError> {
        let parent = self.lock.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(parent).map_err(|error| self.cannot_write(&error))?;
        let file = File::options().read(true).write(true).create(true).truncate(false).open(&self.lock);
        let file = file.map_err(|error| self.cannot_write(&error))?;
        let clock = SystemClock::new(None);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::Error(error)) => return Err(self.cannot_write(&error)),
                Err(TryLockError::WouldBlock) if clock.monotonic() < self.speech.longest => thread::sleep(PATIENCE),
                Err(TryLockError::WouldBlock) => {
                    let (address, seconds) = (&self.address, self.speech.longest.as_secs());
                    return Err(GitError::Program(format!(
                        "fetch from {address}: another process has been fetching it for {seconds} s; wait for it, or end it"
                    )));
                }
            }
        }
    }

    /// Makes the copy when it is missing or broken, and clears away what a killed git left. The lock is held.
    fn prepare(&self) -> Result<(), GitError> {
        let is_whole = || self.directory.join("HEAD").is_file() && self.repository().is_ok();
        if is_whole() {
            return self.clear();
        }
        if self.directory.exists() {
            let broken = self.directory.with_extension(format!("broken-{}", random_id()));
            fs::rename(&self.directory, &broken).map_err(|error| self.cannot_write(&error))?;
            drop(fs::remove_dir_all(&broken));
        }
        let new = self.directory.with_extension("new");
        match fs::remove_dir_all(&new) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(self.cannot_write(&error)),
            _ => fs::create_dir_all(&new).map_err(|error| self.cannot_write(&error))?,
        }
        Git::bare(&new, PURPOSE).args(["init", "--quiet", "--bare", "--template=", "."]).run(b"")?;
        fs::rename(&new, &self.directory).map_err(|error| self.cannot_write(&error))
    }

    /// Removes locks of git's own: whoever made them is gone, since we hold the lock over all of them.
    fn clear(&self) -> Result<(), GitError> {
        let mut pending = vec![self.directory.join("refs")];
        let mut locks: Vec<PathBuf> = ["packed-refs.lock", "HEAD.lock", "config.lock", "shallow.lock"]
            .map(|name| self.directory.join(name))
            .into();
        while let Some(directory) = pending.pop() {
            for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
                let path = entry.path();
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() => pending.push(path),
                    _ if path.extension().is_some_and(|extension| extension == "lock") => locks.push(path),
                    _ => {}
                }
            }
        }
        for lock in locks {
            match fs::remove_file(&lock) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(self.cannot_write(&error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Packs what is loose when there is much of it. A copy that stays untidy costs room only.
    fn tidy(&self, lock: &File) {
        let Ok(held) = lock.try_clone() else { return };
        let settings = ["-c", "gc.auto=6700", "-c", "gc.autoDetach=false", "gc", "--auto", "--quiet"];
        drop(Git::bare(&self.directory, PURPOSE).args(settings).run_for(held, self.speech.longest));
    }

    fn cannot_write(&self, error: &std::io::Error) -> GitError {
        GitError::Unusable(format!("{PURPOSE}: write {}: {error}", self.directory.display()))
    }
}

/// All copies below `home`; those that cannot be read are left out. Blocks.
pub fn copies(home: &Path) -> Vec<Repository> {
    let entries = fs::read_dir(home.join("git")).into_iter().flatten().flatten();
    let directories = entries.filter(|entry| entry.path().join("HEAD").is_file());
    directories.filter_map(|entry| Repository::open(&entry.path()).ok()).collect()
}

/// The name of the directory for `address`: something to know it by, and what makes it unique.
fn directory_name(address: &Address) -> String {
    let tail: Vec<char> = address.url().trim_end_matches('/').trim_end_matches(".git").chars().collect();
    let tail = tail[tail.len().saturating_sub(NAMED)..].iter();
    let tail: String = tail.map(|c| if c.is_ascii_alphanumeric() || *c == '-' { *c } else { '_' }).collect();
    let sum = Encoder::new("git-upstream").text(address.url()).finish().to_string();
    format!("{}-{}", tail.trim_start_matches(['_', '-']), &sum[..16])
}
