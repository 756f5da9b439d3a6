//! Mirrors: what clients have pushed of their projects' git repositories, one bare repository a project.
//!
//! Git's own programs write them ([`program`] runs those); reading is `slipway-git`'s. A commit is kept as long as a
//! ref stands on it or on a descendant: `refs/slipway/COMMIT`, which a push makes and a submit renews.

mod housekeeping;
mod program;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use slipway_digest::CommitId;
use slipway_git::Repository;
use slipway_process::{Environment, random_id};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

pub(crate) use program::{Git, GitFailure};

use crate::limits::Limits;

/// Git programs that run at once for clients and workers.
const PROGRAMS: usize = 16;
/// A file of a mirror: the name of the token that brought the project here.
const MAKER: &str = "slipway-maker";
/// Longest name of a project, in bytes.
const LONGEST_NAME: usize = 100;
/// What a mirror is told of pushes and fetches. Only `refs/slipway/*` is to be seen or written; no hook runs.
const CONFIG: &str = "[core]
\trepositoryformatversion = 0
\tfilemode = true
\tbare = true
\thooksPath = /dev/null
\tlogAllRefUpdates = false
[http]
\treceivepack = true
\tuploadpack = true
\tgetanyfile = false
[transfer]
\tfsckObjects = true
[receive]
\tfsckObjects = true
\thideRefs = refs
\thideRefs = !refs/slipway
\tdenyDeletes = true
\tdenyNonFastForwards = true
\tdenyCurrentBranch = refuse
\tautogc = false
\tshallowUpdate = false
\tadvertisePushOptions = false
[uploadpack]
\tallowAnySHA1InWant = true
\tallowFilter = true
[gc]
\tauto = 3000
\tautoDetach = false
\tpruneExpire = 2.weeks.ago
[repack]
\twriteBitmaps = true
";

/// A name that no mirror can have.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "`{0}` cannot be a project here: a name has letters, digits, `-`, `_` and `.`, and begins with a letter or digit"
)]
pub(crate) struct ProjectNameError(String);

/// Why a project has no mirror.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoMirror {
    /// There are too many, or the caller has made too many.
    #[error("{0}")]
    TooMany(String),
    /// It cannot be made.
    #[error(transparent)]
    Git(#[from] GitFailure),
}

/// All mirrors. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Mirrors {
    root: Arc<Path>,
    path_variable: Arc<str>,
    limits: Limits,
    programs: Arc<Semaphore>,
    /// Mirrors are made one after the other, so that they can be counted.
    making: Arc<Mutex<()>>,
}

impl Mirrors {
    /// The mirrors below `root`, which is made when it is missing.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub(crate) fn open(root: PathBuf, environment: &Environment, limits: Limits) -> io::Result<Self> {
        fs::create_dir_all(&root)?;
        let path = environment.non_empty("PATH").unwrap_or("/usr/local/bin:/usr/bin:/bin");
        Ok(Self {
            root: root.into(),
            path_variable: path.into(),
            limits,
            programs: Arc::new(Semaphore::new(PROGRAMS)),
            making: Arc::default(),
        })
    }

    /// How much is taken.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The directory of all mirrors.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Whether a project's name is one that a directory can have. It is never part of a path before.
    ///
    /// # Errors
    /// [`ProjectNameError`] when it is not.
    pub(crate) fn check_name(project: &str) -> Result<(), ProjectNameError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let begins = project.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
        let good = begins && project.len() <= LONGEST_NAME && project.bytes().all(plain);
        // Git refuses some names in refs and directories of its own.
        if good && !project.ends_with(".lock") && !project.contains("..") {
            return Ok(());
        }
        Err(ProjectNameError(project.chars().take(LONGEST_NAME).collect()))
    }

    /// Where a project's mirror is or would be. The name must have been checked.
    pub(crate) fn directory(&self, project: &str) -> PathBuf {
        self.root.join(format!("{project}.git"))
    }

    /// Whether a project has a mirror. The name must have been checked.
    pub(crate) fn has(&self, project: &str) -> bool {
        self.directory(project).join("HEAD").exists()
    }

    /// Makes a project's mirror if there is none. `maker` is whose mirror it is then, when those of one are counted.
    ///
    /// # Errors
    /// When there are too many, or it cannot be made.
    pub(crate) async fn ensure(&self, project: &str, maker: &str) -> Result<(), NoMirror> {
        if self.has(project) {
            return Ok(());
        }
        let _turn = self.making.lock().await;
        if self.has(project) {
            return Ok(());
        }
        self.check_count(maker)?;
        let fresh = self.root.join(format!(".new-{}", random_id()));
        let made = self.make(&fresh, &self.directory(project), maker).await;
        if made.is_err() {
            // What is left of it is nobody's.
            let _ = fs::remove_dir_all(&fresh);
        }
        Ok(made?)
    }

    fn check_count(&self, maker: &str) -> Result<(), NoMirror> {
        let projects = self.projects();
        let most = self.limits.mirrors;
        if projects.len() >= most {
            let why = format!("{most} projects are here already, and no more are taken; who runs the coordinator can");
            return Err(NoMirror::TooMany(format!("{why} remove the mirrors of those that are gone")));
        }
        let most = self.limits.mirrors_of_one;
        let is_his = |project: &&String| {
            fs::read_to_string(self.directory(project).join(MAKER)).is_ok_and(|text| text.trim() == maker)
        };
        if projects.iter().filter(is_his).count() >= most {
            let why = format!("`{maker}` has brought {most} projects here, and may not bring more; who runs the");
            return Err(NoMirror::TooMany(format!("{why} coordinator can remove the mirrors of those that are gone")));
        }
        Ok(())
    }

    async fn make(&self, fresh: &Path, target: &Path, maker: &str) -> Result<(), GitFailure> {
        let purpose = "make a mirror for the project";
        let init = Git::new(self, &self.root, purpose).args(["init", "--quiet", "--bare"]).arg(fresh);
        init.run().await?;
        // Counted after it was decompressed, unlike the bytes that the endpoint counts.
        let config = format!("{CONFIG}[receive]\n\tmaxInputSize = {}\n", self.limits.push);
        let written = fs::write(fresh.join("config"), config).and_then(|()| fs::write(fresh.join(MAKER), maker));
        written.map_err(|error| GitFailure::new(purpose, error))?;
        match fs::rename(fresh, target) {
            Ok(()) => Ok(()),
            // Another call was faster.
            Err(_) if target.join("HEAD").exists() => {
                let _ = fs::remove_dir_all(fresh);
                Ok(())
            }
            Err(error) => Err(GitFailure::new(purpose, error)),
        }
    }

    /// The commits that the project's mirror lacks. Those that it has are kept from now on.
    pub(crate) async fn missing(&self, project: &str, commits: &[CommitId]) -> Result<Vec<CommitId>, GitFailure> {
        if !self.has(project) {
            return Ok(commits.to_vec());
        }
        let _permit = self.permit().await;
        let mut missing = Vec::new();
        for commit in commits {
            if !self.keep(project, *commit).await? {
                missing.push(*commit);
            }
        }
        Ok(missing)
    }

    /// Lets a ref stand on a commit, if the commit is whole: if some ref stands on it or on a descendant.
    async fn keep(&self, project: &str, commit: CommitId) -> Result<bool, GitFailure> {
        let directory = self.directory(project);
        let name = format!("refs/slipway/{commit}");
        let look = Git::new(self, &directory, "look for a commit in the mirror");
        let contains = format!("--contains={commit}");
        let found = look.args(["for-each-ref", "--count=1", "--format=%(refname)", &contains, "refs/slipway"]);
        match found.run().await {
            Ok(refs) if refs.is_empty() => Ok(false),
            Ok(_) if directory.join(&name).exists() => Ok(true),
            Ok(_) => {
                let keep = Git::new(self, &directory, "keep a commit in the mirror");
                keep.args(["update-ref", &name, &commit.to_string()]).run().await?;
                Ok(true)
            }
            // Git fails when there is no such object; what else is wrong shows when it is pushed.
            Err(GitFailure::Failed { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A project's mirror, for reading.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) fn repository(&self, project: &str) -> Result<Repository, slipway_git::GitError> {
        Repository::open(&self.directory(project))
    }

    /// Permission to run a git program; waits for its turn.
    pub(crate) async fn permit(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.programs).acquire_owned().await.expect("the semaphore is never closed")
    }

    /// The variable by which programs are found.
    pub(crate) fn path_variable(&self) -> &str {
        &self.path_variable
    }
}

#[cfg(test)]
mod tests;
