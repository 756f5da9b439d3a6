//! A SHA-224 checksum: 28 bytes, written as 56 lowercase hexadecimal characters.

use std::{fmt, io, str::FromStr};

use sha2::{Digest as _, Sha224};

use crate::ids::ParseIdError;

/// A SHA-224 checksum. Compared, ordered and printed as its 56 hexadecimal characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Checksum([u8; 28]);

impl Checksum {
    /// Wraps 28 bytes that are already a checksum.
    pub const fn from_bytes(bytes: [u8; 28]) -> Self {
        Self(bytes)
    }

    /// The plain SHA-224 of everything that `content` yields, without header or length: the id of a file's content.
    ///
    /// # Errors
    /// When reading fails.
    pub fn of_content(content: &mut dyn io::Read) -> io::Result<Self> {
        let mut hasher = Sha224::new();
        let mut buffer = [0; 1 << 14];
        loop {
            match content.read(&mut buffer)? {
                0 => return Ok(Self(hasher.finalize().into())),
                read => hasher.update(&buffer[..read]),
            }
        }
    }

    /// The raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 28] {
        &self.0
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Checksum {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        lowercase_hex(text, "checksum").map(Self)
    }
}

/// Reads exactly `N` bytes of lowercase hexadecimal; upper case is refused so that one value has one spelling.
pub(crate) fn lowercase_hex<const N: usize>(text: &str, what: &'static str) -> Result<[u8; N], ParseIdError> {
    let refuse = || ParseIdError::new(what, text);
    if text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(refuse());
    }
    let mut bytes = [0; N];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| refuse())?;
    Ok(bytes)
}
