//! A repository in a temporary directory.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _, symlink},
    },
    path::{Path, PathBuf},
};

use slipway_digest::CommitId;
use slipway_git::{GitView as _, Repository};
use slipway_parts::{Part, require};
use slipway_paths::{PathFilter, Scope, TreePath};
use slipway_process::child;
use tempfile::TempDir;

/// A work tree with its repository.
pub(crate) struct Project {
    pub(crate) directory: TempDir,
}

/// `None`, with a word on standard error, where there is no git.
pub(crate) fn project() -> Option<Project> {
    if !require(&[Part::Git]) {
        return None;
    }
    let project = Project { directory: TempDir::new().expect("a temporary directory") };
    project.git(&["init", "--quiet", "--initial-branch=main"]);
    Some(project)
}

pub(crate) fn path(text: &str) -> TreePath {
    TreePath::new(text).expect(text)
}

/// Everything below (or at) `base`.
pub(crate) fn all(base: &str) -> Scope {
    Scope::Filter(PathFilter { base: path(base), ..PathFilter::default() })
}

pub(crate) fn including(base: &str, include: &[&str]) -> Scope {
    let include = include.iter().map(ToString::to_string).collect();
    Scope::Filter(PathFilter { base: path(base), include, ..PathFilter::default() })
}

/// Runs git in `directory`, free of the machine's configuration, at a fixed time.
pub(crate) fn git_in(directory: &Path, args: &[&str]) -> String {
    git_at(directory, "2001-02-03T04:05:06Z", args)
}

pub(crate) fn git_at(directory: &Path, time: &str, args: &[&str]) -> String {
    let mut command = child::command("git");
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(name);
    }
    let output = command
        .current_dir(directory)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_AUTHOR_DATE", time)
        .env("GIT_COMMITTER_DATE", time)
        .args(["-c", "user.name=Someone", "-c", "user.email=someone@example.com", "-c", "protocol.file.allow=always"])
        .args(args)
        .output()
        .expect("git runs");
    assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

impl Project {
    pub(crate) fn root(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn git(&self, args: &[&str]) -> String {
        git_in(self.root(), args)
    }

    pub(crate) fn at(&self, name: impl AsRef<[u8]>) -> PathBuf {
        self.root().join(OsStr::from_bytes(name.as_ref()))
    }

    pub(crate) fn write(&self, name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> &Self {
        let file = self.at(name);
        fs::create_dir_all(file.parent().expect("a directory")).expect("make a directory");
        fs::write(file, content).expect("write a file");
        self
    }

    pub(crate) fn link(&self, name: &str, target: &str) -> &Self {
        let file = self.at(name);
        fs::create_dir_all(file.parent().expect("a directory")).expect("make a directory");
        symlink(target, file).expect("make a link");
        self
    }

    pub(crate) fn mode(&self, name: &str, mode: u32) -> &Self {
        fs::set_permissions(self.at(name), fs::Permissions::from_mode(mode)).expect("set a mode");
        self
    }

    pub(crate) fn remove(&self, name: &str) -> &Self {
        fs::remove_file(self.at(name)).expect("remove a file");
        self
    }

    /// Commits the whole work tree.
    pub(crate) fn commit(&self) -> CommitId {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", "change"]);
        self.head()
    }

    pub(crate) fn head(&self) -> CommitId {
        self.git(&["rev-parse", "HEAD"]).parse().expect("a commit id")
    }

    pub(crate) fn open(&self) -> Repository {
        Repository::open(self.root()).expect("open the repository")
    }

    /// The content of a file of a commit, as text.
    pub(crate) fn read(&self, at: CommitId, name: &str) -> Option<String> {
        let content = self.open().read(at, &path(name)).expect("read a file");
        content.map(|content| String::from_utf8(content).expect("text"))
    }
}

/// All files below a directory with content, mode and times: equal when nothing was written.
pub(crate) fn fingerprint(directory: &Path) -> Vec<(PathBuf, u32, i64, i64, Vec<u8>)> {
    let mut found = Vec::new();
    let mut pending = vec![directory.to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).expect("list a directory") {
            let entry = entry.expect("an entry");
            let data = entry.metadata().expect("metadata");
            let content = if data.is_file() { fs::read(entry.path()).expect("read a file") } else { Vec::new() };
            if data.is_dir() {
                pending.push(entry.path());
            }
            found.push((entry.path(), data.mode(), data.mtime(), data.mtime_nsec(), content));
        }
    }
    found.sort();
    found
}
