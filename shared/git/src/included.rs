//! A commit with files of other repositories in it. For the configuration alone, which may come from elsewhere.
//!
//! As for [`overlay`](crate::overlay), the commit lies in a store of our own, which borrows the contents of the files from
//! the copies of those repositories. Equal files on the same base are the same commit.

use std::path::{Path, PathBuf};

use gix::{ObjectId, objs::tree::EntryKind};
use slipway_digest::CommitId;
use slipway_paths::{Scope, TreePath};

use crate::{
    FileMode, GitError, GitView as _, Repository,
    history::commit_id,
    store::{Store, write_commit},
    tree,
};

const PURPOSE: &str = "add files of other repositories to a commit";
/// Most files that are added to one commit.
const MAX_FILES: usize = 100_000;

/// A file of a commit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TreeFile {
    /// Its path: relative to the scope's base where it is listed, of the commit where it is put.
    pub path: TreePath,
    /// Its kind and mode.
    pub mode: FileMode,
    /// Its content.
    pub blob: [u8; 20],
}

impl Repository {
    /// The files of `scope`, sorted by path.
    ///
    /// # Errors
    /// As [`tree`](crate::GitView::tree).
    pub fn files(&self, at: CommitId, scope: &Scope) -> Result<Vec<TreeFile>, GitError> {
        tree::files(&self.source(at)?, scope)
    }

    /// This repository with all commits of `others` in it as well. New objects are never written to any of them; `store` is a
    /// directory of our own that may be the one of [`with_files`](Repository::with_files). `HEAD` and all refs stay what
    /// they are.
    ///
    /// # Errors
    /// [`GitError::Unusable`] when `store` cannot be written.
    pub fn with_commits_of(&self, store: &Path, others: &[&Repository]) -> Result<Self, GitError> {
        if others.is_empty() {
            return Ok(self.clone());
        }
        Ok(self.with_store(self.borrowing(store, others)?.into_sync()))
    }

    /// A store that sees the objects of this repository and of `others`.
    fn borrowing(&self, store: &Path, others: &[&Repository]) -> Result<gix::Repository, GitError> {
        let store = Store::create(store, PURPOSE)?;
        let borrowed: Vec<PathBuf> = others.iter().flat_map(|other| other.objects_dirs()).collect();
        for objects in self.objects_dirs().into_iter().chain(borrowed) {
            store.borrow(&objects)?;
        }
        store.open()
    }

    /// This repository with a commit that is `base` with files of `others` put in; they win over the base's. New objects
    /// are written to `store`, a directory of our own that may be the one of
    /// [`with_files`](Repository::with_files). `HEAD` stays what it is. Without files, `base` itself is returned.
    ///
    /// # Errors
    /// [`GitError::Unusable`] when there are too many files or `store` cannot be written.
    pub fn with_included(
        &self,
        store: &Path,
        base: CommitId,
        files: &[TreeFile],
        others: &[&Repository],
    ) -> Result<(Self, CommitId), GitError> {
        if files.is_empty() {
            return Ok((self.clone(), base));
        }
        if files.len() > MAX_FILES {
            return Err(GitError::Unusable(format!("{PURPOSE}: there are more than {MAX_FILES} files")));
        }
        let repository = self.borrowing(store, others)?;
        let broken = |error| GitError::broken(PURPOSE, &error);
        let parent = ObjectId::Sha1(base.0);
        let before = repository.find_commit(parent).and_then(|commit| commit.tree()).map_err(broken)?;
        let root = before.decode().map_err(broken)?.into();
        let mut editor = gix::objs::tree::Editor::new(root, &repository.objects, gix::hash::Kind::Sha1);
        for TreeFile { path, mode, blob } in files {
            let kind = match mode {
                FileMode::Regular => EntryKind::Blob,
                FileMode::Executable => EntryKind::BlobExecutable,
                FileMode::Symlink => EntryKind::Link,
            };
            let segments = path.segments().map(gix::bstr::BString::from);
            editor.upsert(segments, kind, ObjectId::Sha1(*blob)).map_err(broken)?;
        }
        let tree = editor.write(|tree| repository.write_object(tree).map(gix::Id::detach)).map_err(broken)?;
        let time = self.commit(base)?.time;
        let written = write_commit(&repository, tree, vec![parent], time, "Files of other repositories\n");
        let commit = commit_id(written.map_err(broken)?);
        drop((before, editor));
        Ok((self.with_store(repository.into_sync()), commit))
    }
}
