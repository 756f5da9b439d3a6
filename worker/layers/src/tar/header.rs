//! One header block.

use super::BLOCK;
use crate::{LayerError, error::shown};

/// A header block whose checksum holds.
pub(super) struct Header(pub(super) [u8; BLOCK]);

/// The dialect of a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Dialect {
    /// Before POSIX.
    V7,
    /// POSIX, with or without pax records.
    Ustar,
    /// GNU's own.
    Gnu,
}

impl Header {
    /// Takes a block.
    pub(super) fn check(block: [u8; BLOCK]) -> Result<Self, LayerError> {
        let header = Self(block);
        let told = header.octal(148, 8, "checksum")?;
        let (mut unsigned, mut signed) = (0_i64, 0_i64);
        for (at, byte) in block.iter().enumerate() {
            let byte = if (148..156).contains(&at) { b' ' } else { *byte };
            unsigned += i64::from(byte);
            signed += i64::from(byte.cast_signed());
        }
        if told != unsigned && told != signed {
            return Err(LayerError::Bad("read an archive: a header's checksum is wrong: it is damaged".to_owned()));
        }
        if header.dialect() == Dialect::V7 && header.0[257..265] != [0; 8] {
            return Err(LayerError::Bad("read an archive: a header is of an unknown dialect".to_owned()));
        }
        Ok(header)
    }

    /// Which dialect it is written in.
    pub(super) fn dialect(&self) -> Dialect {
        match &self.0[257..265] {
            b"ustar  \0" => Dialect::Gnu,
            magic if magic.starts_with(b"ustar\0") => Dialect::Ustar,
            _ => Dialect::V7,
        }
    }

    /// The type byte.
    pub(super) fn kind(&self) -> u8 {
        self.0[156]
    }

    /// The name, with ustar's prefix.
    pub(super) fn name(&self) -> Vec<u8> {
        let name = text(&self.0[..100]);
        let prefix = text(&self.0[345..500]);
        if self.dialect() == Dialect::Ustar && !prefix.is_empty() {
            [prefix, b"/", name].concat()
        } else {
            name.to_vec()
        }
    }

    /// The target of a link.
    pub(super) fn link(&self) -> Vec<u8> {
        text(&self.0[157..257]).to_vec()
    }

    pub(super) fn mode(&self) -> Result<i64, LayerError> {
        self.number(100, 8, "mode")
    }

    pub(super) fn uid(&self) -> Result<i64, LayerError> {
        self.number(108, 8, "uid")
    }

    pub(super) fn gid(&self) -> Result<i64, LayerError> {
        self.number(116, 8, "gid")
    }

    pub(super) fn size(&self) -> Result<i64, LayerError> {
        self.number(124, 12, "size")
    }

    pub(super) fn mtime(&self) -> Result<i64, LayerError> {
        self.number(136, 12, "time")
    }

    /// Major and minor number of a device.
    pub(super) fn device(&self) -> Result<(i64, i64), LayerError> {
        if self.dialect() == Dialect::V7 {
            return Ok((0, 0));
        }
        Ok((self.number(329, 8, "device")?, self.number(337, 8, "device")?))
    }

    /// A number in octal digits, or in GNU's binary form.
    pub(super) fn number(&self, at: usize, length: usize, what: &str) -> Result<i64, LayerError> {
        let field = &self.0[at..at + length];
        if field[0] & 0x80 == 0 {
            return self.octal(at, length, what);
        }
        let negative = field[0] & 0x40 != 0;
        let mut value: i128 = i128::from(field[0] & 0x7f) - if negative { 0x80 } else { 0 };
        for byte in &field[1..] {
            value = (value << 8) | i128::from(*byte);
        }
        i64::try_from(value).map_err(|_| self.bad(what))
    }

    fn octal(&self, at: usize, length: usize, what: &str) -> Result<i64, LayerError> {
        let field = &self.0[at..at + length];
        let start = field.iter().position(|byte| *byte != b' ').unwrap_or(length);
        let digits = field[start..].split(|byte| matches!(byte, b' ' | 0)).next().unwrap_or_default();
        // What follows the digits is spaces and NULs only.
        let rest = &field[start + digits.len()..];
        let plain =
            digits.iter().all(|byte| (b'0'..=b'7').contains(byte)) && rest.iter().all(|b| matches!(b, b' ' | 0));
        if !plain {
            return Err(self.bad(what));
        }
        Ok(digits.iter().fold(0, |value, digit| (value << 3) | i64::from(digit - b'0')))
    }

    fn bad(&self, what: &str) -> LayerError {
        LayerError::Bad(format!("read an archive: the {what} of `{}` is no number", shown(&self.name())))
    }
}

/// A field up to its first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}
