//! Splitting the text of one instruction: flags, words, JSON arrays. Nothing is expanded here.

use std::iter::Peekable;
use std::str::Chars;

/// `--NAME[=VALUE]`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Flag {
    pub(crate) name: String,
    pub(crate) value: Option<String>,
}

/// What an instruction's text turned out to be.
pub(crate) enum Json {
    /// An array of strings.
    Strings(Vec<String>),
    /// An array with something else in it.
    Mixed,
    /// Anything else, to be read as plain text.
    No,
}

/// Reads a JSON array of strings at the start of `text`; what follows it does not count, as in BuildKit.
pub(crate) fn json(text: &str) -> Json {
    if !text.trim_start().starts_with('[') {
        return Json::No;
    }
    let first = serde_json::Deserializer::from_str(text).into_iter::<Vec<serde_json::Value>>().next();
    let Some(Ok(values)) = first else { return Json::No };
    let string = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => Some(text),
        _ => None,
    };
    values.into_iter().map(string).collect::<Option<Vec<String>>>().map_or(Json::Mixed, Json::Strings)
}

/// Takes the flags off the front of `text`. Quotes and backslashes in them are resolved.
pub(crate) fn take_flags(text: &str) -> (Vec<Flag>, &str) {
    let mut flags = Vec::new();
    let mut rest = text.trim_start();
    while rest.starts_with("--") {
        let (word, after) = flag_word(rest);
        rest = after.trim_start();
        if word == "--" {
            break;
        }
        let word = word.strip_prefix("--").unwrap_or(&word);
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (word, None),
        };
        flags.push(Flag { name: name.to_owned(), value });
    }
    (flags, rest)
}

/// The first word of `text`, quotes resolved, and what follows it.
fn flag_word(text: &str) -> (String, &str) {
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match quote {
            None if c.is_whitespace() => return (word, &text[at..]),
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if c == open => quote = None,
            None | Some(_) if c == '\\' => word.extend(chars.next().map(|(_, escaped)| escaped)),
            None | Some(_) => word.push(c),
        }
    }
    (word, "")
}

/// Splits at white space outside of quotes; quotes and escapes stay in the words.
pub(crate) fn quoted_words(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
            continue;
        }
        if c == escape && quote != Some('\'') {
            push_escape(&mut word, c, &mut chars);
            continue;
        }
        if quote == Some(c) {
            quote = None;
        } else if quote.is_none() && (c == '\'' || c == '"') {
            quote = Some(c);
        }
        word.push(c);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Keeps an escape with what it escapes; one at the very end is dropped.
fn push_escape(word: &mut String, escape: char, chars: &mut Peekable<Chars<'_>>) {
    if let Some(escaped) = chars.next() {
        word.push(escape);
        word.push(escaped);
    }
}

/// A word without its quotes and escapes; `None` when a quote is left open.
pub(crate) fn unquoted(word: &str, escape: char) -> Option<String> {
    let mut plain = String::new();
    let mut quote = None;
    let mut chars = word.chars();
    while let Some(c) = chars.next() {
        match quote {
            Some(open) if c == open => quote = None,
            None if c == '\'' || c == '"' => quote = Some(c),
            None | Some('"') if c == escape => plain.extend(chars.next()),
            None | Some(_) => plain.push(c),
        }
    }
    quote.is_none().then_some(plain)
}

/// A value in a hashed line: as it is when nothing in it could be mistaken, else in double quotes with escapes.
///
/// The result has no `$` without a `\` before it and no space outside of quotes, so that it never equals a word that
/// is kept as written for its variables, nor two words.
pub(crate) fn quote(value: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "_-./:@%+,=*?[]{}()~^!&;|<>#".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('"');
    for c in value.chars() {
        match c {
            '"' | '\\' | '$' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
