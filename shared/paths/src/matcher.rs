//! A scope with its patterns read, for walks over many files.

use crate::{TreePath, filter::FilterMatcher, ignore::ContextMatcher};

/// A [`Scope`](crate::Scope) with its patterns read once.
#[derive(Clone, Debug)]
pub struct Matcher(Rules);

#[derive(Clone, Debug)]
enum Rules {
    Filter(FilterMatcher),
    Context(ContextMatcher),
}

impl Matcher {
    /// Whether the file at `relative` (below the scope's base; the root when the base is itself a file) is meant.
    pub fn keeps(&self, relative: &TreePath) -> bool {
        match &self.0 {
            Rules::Filter(filter) => filter.keeps(relative),
            Rules::Context(context) => context.keeps(relative),
        }
    }

    /// Whether something below the directory `relative` may be meant; `false` lets a walk leave it out.
    pub fn may_keep_below(&self, relative: &TreePath) -> bool {
        match &self.0 {
            Rules::Filter(filter) => filter.may_keep_below(relative),
            Rules::Context(context) => context.may_keep_below(relative),
        }
    }
}

impl From<FilterMatcher> for Matcher {
    fn from(filter: FilterMatcher) -> Self {
        Self(Rules::Filter(filter))
    }
}

impl From<ContextMatcher> for Matcher {
    fn from(context: ContextMatcher) -> Self {
        Self(Rules::Context(context))
    }
}
