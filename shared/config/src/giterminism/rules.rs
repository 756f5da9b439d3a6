//! Lists of paths and names that are allowed.

use regex::Regex;
use slipway_paths::{Glob, TreePath};

/// Globs of paths in the project directory.
#[derive(Clone, Debug, Default)]
pub(super) struct Paths(pub(super) Vec<Glob>);

impl Paths {
    /// Whether some glob takes `path` or a directory above it.
    pub(super) fn take(&self, path: &TreePath) -> bool {
        self.0.iter().any(|glob| glob.selects(path))
    }
}

/// Names, and expressions that take whole names.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) exact: Vec<String>,
    pub(super) expressions: Vec<Regex>,
}

impl Names {
    pub(super) fn take(&self, name: &str) -> bool {
        self.exact.iter().any(|exact| exact == name)
            || self.expressions.iter().any(|expression| expression.is_match(name))
    }
}

/// Where a path of the host begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Start {
    /// In the project directory.
    Project,
    /// In the root of the file system.
    Root,
    /// In the home directory of the user.
    Home,
}

impl Start {
    /// Where `path` begins, and the rest of it.
    pub(super) fn of(path: &str) -> (Self, &str) {
        match (path.strip_prefix('/'), path.strip_prefix("~/")) {
            (Some(rest), _) => (Self::Root, rest),
            (None, Some(rest)) => (Self::Home, rest),
            (None, None) if path == "~" => (Self::Home, ""),
            (None, None) => (Self::Project, path),
        }
    }
}

/// Globs of paths on the host.
#[derive(Clone, Debug, Default)]
pub(super) struct HostPaths(pub(super) Vec<(Start, Glob)>);

impl HostPaths {
    pub(super) fn take(&self, path: &str) -> bool {
        let (start, rest) = Start::of(path);
        // A path that leads out of where it begins may be anywhere: only a glob for everything takes it.
        let rest = TreePath::new(rest).ok();
        self.0.iter().any(|(own, glob)| {
            let everywhere = *own == Start::Project && glob.selects(&TreePath::root());
            everywhere || (*own == start && rest.as_ref().is_some_and(|rest| glob.selects(rest)))
        })
    }
}
