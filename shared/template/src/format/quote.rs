//! Go's quoted strings: writing and reading them.

use crate::unicode::{REPLACEMENT, decode, is_printable};

/// Which characters stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// All printable ones.
    Printable,
    /// Only printable ASCII.
    Ascii,
}

/// The bytes in double quotes, escaped as `strconv.Quote` does.
pub fn quote(text: &[u8], style: Style) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 2);
    out.push(b'"');
    let mut rest = text;
    while !rest.is_empty() {
        let (character, length) = decode(rest);
        match character {
            Some(character) => escape(&mut out, character, '"', style),
            None => out.extend_from_slice(format!("\\x{:02x}", rest[0]).as_bytes()),
        }
        rest = &rest[length..];
    }
    out.push(b'"');
    out
}

/// The character in single quotes, escaped as `strconv.QuoteRune` does.
pub fn quote_character(character: char, style: Style) -> Vec<u8> {
    let mut out = vec![b'\''];
    escape(&mut out, character, '\'', style);
    out.push(b'\'');
    out
}

/// Whether the text can stand between backquotes, on one line.
pub fn can_backquote(text: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(text) else { return false };
    text.chars().all(|character| match character {
        '\u{FEFF}' | '`' | '\u{7F}' => false,
        '\t' => true,
        other => other >= ' ',
    })
}

fn escape(out: &mut Vec<u8>, character: char, delimiter: char, style: Style) {
    let mut buffer = [0; 4];
    let kept = match style {
        Style::Printable => is_printable(character),
        Style::Ascii => character.is_ascii() && is_printable(character),
    };
    if character == delimiter || character == '\\' {
        out.push(b'\\');
        out.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
        return;
    }
    if kept {
        out.extend_from_slice(character.encode_utf8(&mut buffer).as_bytes());
        return;
    }
    let escaped = match character {
        '\u{7}' => "\\a".to_owned(),
        '\u{8}' => "\\b".to_owned(),
        '\u{C}' => "\\f".to_owned(),
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        '\u{B}' => "\\v".to_owned(),
        other if other < ' ' || other == '\u{7F}' => format!("\\x{:02x}", u32::from(other)),
        other if u32::from(other) < 0x10000 => format!("\\u{:04x}", u32::from(other)),
        other => format!("\\U{:08x}", u32::from(other)),
    };
    out.extend_from_slice(escaped.as_bytes());
}

/// Reads a Go literal in double quotes or backquotes; `None` when its syntax is wrong.
pub fn unquote(literal: &[u8]) -> Option<Vec<u8>> {
    let (first, last) = (*literal.first()?, *literal.last()?);
    if literal.len() < 2 || first != last {
        return None;
    }
    let inner = &literal[1..literal.len() - 1];
    match first {
        b'`' => (!inner.contains(&b'`')).then(|| inner.iter().copied().filter(|byte| *byte != b'\r').collect()),
        b'"' => {
            let (mut out, mut rest) = (Vec::with_capacity(inner.len()), inner);
            while !rest.is_empty() {
                if matches!(rest[0], b'"' | b'\n') {
                    return None;
                }
                rest = read_escaped(rest, b'"', &mut out)?;
            }
            Some(out)
        }
        _ => None,
    }
}

/// Reads a Go character literal in single quotes: its code point. `None` when its syntax is wrong.
pub fn unquote_character(literal: &[u8]) -> Result<u32, CharacterError> {
    let inner = literal.strip_prefix(b"'").ok_or(CharacterError::Syntax)?;
    if matches!(inner.first(), None | Some(b'\'' | b'\n')) {
        return Err(CharacterError::Syntax);
    }
    let mut out = Vec::new();
    let numeric = matches!(inner, [b'\\', b'x' | b'0'..=b'7', ..]);
    let rest = read_escaped(inner, b'\'', &mut out).ok_or(CharacterError::Syntax)?;
    if rest != b"'" {
        return Err(CharacterError::Malformed);
    }
    if numeric {
        return Ok(out.first().map_or(0, |byte| u32::from(*byte)));
    }
    Ok(u32::from(decode(&out).0.unwrap_or(REPLACEMENT)))
}

/// Why a character literal is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CharacterError {
    /// Its escape is wrong, or it is empty.
    Syntax,
    /// There is more than one character in it.
    Malformed,
}

/// Reads one character or escape into `out`; what is left.
fn read_escaped<'a>(text: &'a [u8], delimiter: u8, out: &mut Vec<u8>) -> Option<&'a [u8]> {
    let [b'\\', rest @ ..] = text else {
        let length = decode(text).1;
        out.extend_from_slice(&text[..length]);
        return Some(&text[length..]);
    };
    let (letter, rest) = rest.split_first()?;
    let simple = match letter {
        b'a' => 7,
        b'b' => 8,
        b'f' => 12,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 11,
        b'\\' => b'\\',
        b'\'' | b'"' if *letter == delimiter => delimiter,
        b'0'..=b'7' => {
            let digits = std::str::from_utf8(text.get(1..4)?).ok().filter(|digits| !digits.starts_with('+'))?;
            u8::try_from(u32::from_str_radix(digits, 8).ok()?).ok()?;
            out.push(u8::from_str_radix(digits, 8).ok()?);
            return text.get(4..);
        }
        b'x' => {
            out.push(u8::try_from(hexadecimal(rest, 2)?).ok()?);
            return rest.get(2..);
        }
        b'u' | b'U' => {
            let length = if *letter == b'u' { 4 } else { 8 };
            let character = char::from_u32(hexadecimal(rest, length)?)?;
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            return rest.get(length..);
        }
        _ => return None,
    };
    out.push(simple);
    Some(rest)
}

fn hexadecimal(text: &[u8], length: usize) -> Option<u32> {
    let digits = text.get(..length)?;
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}
