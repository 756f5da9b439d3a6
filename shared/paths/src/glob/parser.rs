//! Text to segments.

use super::{Class, GlobError, Segment, Token};

/// Longest glob, in bytes.
const MAX_BYTES: usize = 4096;
/// Most alternatives that braces may spell out.
const MAX_ALTERNATIVES: usize = 1024;
/// Most tokens of all alternatives together.
const MAX_TOKENS: usize = 64 * 1024;
/// Deepest nesting of braces.
const MAX_DEPTH: usize = 16;
/// Most segments of one alternative: a position fits into 64 bits.
pub(super) const MAX_SEGMENTS: usize = 63;

/// Whose rules a text follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Dialect {
    /// `**`, braces, `[!a]`; `..` is refused.
    Doublestar,
    /// Go's `filepath.Match`; `..` goes up, at the root it stays.
    CopySource,
}

/// What the text is made of, before it is cut into segments.
#[derive(Clone, Debug)]
enum Piece {
    Separator,
    /// Two or more `*` in a row.
    Doublestar,
    Token(Token),
}

type Pieces = Vec<Piece>;

/// The alternatives of `pattern`, each a list of segments.
pub(super) fn parse(pattern: &str, dialect: Dialect) -> Result<Vec<Vec<Segment>>, GlobError> {
    if pattern.len() > MAX_BYTES {
        return Err(GlobError::new(pattern, "it is longer than 4096 bytes"));
    }
    if pattern.contains('\0') {
        return Err(GlobError::new(pattern, "it holds a NUL character"));
    }
    let mut parser = Parser { pattern, rest: pattern.chars().collect(), dialect };
    parser.rest.reverse();
    let alternatives = parser.sequence(0)?;
    alternatives.into_iter().map(|pieces| segments(pattern, pieces, dialect)).collect()
}

struct Parser<'p> {
    pattern: &'p str,
    /// Characters that are still to be read, the next one last.
    rest: Vec<char>,
    dialect: Dialect,
}

impl Parser<'_> {
    fn refuse<T>(&self, problem: &'static str) -> Result<T, GlobError> {
        Err(GlobError::new(self.pattern, problem))
    }

    /// Reads up to the end, or up to the `,` or `}` that ends an alternative inside of braces.
    fn sequence(&mut self, depth: usize) -> Result<Vec<Pieces>, GlobError> {
        let mut done: Vec<Pieces> = vec![Vec::new()];
        while let Some(&character) = self.rest.last() {
            if depth > 0 && matches!(character, ',' | '}') {
                break;
            }
            self.rest.pop();
            let piece = match character {
                '{' if self.dialect == Dialect::Doublestar => {
                    done = self.braces(&done, depth)?;
                    continue;
                }
                '/' => Piece::Separator,
                '*' => self.stars(),
                '?' => Piece::Token(Token::Any),
                '[' => Piece::Token(Token::Class(self.class()?)),
                '\\' => match self.rest.pop() {
                    None => return self.refuse("it ends with a `\\`"),
                    Some('/') => Piece::Separator,
                    Some(escaped) => Piece::Token(Token::One(escaped.into())),
                },
                other => Piece::Token(Token::One(other.into())),
            };
            for pieces in &mut done {
                pieces.push(piece.clone());
            }
        }
        Ok(done)
    }

    fn stars(&mut self) -> Piece {
        let mut double = false;
        while self.rest.last() == Some(&'*') {
            self.rest.pop();
            double = true;
        }
        if double && self.dialect == Dialect::Doublestar { Piece::Doublestar } else { Piece::Token(Token::Star) }
    }

    /// Appends every alternative of the braces that were just opened to every one of `before`.
    fn braces(&mut self, before: &[Pieces], depth: usize) -> Result<Vec<Pieces>, GlobError> {
        if depth == MAX_DEPTH {
            return self.refuse("its braces are nested more than 16 deep");
        }
        let mut inside = Vec::new();
        loop {
            inside.extend(self.sequence(depth + 1)?);
            match self.rest.pop() {
                Some('}') => break,
                Some(_) => {}
                None => return self.refuse("a `{` is not closed"),
            }
            if inside.len() > MAX_ALTERNATIVES {
                return self.refuse("its braces spell out more than 1024 alternatives");
            }
        }
        if before.len() * inside.len() > MAX_ALTERNATIVES {
            return self.refuse("its braces spell out more than 1024 alternatives");
        }
        let (tokens_before, tokens_inside) = (before.iter().map(Vec::len).sum(), inside.iter().map(Vec::len).sum());
        let tokens: usize = inside.len().saturating_mul(tokens_before) + before.len().saturating_mul(tokens_inside);
        if tokens > MAX_TOKENS {
            return self.refuse("its braces spell out too much text");
        }
        Ok(before.iter().flat_map(|start| inside.iter().map(move |end| [start.as_slice(), end].concat())).collect())
    }

    fn class(&mut self) -> Result<Class, GlobError> {
        class(&mut self.rest, self.dialect == Dialect::Doublestar).or_else(|problem| self.refuse(problem))
    }
}

/// Reads a class whose `[` was just read; `bang` lets `!` negate as `^` does. `rest` holds the next character last.
pub(crate) fn class(rest: &mut Vec<char>, bang: bool) -> Result<Class, &'static str> {
    const OPEN: &str = "a `[` is not closed";
    let mut class = Class::default();
    if matches!(rest.last(), Some('^')) || bang && matches!(rest.last(), Some('!')) {
        rest.pop();
        class.negated = true;
    }
    loop {
        match rest.last().ok_or(OPEN)? {
            ']' if class.ranges.is_empty() => return Err("a `[]` is empty"),
            ']' => break,
            _ => {}
        }
        let first = class_character(rest)?;
        let mut last = first;
        if rest.last() == Some(&'-') {
            rest.pop();
            if rest.last() == Some(&']') {
                class.ranges.push(('-'.into(), '-'.into()));
            } else {
                last = class_character(rest)?;
            }
        }
        if last < first {
            return Err("a range in `[]` ends before it begins");
        }
        class.ranges.push((first, last));
    }
    rest.pop();
    Ok(class)
}

fn class_character(rest: &mut Vec<char>) -> Result<u32, &'static str> {
    let character = match rest.pop() {
        Some('\\') => rest.pop(),
        other => other,
    };
    match character {
        None => Err("a `[` is not closed"),
        Some('/') => Err("a `[]` holds a `/`"),
        Some(character) => Ok(character.into()),
    }
}

/// Cuts at separators, leaves out empty segments and `.`, joins neighbouring `**`.
fn segments(pattern: &str, pieces: Pieces, dialect: Dialect) -> Result<Vec<Segment>, GlobError> {
    let mut kept: Vec<Segment> = Vec::new();
    for part in pieces.split(|piece| matches!(piece, Piece::Separator)) {
        match segment(part) {
            Segment::Name(name) if name.is_empty() || name == b"." => {}
            Segment::Name(name) if name == b".." => match dialect {
                Dialect::Doublestar => return Err(GlobError::new(pattern, "it leads outside with `..`")),
                Dialect::CopySource => {
                    kept.pop();
                }
            },
            Segment::Any if kept.last() == Some(&Segment::Any) => {}
            other => kept.push(other),
        }
    }
    if kept.len() > MAX_SEGMENTS {
        return Err(GlobError::new(pattern, "it has more than 63 segments"));
    }
    Ok(kept)
}

fn segment(pieces: &[Piece]) -> Segment {
    match pieces {
        [Piece::Doublestar] => return Segment::Any,
        [Piece::Token(Token::Star)] => return Segment::One,
        _ => {}
    }
    let mut name = String::new();
    let mut tokens = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Token(Token::One(code)) => {
                // Tokens of a parsed text are made of its characters.
                name.extend(char::from_u32(*code));
                tokens.push(Token::One(*code));
            }
            Piece::Token(Token::Star) | Piece::Doublestar if tokens.last() == Some(&Token::Star) => {}
            Piece::Token(Token::Star) | Piece::Doublestar => tokens.push(Token::Star),
            Piece::Token(token) => tokens.push(token.clone()),
            Piece::Separator => {}
        }
    }
    let literal = tokens.iter().all(|token| matches!(token, Token::One(_)));
    if literal { Segment::Name(name.into_bytes()) } else { Segment::Wild(tokens) }
}
