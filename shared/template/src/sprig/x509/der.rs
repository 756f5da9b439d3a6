//! ASN.1 in its distinguished encoding: writing elements, and reading them one after another.

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT: u8 = 0x06;
pub(super) const UTF8_STRING: u8 = 0x0c;
pub(super) const PRINTABLE_STRING: u8 = 0x13;
pub(super) const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;

/// An element that is an element itself, with a tag of the context: `[number]`.
pub(super) const fn explicit(number: u8) -> u8 {
    0xa0 | number
}

/// A bare value with a tag of the context.
pub(super) const fn implicit(number: u8) -> u8 {
    0x80 | number
}

/// NULL, whole.
pub(super) const NULL: &[u8] = &[0x05, 0];

/// Tag, length, content.
pub(super) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let length = content.len().to_be_bytes();
            let digits: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
            out.push(0x80 | digits.len() as u8);
            out.extend(digits);
        }
    }
    out.extend_from_slice(content);
    out
}

/// A sequence of whole elements.
pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(SEQUENCE, &parts.concat())
}

/// A number that is not negative, most significant byte first.
pub(super) fn unsigned(digits: &[u8]) -> Vec<u8> {
    let start = digits.iter().position(|byte| *byte != 0).unwrap_or(digits.len());
    let digits = &digits[start..];
    let needs_zero = digits.first().is_none_or(|byte| byte & 0x80 != 0);
    element(INTEGER, &[if needs_zero { &[0][..] } else { &[] }, digits].concat())
}

/// A string of whole bytes as bits.
pub(super) fn bits(bytes: &[u8]) -> Vec<u8> {
    element(BIT_STRING, &[&[0], bytes].concat())
}

/// Reads elements one after another. Nothing is read where the encoding is not the one allowed.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

/// An element as it was read.
pub(super) struct Element<'a> {
    pub(super) tag: u8,
    pub(super) content: &'a [u8],
    /// With tag and length.
    pub(super) whole: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn is_next(&self, tag: u8) -> bool {
        self.0.first() == Some(&tag)
    }

    pub(super) fn any(&mut self) -> Option<Element<'a>> {
        let (tag, first) = (*self.0.first()?, *self.0.get(1)?);
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (header, length) = if first < 0x80 {
            (2, usize::from(first))
        } else {
            let digits = usize::from(first & 0x7f);
            let bytes = self.0.get(2..2 + digits).filter(|_| (1..=4).contains(&digits))?;
            let length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            (2 + digits, Some(length).filter(|length| *length >= 0x80 && bytes[0] != 0)?)
        };
        let whole = self.0.get(..header.checked_add(length)?)?;
        self.0 = &self.0[whole.len()..];
        Some(Element { tag, content: &whole[header..], whole })
    }

    /// An element of this tag.
    pub(super) fn element(&mut self, tag: u8) -> Option<Element<'a>> {
        let mut after = *self;
        let found = after.any().filter(|found| found.tag == tag)?;
        *self = after;
        Some(found)
    }

    /// The content of an element of this tag.
    pub(super) fn content(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.element(tag).map(|found| found.content)
    }

    /// What is in an element of this tag.
    pub(super) fn inside(&mut self, tag: u8) -> Option<Reader<'a>> {
        self.content(tag).map(Reader)
    }

    /// The content of an element that may be missing; `None` when it is there and cannot be read.
    pub(super) fn optional(&mut self, tag: u8) -> Option<Option<&'a [u8]>> {
        if self.is_next(tag) { self.content(tag).map(Some) } else { Some(None) }
    }

    /// A number, as few bytes as it takes.
    pub(super) fn integer(&mut self) -> Option<&'a [u8]> {
        self.content(INTEGER).filter(|digits| is_integer(digits))
    }

    /// The name of an object, encoded.
    pub(super) fn object(&mut self) -> Option<&'a [u8]> {
        self.content(OBJECT).filter(|name| name.last().is_some_and(|byte| byte & 0x80 == 0))
    }

    /// A string of bits; those of an unfinished byte stand at its upper end.
    pub(super) fn bits(&mut self) -> Option<&'a [u8]> {
        let (padding, bytes) = self.content(BIT_STRING)?.split_first()?;
        let unused = bytes.last().copied().unwrap_or(if *padding == 0 { 0 } else { 0xff });
        (*padding <= 7 && u32::from(unused) & ((1 << *padding) - 1) == 0).then_some(bytes)
    }
}

/// Whether these are the bytes of a number, as few as it takes.
pub(super) fn is_integer(digits: &[u8]) -> bool {
    match digits {
        [] => false,
        [0, next, ..] => next & 0x80 != 0,
        [0xff, next, ..] => next & 0x80 == 0,
        _ => true,
    }
}

/// The sign of a number that was read.
pub(super) fn is_positive(digits: &[u8]) -> bool {
    digits.first().is_some_and(|byte| byte & 0x80 == 0) && digits.iter().any(|byte| *byte != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for length in [0, 1, 127, 128, 255, 256, 70_000] {
            let content = vec![7; length];
            let whole = element(OCTET_STRING, &content);
            let mut reader = Reader(&whole);
            assert_eq!(reader.content(OCTET_STRING), Some(content.as_slice()));
            assert!(reader.is_empty());
            assert!(Reader(&whole[..whole.len() - 1]).any().is_none(), "cut at the end");
        }
        assert_eq!(unsigned(&[0, 0, 0x80]), [2, 2, 0, 0x80]);
        assert_eq!(unsigned(&[]), [2, 1, 0]);
    }

    #[test]
    fn other_encodings_are_not_read() {
        let wrong: [&[u8]; 6] =
            [&[0x30], &[0x30, 0x80], &[0x30, 0x81, 1, 5], &[0x30, 0x82, 0, 200], &[0x1f, 1, 0], &[2, 5, 0]];
        for bytes in wrong {
            assert!(Reader(bytes).any().is_none(), "{bytes:?}");
        }
        for digits in [&[][..], &[0, 1], &[0xff, 0x80]] {
            assert!(!is_integer(digits), "{digits:?}");
        }
        for bits in [&[3, 1, 8][..], &[3, 2, 1, 1], &[3, 1, 1], &[3, 0]] {
            assert!(Reader(bits).bits().is_none(), "{bits:?}");
        }
    }
}
