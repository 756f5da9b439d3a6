//! A commit with files from disk in it, for the few that may be used without being committed.
//!
//! The commit is the base with the files put in; they win over the base's. As for [`dev`](crate::dev), new objects lie in
//! a store of our own, and the user's repository is never written. Equal files on the same base are the same commit.
//! Files are taken as they lie there: no filter of git's and no ignore rule is applied to them.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::{Path, PathBuf},
    rc::Rc,
};

use gix::{
    ObjectId,
    objs::{Write as _, tree::EntryKind},
};
use slipway_digest::CommitId;
use slipway_paths::TreePath;

use crate::{
    GitError, GitView as _, Repository,
    history::commit_id,
    node::{MAX_DEPTH, Node, NodeKind, Source},
    store::{Store, write_commit},
};

const PURPOSE: &str = "add files from disk to a commit";
/// Most files that are added to one commit.
const MAX_FILES: usize = 1_000_000;
/// Largest file that is held in memory; larger ones are read twice instead.
const MAX_IN_MEMORY: u64 = 8 << 20;
/// Largest file that is added.
const MAX_FILE: u64 = 16 << 30;

impl Repository {
    /// This repository with a commit that is `base` with files from disk: each `(path, file)` puts what lies at `file` on
    /// disk at `path` of the commit. Directories are taken with everything in them, but for empty directories and
    /// whatever is called `.git`; what the base has there and the disk has not, stays. Symbolic links are put in as they
    /// are, wherever they lead, and are not followed. New objects are written to `store`, a directory of our own that is
    /// created when missing and may be the one of
    /// [`with_work_tree_snapshot`](Repository::with_work_tree_snapshot). `HEAD` stays what it is. When the files change
    /// nothing, `base` itself is returned.
    ///
    /// # Errors
    /// [`GitError::Unusable`] when a file cannot be read, is neither file nor directory nor link, lies in a submodule of
    /// the base or behind a symbolic link, or when `store` cannot be written.
    pub fn with_files(
        &self,
        store: &Path,
        base: CommitId,
        files: &[(TreePath, PathBuf)],
    ) -> Result<(Self, CommitId), GitError> {
        let source = self.source(base)?;
        for (path, file) in files {
            check(&source, path, file)?;
        }
        let store = Store::create(store, PURPOSE)?;
        for objects in self.objects_dirs() {
            store.borrow(&objects)?;
        }
        let repository = store.open()?;
        let mut added = Added { store: &repository, entries: Vec::new() };
        for (path, file) in files {
            added.take(path, file, 0)?;
        }
        let entries = added.entries;
        let broken = |error| GitError::broken(PURPOSE, &error);
        let parent = ObjectId::Sha1(base.0);
        let before = repository.find_commit(parent).and_then(|commit| commit.tree()).map_err(broken)?;
        let root = before.decode().map_err(broken)?.into();
        let mut editor = gix::objs::tree::Editor::new(root, &repository.objects, gix::hash::Kind::Sha1);
        for (path, kind, id) in entries {
            editor.upsert(path.segments().map(gix::bstr::BString::from), kind, id).map_err(broken)?;
        }
        let tree = editor.write(|tree| repository.write_object(tree).map(gix::Id::detach)).map_err(broken)?;
        let commit = if tree == before.id {
            base
        } else {
            let time = self.commit(base)?.time;
            let written = write_commit(&repository, tree, vec![parent], time, "Files from disk\n");
            commit_id(written.map_err(broken)?)
        };
        drop((before, editor));
        Ok((self.with_store(repository.into_sync()), commit))
    }
}

/// What is put into the commit.
struct Added<'s> {
    store: &'s gix::Repository,
    entries: Vec<(TreePath, EntryKind, ObjectId)>,
}

impl Added<'_> {
    fn take(&mut self, path: &TreePath, file: &Path, depth: usize) -> Result<(), GitError> {
        let data = fs::symlink_metadata(file).map_err(|error| cannot_read(file, &error))?;
        if data.is_dir() {
            return self.take_directory(path, file, depth);
        }
        if path.is_root() {
            return Err(unusable(format_args!("{} is no directory and cannot be the whole commit", file.display())));
        }
        if self.entries.len() >= MAX_FILES {
            return Err(unusable(format_args!("there are more than {MAX_FILES} files")));
        }
        let (kind, id) = if data.is_symlink() {
            let target = fs::read_link(file).map_err(|error| cannot_read(file, &error))?;
            (EntryKind::Link, self.blob(target.as_os_str().as_bytes())?)
        } else if data.is_file() {
            let executable = data.permissions().mode() & 0o100 != 0;
            let kind = if executable { EntryKind::BlobExecutable } else { EntryKind::Blob };
            (kind, self.content(file, data.len())?)
        } else {
            return Err(unusable(format_args!("{} is neither a file nor a directory nor a link", file.display())));
        };
        self.entries.push((path.clone(), kind, id));
        Ok(())
    }

    fn take_directory(&mut self, path: &TreePath, directory: &Path, depth: usize) -> Result<(), GitError> {
        if depth > MAX_DEPTH {
            let directory = directory.display();
            return Err(unusable(format_args!("{directory}: directories are nested more than {MAX_DEPTH} deep")));
        }
        let failed = |error: std::io::Error| cannot_read(directory, &error);
        for entry in fs::read_dir(directory).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if !is_git_data(name.as_bytes()) {
                self.take(&path.join(name.as_bytes()), &entry.path(), depth + 1)?;
            }
        }
        Ok(())
    }

    fn content(&self, file: &Path, size: u64) -> Result<ObjectId, GitError> {
        let failed = |error: std::io::Error| cannot_read(file, &error);
        if size <= MAX_IN_MEMORY {
            return self.blob(&fs::read(file).map_err(failed)?);
        }
        if size > MAX_FILE {
            let file = file.display();
            return Err(unusable(format_args!("{file} is {size} bytes long, more than {MAX_FILE} are not added")));
        }
        let broken = |error| GitError::broken(format_args!("{PURPOSE}: read {}", file.display()), &error);
        let open = || fs::File::open(file).map_err(failed);
        let (kind, hash) = (gix::objs::Kind::Blob, gix::hash::Kind::Sha1);
        let never = std::sync::atomic::AtomicBool::new(false);
        let mut progress = gix::progress::Discard;
        let id =
            gix::objs::compute_stream_hash(hash, kind, &mut open()?, size, &mut progress, &never).map_err(broken)?;
        if self.store.has_object(id) {
            return Ok(id);
        }
        self.store.objects.write_stream(kind, size, &mut open()?).map_err(broken)
    }

    fn blob(&self, content: &[u8]) -> Result<ObjectId, GitError> {
        let written = self.store.write_blob(content).map(gix::Id::detach);
        written.map_err(|error| GitError::broken(PURPOSE, &error))
    }
}

/// Refuses a place in the commit that cannot be, and files that lie elsewhere than their path says.
fn check(source: &Rc<Source>, path: &TreePath, file: &Path) -> Result<(), GitError> {
    if TreePath::new(path.as_bytes()).ok().as_ref() != Some(path) || path.segments().any(is_git_data) {
        return Err(unusable(format_args!("`{path}` cannot be a path of a commit")));
    }
    let (mut above, mut on_disk) = (path.parent(), file.parent());
    let mut same = Path::new(OsStr::from_bytes(path.name())).file_name() == file.file_name();
    while let Some(directory) = above.filter(|directory| !directory.is_root()) {
        if let Some(node) = find(source, &directory)?
            && node.kind == NodeKind::Submodule
        {
            let message = "which is a submodule: name the whole submodule, or commit the file there";
            return Err(unusable(format_args!("`{path}` lies in `{directory}`, {message}")));
        }
        let place = on_disk.filter(|_| same);
        if place.is_some_and(|place| place.is_symlink()) {
            let message = "which is a symbolic link: name the directory that it leads to";
            return Err(unusable(format_args!("`{path}` lies behind `{directory}`, {message}")));
        }
        same = place.is_some_and(|place| place.file_name() == Some(OsStr::from_bytes(directory.name())));
        (above, on_disk) = (directory.parent(), place.and_then(Path::parent));
    }
    Ok(())
}

/// The node at `path` of the base, submodules not entered.
fn find(source: &Rc<Source>, path: &TreePath) -> Result<Option<Node>, GitError> {
    let mut node = Node::root(source);
    for name in path.segments() {
        if node.kind == NodeKind::Submodule {
            return Ok(None);
        }
        let Some(child) = node.child(name)? else { return Ok(None) };
        node = child;
    }
    Ok(Some(node))
}

/// Whether a name is that of a repository's own data, in any spelling that a file system may take for it.
fn is_git_data(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b".git")
}

fn cannot_read(file: &Path, error: &std::io::Error) -> GitError {
    unusable(format_args!("read {}: {error}", file.display()))
}

fn unusable(what: std::fmt::Arguments<'_>) -> GitError {
    GitError::Unusable(format!("{PURPOSE}: {what}"))
}
