//! One git repository, opened.

use std::{
    borrow::Cow,
    fmt,
    io::Write,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    rc::Rc,
};

use gix::{ObjectId, sec::trust::DefaultForLevel as _};
use slipway_digest::CommitId;
use slipway_paths::{Scope, TreePath};

use crate::{
    ArchiveOptions, Change, CommitInfo, GitError, GitView, Trail, TreeSummary, archive, changes, history, node::Source,
    read, sources, submodules, tree,
};

/// Bytes of decoded objects that one call keeps: neighbouring trees are stored as differences of each other.
const OBJECT_CACHE: usize = 8 * 1024 * 1024;

/// A git repository, read-only but for [`Repository::unshallow`]. Cheap to clone.
#[derive(Clone)]
pub struct Repository {
    /// The user's repository: refs, submodules, work tree.
    main: gix::ThreadSafeRepository,
    /// A store that holds commits of ours, and which of them stands for `HEAD`.
    snapshot: Option<Snapshot>,
}

#[derive(Clone)]
struct Snapshot {
    /// Sees its own objects and those of the main repository.
    store: gix::ThreadSafeRepository,
    /// `None` = `HEAD` is the user's own.
    head: Option<CommitId>,
}

impl Repository {
    /// Opens the repository that `directory` lies in: its own `.git`, that of a directory above it, or a bare one.
    ///
    /// # Errors
    /// [`GitError::Unusable`] when there is none, or when it belongs to another user.
    pub fn open(directory: &Path) -> Result<Self, GitError> {
        // Later calls change directories: what is remembered must not depend on the current one.
        let directory = &directory.canonicalize().map_err(|error| {
            GitError::Unusable(format!("open the git repository at {}: {error}", directory.display()))
        })?;
        let trusted = |level| gix::open::Options::default_for_level(level).bail_if_untrusted(true);
        let by_trust = gix::sec::trust::Mapping {
            full: trusted(gix::sec::Trust::Full),
            reduced: trusted(gix::sec::Trust::Reduced),
        };
        let main = gix::ThreadSafeRepository::discover_opts(directory, Default::default(), by_trust)
            .map_err(|error| cannot_open(directory, &error))?;
        Ok(Self { main, snapshot: None })
    }

    /// This repository with a commit of its work tree as `HEAD`.
    pub(crate) fn with_snapshot(&self, store: gix::ThreadSafeRepository, head: CommitId) -> Self {
        Self { main: self.main.clone(), snapshot: Some(Snapshot { store, head: Some(head) }) }
    }

    /// This repository with the commits of a store that sees all of its objects. `HEAD` stays what it is.
    pub(crate) fn with_store(&self, store: gix::ThreadSafeRepository) -> Self {
        let head = self.snapshot.as_ref().and_then(|snapshot| snapshot.head);
        Self { main: self.main.clone(), snapshot: Some(Snapshot { store, head }) }
    }

    /// All directories of objects that this repository reads.
    pub(crate) fn objects_dirs(&self) -> Vec<PathBuf> {
        let store = self.snapshot.as_ref().map(|snapshot| snapshot.store.objects_dir().to_owned());
        std::iter::once(self.objects_dir()).chain(store).collect()
    }

    /// The repository that sees all objects of this one: that of its snapshots, when it has any.
    pub(crate) fn pushed_dir(&self) -> PathBuf {
        self.snapshot.as_ref().map_or_else(|| self.git_dir().to_owned(), |snapshot| snapshot.store.git_dir().to_owned())
    }

    /// The directory that holds the files; `None` for a bare repository.
    pub fn work_tree(&self) -> Option<&Path> {
        self.main.work_dir()
    }

    /// The directory of the repository's own data, such as `.git`; that of the work tree for a linked one.
    pub fn git_dir(&self) -> &Path {
        self.main.git_dir()
    }

    /// The directory of objects.
    pub fn objects_dir(&self) -> PathBuf {
        self.main.objects_dir().to_owned()
    }

    /// Where `directory` lies in the work tree: the path of the same directory in a commit.
    ///
    /// # Errors
    /// [`GitError::Unusable`] when it lies outside of the work tree or there is none.
    pub fn prefix(&self, directory: &Path) -> Result<TreePath, GitError> {
        let Some(root) = self.work_tree() else {
            return Err(GitError::Unusable(format!("{} has no work tree", self.git_dir().display())));
        };
        let real = |path: &Path| {
            path.canonicalize().map_err(|error| GitError::Unusable(format!("find {}: {error}", path.display())))
        };
        let (root, directory) = (real(root)?, real(directory)?);
        let outside =
            || GitError::Unusable(format!("{} lies outside of the work tree {}", directory.display(), root.display()));
        let below = directory.strip_prefix(&root).map_err(|_| outside())?;
        TreePath::new(below.as_os_str().as_bytes()).map_err(|_| outside())
    }

    /// What must be read to have the file at `path`: the symbolic links on the way and the file itself; `None` = no such
    /// file.
    ///
    /// # Errors
    /// [`GitError::Missing`] for an unknown commit, others when the repository cannot be read.
    pub fn trail(&self, at: CommitId, path: &TreePath) -> Result<Option<Trail>, GitError> {
        read::trail(&self.source(at)?, path)
    }

    /// `scope` with the symbolic links that sources of a context lead over, and what those lead to, as further sources.
    ///
    /// # Errors
    /// As [`GitView::tree`].
    pub fn followed(&self, at: CommitId, scope: &Scope) -> Result<Scope, GitError> {
        sources::followed(&self.source(at)?, scope).map(Cow::into_owned)
    }

    /// The paths of all files of `scope`, relative to its base, sorted.
    ///
    /// # Errors
    /// As [`GitView::tree`].
    pub fn list(&self, at: CommitId, scope: &Scope) -> Result<Vec<TreePath>, GitError> {
        tree::list(&self.source(at)?, scope)
    }

    /// A handle of this thread on the user's own repository.
    pub(crate) fn main(&self) -> gix::Repository {
        self.main.to_thread_local()
    }

    /// A handle of this thread on all objects.
    pub(crate) fn objects(&self) -> gix::Repository {
        let snapshot = self.snapshot.as_ref().map(|snapshot| &snapshot.store);
        let mut repository = snapshot.unwrap_or(&self.main).to_thread_local();
        repository.object_cache_size_if_unset(OBJECT_CACHE);
        repository
    }

    /// The tree of a commit, ready to be read.
    pub(crate) fn source(&self, at: CommitId) -> Result<Rc<Source>, GitError> {
        let store = self.snapshot.as_ref().map(|snapshot| Rc::new(snapshot.store.to_thread_local()));
        Source::new(self.objects(), self.main(), store, ObjectId::Sha1(at.0)).map(Rc::new)
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = self.snapshot.as_ref().and_then(|snapshot| snapshot.head);
        f.debug_struct("Repository").field("git_dir", &self.git_dir()).field("snapshot", &head).finish()
    }
}

impl GitView for Repository {
    fn resolve(&self, name: &str) -> Result<CommitId, GitError> {
        if let Some(head) = self.snapshot.as_ref().and_then(|snapshot| snapshot.head)
            && let Some(steps) = name.strip_prefix("HEAD").or_else(|| name.strip_prefix('@'))
            && steps.bytes().all(|byte| matches!(byte, b'~' | b'^' | b'0'..=b'9'))
        {
            return history::resolve(&self.objects(), &format!("{head}{steps}"));
        }
        if let Ok(id) = name.to_ascii_lowercase().parse::<CommitId>()
            && let Ok(info) = self.commit(id)
        {
            return Ok(info.id);
        }
        history::resolve(&self.main(), name)
    }

    fn commit(&self, id: CommitId) -> Result<CommitInfo, GitError> {
        history::commit(&self.objects(), id)
    }

    fn read(&self, at: CommitId, path: &TreePath) -> Result<Option<Vec<u8>>, GitError> {
        read::read(&self.source(at)?, path)
    }

    fn tree(&self, at: CommitId, scope: &Scope) -> Result<TreeSummary, GitError> {
        tree::summary(&self.source(at)?, scope)
    }

    fn changes(&self, from: CommitId, to: CommitId, scope: &Scope) -> Result<Vec<Change>, GitError> {
        changes::between(&self.source(from)?, &self.source(to)?, scope)
    }

    fn is_ancestor(&self, old: CommitId, new: CommitId) -> Result<bool, GitError> {
        let yes = history::is_ancestor(&self.main(), &self.objects(), old, new)?;
        if yes && old != new {
            submodules::are_comparable(&self.source(old)?, &self.source(new)?)?;
        }
        Ok(yes)
    }

    fn archive(
        &self,
        at: CommitId,
        scope: &Scope,
        options: &ArchiveOptions,
        out: &mut dyn Write,
    ) -> Result<(), GitError> {
        archive::write(&self.source(at)?, scope, options, out)
    }
}

fn cannot_open(directory: &Path, error: &gix::Error) -> GitError {
    let directory = directory.display();
    GitError::Unusable(if error.is_permission_denied() {
        format!(
            "the git repository at {directory} belongs to another user or may not be read; if you trust it, run `git \
             config --global --add safe.directory DIR` with its directory ({})",
            error.probable_cause()
        )
    } else if error.is_not_found() {
        format!("{directory} is not in a git repository; run `git init` there, or name another directory")
    } else {
        format!("open the git repository at {directory}: {}", error.probable_cause())
    })
}
