//! Reads a structure field by field, and says what is wrong with it in the words of Go's `encoding/asn1`.

use super::der;

/// Tags of the kinds of fields that keys have.
const INTEGER: u32 = 2;
const OCTET_STRING: u32 = 4;
const OBJECT: u32 = 6;
const SEQUENCE: u32 = 16;

/// How Go prints that a field must be there, untagged.
const PLAIN: &str = "{optional:false explicit:false application:false private:false defaultValue:<nil> tag:<nil> \
                     stringType:0 timeType:0 set:false omitEmpty:false}";
/// Past that many bytes a length is too large.
const LONGEST: usize = 1 << 23;

/// The fields of a structure that are still to be read.
pub(super) struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
}

struct Header {
    class: u8,
    tag: u32,
    length: usize,
    is_compound: bool,
}

type Outcome<T> = Result<T, String>;

impl<'a> Fields<'a> {
    /// The fields of a structure, which Go calls `name`, and whether something follows it.
    pub(super) fn of(bytes: &'a [u8], name: &str) -> Outcome<(Fields<'a>, bool)> {
        let mut around = Fields { bytes, at: 0 };
        let fields = around.structure(name)?;
        Ok((fields, around.at < bytes.len()))
    }

    pub(super) fn structure(&mut self, name: &str) -> Outcome<Fields<'a>> {
        self.field(SEQUENCE, true, name).map(|bytes| Fields { bytes, at: 0 })
    }

    /// A number that fits an `int`.
    pub(super) fn int(&mut self) -> Outcome<i64> {
        let digits = self.number("int")?;
        if digits.len() > 8 {
            return structural("integer too large");
        }
        let sign = if digits[0] & 0x80 != 0 { -1 } else { 0 };
        Ok(digits.iter().fold(sign, |value, byte| value << 8 | i64::from(*byte)))
    }

    /// A number of any size: its bytes, the most significant first.
    pub(super) fn big(&mut self) -> Outcome<&'a [u8]> {
        self.number("")
    }

    /// A number that may be missing.
    pub(super) fn optional_big(&mut self) -> Outcome<Option<&'a [u8]>> {
        if self.is_next(der::INTEGER) { self.big().map(Some) } else { Ok(None) }
    }

    pub(super) fn octets(&mut self) -> Outcome<&'a [u8]> {
        self.field(OCTET_STRING, false, "")
    }

    /// The name of an object, encoded.
    pub(super) fn object(&mut self) -> Outcome<&'a [u8]> {
        let name = self.field(OBJECT, false, "ObjectIdentifier")?;
        match name.last() {
            None => syntax("zero length OBJECT IDENTIFIER"),
            Some(byte) if byte & 0x80 != 0 => syntax("truncated base 128 integer"),
            Some(_) => Ok(name),
        }
    }

    /// What is left, unread.
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Whether the next field has this tag.
    pub(super) fn is_next(&self, tag: u8) -> bool {
        self.bytes.get(self.at) == Some(&tag)
    }

    fn number(&mut self, name: &str) -> Outcome<&'a [u8]> {
        let digits = self.field(INTEGER, false, name)?;
        match digits {
            [] => structural("empty integer"),
            digits if !der::is_integer(digits) => structural("integer not minimally-encoded"),
            digits => Ok(digits),
        }
    }

    fn field(&mut self, tag: u32, is_compound: bool, name: &str) -> Outcome<&'a [u8]> {
        if self.at == self.bytes.len() {
            return syntax("sequence truncated");
        }
        let header = self.header()?;
        if header.class != 0 || header.tag != tag || header.is_compound != is_compound {
            let Header { class, tag: found, length, is_compound } = header;
            let found = format!("{{class:{class} tag:{found} length:{length} isCompound:{is_compound}}}");
            return structural(&format!("tags don't match ({tag} vs {found}) {PLAIN} {name} @{}", self.at));
        }
        let Some(content) = self.bytes[self.at..].get(..header.length) else { return syntax("data truncated") };
        self.at += header.length;
        Ok(content)
    }

    fn header(&mut self) -> Outcome<Header> {
        let first = self.next()?;
        let mut tag = u32::from(first & 0x1f);
        if tag == 0x1f {
            tag = self.long_tag()?;
        }
        let length = match self.next()? {
            short @ 0..0x80 => usize::from(short),
            0x80 => return syntax("indefinite length found (not DER)"),
            count => self.long_length(count & 0x7f)?,
        };
        Ok(Header { class: first >> 6, tag, length, is_compound: first & 0x20 != 0 })
    }

    fn long_length(&mut self, count: u8) -> Outcome<usize> {
        let mut length = 0;
        for _ in 0..count {
            let byte = self.next()?;
            if length >= LONGEST {
                return structural("length too large");
            }
            length = length << 8 | usize::from(byte);
            if length == 0 {
                return structural("superfluous leading zeros in length");
            }
        }
        if length < 0x80 { structural("non-minimal length") } else { Ok(length) }
    }

    fn long_tag(&mut self) -> Outcome<u32> {
        let mut tag = 0_u32;
        for count in 0.. {
            let Some(byte) = self.bytes.get(self.at) else { break };
            self.at += 1;
            if count == 4 && tag >> 24 != 0 || count > 4 {
                return structural("base 128 integer too large");
            }
            if count == 0 && *byte == 0x80 {
                return syntax("integer is not minimally encoded");
            }
            tag = tag << 7 | u32::from(byte & 0x7f);
            if byte & 0x80 == 0 {
                return if tag < 0x1f { syntax("non-minimal tag") } else { Ok(tag) };
            }
        }
        syntax("truncated base 128 integer")
    }

    fn next(&mut self) -> Outcome<u8> {
        let Some(byte) = self.bytes.get(self.at) else { return syntax("truncated tag or length") };
        self.at += 1;
        Ok(*byte)
    }
}

fn syntax<T>(what: &str) -> Outcome<T> {
    Err(format!("asn1: syntax error: {what}"))
}

fn structural<T>(what: &str) -> Outcome<T> {
    Err(format!("asn1: structure error: {what}"))
}
