//! Names of things in the store.

use std::fmt;

use slipway_oci::BlobDigest;

/// A stack of layers, named by its top: the digest of all diffIDs in it, as the OCI image specification defines it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChainId(BlobDigest);

impl ChainId {
    /// The stack with the layer `diff_id` on top of `below`.
    pub fn of(below: Option<&Self>, diff_id: &BlobDigest) -> Self {
        match below {
            None => Self(diff_id.clone()),
            Some(below) => Self(BlobDigest::of(format!("{} {diff_id}", below.0).as_bytes())),
        }
    }

    /// The stacks of an image, lowest first.
    pub fn stacks(diff_ids: &[BlobDigest]) -> Vec<Self> {
        let mut stacks: Vec<Self> = Vec::with_capacity(diff_ids.len());
        for diff_id in diff_ids {
            stacks.push(Self::of(stacks.last(), diff_id));
        }
        stacks
    }

    /// The name of its directory; `None` when a name is no stack's.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        format!("sha256:{name}").parse().ok().map(Self)
    }

    /// Its hexadecimal digits.
    pub fn hex(&self) -> &str {
        hex_of(&self.0)
    }
}

impl fmt::Display for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ChainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The hexadecimal digits of a digest.
pub(super) fn hex_of(digest: &BlobDigest) -> &str {
    digest.as_str().trim_start_matches("sha256:")
}
