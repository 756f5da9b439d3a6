//! Git repositories as read-only trees, and the state of a work tree. The only crate that names gix.
//!
//! All calls block: run them on a blocking pool.
//!
//! Reading order: this page (what can be asked), [`repository`] (opening and resolving), `node` (one entry of a tree,
//! submodules included), `tree`, `changes`, `archive`, `read` and `history` (one answer each), `sources` (where a Dockerfile's sources lead), [`worktree`] (what is not
//! committed), [`dev`] (a commit made of what is not committed), [`overlay`] (a commit with single files from disk) and
//! [`included`] (one with files of other repositories); `store`
//! holds the objects of such commits; [`submodules`] (repositories inside of repositories), [`transfer`] (commits on their way to other repositories), [`upstream`] (copies of
//! other repositories), `references` (branches and tags of `origin`).

use std::io::Write;

use slipway_digest::{Checksum, CommitId};
use slipway_paths::{GlobError, Scope, TreePath};

mod archive;
mod changes;
pub mod dev;
mod history;
pub mod included;
mod node;
pub mod overlay;
mod program;
mod read;
mod references;
pub mod repository;
mod sources;
mod store;
pub mod submodules;
pub mod transfer;
mod tree;
mod unshallow;
pub mod upstream;
pub mod worktree;

pub use changes::{changes_checksum, changes_size};
pub use included::TreeFile;
pub use read::Trail;
pub use references::Ref;
pub use repository::Repository;
pub use submodules::Submodule;
pub use transfer::{Mirror, Remote};
pub use upstream::{Address, AddressError, CheckedOut, Login, Speech, Upstream, Wanted, checkout};
pub use worktree::{Dirty, DirtyKind, StatusOptions};

/// What can go wrong while a repository is read.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// A commit, ref or object is not there.
    #[error("{0} is not in the git repository")]
    Missing(String),
    /// A shallow clone ends before the question is answered.
    #[error("the git history is cut off (shallow clone) before {0}; run `git fetch --unshallow`")]
    Shallow(String),
    /// There is no repository that can be used; says why and what to do.
    #[error("{0}")]
    Unusable(String),
    /// A submodule's files are not there.
    #[error("the submodule `{path}` is not at hand at commit {commit}; run `git submodule update --init --recursive`")]
    Submodule {
        /// Where it lies, from the root of the repository that holds it.
        path: String,
        /// The commit that is missing.
        commit: String,
    },
    /// A name that means something else in a layer of an image.
    #[error(
        "`{0}` cannot be in an image: in its layers a name that begins with `.wh.` deletes another file; rename it, or \
         leave it out with `excludePaths`"
    )]
    Whiteout(String),
    /// A pattern of a scope is invalid.
    #[error(transparent)]
    Pattern(#[from] GlobError),
    /// The program `git` is missing or failed; says what it was to do.
    #[error("{0}")]
    Program(String),
    /// The repository is damaged or cannot be read.
    #[error("read the git repository: {0}")]
    Broken(String),
    /// Writing what was read failed.
    #[error("write an archive of the git repository")]
    Write(#[from] std::io::Error),
}

impl GitError {
    /// Something could not be read; `doing` says what was being done.
    fn broken(doing: impl std::fmt::Display, error: &gix::Error) -> Self {
        Self::Broken(format!("{doing}: {}", error.probable_cause()))
    }
}

/// Kind and mode of a file in a commit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum FileMode {
    /// A regular file, 0644.
    Regular,
    /// An executable file, 0755.
    Executable,
    /// A symbolic link; its content is the target.
    Symlink,
}

impl FileMode {
    /// As git writes it in a tree.
    pub const fn bits(self) -> u32 {
        match self {
            Self::Regular => 0o100_644,
            Self::Executable => 0o100_755,
            Self::Symlink => 0o120_000,
        }
    }
}

/// What a path of a commit is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum PathKind {
    /// A file or symbolic link.
    File,
    /// A directory, or a submodule whose commit is at hand.
    Directory,
}

/// When an author made a commit, on the author's own clock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Authored {
    /// Seconds since the Unix epoch.
    pub time: i64,
    /// Seconds east of UTC.
    pub offset: i32,
}

/// A commit's own data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommitInfo {
    /// Its id.
    pub id: CommitId,
    /// Committer time, seconds since the Unix epoch.
    pub time: i64,
    /// When its author made it.
    pub authored: Authored,
    /// Parents, in order.
    pub parents: Vec<CommitId>,
}

/// What a scope holds at a commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TreeSummary {
    /// What the scope's base is; `None` = it does not exist.
    pub base: Option<PathKind>,
    /// Number of selected files.
    pub files: u64,
    /// Over (type, mode, path, content id) of the selected files, sorted by path.
    pub checksum: Checksum,
}

/// One changed path between two commits, relative to the scope's base.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// Path below the scope's base (the root when the base is a file).
    pub path: TreePath,
    /// Mode and blob before; `None` = added.
    pub old: Option<(FileMode, [u8; 20])>,
    /// Mode and blob after; `None` = deleted.
    pub new: Option<(FileMode, [u8; 20])>,
    /// Size in bytes of the new blob, of the old one for a deleted path.
    pub size: u64,
}

/// How an archive is written.
#[derive(Clone, Debug, Default)]
pub struct ArchiveOptions {
    /// Modification time of every entry, seconds since the Unix epoch.
    pub mtime: u64,
    /// Only these paths (relative to the scope's base) instead of all selected ones.
    pub only: Option<Vec<TreePath>>,
    /// Name of the single entry when the scope's base is a file; its own name when `None`.
    pub file_name: Option<Vec<u8>>,
    /// The files become a layer of an image: names that would delete others there are refused.
    pub for_layer: bool,
}

/// Read-only access to one repository. Live: [`Repository`]. All paths of one call are of the commit, never of the
/// work tree.
pub trait GitView: Send + Sync {
    /// The commit that `name` (a ref, `HEAD`, an id) stands for.
    fn resolve(&self, name: &str) -> Result<CommitId, GitError>;
    /// A commit's own data.
    fn commit(&self, id: CommitId) -> Result<CommitInfo, GitError>;
    /// The content of a file, symbolic links followed inside the commit; `None` = no such file.
    fn read(&self, at: CommitId, path: &TreePath) -> Result<Option<Vec<u8>>, GitError>;
    /// What `scope` holds at a commit. Submodules are descended into when their commit is at hand. Sources of a context are followed
    /// over symbolic links.
    fn tree(&self, at: CommitId, scope: &Scope) -> Result<TreeSummary, GitError>;
    /// What changed inside `scope`, sorted by path. Costs the difference, not the tree.
    fn changes(&self, from: CommitId, to: CommitId, scope: &Scope) -> Result<Vec<Change>, GitError>;
    /// Whether `old` is `new` or an ancestor of it. A shallow history that ends first is [`GitError::Shallow`]; an ancestor
    /// one of whose submodules is gone, so that nobody can tell what changed in it, is [`GitError::Submodule`].
    fn is_ancestor(&self, old: CommitId, new: CommitId) -> Result<bool, GitError>;
    /// Writes a tar of what `scope` holds at a commit: paths relative to its base, sorted, parents before children,
    /// files 0644 or 0755, directories 0755, owner 0:0, one time for all: equal input, equal bytes.
    fn archive(
        &self,
        at: CommitId,
        scope: &Scope,
        options: &ArchiveOptions,
        out: &mut dyn Write,
    ) -> Result<(), GitError>;
}
