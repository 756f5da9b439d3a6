//! `--dev`: a commit made of what is not committed.
//!
//! The commit holds `HEAD` with all differences of the work tree applied. Its objects lie in a store of our own that
//! borrows all others from the user's repository, which is never written. Author and time are fixed. Each commit of a
//! work tree also descends from the one before it, so that what was built from one is suitable for the next; an unchanged
//! work tree keeps its commit. Submodules are treated the same way, into the same store.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use gix::{ObjectId, objs::tree::EntryKind};
use slipway_digest::{CommitId, Encoder};
use slipway_paths::{Glob, TreePath};
use slipway_process::random_id;

use crate::{
    CommitInfo, Dirty, DirtyKind, GitError, GitView as _, Repository, StatusOptions,
    history::commit_id,
    program::Git,
    store::{Store, write_commit},
};

/// Deepest nesting of submodules.
const MAX_DEPTH: usize = 16;
const PURPOSE: &str = "make a commit of the work tree";

impl Repository {
    /// This repository with `HEAD` standing for the work tree: all tracked and untracked files that neither git nor the
    /// globs of `ignore` (from the root of the repository) ignore. New objects are written to `store`, a directory of our
    /// own that is created when missing and may be shared by all work trees of a host. When nothing differs, `HEAD` itself
    /// is returned.
    ///
    /// # Errors
    /// [`GitError::Program`] when `git` is missing or fails, [`GitError::Unusable`] when `store` cannot be written.
    pub fn with_work_tree_snapshot(&self, store: &Path, ignore: &[String]) -> Result<(Self, CommitId), GitError> {
        let globs = ignore.iter().map(|glob| Glob::new(glob)).collect::<Result<_, _>>()?;
        let snapshots = Snapshots { store: Store::create(store, PURPOSE)?, ignore: globs };
        match snapshots.snapshot(self, &TreePath::root(), 0)? {
            None => Ok((self.clone(), self.resolve("HEAD")?)),
            Some(commit) => Ok((self.with_snapshot(snapshots.store.open()?.into_sync(), commit), commit)),
        }
    }
}

/// Takes snapshots.
struct Snapshots {
    store: Store,
    /// Paths that are passed over, from the root of the outermost repository.
    ignore: Vec<Glob>,
}

impl Snapshots {
    /// The commit of the work tree that lies at `prefix`; `None` when it is as `HEAD`.
    fn snapshot(&self, repository: &Repository, prefix: &TreePath, depth: usize) -> Result<Option<CommitId>, GitError> {
        let Some(work_tree) = repository.work_tree() else { return Ok(None) };
        if depth > MAX_DEPTH {
            return Err(GitError::Unusable(format!("{PURPOSE}: submodules are nested more than {MAX_DEPTH} deep")));
        }
        let head = repository.commit(repository.resolve("HEAD")?)?;
        let mut dirty = repository.uncommitted(&StatusOptions::default())?;
        dirty.retain(|dirty| {
            let path = prefix.join(dirty.path.as_bytes());
            !self.ignore.iter().any(|glob| glob.selects(&path))
        });
        if dirty.is_empty() {
            return Ok(None);
        }
        self.store.borrow(&repository.objects_dir())?;
        let mut edits = self.hash(repository, work_tree, &head, &dirty)?;
        for Dirty { path, kind } in &dirty {
            if let DirtyKind::Submodule { modified, untracked, .. } = kind
                && (*modified || *untracked)
            {
                let submodule = Repository::open(&work_tree.join(OsStr::from_bytes(path.as_bytes())))?;
                if let Some(commit) = self.snapshot(&submodule, &prefix.join(path.as_bytes()), depth + 1)? {
                    edits.push(Edit { path: path.clone(), new: Some((EntryKind::Commit, ObjectId::Sha1(commit.0))) });
                }
            }
        }
        let store = self.store.open()?;
        let before = self.last(&store, work_tree);
        let made = commit(&store, &head, before.as_ref(), &edits)?;
        if let Some(made) = &made {
            self.store.replace(&self.last_file(work_tree), format!("{made}\n").as_bytes())?;
        }
        Ok(made)
    }

    /// The snapshot before this one; `None` when there is none, or it is gone.
    fn last(&self, store: &gix::Repository, work_tree: &Path) -> Option<Last> {
        let id: CommitId = fs::read_to_string(self.last_file(work_tree)).ok()?.trim().parse().ok()?;
        let commit = store.find_commit(ObjectId::Sha1(id.0)).ok()?;
        let head = commit.parent_ids().next()?.detach();
        Some(Last { id: commit.id, tree: commit.tree_id().ok()?.detach(), head })
    }

    fn last_file(&self, work_tree: &Path) -> PathBuf {
        let name = Encoder::new("work tree").bytes(work_tree.as_os_str().as_bytes()).finish();
        self.store.root().join("last").join(name.to_string())
    }

    /// Hashes what differs, as `git add` would, and returns the differences to `head`. Nothing else is read.
    fn hash(
        &self,
        repository: &Repository,
        work_tree: &Path,
        head: &CommitInfo,
        dirty: &[Dirty],
    ) -> Result<Vec<Edit>, GitError> {
        let index = Index { path: self.store.root().join(format!("index-{}", random_id())) };
        let git = |objects: PathBuf, args: &[&str]| {
            Git::new(repository.git_dir(), work_tree, PURPOSE)
                .env("GIT_INDEX_FILE", &index.path)
                .env("GIT_OBJECT_DIRECTORY", objects)
                .args(args)
        };
        let head = head.id.to_string();
        git(self.store.objects(), &["read-tree", &head]).run(b"")?;
        let (deleted, changed): (Vec<&Dirty>, Vec<&Dirty>) =
            dirty.iter().partition(|dirty| dirty.kind == DirtyKind::Deleted);
        // Deleted paths first: a directory may stand where a file was.
        let list = index_paths(work_tree, &deleted);
        if !list.is_empty() {
            git(self.store.contents(), &["update-index", "-z", "--force-remove", "--stdin"]).run(&list)?;
        }
        let list = index_paths(work_tree, &changed);
        if !list.is_empty() {
            git(self.store.contents(), &["update-index", "-z", "--add", "--remove", "--replace", "--stdin"])
                .run(&list)?;
        }
        let compare = ["diff-index", "--cached", "--raw", "-z", "--no-renames", "--full-index", "--no-abbrev", &head];
        edits(&git(self.store.objects(), &compare).run(b"")?)
    }
}

/// The snapshot of a work tree before this one.
struct Last {
    id: ObjectId,
    tree: ObjectId,
    /// What `HEAD` was.
    head: ObjectId,
}

/// A difference to a tree.
struct Edit {
    path: TreePath,
    /// `None` = the path is gone.
    new: Option<(EntryKind, ObjectId)>,
}

/// Reads `git diff-index --raw -z`: `:OLD_MODE NEW_MODE OLD_ID NEW_ID STATUS`, then the path.
fn edits(output: &[u8]) -> Result<Vec<Edit>, GitError> {
    let mut fields = output.split(|byte| *byte == 0);
    let mut edits = Vec::new();
    while let (Some(change), Some(path)) = (fields.next(), fields.next()) {
        let change = String::from_utf8_lossy(change);
        let unknown = || GitError::Program(format!("{PURPOSE}: git diff-index printed `{change}`"));
        let [_, mode, _, id, status] = change.split(' ').collect::<Vec<_>>()[..] else { return Err(unknown()) };
        let kind = match mode {
            "100644" => EntryKind::Blob,
            "100755" => EntryKind::BlobExecutable,
            "120000" => EntryKind::Link,
            "160000" => EntryKind::Commit,
            "000000" if status == "D" => EntryKind::Tree,
            _ => return Err(unknown()),
        };
        let id: CommitId = id.parse().map_err(|_| unknown())?;
        let new = (status != "D").then_some((kind, ObjectId::Sha1(id.0)));
        edits.push(Edit { path: TreePath::new(path).map_err(|_| unknown())?, new });
    }
    Ok(edits)
}

/// Writes the commit of `edits` on top of `head`; `None` when they change nothing.
fn commit(
    store: &gix::Repository,
    head: &CommitInfo,
    last: Option<&Last>,
    edits: &[Edit],
) -> Result<Option<CommitId>, GitError> {
    let broken = |error| GitError::broken(PURPOSE, &error);
    let parent = ObjectId::Sha1(head.id.0);
    let before = store.find_commit(parent).and_then(|commit| commit.tree()).map_err(broken)?;
    let root = before.decode().map_err(broken)?.into();
    let mut editor = gix::objs::tree::Editor::new(root, &store.objects, gix::hash::Kind::Sha1);
    let names = |path: &TreePath| path.segments().map(gix::bstr::BString::from).collect::<Vec<_>>();
    // Deleted paths first: a directory may stand where a file was, or a file where a directory was.
    for Edit { path, .. } in edits.iter().filter(|edit| edit.new.is_none()) {
        editor.remove(names(path)).map_err(broken)?;
    }
    for Edit { path, new } in edits {
        if let Some((kind, id)) = new {
            editor.upsert(names(path), *kind, *id).map_err(broken)?;
        }
    }
    let tree = editor.write(|tree| store.write_object(tree).map(gix::Id::detach)).map_err(broken)?;
    if tree == before.id {
        return Ok(None);
    }
    if let Some(same) = last.filter(|last| last.tree == tree && last.head == parent) {
        return Ok(Some(commit_id(same.id)));
    }
    let parents = std::iter::once(parent).chain(last.map(|last| last.id)).collect();
    let id = write_commit(store, tree, parents, head.time, "Work tree\n").map_err(broken)?;
    Ok(Some(commit_id(id)))
}

/// An index file that is removed at the end.
struct Index {
    path: PathBuf,
}

impl Drop for Index {
    fn drop(&mut self) {
        // Left behind it would only take room.
        let _ = fs::remove_file(&self.path);
    }
}

/// Paths as `update-index --stdin` reads them. A repository inside of the work tree that is no submodule is passed over:
/// its files are not this repository's.
fn index_paths(work_tree: &Path, dirty: &[&Dirty]) -> Vec<u8> {
    let is_directory =
        |path: &[u8]| fs::symlink_metadata(work_tree.join(OsStr::from_bytes(path))).is_ok_and(|data| data.is_dir());
    let mut list = Vec::new();
    for Dirty { path, kind } in dirty {
        if *kind == DirtyKind::Untracked && is_directory(path.as_bytes()) {
            continue;
        }
        list.extend_from_slice(path.as_bytes());
        list.push(0);
    }
    list
}
