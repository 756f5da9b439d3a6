//! One glob: werf's doublestar rule.
//!
//! `*` and `?` stay within a segment, `**` as a whole segment spans any number of them (inside a segment it is `*`),
//! `{a,b}` are alternatives, `[a-z]` and `[^a]` or `[!a]` are classes, `\` takes the next character as it is.
//!
//! A glob *selects* a path that matches it, and everything below: werf drops trailing `*` and `**` segments and takes
//! what matches the rest, or lies below what does. So `src`, `src/*` and `src/**` select the same files.
//!
//! Names are bytes. A character is one of UTF-8 where the bytes are, else one byte.
//!
//! Matching keeps a set of positions in the pattern, one bit each, and moves it over the path segment by segment: no
//! pattern and no path makes it slow.

mod parser;

#[cfg(test)]
mod tests;

use crate::TreePath;
use parser::Dialect;
pub(crate) use parser::class as parse_class;

/// A text that is no glob.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{glob}` is no valid glob: {problem}")]
pub struct GlobError {
    glob: String,
    problem: &'static str,
}

impl GlobError {
    pub(crate) fn new(glob: &str, problem: &'static str) -> Self {
        Self { glob: glob.chars().take(200).collect(), problem }
    }
}

/// Checks that `pattern` is a glob.
///
/// # Errors
/// [`GlobError`] says what is wrong with it.
pub fn validate(pattern: &str) -> Result<(), GlobError> {
    Glob::new(pattern).map(|_| ())
}

/// A glob, ready to match.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Glob {
    alternatives: Vec<Alternative>,
}

impl Glob {
    /// Reads a glob by werf's rule. A leading `/` or `./` is ignored; the empty glob selects everything.
    ///
    /// # Errors
    /// [`GlobError`] when it leads outside with `..`, is malformed or too long.
    pub fn new(pattern: &str) -> Result<Self, GlobError> {
        let parsed = parser::parse(pattern, Dialect::Doublestar)?;
        Ok(Self { alternatives: parsed.into_iter().map(Alternative::doublestar).collect() })
    }

    /// Reads a source of `COPY` or `ADD`: Go's `filepath.Match`, without `**` and `{}`; `..` stops at the root.
    ///
    /// # Errors
    /// [`GlobError`] when it is malformed or too long.
    pub fn copy_source(pattern: &str) -> Result<Self, GlobError> {
        let parsed = parser::parse(pattern, Dialect::CopySource)?;
        Ok(Self { alternatives: parsed.into_iter().map(Alternative::as_written).collect() })
    }

    /// Whether `path` itself matches, from its first to its last segment. What lies below a match does not.
    pub fn is_match(&self, path: &TreePath) -> bool {
        self.alternatives.iter().any(|alternative| alternative.is_match(path))
    }

    /// Whether the file at `path` is selected.
    pub fn selects(&self, path: &TreePath) -> bool {
        self.alternatives.iter().any(|alternative| alternative.reach(path) == Reach::All)
    }

    /// How much of what lies below the directory `path` is selected.
    pub(crate) fn reach_below(&self, path: &TreePath) -> Reach {
        self.alternatives.iter().map(|alternative| alternative.reach(path)).max().unwrap_or(Reach::Nothing)
    }
}

/// How much of what lies below a directory a pattern takes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Reach {
    /// Nothing at all.
    Nothing,
    /// Perhaps something.
    Some,
    /// Everything.
    All,
}

/// One way to spell out the braces of a glob.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Alternative {
    /// At most [`parser::MAX_SEGMENTS`], so that a set of positions fits into 64 bits.
    segments: Vec<Segment>,
    /// Number of leading segments that a selected path, or a directory above it, must match.
    selecting: usize,
}

/// What one or more segments of a path are compared with.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Segment {
    /// `**`: any number of segments.
    Any,
    /// `*`: one segment of any name.
    One,
    /// Exactly these bytes.
    Name(Vec<u8>),
    /// One segment with wildcards in it.
    Wild(Vec<Token>),
}

/// A part of a segment.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Token {
    /// Any number of characters.
    Star,
    /// One character.
    Any,
    /// This character.
    One(u32),
    /// One of (or none of) these.
    Class(Class),
}

/// A set of characters.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Class {
    pub(crate) negated: bool,
    /// First and last, both included.
    pub(crate) ranges: Vec<(u32, u32)>,
}

impl Class {
    pub(crate) fn holds(&self, character: u32) -> bool {
        self.ranges.iter().any(|(first, last)| (*first..=*last).contains(&character)) != self.negated
    }
}

impl Alternative {
    fn doublestar(segments: Vec<Segment>) -> Self {
        let trailing = segments.iter().rev().take_while(|s| matches!(s, Segment::Any | Segment::One)).count();
        Self { selecting: segments.len() - trailing, segments }
    }

    fn as_written(segments: Vec<Segment>) -> Self {
        Self { selecting: segments.len(), segments }
    }

    fn is_match(&self, path: &TreePath) -> bool {
        let mut at = closure(&self.segments, 1);
        for name in path.segments() {
            at = advance(&self.segments, at, name);
        }
        at >> self.segments.len() & 1 == 1
    }

    /// [`Reach::All`] when `path` or a directory above it matches the selecting segments.
    fn reach(&self, path: &TreePath) -> Reach {
        let segments = &self.segments[..self.selecting];
        let mut at = closure(segments, 1);
        for name in path.segments() {
            if at >> segments.len() & 1 == 1 {
                return Reach::All;
            }
            at = advance(segments, at, name);
            if at == 0 {
                return Reach::Nothing;
            }
        }
        if at >> segments.len() & 1 == 1 { Reach::All } else { Reach::Some }
    }
}

/// Adds the positions that are reached because `**` may stand for nothing.
fn closure(segments: &[Segment], mut at: u64) -> u64 {
    for (index, segment) in segments.iter().enumerate() {
        if *segment == Segment::Any && at >> index & 1 == 1 {
            at |= 1 << (index + 1);
        }
    }
    at
}

/// The positions after one more segment of the path.
fn advance(segments: &[Segment], at: u64, name: &[u8]) -> u64 {
    let mut next = 0;
    for (index, segment) in segments.iter().enumerate() {
        if at >> index & 1 == 0 {
            continue;
        }
        match segment {
            Segment::Any => next |= 1 << index,
            Segment::One => next |= 1 << (index + 1),
            Segment::Name(bytes) if bytes == name => next |= 1 << (index + 1),
            Segment::Name(_) => {}
            Segment::Wild(tokens) if matches_name(tokens, name) => next |= 1 << (index + 1),
            Segment::Wild(_) => {}
        }
    }
    closure(segments, next)
}

/// Whether `tokens` match all of `name`. On a mismatch only the last `*` is widened: earlier ones need not be.
fn matches_name(tokens: &[Token], name: &[u8]) -> bool {
    let (mut token, mut byte) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if tokens.get(token) == Some(&Token::Star) {
            retry = Some((token, byte));
            token += 1;
            continue;
        }
        let (character, width) = next_character(&name[byte..]);
        if width == 0 && token == tokens.len() {
            return true;
        }
        if width > 0 && tokens.get(token).is_some_and(|token| token.takes(character)) {
            token += 1;
            byte += width;
            continue;
        }
        let Some((star, from)) = retry else { return false };
        let (_, width) = next_character(&name[from..]);
        if width == 0 {
            return false;
        }
        retry = Some((star, from + width));
        (token, byte) = (star + 1, from + width);
    }
}

impl Token {
    fn takes(&self, character: u32) -> bool {
        match self {
            Self::Star => false,
            Self::Any => true,
            Self::One(wanted) => *wanted == character,
            Self::Class(class) => class.holds(character),
        }
    }
}

/// The first character and its length in bytes (0 at the end). A byte that is not UTF-8 is a character of its own,
/// beyond all of Unicode.
pub(crate) fn next_character(bytes: &[u8]) -> (u32, usize) {
    let Some(&first) = bytes.first() else { return (0, 0) };
    if first < 0x80 {
        return (u32::from(first), 1);
    }
    let width = match first {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    let character = bytes.get(..width).and_then(|bytes| std::str::from_utf8(bytes).ok()).and_then(|s| s.chars().next());
    character.map_or((0x11_0000 + u32::from(first), 1), |character| (u32::from(character), width))
}
