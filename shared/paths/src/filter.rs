//! Include and exclude filters: werf's `includePaths` and `excludePaths`.

use crate::{
    TreePath,
    glob::{Glob, GlobError, Reach},
};

/// Files below `base` that some include matches (all, when there is none) and no exclude matches.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, serde::Serialize, serde::Deserialize)]
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
    /// Whether the file at `relative` is selected. When the base is itself a file, `relative` is the root and the globs
    /// are matched with the file's name. A filter with an invalid glob selects nothing.
    ///
    /// Reads the globs anew: for many paths use [`Scope::compile`](crate::Scope::compile).
    pub fn keeps(&self, relative: &TreePath) -> bool {
        self.compile().is_ok_and(|matcher| matcher.keeps(relative))
    }

    /// Whether something below the directory `relative` may be selected.
    ///
    /// Reads the globs anew: for many paths use [`Scope::compile`](crate::Scope::compile).
    pub fn may_keep_below(&self, relative: &TreePath) -> bool {
        self.compile().is_ok_and(|matcher| matcher.may_keep_below(relative))
    }

    pub(crate) fn compile(&self) -> Result<FilterMatcher, GlobError> {
        let globs = |patterns: &[String]| patterns.iter().map(|p| Glob::new(p)).collect::<Result<Vec<_>, _>>();
        Ok(FilterMatcher {
            // The base has been cleaned: its name holds no separator.
            name: TreePath::root().join(self.base.name()),
            include: globs(&self.include)?,
            exclude: globs(&self.exclude)?,
            within: globs(&self.within)?,
        })
    }
}

/// A [`PathFilter`] with its globs read.
#[derive(Clone, Debug)]
pub(crate) struct FilterMatcher {
    name: TreePath,
    include: Vec<Glob>,
    exclude: Vec<Glob>,
    within: Vec<Glob>,
}

impl FilterMatcher {
    pub(crate) fn keeps(&self, relative: &TreePath) -> bool {
        let path = if relative.is_root() { &self.name } else { relative };
        let in_some = |globs: &[Glob]| globs.is_empty() || globs.iter().any(|glob| glob.selects(path));
        in_some(&self.include) && in_some(&self.within) && !self.exclude.iter().any(|glob| glob.selects(path))
    }

    pub(crate) fn may_keep_below(&self, relative: &TreePath) -> bool {
        let reach = |glob: &Glob| glob.reach_below(relative);
        let in_some = |globs: &[Glob]| globs.is_empty() || globs.iter().any(|glob| reach(glob) != Reach::Nothing);
        in_some(&self.include) && in_some(&self.within) && !self.exclude.iter().any(|glob| reach(glob) == Reach::All)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text).expect(text)
    }

    fn filter(include: &[&str], exclude: &[&str], within: &[&str]) -> PathFilter {
        let owned = |globs: &[&str]| globs.iter().map(ToString::to_string).collect();
        PathFilter { base: path("app"), include: owned(include), exclude: owned(exclude), within: owned(within) }
    }

    #[test]
    fn all_three_lists_count() {
        let filter = filter(&["src", "**/*.md"], &["src/vendor", "**/secret.*"], &["src/**/*.rs", "README.md"]);
        for kept in ["src/main.rs", "src/a/b.rs", "README.md"] {
            assert!(filter.keeps(&path(kept)), "{kept}");
        }
        for left in ["src/main.c", "src/vendor/x.rs", "src/secret.rs", "docs/README.md", "Cargo.toml"] {
            assert!(!filter.keeps(&path(left)), "{left}");
        }
    }

    #[test]
    fn an_empty_filter_keeps_everything() {
        assert!(PathFilter::default().keeps(&path("a/b")));
        assert!(PathFilter::default().may_keep_below(&path("")));
    }

    #[test]
    fn walks_leave_out_only_what_cannot_be_kept() {
        let filter = filter(&["src/*/lib", "docs"], &["docs/old/**", "**/tmp"], &[]);
        for (directory, walked) in [
            ("", true),
            ("src", true),
            ("src/a", true),
            ("src/a/lib/deep", true),
            ("src/a/bin", false),
            ("docs/new", true),
            ("docs/old", false),
            ("docs/tmp/x", false),
            ("other", false),
        ] {
            assert_eq!(filter.may_keep_below(&path(directory)), walked, "{directory}");
        }
    }

    #[test]
    fn globs_of_a_single_file_match_its_name() {
        let single = |include: &[&str], exclude: &[&str], within: &[&str]| {
            PathFilter { base: path("conf/app.yaml"), ..filter(include, exclude, within) }.keeps(&TreePath::root())
        };
        assert!(single(&[], &[], &[]));
        assert!(single(&["*.yaml"], &[], &["app.yaml"]));
        assert!(single(&[], &[], &["**/*"]));
        assert!(!single(&["*.json"], &[], &[]));
        assert!(!single(&[], &["app.*"], &[]));
        assert!(!single(&[], &[], &["other.yaml"]));
    }

    #[test]
    fn an_invalid_glob_keeps_nothing() {
        assert!(!filter(&["src"], &["[a"], &[]).keeps(&path("src/x")));
    }
}
