//! Docker's ignore rules and the part of a context that a Dockerfile uses.
//!
//! The rules are those of Docker's own matcher, not those of `.gitignore`: every line is anchored at the context's
//! root, the last line that matches a file or a directory above it decides, and `!` takes back.

mod pattern;

#[cfg(test)]
mod tests;

use crate::{
    TreePath,
    glob::{Glob, GlobError, Reach},
};
use pattern::Pattern;

/// Files below `base` that the ignore rules leave and, when `sources` are given, that one of them names.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct ContextFilter {
    /// The context directory.
    pub base: TreePath,
    /// Lines of the `.dockerignore`, comments and blanks removed, in order.
    pub ignore: Vec<String>,
    /// Sources of `COPY` and `ADD` with Docker's wildcards; `None` = the whole context.
    pub sources: Option<Vec<String>>,
}

impl ContextFilter {
    /// Whether the file at `relative` is part of the context. A filter with an invalid pattern keeps nothing.
    ///
    /// Reads the patterns anew: for many paths use [`Scope::compile`](crate::Scope::compile).
    pub fn keeps(&self, relative: &TreePath) -> bool {
        self.compile().is_ok_and(|matcher| matcher.keeps(relative))
    }

    /// Whether something below the directory `relative` may be part of the context.
    ///
    /// Reads the patterns anew: for many paths use [`Scope::compile`](crate::Scope::compile).
    pub fn may_keep_below(&self, relative: &TreePath) -> bool {
        self.compile().is_ok_and(|matcher| matcher.may_keep_below(relative))
    }

    pub(crate) fn compile(&self) -> Result<ContextMatcher, GlobError> {
        let rules = self.ignore.iter().filter_map(|line| Rule::new(line).transpose()).collect::<Result<_, _>>()?;
        let globs = |sources: &Vec<String>| sources.iter().map(|source| Glob::copy_source(source)).collect();
        Ok(ContextMatcher { rules, sources: self.sources.as_ref().map(globs).transpose()? })
    }
}

/// Checks that `line` is a line of a `.dockerignore`.
///
/// # Errors
/// [`GlobError`] says what is wrong with it.
pub fn validate(line: &str) -> Result<(), GlobError> {
    Rule::new(line).map(|_| ())
}

/// The line that takes `path` back, and everything below it, whatever the lines before say. Without effect for the root.
pub fn taking_back(path: &TreePath) -> String {
    let mut line = String::from("!");
    for character in path.to_string().chars() {
        match character {
            '*' | '?' | '[' | ']' | '\\' => line.extend(['\\', character]),
            // At the ends of a line they would be dropped.
            blank if blank.is_whitespace() => line.extend(['[', blank, ']']),
            other => line.push(other),
        }
    }
    line
}

/// A [`ContextFilter`] with its patterns read.
#[derive(Clone, Debug)]
pub(crate) struct ContextMatcher {
    rules: Vec<Rule>,
    sources: Option<Vec<Glob>>,
}

/// One line.
#[derive(Clone, Debug)]
struct Rule {
    /// Whether the line began with `!`.
    takes_back: bool,
    pattern: Pattern,
}

impl Rule {
    /// `None` for a line without effect.
    fn new(line: &str) -> Result<Option<Self>, GlobError> {
        let text = line.trim();
        let (takes_back, text) = match text.strip_prefix('!') {
            Some(rest) => (true, rest.trim_start()),
            None => (false, text),
        };
        if takes_back && text.is_empty() {
            return Err(GlobError::new(line, "a `!` alone takes nothing back"));
        }
        Ok(Pattern::new(text)?.map(|pattern| Self { takes_back, pattern }))
    }
}

impl ContextMatcher {
    pub(crate) fn keeps(&self, relative: &TreePath) -> bool {
        self.is_named(relative) && !self.is_ignored(relative)
    }

    fn is_named(&self, path: &TreePath) -> bool {
        self.sources.as_ref().is_none_or(|globs| globs.iter().any(|glob| glob.selects(path)))
    }

    fn is_ignored(&self, path: &TreePath) -> bool {
        // Only a line that would change the outcome so far is looked at, as Docker does.
        self.rules.iter().fold(false, |ignored, rule| {
            let changes = ignored == rule.takes_back && rule.pattern.takes(path);
            if changes { !rule.takes_back } else { ignored }
        })
    }

    pub(crate) fn may_keep_below(&self, relative: &TreePath) -> bool {
        let named = |globs: &Vec<Glob>| globs.iter().any(|glob| glob.reach_below(relative) != Reach::Nothing);
        self.sources.as_ref().is_none_or(named) && self.may_leave_below(relative)
    }

    /// Follows which outcomes are possible for files below the directory.
    fn may_leave_below(&self, directory: &TreePath) -> bool {
        let (mut left, mut ignored) = (true, false);
        for rule in &self.rules {
            let (wins, loses) = if rule.takes_back { (&mut left, &mut ignored) } else { (&mut ignored, &mut left) };
            if !*loses {
                continue;
            }
            match rule.pattern.reach_below(directory) {
                Reach::Nothing => {}
                Reach::Some => *wins = true,
                Reach::All => (*wins, *loses) = (true, false),
            }
        }
        left
    }
}
