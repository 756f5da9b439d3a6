//! The forms in which a secret may be written.

use std::{collections::BTreeSet, sync::Arc};

use super::{Match, SHORTEST, WRAPS_AFTER};

/// The longest piece that is looked for at once, in bytes: what is held back of a stream has a bound.
const PIECE: usize = 1024;
const STANDARD: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const FOR_URLS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// One form, or a piece of it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Form {
    text: Arc<[u8]>,
    start: usize,
    /// Whether a line may end anywhere within it.
    wraps: bool,
}

impl Form {
    /// What is looked for.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.text[self.start..]
    }

    /// Whether it stands at the beginning of `text`.
    pub(super) fn at(&self, text: &[u8]) -> Match {
        let (wanted, mut seen, mut at) = (self.bytes(), 0, 0);
        while seen < wanted.len() {
            match text.get(at) {
                None => return Match::Begins,
                Some(byte) if *byte == wanted[seen] => seen += 1,
                // One line end, not any number of them.
                Some(b'\r') if self.wraps && seen >= WRAPS_AFTER && text[at - 1] != b'\r' => {}
                Some(b'\n') if self.wraps && seen >= WRAPS_AFTER && text[at - 1] != b'\n' => {}
                Some(_) => return Match::No,
            }
            at += 1;
        }
        Match::Whole(at)
    }
}

/// All forms of some values.
pub(super) fn all<'a>(values: impl Iterator<Item = &'a [u8]>) -> BTreeSet<Form> {
    let mut forms = BTreeSet::new();
    for value in values {
        let value = value.trim_ascii();
        if value.len() < SHORTEST {
            continue;
        }
        of_text(value, &mut forms);
        base64(value, &mut forms);
    }
    forms
}

/// A value as text: line by line, and in quotes.
fn of_text(value: &[u8], forms: &mut BTreeSet<Form>) {
    let lines = value.split(|byte| matches!(byte, b'\n' | b'\r')).map(<[u8]>::trim_ascii);
    let mut any = false;
    for line in lines.filter(|line| line.len() >= SHORTEST) {
        any = true;
        for written in [line.to_vec(), in_json(line), in_shell(line), percent(line, false, false)] {
            plain(&written, forms);
        }
        for (lower, blanks) in [(true, false), (false, true), (true, true)] {
            plain(&percent(line, lower, blanks), forms);
        }
    }
    if !any {
        plain(value, forms);
    }
    // Several lines become one.
    if value.contains(&b'\n') {
        plain(&in_json(value), forms);
        for (lower, blanks) in [(false, false), (true, false), (false, true), (true, true)] {
            plain(&percent(value, lower, blanks), forms);
        }
    }
}

fn plain(text: &[u8], forms: &mut BTreeSet<Form>) {
    for piece in pieces(text, SHORTEST) {
        forms.insert(Form { text: piece.into(), start: 0, wraps: false });
    }
}

/// A text in pieces; a rest that is too short for one belongs to the last.
fn pieces(text: &[u8], shortest: usize) -> Vec<&[u8]> {
    let mut all = Vec::new();
    let mut rest = text;
    while rest.len() >= PIECE + shortest {
        let (piece, more) = rest.split_at(PIECE);
        all.push(piece);
        rest = more;
    }
    if rest.len() >= shortest {
        all.push(rest);
    }
    all
}

/// The value encoded by itself or behind one or two other bytes: as much as depends on nothing else. A piece that a line
/// end has cut near its beginning is known by its rest.
fn base64(value: &[u8], forms: &mut BTreeSet<Form>) {
    for alphabet in [STANDARD, FOR_URLS] {
        for before in 0..3 {
            let encoded = encode(value, before, alphabet);
            for piece in pieces(&encoded, WRAPS_AFTER.min(SHORTEST)) {
                let text: Arc<[u8]> = piece.into();
                let last = text.len().saturating_sub(WRAPS_AFTER).min(WRAPS_AFTER);
                for start in 0..=last {
                    forms.insert(Form { text: Arc::clone(&text), start, wraps: true });
                }
            }
        }
    }
}

/// The digits of base64 that only `value` decides, when `before` bytes of something else stand before it.
fn encode(value: &[u8], before: usize, alphabet: &[u8; 64]) -> Vec<u8> {
    let bits = (before * 8, (before + value.len()) * 8);
    let bit = |at: usize| {
        let at = at - bits.0;
        (value[at / 8] >> (7 - at % 8)) & 1
    };
    let first = bits.0.div_ceil(6);
    let digit = |number: usize| (number * 6..number * 6 + 6).fold(0_u8, |digit, at| (digit << 1) | bit(at));
    (first..bits.1 / 6).map(|number| alphabet[usize::from(digit(number))]).collect()
}

/// As in an address; `blanks` become `+`, as in forms.
fn percent(text: &[u8], lower: bool, blanks: bool) -> Vec<u8> {
    let mut written = Vec::with_capacity(text.len() * 3);
    for byte in text {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => written.push(*byte),
            b' ' if blanks => written.push(b'+'),
            other if lower => written.extend(format!("%{other:02x}").bytes()),
            other => written.extend(format!("%{other:02X}").bytes()),
        }
    }
    written
}

/// As between the quotes of JSON.
fn in_json(text: &[u8]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(text) else { return text.to_vec() };
    let quoted = serde_json::Value::from(text).to_string();
    quoted.into_bytes()[1..].split_last().map(|(_, rest)| rest.to_vec()).unwrap_or_default()
}

/// As between single quotes of a shell: what `set -x` shows.
fn in_shell(text: &[u8]) -> Vec<u8> {
    text.iter().flat_map(|byte| if *byte == b'\'' { br"'\''".to_vec() } else { vec![*byte] }).collect()
}
