//! What a scope holds at a commit.

use std::{collections::BTreeSet, rc::Rc};

use slipway_digest::Encoder;
use slipway_paths::{Matcher, Scope, TreePath};

use crate::{
    FileMode, GitError, PathKind, TreeFile, TreeSummary,
    node::{Node, NodeKind, Source},
    sources,
};

/// Which files a walk takes.
pub(crate) struct Selection<'o> {
    matcher: Matcher,
    /// When given: of the files that match, only these.
    only: Option<Only<'o>>,
}

struct Only<'o> {
    files: BTreeSet<&'o TreePath>,
    /// Directories above those files.
    directories: BTreeSet<TreePath>,
}

impl<'o> Selection<'o> {
    pub(crate) fn new(scope: &Scope, only: Option<&'o [TreePath]>) -> Result<Self, GitError> {
        let above = |path: &TreePath| std::iter::successors(path.parent(), TreePath::parent);
        let only = only
            .map(|paths| Only { files: paths.iter().collect(), directories: paths.iter().flat_map(above).collect() });
        Ok(Self { matcher: scope.compile()?, only })
    }

    fn keeps(&self, path: &TreePath) -> bool {
        self.only.as_ref().is_none_or(|only| only.files.contains(path)) && self.matcher.keeps(path)
    }

    fn may_keep_below(&self, path: &TreePath) -> bool {
        self.only.as_ref().is_none_or(|only| only.directories.contains(path)) && self.matcher.may_keep_below(path)
    }
}

/// What a walk meets, in order.
pub(crate) enum Met<'n> {
    /// A directory that is entered; it may turn out to hold nothing that is selected.
    Enter,
    /// A selected file.
    File(FileMode, &'n Node),
    /// The end of a directory.
    Leave,
}

/// Walks over what `selection` takes of `base`, sorted by path. Paths are relative to the base.
pub(crate) fn walk(
    base: &Node,
    selection: &Selection<'_>,
    visit: &mut dyn FnMut(&TreePath, Met<'_>) -> Result<(), GitError>,
) -> Result<(), GitError> {
    step(base, &TreePath::root(), selection, visit)
}

fn step(
    node: &Node,
    path: &TreePath,
    selection: &Selection<'_>,
    visit: &mut dyn FnMut(&TreePath, Met<'_>) -> Result<(), GitError>,
) -> Result<(), GitError> {
    match node.kind {
        NodeKind::File(mode) if selection.keeps(path) => visit(path, Met::File(mode, node)),
        NodeKind::File(_) => Ok(()),
        NodeKind::Tree | NodeKind::Submodule if !selection.may_keep_below(path) => Ok(()),
        NodeKind::Tree | NodeKind::Submodule => {
            visit(path, Met::Enter)?;
            for entry in node.entries()? {
                step(&entry, &path.join(entry.name()), selection, visit)?;
            }
            visit(path, Met::Leave)
        }
    }
}

/// What the base of `scope` is, and the checksum of what is selected.
pub(crate) fn summary(source: &Rc<Source>, scope: &Scope) -> Result<TreeSummary, GitError> {
    let base = Node::find(source, scope.base())?;
    if let Scope::Entry(_) = scope {
        let name = base.as_ref().map(|node| node.id);
        let checksum = Encoder::new("entry").optional(name.as_ref(), |encoder, name| encoder.bytes(name.as_bytes()));
        return Ok(TreeSummary { base: base.as_ref().map(kind), files: 0, checksum: checksum.finish() });
    }
    let files = files(source, scope)?;
    let checksum = Encoder::new("tree")
        .list(files.iter(), |encoder, TreeFile { path, mode, blob }| {
            encoder.number(mode.bits().into()).bytes(path.as_bytes()).bytes(blob)
        })
        .finish();
    Ok(TreeSummary { base: base.as_ref().map(kind), files: files.len() as u64, checksum })
}

/// All selected files; sources of a context are followed over links.
pub(crate) fn files(source: &Rc<Source>, scope: &Scope) -> Result<Vec<TreeFile>, GitError> {
    let mut files = Vec::new();
    if let Some(base) = Node::find(source, scope.base())? {
        let scope = sources::followed(source, scope)?;
        walk(&base, &Selection::new(&scope, None)?, &mut |path, met| {
            if let Met::File(mode, node) = met {
                files.push(TreeFile { path: path.clone(), mode, blob: node.blob() });
            }
            Ok(())
        })?;
    }
    Ok(files)
}

/// The paths of all selected files.
pub(crate) fn list(source: &Rc<Source>, scope: &Scope) -> Result<Vec<TreePath>, GitError> {
    Ok(files(source, scope)?.into_iter().map(|file| file.path).collect())
}

fn kind(node: &Node) -> PathKind {
    if node.is_directory() { PathKind::Directory } else { PathKind::File }
}
