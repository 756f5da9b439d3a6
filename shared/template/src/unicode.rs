//! The classes of characters by which Go tells letters, digits and printable characters apart, and Go's way of
//! reading runes from bytes.

use std::sync::LazyLock;

use regex::Regex;

/// The character that stands for bytes that are not UTF-8.
pub(crate) const REPLACEMENT: char = '\u{FFFD}';

static LETTER: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\p{L}$").ok());
static DIGIT: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^\p{Nd}$").ok());
static PRINTABLE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"^[\p{L}\p{M}\p{N}\p{P}\p{S}]$").ok());

fn is_in(class: &LazyLock<Option<Regex>>, character: char) -> bool {
    let mut buffer = [0; 4];
    class.as_ref().is_some_and(|class| class.is_match(character.encode_utf8(&mut buffer)))
}

/// Go's `unicode.IsLetter`.
pub(crate) fn is_letter(character: char) -> bool {
    if character.is_ascii() { character.is_ascii_alphabetic() } else { is_in(&LETTER, character) }
}

/// Go's `unicode.IsDigit`.
pub(crate) fn is_digit(character: char) -> bool {
    if character.is_ascii() { character.is_ascii_digit() } else { is_in(&DIGIT, character) }
}

/// Go's `strconv.IsPrint`: of spaces only the ASCII one.
pub(crate) fn is_printable(character: char) -> bool {
    if character.is_ascii() { matches!(character, ' '..='~') } else { is_in(&PRINTABLE, character) }
}

/// The first character of the bytes and its length; a byte that begins no character gives `None` and 1.
/// The bytes must not be empty; of empty ones it is `None` and 0.
pub(crate) fn decode(bytes: &[u8]) -> (Option<char>, usize) {
    let Some(first) = bytes.first() else { return (None, 0) };
    if first.is_ascii() {
        return (Some(char::from(*first)), 1);
    }
    let head = &bytes[..bytes.len().min(4)];
    let valid = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default(),
    };
    match valid.chars().next() {
        Some(character) => (Some(character), character.len_utf8()),
        None => (None, 1),
    }
}

/// Number of characters, where a byte that begins no character counts as one.
pub(crate) fn count(bytes: &[u8]) -> usize {
    if bytes.is_ascii() {
        return bytes.len();
    }
    let (mut rest, mut count) = (bytes, 0);
    while !rest.is_empty() {
        rest = &rest[decode(rest).1..];
        count += 1;
    }
    count
}
