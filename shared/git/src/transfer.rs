//! Commits on their way between repositories: to a coordinator by `git push`, and from it by `git fetch`.
//!
//! Git's own program does both, so proxies and certificates are as its user has set them up. What names the caller to the
//! other side goes by git's environment: it is on no command line and in no file.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use slipway_digest::CommitId;
use slipway_paths::{PathFilter, Scope};

use crate::{GitError, GitView as _, Repository, program::Git};

/// Where commits are kept on the other side, and in mirrors: `refs/slipway/COMMIT`.
const REFS: &str = "refs/slipway";
/// Most refs that a mirror keeps. What only older ones led to is fetched again when it is needed.
const MOST_REFS: usize = 1000;
/// Most commits of one push: more than one build reads.
const MOST_PUSHED: usize = 4096;
/// A transfer that is slower than 1,000 bytes per second for this long, in seconds, is given up.
const STALLED: &str = "60";

/// The other side of a transfer.
#[derive(Clone)]
pub struct Remote {
    /// Its address, without a password.
    pub url: String,
    /// The value of the header `Authorization`.
    pub authorization: Option<String>,
    /// Whether it is on this machine, where no proxy leads to.
    pub is_here: bool,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Remote {
    /// A call that speaks to it.
    fn prepare(&self, git: Git) -> Git {
        let mut settings =
            vec![("credential.helper", ""), ("http.lowSpeedLimit", "1000"), ("http.lowSpeedTime", STALLED)];
        if self.is_here {
            settings.push(("http.proxy", ""));
        }
        let header = self.authorization.as_ref().map(|value| format!("Authorization: {value}"));
        settings.extend(header.as_deref().map(|header| ("http.extraHeader", header)));
        let git = git.env("GIT_CONFIG_COUNT", settings.len().to_string());
        settings.iter().enumerate().fold(git, |git, (number, (name, value))| {
            let (name_of, value_of) = (format!("GIT_CONFIG_KEY_{number}"), format!("GIT_CONFIG_VALUE_{number}"));
            git.env(&name_of, name).env(&value_of, value)
        })
    }
}

impl Repository {
    /// Pushes commits of this repository, those of its snapshots included, to `refs/slipway/COMMIT` of the other side,
    /// with all that they need. Blocks. Nothing is written here.
    ///
    /// # Errors
    /// [`GitError::Missing`] when a commit is not here, [`GitError::Shallow`] when the history is cut off,
    /// [`GitError::Program`] when `git` is missing or the other side refuses.
    pub fn push(&self, remote: &Remote, commits: &[CommitId]) -> Result<(), GitError> {
        const PURPOSE: &str = "push the commit to the coordinator";
        if commits.is_empty() {
            return Ok(());
        }
        if commits.len() > MOST_PUSHED {
            return Err(GitError::Unusable(format!("{PURPOSE}: more than {MOST_PUSHED} commits at once")));
        }
        for commit in commits {
            self.commit(*commit)?;
        }
        if self.objects_dir().with_file_name("shallow").exists() {
            return Err(GitError::Shallow("the commit can be pushed to the coordinator".to_owned()));
        }
        let refs = commits.iter().map(|commit| format!("{commit}:{REFS}/{commit}"));
        let git = remote.prepare(Git::bare(&self.pushed_dir(), PURPOSE));
        let options =
            ["push", "--quiet", "--no-verify", "--no-follow-tags", "--recurse-submodules=no", "--", &remote.url];
        git.args(options).args(refs).run(b"").map(drop)
    }
}

/// A bare repository of our own that holds what was fetched.
#[derive(Debug)]
pub struct Mirror {
    path: PathBuf,
    repository: Repository,
    /// Held while git writes: one fetch at a time.
    writing: Mutex<()>,
}

impl Mirror {
    /// The mirror at `path`, which is made when it is missing. Blocks.
    ///
    /// # Errors
    /// When it cannot be made or read.
    pub fn open(path: &Path) -> Result<Self, GitError> {
        const PURPOSE: &str = "make a mirror of the project's git repository";
        let failed = |error| GitError::Unusable(format!("{PURPOSE}: {}: {error}", path.display()));
        fs::create_dir_all(path).map_err(failed)?;
        // Done again it repairs one whose making was cut short.
        Git::bare(path, PURPOSE).args(["init", "--quiet", "--bare", "."]).run(b"")?;
        let path = path.canonicalize().map_err(failed)?;
        let repository = Repository::open(&path)?;
        Ok(Self { path, repository, writing: Mutex::new(()) })
    }

    /// What is in it.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Whether a commit is here with all that it needs.
    ///
    /// A fetch makes the ref last, so what has one is whole; what has none may be, too, and is not believed to be.
    pub fn has(&self, commit: CommitId) -> bool {
        self.repository.resolve(&format!("{REFS}/{commit}")).is_ok_and(|found| found == commit)
    }

    /// Fetches a commit with all that it needs, unless it is here. Blocks; one caller at a time, the others find it
    /// when they come to it.
    ///
    /// # Errors
    /// When `git` is missing, or when the other side does not have the commit or does not answer.
    pub fn fetch(&self, remote: &Remote, commit: CommitId) -> Result<(), GitError> {
        const PURPOSE: &str = "fetch the commit from the coordinator";
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if self.has(commit) {
            return Ok(());
        }
        let git = remote.prepare(Git::bare(&self.path, PURPOSE));
        let options = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance"];
        let refspec = format!("+{commit}:{REFS}/{commit}");
        git.args(options).args(["--recurse-submodules=no", "--", &remote.url, &refspec]).run(b"")?;
        // A mirror that stays untidy costs room only; the next fetch tries again.
        let _ = self.tidy();
        Ok(())
    }

    /// Fetches the submodules of a commit that is here, those inside of them included. What the other side does not have is
    /// left out: who reads it will say that it is not at hand. Blocks.
    ///
    /// # Errors
    /// When `git` is missing or the other side does not answer.
    pub fn fetch_submodules(&self, remote: &Remote, commit: CommitId) -> Result<(), GitError> {
        let mut tried = BTreeSet::new();
        loop {
            let submodules = self.repository.submodules(commit, &Scope::Filter(PathFilter::default()))?;
            // What is here without a ref of its own may not be whole.
            let lacking = submodules.into_iter().filter(|it| !self.has(it.commit) && !tried.contains(&it.commit));
            let lacking: BTreeSet<CommitId> = lacking.map(|submodule| submodule.commit).collect();
            if lacking.is_empty() {
                return Ok(());
            }
            for commit in lacking {
                tried.insert(commit);
                match self.fetch(remote, commit) {
                    Err(GitError::Program(said)) if said.contains("not our ref") => {}
                    other => other?,
                }
            }
        }
    }

    /// Keeps it small: the oldest of too many refs go, and what is loose is packed when there is much of it. What no ref
    /// leads to stays for two weeks: a job may still be reading it.
    fn tidy(&self) -> Result<(), GitError> {
        const PURPOSE: &str = "tidy a mirror of the project's git repository";
        let git = || Git::bare(&self.path, PURPOSE);
        let listed =
            git().args(["for-each-ref", "--sort=-committerdate", "--format=delete %(refname)", REFS]).run(b"")?;
        let listed = String::from_utf8_lossy(&listed);
        let old: String = listed.lines().skip(MOST_REFS).map(|line| format!("{line}\n")).collect();
        if !old.is_empty() {
            git().args(["update-ref", "--stdin"]).run(old.as_bytes())?;
        }
        git().args(["-c", "gc.auto=3000", "-c", "gc.autoDetach=false", "gc", "--auto", "--quiet"]).run(b"").map(drop)
    }
}
