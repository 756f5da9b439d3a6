//! Include and exclude filters: werf's `includePaths` and `excludePaths`.

use crate::TreePath;

/// Files below `base` that some include matches (all, when there is none) and no exclude matches.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct PathFilter {
    /// The directory or single file that the globs are relative to.
    pub base: TreePath,
    /// Globs of which one must match; empty = everything.
    pub include: Vec<String>,
    /// Globs of which none may match.
    pub exclude: Vec<String>,
    /// Further globs of which one must match as well (`stageDependencies`); empty = everything.
    pub within: Vec<String>,
}

impl PathFilter {
    /// Whether the file at `relative` is selected.
    pub fn keeps(&self, _relative: &TreePath) -> bool {
        unimplemented!("helper")
    }

    /// Whether something below the directory `relative` may be selected.
    pub fn may_keep_below(&self, _relative: &TreePath) -> bool {
        unimplemented!("helper")
    }
}
