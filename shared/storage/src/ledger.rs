//! Who was first: the commit of a stage, before anybody sees its tag.
//!
//! A registry cannot say "only if nobody else did", so the decision falls elsewhere, in the ledger. A commit is refused
//! when the digest has changed since its maker saw that nothing suitable was there; he then looks again. A commit
//! leaves the *intent* to tag, which is cleared when the tag stands: what a killed process began, another finishes.

use async_trait::async_trait;
use slipway_digest::{Millis, StageDigest, StageId};
use slipway_registry::RawManifest;
use slipway_stages::StageRecord;

use crate::{Candidate, StorageError};

/// What the ledger knows of a digest.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Winners {
    /// Changes with every commit of the digest; to be handed back in [`Seen`].
    pub revision: Option<Millis>,
    /// Committed, but not yet known to be tagged; oldest first.
    pub pending: Vec<Intent>,
}

/// A commit whose tag is not known to stand.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Intent {
    /// The stage.
    pub stage: StageRecord,
    /// Its manifest, when the repository was to have it with the tag and not before.
    pub held: Option<RawManifest>,
}

/// What the maker of a commit saw when nothing suitable was there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// The ledger's, from [`Winners`].
    pub revision: Option<Millis>,
    /// The latest timestamp of the digest in the storage.
    pub latest: Option<Millis>,
}

/// How a commit ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Committed {
    /// The stage is committed, with this timestamp.
    Won(Box<StageRecord>),
    /// Somebody committed a stage of this digest in between.
    LookAgain,
}

/// Commits of the stages of one storage. Live: [`JournalLedger`](crate::JournalLedger).
#[async_trait]
pub trait Ledger: Send + Sync {
    /// What is known of a digest.
    async fn winners(&self, digest: StageDigest) -> Result<Winners, StorageError>;
    /// Commits a stage if its digest is as it was `seen`. Its timestamp is greater than `seen.latest`, than that of any
    /// commit of the digest and than the parent's, and at least `now`. `held` is what the intent must remember: the
    /// manifest, if the repository does not have it yet.
    async fn commit(
        &self,
        candidate: &Candidate,
        held: Option<RawManifest>,
        seen: Seen,
        now: Millis,
    ) -> Result<Committed, StorageError>;
    /// Clears the intent to tag: the tag stands. Done again, it does nothing.
    async fn tagged(&self, stage: StageId) -> Result<(), StorageError>;
    /// Takes a commit back that has never been used, or clears away one whose image is lost.
    async fn reject(&self, stage: StageId, why: &str) -> Result<(), StorageError>;
    /// All intents to tag, oldest first.
    async fn pending(&self) -> Result<Vec<Intent>, StorageError>;
}
