//! One pattern of a `.dockerignore`.
//!
//! Unlike a glob it is not cut into segments: Docker lets `**` stand anywhere and span separators. Matching keeps the
//! set of positions that are possible and moves it byte by byte, so no pattern makes it slow.

use crate::{
    TreePath,
    glob::{Class, GlobError, Reach, next_character, parse_class},
};

/// Longest pattern, in bytes.
const MAX_BYTES: usize = 4096;

/// A pattern, ready to match.
#[derive(Clone, Debug)]
pub(super) enum Pattern {
    /// No wildcard in it.
    Name(TreePath),
    /// Something with wildcards.
    Wild(Vec<Token>),
}

/// A part of a pattern.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Token {
    /// `*`: any number of characters other than `/`.
    Star,
    /// `?`: one character other than `/`.
    Any,
    /// This character.
    One(u32),
    /// One of (or none of) these, never `/`.
    Class(Class),
    /// `**`, or `**/`, before something else: nothing, or whatever ends with `/`.
    Directories,
    /// `**` or `**/` at the end, or `**` before a plain ending: whatever.
    All,
}

impl Pattern {
    /// Reads a line without its `!`; `None` when it has no effect.
    pub(super) fn new(text: &str) -> Result<Option<Self>, GlobError> {
        if text.len() > MAX_BYTES {
            return Err(GlobError::new(text, "it is longer than 4096 bytes"));
        }
        let Some(cleaned) = clean(text) else { return Ok(None) };
        let tokens = tokens(&cleaned).map_err(|problem| GlobError::new(text, problem))?;
        let literal = |token: &Token| match token {
            Token::One(code) => char::from_u32(*code),
            Token::Star | Token::Any | Token::Class(_) | Token::Directories | Token::All => None,
        };
        let name: Option<String> = tokens.iter().map(literal).collect();
        Ok(Some(match name.and_then(|name| TreePath::new(name).ok()) {
            Some(path) => Self::Name(path),
            None => Self::Wild(tokens),
        }))
    }

    /// Whether the pattern matches `path` or a directory above it.
    pub(super) fn takes(&self, path: &TreePath) -> bool {
        match self {
            Self::Name(name) => path.below(name).is_some(),
            Self::Wild(tokens) => run(tokens, path.as_bytes()).1,
        }
    }

    /// How much of what lies below `directory` the pattern takes.
    pub(super) fn reach_below(&self, directory: &TreePath) -> Reach {
        match self {
            Self::Name(name) if directory.below(name).is_some() => Reach::All,
            Self::Name(name) if name.below(directory).is_some() => Reach::Some,
            Self::Name(_) => Reach::Nothing,
            Self::Wild(tokens) if directory.is_root() => reach(tokens, &start(tokens)),
            Self::Wild(tokens) => {
                let (positions, taken) = run(tokens, directory.as_bytes());
                if taken { Reach::All } else { reach(tokens, &step(tokens, &positions, u32::from(b'/'))) }
            }
        }
    }
}

/// `path.Clean`, without a leading `/`; `None` for what names nothing inside the context.
fn clean(text: &str) -> Option<String> {
    let mut kept: Vec<&str> = Vec::new();
    let rooted = text.starts_with('/');
    for segment in text.split('/') {
        match segment {
            "" | "." => {}
            ".." if kept.is_empty() && rooted => {}
            ".." if kept.is_empty() => return None,
            ".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    (!kept.is_empty()).then(|| kept.join("/"))
}

fn tokens(pattern: &str) -> Result<Vec<Token>, &'static str> {
    let mut rest: Vec<char> = pattern.chars().rev().collect();
    let mut tokens = Vec::new();
    while let Some(character) = rest.pop() {
        tokens.push(match character {
            '*' if rest.last() == Some(&'*') => {
                rest.pop();
                double_star(&mut rest, tokens.is_empty())
            }
            '*' => Token::Star,
            '?' => Token::Any,
            '[' => Token::Class(parse_class(&mut rest, false)?),
            '\\' => Token::One(rest.pop().ok_or("it ends with a `\\`")?.into()),
            other => Token::One(other.into()),
        });
    }
    Ok(tokens)
}

/// What a `**` stands for, with the `/` after it: `foo/**` takes what is below `foo`, `**/foo` is `foo` at any depth.
fn double_star(rest: &mut Vec<char>, first: bool) -> Token {
    let separated = rest.last() == Some(&'/');
    if separated {
        rest.pop();
    }
    let plain_ending = !rest.iter().any(|character| matches!(character, '*' | '?' | '[' | ']' | '\\'));
    // Docker compares the end of a path with a plain ending, so `**.md` takes every file whose name ends so.
    if rest.is_empty() || first && !separated && plain_ending { Token::All } else { Token::Directories }
}

/// A set of positions: `set[i]` = the first `i` tokens have matched so far.
type Positions = Vec<bool>;

fn start(tokens: &[Token]) -> Positions {
    let mut entered = vec![false; tokens.len() + 1];
    entered[0] = true;
    close(tokens, vec![false; tokens.len() + 1], entered, true)
}

/// Joins the positions that were `kept` with those that were `entered`, and adds what follows because a token may
/// stand for nothing, or for no more.
fn close(tokens: &[Token], mut kept: Positions, mut entered: Positions, after_separator: bool) -> Positions {
    for (index, token) in tokens.iter().enumerate() {
        let may_end = match token {
            Token::Star | Token::All => true,
            Token::Directories => after_separator || entered[index],
            Token::Any | Token::One(_) | Token::Class(_) => false,
        };
        kept[index] |= entered[index];
        entered[index + 1] |= kept[index] && may_end;
    }
    kept[tokens.len()] |= entered[tokens.len()];
    kept
}

fn step(tokens: &[Token], set: &Positions, character: u32) -> Positions {
    let separator = character == u32::from(b'/');
    let (mut kept, mut entered) = (vec![false; tokens.len() + 1], vec![false; tokens.len() + 1]);
    for (index, token) in tokens.iter().enumerate().filter(|(index, _)| set[*index]) {
        match token {
            Token::Star => kept[index] = !separator,
            Token::All | Token::Directories => kept[index] = true,
            Token::Any => entered[index + 1] = !separator,
            Token::One(wanted) => entered[index + 1] = *wanted == character,
            Token::Class(class) => entered[index + 1] = !separator && class.holds(character),
        }
    }
    close(tokens, kept, entered, separator)
}

/// The positions after all of `path`, and whether it or a directory above it matches.
fn run(tokens: &[Token], path: &[u8]) -> (Positions, bool) {
    let mut set = start(tokens);
    let mut rest = path;
    while !rest.is_empty() {
        let (character, width) = next_character(rest);
        if rest[0] == b'/' && set[tokens.len()] {
            return (set, true);
        }
        set = step(tokens, &set, character);
        rest = &rest[width..];
        if !set.contains(&true) {
            return (set, false);
        }
    }
    let taken = !path.is_empty() && set[tokens.len()];
    (set, taken)
}

/// What positions at the beginning of a name promise for everything that may follow.
fn reach(tokens: &[Token], set: &Positions) -> Reach {
    let ends_with_all = tokens.last() == Some(&Token::All) && set[tokens.len() - 1];
    if ends_with_all {
        Reach::All
    } else if set[..tokens.len()].contains(&true) {
        Reach::Some
    } else {
        Reach::Nothing
    }
}
