//! Which files of a tree are meant.

use crate::{ContextFilter, Matcher, PathFilter, TreePath, glob::GlobError};

/// A selection of files below one directory (or one file) of a tree. A value: equal scopes select equal files.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize)]
pub enum Scope {
    /// Files by werf's globs: git mappings, stage dependencies, imports.
    Filter(PathFilter),
    /// Files of a Dockerfile context, by Docker's ignore rules and what `COPY` and `ADD` name.
    Context(ContextFilter),
    /// All that is under a path, known by the name that git gives to the whole: nothing in it is looked at.
    Entry(TreePath),
}

impl Scope {
    /// The directory or single file that the other paths are relative to.
    pub fn base(&self) -> &TreePath {
        match self {
            Self::Filter(filter) => &filter.base,
            Self::Context(filter) => &filter.base,
            Self::Entry(path) => path,
        }
    }

    /// Reads the patterns, for a walk over many files.
    ///
    /// # Errors
    /// [`GlobError`] when one of them is invalid.
    pub fn compile(&self) -> Result<Matcher, GlobError> {
        match self {
            Self::Filter(filter) => filter.compile().map(Matcher::from),
            Self::Context(filter) => filter.compile().map(Matcher::from),
            Self::Entry(_) => PathFilter::default().compile().map(Matcher::from),
        }
    }

    /// Whether the file at `relative` (below [`base`](Self::base); the root when the base is itself a file) is meant.
    pub fn keeps(&self, relative: &TreePath) -> bool {
        match self {
            Self::Filter(filter) => filter.keeps(relative),
            Self::Context(filter) => filter.keeps(relative),
            Self::Entry(_) => true,
        }
    }

    /// Whether something below the directory `relative` may be meant; `false` lets a walk leave it out.
    pub fn may_keep_below(&self, relative: &TreePath) -> bool {
        match self {
            Self::Filter(filter) => filter.may_keep_below(relative),
            Self::Context(filter) => filter.may_keep_below(relative),
            Self::Entry(_) => true,
        }
    }
}
