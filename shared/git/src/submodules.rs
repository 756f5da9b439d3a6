//! Submodules of a commit: which commits of other repositories its files come from, besides its own.

use std::{collections::BTreeMap, rc::Rc};

use slipway_digest::CommitId;
use slipway_paths::{Matcher, Scope, TreePath};

use crate::{
    FileMode, GitError, Repository,
    history::commit_id,
    node::{Node, NodeKind, Source},
};

/// Most bytes of a `.gitmodules`.
const MAX_GITMODULES: usize = 16 * 1024 * 1024;
/// Deepest submodule in submodules.
const MAX_DEPTH: usize = 50;

/// A submodule as `.gitmodules` describes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Described {
    /// Its name.
    pub(crate) name: Vec<u8>,
    /// Where it lies, from the root of the repository that holds it.
    pub(crate) path: TreePath,
    /// Where it is fetched from, as written.
    pub(crate) url: Option<String>,
}

/// What the `.gitmodules` of a tree says; entries without a usable path are left out.
pub(crate) fn described(root: &Node) -> Result<Vec<Described>, GitError> {
    let Some(file) = root.child(b".gitmodules")? else { return Ok(Vec::new()) };
    if !matches!(file.kind, NodeKind::File(FileMode::Regular | FileMode::Executable)) {
        return Ok(Vec::new());
    }
    if file.size()? > MAX_GITMODULES as u64 {
        return Err(GitError::Broken("`.gitmodules` is larger than 16 MiB".to_owned()));
    }
    let config = gix::config::File::from_bytes_no_includes(
        &file.content()?,
        gix::config::file::Metadata::default(),
        gix::config::file::init::Options::default(),
    )
    .map_err(|error| GitError::broken("read `.gitmodules`", &error))?;
    let mut all = Vec::new();
    for section in config.sections_by_name("submodule").into_iter().flatten() {
        let path = section.value("path").and_then(|value| TreePath::new(value.as_slice()).ok());
        if let (Some(name), Some(path)) = (section.header().subsection_name(), path) {
            let url = section.value("url").and_then(|value| String::from_utf8(value.to_vec()).ok());
            all.push(Described { name: name.to_vec(), path, url });
        }
    }
    Ok(all)
}

/// A submodule of a commit.
#[derive(Clone, Debug)]
pub struct Submodule {
    /// The commit that it is at.
    pub commit: CommitId,
    /// Where it lies, from the root of the outermost repository.
    pub path: TreePath,
    /// What has the commit; `None` = it is not at hand.
    pub repository: Option<Repository>,
    /// Where it is fetched from, as the repository that holds it says.
    pub url: Option<String>,
}

impl Repository {
    /// The submodules of a commit that its `.gitmodules` name and `scope` may take files of, those inside of them included
    /// as far as they are at hand. Costs the submodules, not the tree.
    ///
    /// # Errors
    /// When the commit is not here or cannot be read.
    pub fn submodules(&self, at: CommitId, scope: &Scope) -> Result<Vec<Submodule>, GitError> {
        let mut found = BTreeMap::new();
        let wanted = Wanted { base: scope.base().clone(), matcher: scope.compile()? };
        collect(&self.source(at)?, &TreePath::root(), &wanted, 0, &mut found)?;
        Ok(found.into_values().collect())
    }

    /// This repository with the objects of these submodules in it as well; `store` is a directory of our own, as in
    /// [`with_commits_of`](Repository::with_commits_of).
    ///
    /// # Errors
    /// [`GitError::Unusable`] when `store` cannot be written.
    pub fn with_submodules(&self, store: &std::path::Path, submodules: &[Submodule]) -> Result<Self, GitError> {
        let others: Vec<&Self> = submodules.iter().filter_map(|submodule| submodule.repository.as_ref()).collect();
        self.with_commits_of(store, &others)
    }
}

/// Whether every submodule that both commits have is at hand as it was, if it is at hand as it is: else nobody can tell
/// what changed in it.
pub(crate) fn are_comparable(old: &Rc<Source>, new: &Rc<Source>) -> Result<(), GitError> {
    let (old_root, new_root) = (Node::root(old), Node::root(new));
    for Described { path, .. } in described(&new_root)? {
        let (Some(was), Some(is)) = (find(old, &path), find(new, &path)) else { continue };
        if was.kind != NodeKind::Submodule || is.kind != NodeKind::Submodule || was.is_same(&is) {
            continue;
        }
        let Ok(is) = new.submodule(&path, is.id, &new_root) else { continue };
        let was = old.submodule(&path, was.id, &old_root)?;
        are_comparable(&Rc::new(was), &Rc::new(is))?;
    }
    Ok(())
}

/// Which submodules are meant.
struct Wanted {
    base: TreePath,
    matcher: Matcher,
}

impl Wanted {
    /// Whether files of the directory at `path` may be.
    fn takes(&self, path: &TreePath) -> bool {
        match path.below(&self.base) {
            Some(below) => self.matcher.may_keep_below(&below),
            // The base lies in it.
            None => self.base.below(path).is_some(),
        }
    }
}

fn collect(
    source: &Rc<Source>,
    above: &TreePath,
    wanted: &Wanted,
    depth: usize,
    found: &mut BTreeMap<TreePath, Submodule>,
) -> Result<(), GitError> {
    let root = Node::root(source);
    for Described { path, url, .. } in described(&root)? {
        let place = above.join(path.as_bytes());
        let Some(node) = find(source, &path).filter(|node| node.kind == NodeKind::Submodule) else { continue };
        if !wanted.takes(&place) {
            continue;
        }
        let inner = source.submodule(&path, node.id, &root).ok();
        let repository = inner.as_ref().and_then(|inner| Repository::open(inner.home_dir()).ok());
        let commit = commit_id(node.id);
        found.insert(place.clone(), Submodule { commit, path: place.clone(), repository, url });
        if let Some(inner) = inner
            && depth < MAX_DEPTH
        {
            collect(&Rc::new(inner), &place, wanted, depth + 1, found)?;
        }
    }
    Ok(())
}

/// The node at `path`; one that cannot be reached is none.
fn find(source: &Rc<Source>, path: &TreePath) -> Option<Node> {
    Node::find(source, path).ok().flatten()
}
