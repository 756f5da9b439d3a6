//! A bare repository of our own for commits that are not the user's: it holds new objects and borrows all others.

use std::{
    ffi::OsStr,
    fs,
    io::{ErrorKind, Write as _},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use gix::ObjectId;
use slipway_process::random_id;

use crate::GitError;

/// A bare repository that holds the objects of snapshots and nothing else.
///
/// Git renews the time of an object that it would write and finds elsewhere. So it writes file contents into a directory
/// of their own from which it sees no other, and what needs the others, trees and commits, is written here.
pub(crate) struct Store {
    root: PathBuf,
    /// What it is used for, as in "make a commit of the work tree".
    purpose: &'static str,
}

impl Store {
    /// The store in the directory `root`, which is created when missing.
    pub(crate) fn create(root: &Path, purpose: &'static str) -> Result<Self, GitError> {
        for directory in ["objects/info", "refs", "contents", "last"] {
            fs::create_dir_all(root.join(directory)).map_err(|error| cannot_write(purpose, root, &error))?;
        }
        let root = root.canonicalize().map_err(|error| cannot_write(purpose, root, &error))?;
        let store = Self { root, purpose };
        store.replace(&store.root.join("config"), b"[core]\n\trepositoryformatversion = 0\n\tbare = true\n")?;
        store.replace(&store.root.join("HEAD"), b"ref: refs/heads/none\n")?;
        store.borrow(&store.contents())?;
        Ok(store)
    }

    /// Sees its own objects and all borrowed ones.
    pub(crate) fn open(&self) -> Result<gix::Repository, GitError> {
        gix::open(&self.root).map_err(|error| GitError::broken(format_args!("open {}", self.root.display()), &error))
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where trees and commits go.
    pub(crate) fn objects(&self) -> PathBuf {
        self.root.join("objects")
    }

    /// Where the program `git` writes file contents to.
    pub(crate) fn contents(&self) -> PathBuf {
        self.root.join("contents")
    }

    /// Lets the store see the objects in another directory; its own it sees anyway.
    pub(crate) fn borrow(&self, objects: &Path) -> Result<(), GitError> {
        let failed = |error: std::io::Error| cannot_write(self.purpose, &self.root, &error);
        let objects = objects.canonicalize().map_err(failed)?;
        if objects == self.objects() {
            return Ok(());
        }
        let line = objects.as_os_str().as_bytes();
        if line.contains(&b'\n') {
            let purpose = self.purpose;
            return Err(GitError::Unusable(format!("{purpose}: the path {} holds a line break", objects.display())));
        }
        // Held to the end: another process may be adding its repository.
        let lock = fs::File::create(self.root.join("lock")).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let list = self.objects().join("info/alternates");
        let mut lines: Vec<Vec<u8>> = match fs::read(&list) {
            Ok(content) => content.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect(),
            Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(failed(error)),
        };
        // Repositories that have gone would be reported as broken.
        lines.retain(|line| !line.is_empty() && Path::new(OsStr::from_bytes(line)).is_dir());
        if !lines.iter().any(|known| known == line) {
            lines.push(line.to_vec());
        }
        let mut content = lines.join(&b'\n');
        content.push(b'\n');
        self.replace(&list, &content)
    }

    /// Replaces a file of the store in one step, unless it holds `content` already.
    pub(crate) fn replace(&self, path: &Path, content: &[u8]) -> Result<(), GitError> {
        if fs::read(path).is_ok_and(|current| current == content) {
            return Ok(());
        }
        let new = path.with_extension(random_id());
        let write = || {
            fs::File::create_new(&new)?.write_all(content)?;
            fs::rename(&new, path)
        };
        write().map_err(|error| cannot_write(self.purpose, path, &error))
    }
}

/// Writes a commit of ours. Its author is fixed, so that equal trees, parents and times are one commit.
pub(crate) fn write_commit(
    store: &gix::Repository,
    tree: ObjectId,
    parents: Vec<ObjectId>,
    seconds: i64,
    message: &str,
) -> Result<ObjectId, gix::Error> {
    let time = gix::date::Time { seconds, offset: 0 };
    let person = gix::actor::Signature { name: "slipway".into(), email: "slipway@localhost".into(), time };
    let commit = gix::objs::Commit {
        tree,
        parents: parents.into_iter().collect(),
        author: person.clone(),
        committer: person,
        encoding: None,
        message: message.into(),
        extra_headers: Vec::new(),
    };
    store.write_object(&commit).map(gix::Id::detach)
}

fn cannot_write(purpose: &str, path: &Path, error: &std::io::Error) -> GitError {
    GitError::Unusable(format!("{purpose}: write {}: {error}", path.display()))
}
