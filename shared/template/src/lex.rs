//! Cuts the text of a template into tokens. Trimming (`{{-`, `-}}`) and comments end here.

use std::borrow::Cow;

use crate::format::quote::{Style, quote};
use crate::unicode::{is_digit, is_letter, is_printable};

const LEFT: &str = "{{";
const RIGHT: &str = "}}";
const COMMENT_OPEN: &str = "/*";
const COMMENT_CLOSE: &str = "*/";
const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// The text cannot be cut further; the token's text says why.
    Error,
    Bool,
    /// A printable ASCII character that is nothing else, such as a comma.
    Char,
    CharConstant,
    /// `1+2i`.
    Complex,
    /// `=`.
    Assign,
    /// `:=`.
    Declare,
    End,
    /// `.name`.
    Field,
    Identifier,
    LeftDelimiter,
    LeftParen,
    Number,
    Pipe,
    RawString,
    RightDelimiter,
    RightParen,
    Space,
    String,
    Text,
    /// `$` or `$name`.
    Variable,
    /// A word of the language, or the lone dot.
    Keyword(Keyword),
}

/// The words of the language.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keyword {
    Block,
    Break,
    Continue,
    Dot,
    Define,
    Else,
    End,
    If,
    Nil,
    Range,
    Template,
    With,
}

/// A piece of the text.
#[derive(Debug, Clone)]
pub(crate) struct Token<'a> {
    pub(crate) kind: TokenKind,
    /// Bytes before it.
    pub(crate) position: usize,
    pub(crate) text: Cow<'a, str>,
    /// The line it starts on, from 1.
    pub(crate) line: usize,
}

impl std::fmt::Display for Token<'_> {
    /// The token as error messages show it.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind {
            TokenKind::End => formatter.write_str("EOF"),
            TokenKind::Error => formatter.write_str(&self.text),
            TokenKind::Keyword(_) => write!(formatter, "<{}>", self.text),
            _ => {
                let long = self.text.len() > 10;
                let shown: String = if long { self.text.chars().take(10).collect() } else { self.text.to_string() };
                let quoted = quote(shown.as_bytes(), Style::Printable);
                let ellipsis = if long { "..." } else { "" };
                write!(formatter, "{}{ellipsis}", String::from_utf8_lossy(&quoted))
            }
        }
    }
}

/// Words that a function of the same name takes over.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LexerOptions {
    /// `break` is an ordinary identifier.
    pub(crate) break_is_function: bool,
    /// `continue` is an ordinary identifier.
    pub(crate) continue_is_function: bool,
}

/// The state of the cutting.
pub(crate) struct Lexer<'a> {
    input: &'a str,
    position: usize,
    /// Where the current token starts.
    start: usize,
    line: usize,
    start_line: usize,
    paren_depth: usize,
    inside_action: bool,
    failed: bool,
    options: LexerOptions,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(input: &'a str, options: LexerOptions) -> Lexer<'a> {
        Lexer {
            input,
            position: 0,
            start: 0,
            line: 1,
            start_line: 1,
            paren_depth: 0,
            inside_action: false,
            failed: false,
            options,
        }
    }

    /// The next token; at the end of the text, and after an error, `End` again and again.
    pub(crate) fn token(&mut self) -> Token<'a> {
        if self.failed {
            return Token { kind: TokenKind::End, position: self.start, text: "EOF".into(), line: self.start_line };
        }
        if self.inside_action { self.inside_action() } else { self.text() }
    }

    fn rest(&self) -> &'a str {
        &self.input[self.position..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn advance(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.position += character.len_utf8();
        self.line += usize::from(character == '\n');
        Some(character)
    }

    /// Moves on over text, counting its lines.
    fn skip(&mut self, bytes: usize) {
        let skipped = &self.rest().as_bytes()[..bytes];
        self.line += skipped.iter().filter(|byte| **byte == b'\n').count();
        self.position += bytes;
    }

    fn ignore(&mut self) {
        self.start = self.position;
        self.start_line = self.line;
    }

    fn emit(&mut self, kind: TokenKind) -> Token<'a> {
        let text = &self.input[self.start..self.position];
        let token = Token { kind, position: self.start, text: text.into(), line: self.start_line };
        self.ignore();
        token
    }

    fn fail(&mut self, message: impl Into<String>) -> Token<'a> {
        self.failed = true;
        Token { kind: TokenKind::Error, position: self.start, text: Cow::Owned(message.into()), line: self.start_line }
    }

    /// Text up to the next action, then that action's delimiter. Comments are skipped in the same loop.
    fn text(&mut self) -> Token<'a> {
        loop {
            let Some(length) = self.rest().find(LEFT) else {
                let rest = self.rest().len();
                if rest == 0 {
                    return Token { kind: TokenKind::End, position: self.start, text: "EOF".into(), line: self.line };
                }
                self.skip(rest);
                return self.emit(TokenKind::Text);
            };
            let text = &self.rest()[..length];
            let trims = trims_left(&self.rest()[length + LEFT.len()..]);
            let kept = if trims { text.trim_end_matches(SPACES).len() } else { length };
            self.skip(kept);
            let token = self.emit(TokenKind::Text);
            self.skip(length - kept);
            self.ignore();
            if kept > 0 {
                return token;
            }
            if let Some(token) = self.left_delimiter() {
                return token;
            }
        }
    }

    /// The left delimiter at hand; `None` after a comment.
    fn left_delimiter(&mut self) -> Option<Token<'a>> {
        self.position += LEFT.len();
        let marker = if trims_left(self.rest()) { 2 } else { 0 };
        if self.rest()[marker..].starts_with(COMMENT_OPEN) {
            self.skip(marker);
            self.ignore();
            return self.comment();
        }
        let token = self.emit(TokenKind::LeftDelimiter);
        self.inside_action = true;
        self.skip(marker);
        self.ignore();
        self.paren_depth = 0;
        Some(token)
    }

    /// Skips a comment; a token only when it is not closed well.
    fn comment(&mut self) -> Option<Token<'a>> {
        let Some(length) = self.rest()[COMMENT_OPEN.len()..].find(COMMENT_CLOSE) else {
            return Some(self.fail("unclosed comment"));
        };
        let length = COMMENT_OPEN.len() + length + COMMENT_CLOSE.len();
        let Some(trims) = right_delimiter(&self.rest()[length..]) else {
            return Some(self.fail("comment ends before closing delimiter"));
        };
        self.skip(length);
        self.pass_right_delimiter(trims);
        self.ignore();
        None
    }

    fn pass_right_delimiter(&mut self, trims: bool) {
        self.skip(if trims { 2 } else { 0 });
        self.position += RIGHT.len();
        if trims {
            self.trim_following();
        }
    }

    fn trim_following(&mut self) {
        let spaces = self.rest().len() - self.rest().trim_start_matches(SPACES).len();
        self.skip(spaces);
    }

    fn right_delimiter(&mut self, trims: bool) -> Token<'a> {
        if trims {
            self.skip(2);
            self.ignore();
        }
        self.position += RIGHT.len();
        let token = self.emit(TokenKind::RightDelimiter);
        if trims {
            self.trim_following();
            self.ignore();
        }
        self.inside_action = false;
        token
    }

    fn inside_action(&mut self) -> Token<'a> {
        if let Some(trims) = right_delimiter(self.rest()) {
            if self.paren_depth == 0 {
                return self.right_delimiter(trims);
            }
            return self.fail("unclosed left paren");
        }
        let Some(first) = self.peek() else { return self.fail("unclosed action") };
        if SPACES.contains(&first) {
            return self.space();
        }
        if first.is_ascii_digit() || matches!(first, '+' | '-') {
            return self.number();
        }
        if is_alphanumeric(first) {
            return self.identifier();
        }
        self.advance();
        match first {
            '=' => self.emit(TokenKind::Assign),
            ':' if self.peek() == Some('=') => {
                self.advance();
                self.emit(TokenKind::Declare)
            }
            ':' => self.fail("expected :="),
            '|' => self.emit(TokenKind::Pipe),
            '"' => self.quoted('"', TokenKind::String, "unterminated quoted string"),
            '\'' => self.quoted('\'', TokenKind::CharConstant, "unterminated character constant"),
            '`' => self.raw_string(),
            '$' => self.name(TokenKind::Variable, TokenKind::Variable),
            '.' if self.peek().is_some_and(|next| next.is_ascii_digit()) => {
                self.position -= 1;
                self.number()
            }
            // A dot at the very end is left to the number scanner, as in Go; it comes out as an unclosed action.
            '.' if self.peek().is_none() => {
                self.position -= 1;
                self.number()
            }
            '.' => self.name(TokenKind::Field, TokenKind::Keyword(Keyword::Dot)),
            '(' => {
                self.paren_depth += 1;
                self.emit(TokenKind::LeftParen)
            }
            ')' if self.paren_depth == 0 => self.fail("unexpected right paren"),
            ')' => {
                self.paren_depth -= 1;
                self.emit(TokenKind::RightParen)
            }
            other if other.is_ascii() && is_printable(other) => self.emit(TokenKind::Char),
            other => self.fail(format!("unrecognized character in action: {}", code_point(other))),
        }
    }

    /// A run of spaces, but for the one that belongs to ` -}}`.
    fn space(&mut self) -> Token<'a> {
        let run = self.rest().len() - self.rest().trim_start_matches(SPACES).len();
        // A run of spaces is ASCII: one byte less is still at a character.
        let ends_trimming = right_delimiter(&self.rest()[run - 1..]) == Some(true);
        if ends_trimming && run == 1 {
            return self.right_delimiter(true);
        }
        self.skip(run - usize::from(ends_trimming));
        self.emit(TokenKind::Space)
    }

    fn identifier(&mut self) -> Token<'a> {
        if let Some(bad) = self.word() {
            return bad;
        }
        let word = &self.input[self.start..self.position];
        let keyword = match word {
            "true" | "false" => return self.emit(TokenKind::Bool),
            "block" => Keyword::Block,
            "break" if !self.options.break_is_function => Keyword::Break,
            "continue" if !self.options.continue_is_function => Keyword::Continue,
            "define" => Keyword::Define,
            "else" => Keyword::Else,
            "end" => Keyword::End,
            "if" => Keyword::If,
            "nil" => Keyword::Nil,
            "range" => Keyword::Range,
            "template" => Keyword::Template,
            "with" => Keyword::With,
            _ => return self.emit(TokenKind::Identifier),
        };
        self.emit(TokenKind::Keyword(keyword))
    }

    /// The name after a dot or a dollar; `bare` when there is none.
    fn name(&mut self, named: TokenKind, bare: TokenKind) -> Token<'a> {
        if self.at_terminator() {
            return self.emit(bare);
        }
        match self.word() {
            Some(bad) => bad,
            None => self.emit(named),
        }
    }

    /// Passes letters and digits; a token only when something follows that cannot.
    fn word(&mut self) -> Option<Token<'a>> {
        while self.peek().is_some_and(is_alphanumeric) {
            self.advance();
        }
        if self.at_terminator() {
            return None;
        }
        let bad = self.peek().map(code_point).unwrap_or_default();
        Some(self.fail(format!("bad character {bad}")))
    }

    /// Whether a name may end here.
    fn at_terminator(&self) -> bool {
        match self.peek() {
            None | Some(' ' | '\t' | '\r' | '\n' | '.' | ',' | '|' | ':' | ')' | '(') => true,
            Some(_) => self.rest().starts_with(RIGHT),
        }
    }

    fn quoted(&mut self, delimiter: char, kind: TokenKind, unterminated: &str) -> Token<'a> {
        loop {
            match self.advance() {
                Some('\\') if matches!(self.peek(), None | Some('\n')) => return self.fail(unterminated),
                Some('\\') => {
                    self.advance();
                }
                None | Some('\n') => return self.fail(unterminated),
                Some(character) if character == delimiter => return self.emit(kind),
                Some(_) => {}
            }
        }
    }

    fn raw_string(&mut self) -> Token<'a> {
        match self.rest().find('`') {
            Some(length) => {
                self.skip(length + 1);
                self.emit(TokenKind::RawString)
            }
            None => self.fail("unterminated raw quoted string"),
        }
    }

    fn number(&mut self) -> Token<'a> {
        if !self.scan_number() {
            return self.bad_number();
        }
        if matches!(self.peek(), Some('+' | '-')) {
            if !self.scan_number() || !self.input[..self.position].ends_with('i') {
                return self.bad_number();
            }
            return self.emit(TokenKind::Complex);
        }
        self.emit(TokenKind::Number)
    }

    fn bad_number(&mut self) -> Token<'a> {
        let text = quote(&self.input.as_bytes()[self.start..self.position], Style::Printable);
        self.fail(format!("bad number syntax: {}", String::from_utf8_lossy(&text)))
    }

    /// Passes what looks like a number; whether it ends where a number may end.
    fn scan_number(&mut self) -> bool {
        self.accept("+-");
        let mut digits = "0123456789_";
        if self.accept("0") {
            if self.accept("xX") {
                digits = "0123456789abcdefABCDEF_";
            } else if self.accept("oO") {
                digits = "01234567_";
            } else if self.accept("bB") {
                digits = "01_";
            }
        }
        self.accept_run(digits);
        if self.accept(".") {
            self.accept_run(digits);
        }
        let exponents = match digits.len() {
            11 => "eE",
            23 => "pP",
            _ => "",
        };
        if self.accept(exponents) {
            self.accept("+-");
            self.accept_run("0123456789_");
        }
        self.accept("i");
        if self.peek().is_some_and(is_alphanumeric) {
            self.advance();
            return false;
        }
        true
    }

    fn accept(&mut self, characters: &str) -> bool {
        let found = self.peek().is_some_and(|character| characters.contains(character));
        if found {
            self.advance();
        }
        found
    }

    fn accept_run(&mut self, characters: &str) {
        while self.accept(characters) {}
    }
}

fn is_alphanumeric(character: char) -> bool {
    character == '_' || is_letter(character) || is_digit(character)
}

/// Whether the text after a left delimiter asks for trimming.
fn trims_left(after: &str) -> bool {
    matches!(after.as_bytes(), [b'-', b' ' | b'\t' | b'\r' | b'\n', ..])
}

/// Whether there is a right delimiter, and whether it asks for trimming.
fn right_delimiter(text: &str) -> Option<bool> {
    match text.as_bytes() {
        [b' ' | b'\t' | b'\r' | b'\n', b'-', b'}', b'}', ..] => Some(true),
        [b'}', b'}', ..] => Some(false),
        _ => None,
    }
}

/// `U+0026 '&'`.
fn code_point(character: char) -> String {
    let code = u32::from(character);
    if is_printable(character) { format!("U+{code:04X} '{character}'") } else { format!("U+{code:04X}") }
}
