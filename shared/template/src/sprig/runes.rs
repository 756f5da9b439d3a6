//! Characters as Go sees them in bytes that need not be UTF-8, and Go's `unicode` predicates.

use std::sync::LazyLock;

use regex::Regex;

/// The first character and its width in bytes; a byte that is not UTF-8 reads as U+FFFD of width 1.
pub(super) fn decode(bytes: &[u8]) -> Option<(char, usize)> {
    let first = *bytes.first()?;
    let length = match first {
        0..0x80 => return Some((char::from(first), 1)),
        0xc2..0xe0 => 2,
        0xe0..0xf0 => 3,
        0xf0..0xf5 => 4,
        _ => return Some(('\u{fffd}', 1)),
    };
    let character =
        bytes.get(..length).and_then(|bytes| std::str::from_utf8(bytes).ok()).and_then(|text| text.chars().next());
    Some(character.map_or(('\u{fffd}', 1), |character| (character, length)))
}

/// Width in bytes of the first character; 0 when there is none.
pub(super) fn width(bytes: &[u8]) -> usize {
    decode(bytes).map_or(0, |(_, width)| width)
}

/// All characters.
pub(super) fn chars(bytes: &[u8]) -> impl Iterator<Item = char> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (character, width) = decode(rest)?;
        rest = &rest[width..];
        Some(character)
    })
}

/// The bytes with each character mapped.
pub(super) fn map(bytes: &[u8], mapping: impl FnMut(char) -> char) -> Vec<u8> {
    chars(bytes).map(mapping).collect::<String>().into_bytes()
}

/// Go's `unicode.ToUpper`: one character for one.
pub(super) fn upper(character: char) -> char {
    single(character.to_uppercase(), character)
}

/// Go's `unicode.ToLower`.
pub(super) fn lower(character: char) -> char {
    match character {
        '\u{130}' => 'i',
        other => single(other.to_lowercase(), other),
    }
}

/// Go's `unicode.ToTitle`.
pub(super) fn title(character: char) -> char {
    match character {
        '\u{1c4}'..='\u{1c6}' => '\u{1c5}',
        '\u{1c7}'..='\u{1c9}' => '\u{1c8}',
        '\u{1ca}'..='\u{1cc}' => '\u{1cb}',
        '\u{1f1}'..='\u{1f3}' => '\u{1f2}',
        '\u{10d0}'..='\u{10ff}' => character,
        other => upper(other),
    }
}

fn single(mut mapped: impl Iterator<Item = char>, original: char) -> char {
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => original,
    }
}

/// Whether a character is in a Unicode class; ASCII is answered without the table.
macro_rules! class {
    ($name:ident, $pattern:literal, $ascii:expr, $doc:literal) => {
        #[doc = $doc]
        pub(super) fn $name(character: char) -> bool {
            static CLASS: LazyLock<Regex> = LazyLock::new(|| Regex::new($pattern).expect("the pattern is a constant"));
            if character.is_ascii() {
                let ascii: fn(char) -> bool = $ascii;
                return ascii(character);
            }
            CLASS.is_match(character.encode_utf8(&mut [0; 4]))
        }
    };
}

class!(is_upper, r"\p{Lu}", |character| character.is_ascii_uppercase(), "Go's `unicode.IsUpper`.");
class!(is_lower, r"\p{Ll}", |character| character.is_ascii_lowercase(), "Go's `unicode.IsLower`.");
class!(is_letter, r"\p{L}", |character| character.is_ascii_alphabetic(), "Go's `unicode.IsLetter`.");
class!(is_digit, r"\p{Nd}", |character| character.is_ascii_digit(), "Go's `unicode.IsDigit`.");
class!(
    is_punctuation,
    r"\p{P}",
    |character| character.is_ascii_punctuation() && !"$+<=>^`|~".contains(character),
    "Go's `unicode.IsPunct`."
);

/// Go's `unicode.IsNumber`.
pub(super) fn is_number(character: char) -> bool {
    character.is_numeric()
}

/// Go's `unicode.IsSpace`.
pub(super) fn is_space(character: char) -> bool {
    character.is_whitespace()
}
