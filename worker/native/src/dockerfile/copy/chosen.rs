//! What `--parents` and `--exclude` choose of a directory: by the rules of `.dockerignore`.

use slipway_paths::{ContextFilter, Matcher, Scope, TreePath};

/// Patterns, ready to match.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    /// Keeps what the patterns do not take.
    rest: Matcher,
    /// The segments of a single pattern, to know where something of it may lie.
    segments: Vec<Vec<u8>>,
    /// Whether a later pattern takes back what an earlier one took.
    takes_back: bool,
}

impl Choice {
    /// The pattern of a source with `--parents`.
    pub(super) fn including(pattern: &TreePath) -> Result<Self, String> {
        Self::new(&[pattern.to_string()])
    }

    /// The patterns of `--exclude`; `None` when there are none.
    pub(super) fn excluding(patterns: &[String]) -> Result<Option<Self>, String> {
        if patterns.is_empty() { Ok(None) } else { Self::new(patterns).map(Some) }
    }

    fn new(patterns: &[String]) -> Result<Self, String> {
        let filter = ContextFilter { base: TreePath::root(), ignore: patterns.to_vec(), sources: None };
        let rest = Scope::Context(filter).compile().map_err(|error| error.to_string())?;
        let segments = match patterns {
            [one] => one.split('/').map(|segment| segment.as_bytes().to_vec()).collect(),
            _ => Vec::new(),
        };
        let takes_back = patterns.iter().any(|pattern| pattern.trim_start().starts_with('!'));
        Ok(Self { rest, segments, takes_back })
    }

    /// Whether the patterns take a path, or a directory above it.
    pub(super) fn takes(&self, path: &TreePath) -> bool {
        !self.rest.keeps(path)
    }

    /// Whether something below a directory that is not taken may be.
    fn may_take_below(&self, directory: &TreePath) -> bool {
        for (number, name) in directory.segments().enumerate() {
            match self.segments.get(number) {
                None => return false,
                Some(segment) if segment.windows(2).any(|pair| pair == b"**") => return true,
                Some(segment) if segment.iter().any(|byte| b"*?[\\".contains(byte)) => {}
                Some(segment) if segment == name => {}
                Some(_) => return false,
            }
        }
        true
    }
}

/// What both choose together.
#[derive(Clone, Copy)]
pub(super) struct Chosen<'a> {
    pub(super) include: Option<&'a Choice>,
    pub(super) exclude: Option<&'a Choice>,
}

impl Chosen<'_> {
    /// Whether a path is copied.
    pub(super) fn takes(&self, path: &TreePath) -> bool {
        self.include.is_none_or(|include| include.takes(path)) && !self.exclude.is_some_and(|out| out.takes(path))
    }

    /// Whether something below a directory may be copied.
    pub(super) fn may_take_below(&self, directory: &TreePath) -> bool {
        let in_any = |include: &Choice| include.takes(directory) || include.may_take_below(directory);
        self.include.is_none_or(in_any) && !self.exclude.is_some_and(|out| !out.takes_back && out.takes(directory))
    }
}
