//! What changed in a scope between two commits.

use std::{collections::BTreeMap, rc::Rc};

use slipway_digest::{Checksum, Encoder};
use slipway_paths::{Matcher, Scope, TreePath};

use crate::{
    Change, FileMode, GitError,
    node::{Node, NodeKind, Source},
};

/// The checksum of changes: over path, mode and blob before, mode and blob after, sorted by path.
pub fn changes_checksum(changes: &[Change]) -> Checksum {
    let mut sorted: Vec<&Change> = changes.iter().collect();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    let side = |encoder: Encoder, (mode, blob): (FileMode, [u8; 20])| encoder.number(mode.bits().into()).bytes(&blob);
    Encoder::new("changes")
        .list(sorted.into_iter(), |encoder, change| {
            encoder.bytes(change.path.as_bytes()).optional(change.old, side).optional(change.new, side)
        })
        .finish()
}

/// The size of changes in bytes: new blobs, a deleted path counting its old one.
pub fn changes_size(changes: &[Change]) -> u64 {
    changes.iter().fold(0, |sum, change| sum.saturating_add(change.size))
}

/// What changed, sorted by path.
pub(crate) fn between(old: &Rc<Source>, new: &Rc<Source>, scope: &Scope) -> Result<Vec<Change>, GitError> {
    let matcher = scope.compile()?;
    let mut changes = Vec::new();
    let (old, new) = (Node::find(old, scope.base())?, Node::find(new, scope.base())?);
    compare(&TreePath::root(), old.as_ref(), new.as_ref(), &matcher, &mut changes)?;
    changes.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(changes)
}

/// Compares what stands at one path; equal directories are never read.
fn compare(
    path: &TreePath,
    old: Option<&Node>,
    new: Option<&Node>,
    matcher: &Matcher,
    changes: &mut Vec<Change>,
) -> Result<(), GitError> {
    if let (Some(old), Some(new)) = (old, new)
        && old.is_same(new)
    {
        return Ok(());
    }
    let (old_file, new_file) = (old.and_then(file), new.and_then(file));
    if (old_file.is_some() || new_file.is_some()) && matcher.keeps(path) {
        let blob = |(mode, node): (FileMode, &Node)| (mode, node.blob());
        let size = new_file.or(old_file).map(|(_, node)| node.size()).transpose()?.unwrap_or_default();
        changes.push(Change { path: path.clone(), old: old_file.map(blob), new: new_file.map(blob), size });
    }
    let has_directory = [old, new].into_iter().flatten().any(Node::is_directory);
    if !has_directory || !matcher.may_keep_below(path) {
        return Ok(());
    }
    let (old, new) = (entries(old)?, entries(new)?);
    let mut pairs: BTreeMap<&[u8], (Option<&Node>, Option<&Node>)> = BTreeMap::new();
    for node in &old {
        pairs.entry(node.name()).or_default().0 = Some(node);
    }
    for node in &new {
        pairs.entry(node.name()).or_default().1 = Some(node);
    }
    for (name, (old, new)) in pairs {
        compare(&path.join(name), old, new, matcher, changes)?;
    }
    Ok(())
}

fn entries(node: Option<&Node>) -> Result<Vec<Node>, GitError> {
    node.map_or_else(|| Ok(Vec::new()), Node::entries)
}

fn file(node: &Node) -> Option<(FileMode, &Node)> {
    match node.kind {
        NodeKind::File(mode) => Some((mode, node)),
        NodeKind::Tree | NodeKind::Submodule => None,
    }
}
