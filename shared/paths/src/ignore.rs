//! Docker's ignore rules and the part of a context that a Dockerfile uses.

use crate::TreePath;

/// Files below `base` that the ignore rules leave and, when `sources` are given, that one of them names.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct ContextFilter {
    /// The context directory.
    pub base: TreePath,
    /// Lines of the `.dockerignore`, comments and blanks removed, in order.
    pub ignore: Vec<String>,
    /// Sources of `COPY` and `ADD` with Docker's wildcards; `None` = the whole context.
    pub sources: Option<Vec<String>>,
}

impl ContextFilter {
    /// Whether the file at `relative` is part of the context.
    pub fn keeps(&self, _relative: &TreePath) -> bool {
        unimplemented!("helper")
    }

    /// Whether something below the directory `relative` may be part of the context.
    pub fn may_keep_below(&self, _relative: &TreePath) -> bool {
        unimplemented!("helper")
    }
}
