//! The canonical encoding: tagged, length-prefixed values, hashed as they are written.
//!
//! | value | bytes |
//! |---|---|
//! | header | `slipway`, 0x00, scheme version (1 byte), then the domain as a text |
//! | bytes, text | `b` or `t`, length as 8 bytes big-endian, the bytes |
//! | number | `n`, 8 bytes big-endian |
//! | checksum, commit | as bytes |
//! | list | `l`, number of items as 8 bytes big-endian, then each item |
//! | absent value | `-`; a present optional value is `+` and the value |
//!
//! A domain ("stage", "tree", …) keeps two kinds of things with equal fields apart.

use sha2::{Digest as _, Sha224};

use crate::{Checksum, CommitId};

/// The version of the encoding and of every rule that says which fields are hashed. A change of either is a new
/// scheme: it gives every stage a new digest.
pub const SCHEME: u8 = 1;

/// Writes values into a checksum. Order matters and is the caller's: sort what has no order of its own.
#[derive(Clone, Debug)]
pub struct Encoder(Sha224);

impl Encoder {
    /// Starts the encoding of one `domain` under the current [`SCHEME`].
    pub fn new(domain: &str) -> Self {
        let mut hasher = Sha224::new();
        hasher.update(b"slipway\0");
        hasher.update([SCHEME]);
        Self(hasher).text(domain)
    }

    /// Adds a text.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.prefixed(b't', text.as_bytes());
        self
    }

    /// Adds bytes that need not be text, such as a path.
    #[must_use]
    pub fn bytes(mut self, bytes: &[u8]) -> Self {
        self.prefixed(b'b', bytes);
        self
    }

    /// Adds a number.
    #[must_use]
    pub fn number(mut self, number: u64) -> Self {
        self.0.update(b"n");
        self.0.update(number.to_be_bytes());
        self
    }

    /// Adds a checksum.
    #[must_use]
    pub fn checksum(self, checksum: &Checksum) -> Self {
        self.bytes(checksum.as_bytes())
    }

    /// Adds a commit.
    #[must_use]
    pub fn commit(self, commit: &CommitId) -> Self {
        self.bytes(&commit.0)
    }

    /// Adds a value that may be absent; absent differs from every present value, the empty one included.
    #[must_use]
    pub fn optional<T>(mut self, value: Option<T>, write: impl FnOnce(Self, T) -> Self) -> Self {
        match value {
            None => {
                self.0.update(b"-");
                self
            }
            Some(value) => {
                self.0.update(b"+");
                write(self, value)
            }
        }
    }

    /// Adds a list in the given order, with its length in front.
    #[must_use]
    pub fn list<T>(mut self, items: impl ExactSizeIterator<Item = T>, mut write: impl FnMut(Self, T) -> Self) -> Self {
        self.0.update(b"l");
        self.0.update((items.len() as u64).to_be_bytes());
        for item in items {
            self = write(self, item);
        }
        self
    }

    /// Adds a list of texts in the given order.
    #[must_use]
    pub fn texts<S: AsRef<str>>(self, items: impl IntoIterator<Item = S, IntoIter: ExactSizeIterator>) -> Self {
        self.list(items.into_iter(), |encoder, item| encoder.text(item.as_ref()))
    }

    /// The checksum of all that was added.
    pub fn finish(self) -> Checksum {
        Checksum::from_bytes(self.0.finalize().into())
    }

    fn prefixed(&mut self, tag: u8, bytes: &[u8]) {
        self.0.update([tag]);
        self.0.update((bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbouring_values_do_not_run_together() {
        let one = Encoder::new("x").text("ab").text("c").finish();
        let two = Encoder::new("x").text("a").text("bc").finish();
        assert_ne!(one, two);
    }

    #[test]
    fn absent_empty_and_list_of_empty_differ() {
        let absent = Encoder::new("x").optional(None::<&str>, Encoder::text).finish();
        let empty = Encoder::new("x").optional(Some(""), Encoder::text).finish();
        let none = Encoder::new("x").texts([""; 0]).finish();
        let one = Encoder::new("x").texts([""]).finish();
        let all = [absent, empty, none, one];
        for (i, a) in all.iter().enumerate() {
            assert!(all[i + 1..].iter().all(|b| a != b));
        }
    }

    #[test]
    fn domains_keep_equal_fields_apart() {
        assert_ne!(Encoder::new("tree").text("a").finish(), Encoder::new("import").text("a").finish());
    }
}
