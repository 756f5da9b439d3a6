//! One entry of a commit's tree. A submodule whose commit is at hand is a directory like any other.

use std::{
    path::{Path, PathBuf},
    rc::Rc,
};

use gix::{ObjectId, objs::tree::EntryKind};
use slipway_paths::TreePath;

use crate::{FileMode, GitError, submodules::described};

/// Deepest directory that is entered: deeper ones are no real tree.
pub(crate) const MAX_DEPTH: usize = 1000;

/// One commit of one repository, and where its submodules are looked for.
pub(crate) struct Source {
    /// All objects.
    objects: gix::Repository,
    /// The repository itself: work tree and directory of submodules.
    home: gix::Repository,
    /// A store that may hold commits of the work trees of submodules.
    store: Option<Rc<gix::Repository>>,
    /// The commit's tree.
    tree: ObjectId,
}

impl Source {
    pub(crate) fn new(
        objects: gix::Repository,
        home: gix::Repository,
        store: Option<Rc<gix::Repository>>,
        commit: ObjectId,
    ) -> Result<Self, GitError> {
        let found = objects
            .try_find_object(commit)
            .map_err(|error| GitError::broken(format_args!("read the commit {commit}"), &error))?
            .ok_or_else(|| GitError::Missing(format!("the commit {commit}")))?;
        let tree = found
            .try_into_commit()
            .and_then(|commit| commit.tree_id().map(gix::Id::detach))
            .map_err(|error| GitError::broken(format_args!("read the commit {commit}"), &error))?;
        Ok(Self { objects, home, store, tree })
    }

    /// The content of an object.
    fn object(&self, id: ObjectId, path: &TreePath) -> Result<gix::Object<'_>, GitError> {
        self.objects
            .try_find_object(id)
            .map_err(|error| GitError::broken(format_args!("read `{path}`"), &error))?
            .ok_or_else(|| GitError::Missing(format!("the content of `{path}` (object {id})")))
    }

    /// The submodule at `path`, at `commit`: its work tree if that has the commit, else the copy among the
    /// repository's own data, else the repository itself, where it is a copy into which all commits of a project go.
    pub(crate) fn submodule(&self, path: &TreePath, commit: ObjectId, root: &Node) -> Result<Self, GitError> {
        let missing = || GitError::Submodule { path: path.to_string(), commit: commit.to_string() };
        let home = self.submodule_homes(path, root)?.into_iter().find_map(|directory| {
            let home = gix::open(directory).ok()?;
            let at_hand = home.has_object(commit);
            let stored = self.store.as_ref().is_some_and(|store| store.has_object(commit));
            (at_hand || stored).then_some((home, at_hand))
        });
        let (objects, home) = match (home, &self.store) {
            (Some((home, false)), Some(store)) => (gix::Repository::clone(store), home),
            (Some((home, _)), _) => (home.clone(), home),
            (None, _) if self.objects.has_object(commit) => (self.objects.clone(), self.home.clone()),
            (None, _) => return Err(missing()),
        };
        Self::new(objects, home, self.store.clone(), commit)
    }

    /// Where the repository lies that refs and submodules are looked up in.
    pub(crate) fn home_dir(&self) -> &Path {
        self.home.git_dir()
    }

    /// Directories that may hold the submodule at `path`.
    fn submodule_homes(&self, path: &TreePath, root: &Node) -> Result<Vec<PathBuf>, GitError> {
        let mut homes = Vec::new();
        if let Some(work_tree) = self.home.workdir() {
            let directory = work_tree.join(
                gix::path::from_bstr(gix::bstr::BStr::new(path.as_bytes()))
                    .map_err(|error| GitError::broken(format_args!("find the submodule `{path}`"), &error))?,
            );
            // Without a `.git` of its own, opening it would find something else.
            if directory.join(".git").exists() {
                homes.push(directory);
            }
        }
        if let Some(name) = submodule_name(root, path)? {
            for own in [self.home.git_dir(), self.home.common_dir()] {
                homes.push(own.join("modules").join(&name));
            }
        }
        Ok(homes)
    }
}

/// The name that `.gitmodules` gives to the submodule at `path`, as a relative path that stays inside.
fn submodule_name(root: &Node, path: &TreePath) -> Result<Option<PathBuf>, GitError> {
    let is_clean = |name: &[u8]| TreePath::new(name).is_ok_and(|clean| clean.as_bytes() == name);
    let named = described(root)?.into_iter().find(|entry| entry.path == *path && is_clean(&entry.name));
    Ok(named.and_then(|entry| gix::path::from_byte_slice(&entry.name).ok().map(Path::to_owned)))
}

/// What a node is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NodeKind {
    /// A file or symbolic link.
    File(FileMode),
    /// A directory.
    Tree,
    /// A commit of another repository.
    Submodule,
}

/// One entry of a commit's tree, or the root.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) kind: NodeKind,
    /// Blob, tree or, for a submodule, commit.
    pub(crate) id: ObjectId,
    source: Rc<Source>,
    /// From the root of its own repository.
    path: TreePath,
}

impl Node {
    pub(crate) fn root(source: &Rc<Source>) -> Self {
        Self { kind: NodeKind::Tree, id: source.tree, source: Rc::clone(source), path: TreePath::root() }
    }

    /// The node at `path`; `None` when there is none. Symbolic links are not followed.
    pub(crate) fn find(source: &Rc<Source>, path: &TreePath) -> Result<Option<Self>, GitError> {
        let mut node = Self::root(source);
        for name in path.segments() {
            match node.child(name)? {
                Some(child) => node = child,
                None => return Ok(None),
            }
        }
        Ok(Some(node))
    }

    pub(crate) fn is_directory(&self) -> bool {
        match self.kind {
            NodeKind::Tree | NodeKind::Submodule => true,
            NodeKind::File(_) => false,
        }
    }

    /// Whether both hold the same, wherever they lie.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.kind == other.kind && self.id == other.id
    }

    /// The entry `name` of a directory.
    pub(crate) fn child(&self, name: &[u8]) -> Result<Option<Self>, GitError> {
        if !self.is_directory() {
            return Ok(None);
        }
        Ok(self.entries()?.into_iter().find(|entry| entry.path.name() == name))
    }

    /// The last segment of its path.
    pub(crate) fn name(&self) -> &[u8] {
        self.path.name()
    }

    /// The entries of a directory, in the order of the paths of the files below them; nothing for a file.
    pub(crate) fn entries(&self) -> Result<Vec<Self>, GitError> {
        match self.kind {
            NodeKind::File(_) => Ok(Vec::new()),
            NodeKind::Tree => self.tree_entries(),
            NodeKind::Submodule => {
                let root = Self::root(&self.source);
                Self::root(&Rc::new(self.source.submodule(&self.path, self.id, &root)?)).tree_entries()
            }
        }
    }

    fn tree_entries(&self) -> Result<Vec<Self>, GitError> {
        let damaged = |what: &str| GitError::Broken(format!("the directory `{}` is damaged: {what}", self.path));
        if self.path.segments().count() > MAX_DEPTH {
            return Err(damaged("directories are nested more than 1000 deep"));
        }
        let object = self.source.object(self.id, &self.path)?;
        if object.kind != gix::objs::Kind::Tree {
            return Err(damaged("it is no tree"));
        }
        let mut entries = Vec::new();
        for entry in gix::objs::TreeRefIter::from_bytes(&object.data, gix::hash::Kind::Sha1) {
            let entry = entry.map_err(|_| damaged("its tree cannot be read"))?;
            let name: &[u8] = entry.filename;
            if matches!(name, b"" | b"." | b"..") || name.contains(&b'/') {
                return Err(damaged("an entry has no valid name"));
            }
            let kind = match entry.mode.kind() {
                EntryKind::Tree => NodeKind::Tree,
                EntryKind::Blob => NodeKind::File(FileMode::Regular),
                EntryKind::BlobExecutable => NodeKind::File(FileMode::Executable),
                EntryKind::Link => NodeKind::File(FileMode::Symlink),
                EntryKind::Commit => NodeKind::Submodule,
            };
            let (id, path) = (entry.oid.to_owned(), self.path.join(name));
            entries.push(Self { kind, id, source: Rc::clone(&self.source), path });
        }
        // Git sorts a submodule as a file; its files sort as those of a directory.
        entries.sort_by(|a, b| a.sort_key().cmp(b.sort_key()));
        Ok(entries)
    }

    fn sort_key(&self) -> impl Iterator<Item = &u8> {
        let slash: &[u8] = if self.is_directory() { b"/" } else { b"" };
        self.name().iter().chain(slash)
    }

    /// The content of a file, the target of a symbolic link.
    pub(crate) fn content(&self) -> Result<Vec<u8>, GitError> {
        let mut object = self.source.object(self.id, &self.path)?;
        Ok(std::mem::take(&mut object.data))
    }

    /// The size of a file in bytes.
    pub(crate) fn size(&self) -> Result<u64, GitError> {
        let header = self.source.objects.try_find_header(self.id);
        header
            .map_err(|error| GitError::broken(format_args!("read the size of `{}`", self.path), &error))?
            .map(|header| header.size())
            .ok_or_else(|| GitError::Missing(format!("the content of `{}` (object {})", self.path, self.id)))
    }

    /// The id of a blob, as bytes.
    pub(crate) fn blob(&self) -> [u8; 20] {
        let mut id = [0; 20];
        id.copy_from_slice(self.id.as_bytes());
        id
    }
}
