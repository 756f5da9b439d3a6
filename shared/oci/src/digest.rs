//! `sha256:…`: the name of a blob, a manifest or a config.

use std::{fmt, str::FromStr};

use sha2::{Digest as _, Sha256};

/// A text that is no content digest.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no sha256 digest")]
pub struct DigestError(String);

/// Length of a digest's text.
const LENGTH: usize = 71;

/// A SHA-256 content digest, `sha256:` and 64 lowercase hexadecimal characters.
///
/// The text lies in the value itself: records hold many of them, and copies of records are made all the time.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BlobDigest([u8; LENGTH]);

impl BlobDigest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut text = *b"sha256:0000000000000000000000000000000000000000000000000000000000000000";
        // The rest is as long as the digest of whatever bytes.
        let _ = hex::encode_to_slice(Sha256::digest(bytes), &mut text[7..]);
        Self(text)
    }

    /// The whole text, algorithm included.
    pub fn as_str(&self) -> &str {
        // It is made of plain letters only.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The first 12 hexadecimal characters, as engines print image ids.
    pub fn short(&self) -> &str {
        &self.as_str()[7..19]
    }
}

impl FromStr for BlobDigest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let refuse = || DigestError(text.chars().take(100).collect());
        let hex = text.strip_prefix("sha256:").ok_or_else(refuse)?;
        let plain = hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        let text = text.as_bytes().try_into().map_err(|_| refuse())?;
        if plain { Ok(Self(text)) } else { Err(refuse()) }
    }
}

impl TryFrom<String> for BlobDigest {
    type Error = DigestError;

    fn try_from(text: String) -> Result<Self, DigestError> {
        text.parse()
    }
}

impl From<BlobDigest> for String {
    fn from(digest: BlobDigest) -> Self {
        digest.as_str().to_owned()
    }
}

impl fmt::Display for BlobDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for BlobDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
