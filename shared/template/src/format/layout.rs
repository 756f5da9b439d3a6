//! Flags, width and precision of one verb, and how text and numbers are laid out by them.

use super::float::format_float;
use super::quote::{Style, can_backquote, quote, quote_character};
use crate::unicode::{REPLACEMENT, count, decode, is_printable};
use crate::value::FloatKind;

/// What stands between `%` and the verb.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Layout {
    /// Least width in characters.
    pub(super) width: Option<usize>,
    /// Digits, or most characters of a string.
    pub(super) precision: Option<usize>,
    pub(super) minus: bool,
    pub(super) plus: bool,
    pub(super) sharp: bool,
    pub(super) space: bool,
    pub(super) zero: bool,
    /// `%+v`.
    pub(super) plus_v: bool,
    /// `%#v`.
    pub(super) sharp_v: bool,
}

/// A number to lay out: its size, whether a minus belongs before it, and its base.
pub(super) struct Integer {
    pub(super) size: u64,
    pub(super) negative: bool,
    pub(super) base: u64,
    pub(super) verb: char,
    pub(super) upper: bool,
}

impl Layout {
    /// The text with its padding.
    pub(super) fn pad(&self, text: &[u8]) -> Vec<u8> {
        let missing = self.width.unwrap_or(0).saturating_sub(if self.width.is_some() { count(text) } else { 0 });
        if missing == 0 {
            return text.to_vec();
        }
        let mut out = Vec::with_capacity(text.len() + missing);
        if self.minus {
            out.extend_from_slice(text);
            out.resize(out.len() + missing, b' ');
        } else {
            out.resize(missing, if self.zero { b'0' } else { b' ' });
            out.extend_from_slice(text);
        }
        out
    }

    fn pad_with_spaces(&self, text: &[u8]) -> Vec<u8> {
        Layout { zero: false, ..*self }.pad(text)
    }

    fn truncated<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        let Some(precision) = self.precision else { return text };
        let mut end = 0;
        for _ in 0..precision {
            if end >= text.len() {
                break;
            }
            end += decode(&text[end..]).1;
        }
        &text[..end]
    }

    /// `%s`.
    pub(super) fn text(&self, text: &[u8]) -> Vec<u8> {
        self.pad(self.truncated(text))
    }

    /// `%q` of a string.
    pub(super) fn quoted(&self, text: &[u8]) -> Vec<u8> {
        let text = self.truncated(text);
        if self.sharp && can_backquote(text) {
            return self.pad(&[b"`", text, b"`"].concat());
        }
        self.pad(&quote(text, self.style()))
    }

    fn style(&self) -> Style {
        if self.plus { Style::Ascii } else { Style::Printable }
    }

    /// `%x` and `%X` of bytes.
    pub(super) fn hexadecimal(&self, bytes: &[u8], upper: bool) -> Vec<u8> {
        let length = self.precision.unwrap_or(bytes.len()).min(bytes.len());
        let prefix: &[u8] = if upper { b"0X" } else { b"0x" };
        let mut out = Vec::with_capacity(length * 2);
        for (index, byte) in bytes[..length].iter().enumerate() {
            if self.space && index > 0 {
                out.push(b' ');
            }
            if self.sharp && (self.space || index == 0) {
                out.extend_from_slice(prefix);
            }
            let pair = if upper { format!("{byte:02X}") } else { format!("{byte:02x}") };
            out.extend_from_slice(pair.as_bytes());
        }
        self.pad(&out)
    }

    /// `%c`.
    pub(super) fn character(&self, code: u64) -> Vec<u8> {
        self.pad(character_of(code).encode_utf8(&mut [0; 4]).as_bytes())
    }

    /// `%q` of an integer.
    pub(super) fn quoted_character(&self, code: u64) -> Vec<u8> {
        self.pad(&quote_character(character_of(code), self.style()))
    }

    /// `%U`.
    pub(super) fn code_point(&self, code: u64) -> Vec<u8> {
        let digits = self.precision.unwrap_or(4).max(4);
        let mut out = b"U+".to_vec();
        let number = format!("{code:X}");
        out.resize(2 + digits.saturating_sub(number.len()), b'0');
        out.extend_from_slice(number.as_bytes());
        let shown = u32::try_from(code).ok().and_then(char::from_u32).filter(|character| is_printable(*character));
        if let Some(character) = shown.filter(|_| self.sharp) {
            out.extend_from_slice(format!(" '{character}'").as_bytes());
        }
        self.pad_with_spaces(&out)
    }

    /// `%d`, `%b`, `%o`, `%O`, `%x`, `%X` of an integer.
    pub(super) fn integer(&self, number: &Integer) -> Vec<u8> {
        let signed = number.negative || self.plus || self.space;
        let mut least = 0;
        if let Some(precision) = self.precision {
            if precision == 0 && number.size == 0 {
                return vec![b' '; self.width.unwrap_or(0)];
            }
            least = precision;
        } else if let Some(width) = self.width.filter(|_| self.zero && !self.minus) {
            least = width.saturating_sub(usize::from(signed));
        }
        let digits = digits_of(number);
        let zeros = least.saturating_sub(digits.len());
        let mut out = Vec::with_capacity(digits.len() + zeros + 3);
        if number.negative {
            out.push(b'-');
        } else if self.plus {
            out.push(b'+');
        } else if self.space {
            out.push(b' ');
        }
        if number.verb == 'O' {
            out.extend_from_slice(b"0o");
        }
        if self.sharp {
            match number.base {
                2 => out.extend_from_slice(b"0b"),
                8 if zeros == 0 && digits.first() != Some(&b'0') => out.push(b'0'),
                16 => out.extend_from_slice(if number.upper { b"0X" } else { b"0x" }),
                _ => {}
            }
        }
        out.resize(out.len() + zeros, b'0');
        out.extend_from_slice(&digits);
        self.pad_with_spaces(&out)
    }

    /// A floating-point number by the verb, with `usual` digits unless told otherwise.
    pub(super) fn float(&self, number: f64, kind: FloatKind, verb: u8, usual: Option<usize>) -> Vec<u8> {
        let precision = self.precision.or(usual);
        let mut text = format_float(number, kind, verb, precision);
        if !matches!(text.first(), Some(b'-' | b'+')) {
            text.insert(0, b'+');
        }
        if self.space && text[0] == b'+' && !self.plus {
            text[0] = b' ';
        }
        if !number.is_finite() {
            // Infinity keeps its sign; NaN has none unless it is asked for.
            let skip = usize::from(number.is_nan() && !self.space && !self.plus);
            return self.pad_with_spaces(&text[skip..]);
        }
        if self.sharp && verb != b'b' {
            text = with_point(&text, verb, precision);
        }
        if !self.plus && text[0] == b'+' {
            return self.pad(&text[1..]);
        }
        match self.width {
            Some(width) if self.zero && !self.minus && width > text.len() => {
                let mut out = vec![text[0]];
                out.resize(1 + width - text.len(), b'0');
                out.extend_from_slice(&text[1..]);
                out
            }
            _ => self.pad(&text),
        }
    }
}

/// The number with a decimal point and the zeros that `%g` leaves out: what `#` asks for.
fn with_point(text: &[u8], verb: u8, precision: Option<usize>) -> Vec<u8> {
    let mut wanted = match verb {
        b'g' | b'G' | b'x' => precision.unwrap_or(6) as i64,
        _ => 0,
    };
    let is_exponent = |byte: &u8| match byte {
        b'p' | b'P' => true,
        b'e' | b'E' => !matches!(verb, b'x' | b'X'),
        _ => false,
    };
    let at = text.iter().position(is_exponent).unwrap_or(text.len());
    let (number, tail) = text.split_at(at);
    let mut significant = false;
    for byte in number[1..].iter().filter(|byte| **byte != b'.') {
        significant |= *byte != b'0';
        wanted -= i64::from(significant);
    }
    let mut out = number.to_vec();
    if !number.contains(&b'.') {
        if number.len() == 2 && number[1] == b'0' {
            wanted -= 1;
        }
        out.push(b'.');
    }
    out.resize(out.len() + usize::try_from(wanted).unwrap_or(0), b'0');
    out.extend_from_slice(tail);
    out
}

fn character_of(code: u64) -> char {
    u32::try_from(code).ok().and_then(char::from_u32).unwrap_or(REPLACEMENT)
}

fn digits_of(number: &Integer) -> Vec<u8> {
    let size = number.size;
    match (number.base, number.upper) {
        (2, _) => format!("{size:b}"),
        (8, _) => format!("{size:o}"),
        (16, false) => format!("{size:x}"),
        (16, true) => format!("{size:X}"),
        _ => size.to_string(),
    }
    .into_bytes()
}
