//! Names of things: stages, commits, moments.

use std::{fmt, str::FromStr};

use crate::checksum::{Checksum, lowercase_hex};

/// A text that is not the id it was taken for.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{text}` is no {what}")]
pub struct ParseIdError {
    what: &'static str,
    text: String,
}

impl ParseIdError {
    pub(crate) fn new(what: &'static str, text: &str) -> Self {
        Self { what, text: text.chars().take(100).collect() }
    }
}

/// Identifies the content of a stage and the git history behind it: the first half of a stage's tag.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct StageDigest(pub Checksum);

impl fmt::Display for StageDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for StageDigest {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        text.parse().map(Self)
    }
}

/// A git commit (SHA-1).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CommitId(pub [u8; 20]);

impl fmt::Display for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for CommitId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for CommitId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        lowercase_hex(text, "commit id").map(Self)
    }
}

/// Milliseconds since the Unix epoch, UTC: the second half of a stage's tag.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Millis(pub u64);

impl Millis {
    /// The next millisecond.
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One stored stage: `DIGEST-TIMESTAMP_MILLISEC`, which is also its tag.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct StageId {
    /// What the stage is.
    pub digest: StageDigest,
    /// When it was committed; unique and growing per digest.
    pub stamp: Millis,
}

impl fmt::Display for StageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.digest, self.stamp)
    }
}

impl FromStr for StageId {
    type Err = ParseIdError;

    /// Only the exact spelling is a stage: 56 hexadecimal characters, a dash, 13 digits.
    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let refuse = || ParseIdError::new("stage id", text);
        let (digest, stamp) = text.split_once('-').ok_or_else(refuse)?;
        if stamp.len() != 13 || !stamp.bytes().all(|b| b.is_ascii_digit()) {
            return Err(refuse());
        }
        Ok(Self { digest: digest.parse().map_err(|_| refuse())?, stamp: Millis(stamp.parse().map_err(|_| refuse())?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "9f3a82975136d66d04ebcb9ce90b14428077099417b6c170e2ef2fef";

    #[test]
    fn a_stage_id_reads_back_as_it_was_written() {
        let text = format!("{DIGEST}-1589786063772");
        assert_eq!(text.parse::<StageId>().expect("a stage id").to_string(), text);
    }

    #[test]
    fn what_is_no_stage_id_is_refused() {
        let long = format!("{DIGEST}-15897860637720");
        let upper = format!("{}-1589786063772", DIGEST.to_uppercase());
        let rejected = format!("{DIGEST}-1589786063772-rejected");
        for text in ["", "latest", DIGEST, &long, &upper, &rejected, "managed-image-app"] {
            assert!(text.parse::<StageId>().is_err(), "{text} was taken for a stage id");
        }
    }
}
