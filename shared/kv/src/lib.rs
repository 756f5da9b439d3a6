//! A small linearizable store of keys, with leases and watches.
//!
//! Reading order: this file (the trait and its values), [`EtcdKv`] and [`MemoryKv`] (where it lives), [`conformance`]
//! (what both must do); then what is written once for both: [`listing`] (all of a prefix), [`Watched`] (a state that
//! follows the store), [`Session`] (a lease that is kept), [`Sessions`] (a new one after a loss), [`Batched`] (many transactions in one), [`Prefixed`],
//! [`Counted`]. [`Faulty`] loses replies, for tests. [`address`] reads what users write.

pub mod address;
pub mod batched;
pub mod conformance;
pub mod counted;
pub mod etcd;
pub mod faulty;
pub mod listing;
pub mod memory;
pub mod prefixed;
pub mod session;
pub mod sessions;
pub mod watched;

use std::{pin::Pin, time::Duration};

use async_trait::async_trait;
use futures::Stream;

pub use address::{EtcdAddress, EtcdOptions};
pub use batched::Batched;
pub use counted::{Counted, Counts};
pub use etcd::EtcdKv;
pub use faulty::{Fault, Faulty};
pub use listing::{get, list, once};
pub use memory::MemoryKv;
pub use prefixed::Prefixed;
pub use session::Session;
pub use sessions::Sessions;
pub use watched::Watched;

/// Most writes, and most conditions, of one transaction; of a call with several parts, their number counts too.
pub const MAX_OPERATIONS: usize = 120;
/// Most bytes of all keys and values of one call.
pub const MAX_BYTES: usize = 1 << 20;

/// A moment of the store: it grows with every change. 0 is before all of them; as a modification it means "absent".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Revision(pub i64);

/// A lease of the store.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LeaseId(pub i64);

/// A key and what is known of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// The value.
    pub value: Vec<u8>,
    /// When it came to be; a key that was deleted and put again has a new one. The fence of who made it.
    pub created: Revision,
    /// When it was last put.
    pub modified: Revision,
    /// The lease it hangs on.
    pub lease: Option<LeaseId>,
}

/// What must hold for a transaction to be carried out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum When {
    /// There is no such key.
    Absent(String),
    /// The key is there since this revision.
    CreatedAt(String, Revision),
    /// The key was last put at this revision; 0 = there is none.
    ModifiedAt(String, Revision),
}

impl When {
    /// The key it is about.
    pub fn key(&self) -> &str {
        match self {
            Self::Absent(key) | Self::CreatedAt(key, _) | Self::ModifiedAt(key, _) => key,
        }
    }
}

/// What a transaction does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Do {
    /// Puts a key; it hangs on the lease, or on none.
    Put(String, Vec<u8>, Option<LeaseId>),
    /// Deletes a key, if it is there.
    Delete(String),
}

impl Do {
    /// A key that stays until it is deleted.
    pub fn put(key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self::Put(key.into(), value.into(), None)
    }

    /// The key it is about.
    pub fn key(&self) -> &str {
        match self {
            Self::Put(key, ..) | Self::Delete(key) => key,
        }
    }
}

/// Everything or nothing: all of `then`, if all of `when` holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Txn {
    /// The conditions; none = always.
    pub when: Vec<When>,
    /// The writes; no two of the same key.
    pub then: Vec<Do>,
}

/// How a transaction ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It was carried out, at this revision.
    Done(Revision),
    /// A condition did not hold; nothing was written.
    Refused,
}

/// Which keys are asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Range {
    /// The key, or what the keys begin with.
    pub prefix: String,
    /// Only the key itself.
    pub exact: bool,
    /// Only keys after this one, in the order of bytes.
    pub after: Option<String>,
    /// At most so many; 0 = all.
    pub limit: usize,
    /// As of this revision; `None` = now, no older than what anybody was told before the call.
    pub at: Option<Revision>,
}

impl Range {
    /// One key.
    pub fn key(key: impl Into<String>) -> Self {
        Self { prefix: key.into(), exact: true, after: None, limit: 0, at: None }
    }

    /// All keys that begin with `prefix`, in the order of bytes.
    pub fn under(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), exact: false, after: None, limit: 0, at: None }
    }
}

/// What was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// The entries, in the order of their keys.
    pub entries: Vec<Entry>,
    /// The store's revision when it was read.
    pub revision: Revision,
    /// Whether the limit left some out.
    pub more: bool,
    /// Which store it is: another one after a restore from a snapshot. Revisions of two stores say nothing of each other.
    pub store: u64,
}

/// What happened to a key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// It was put.
    Put(Entry),
    /// It was deleted, or its lease ended.
    Deleted(String),
}

impl Change {
    /// The key.
    pub fn key(&self) -> &str {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Deleted(key) => key,
        }
    }
}

/// Changes that became visible together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Changed {
    /// The last revision they contain: a watch after this one goes on without a gap.
    pub revision: Revision,
    /// The changes, in order.
    pub changes: Vec<Change>,
}

/// Changes as they come. It ends with an error and never by itself.
pub type Changes = Pin<Box<dyn Stream<Item = Result<Changed, KvError>> + Send>>;

/// A lease as it was granted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Granted {
    /// The lease.
    pub lease: LeaseId,
    /// How long it lives unless it is renewed; not shorter than what was asked for.
    pub ttl: Duration,
}

/// What can go wrong.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KvError {
    /// A transaction was sent and its reply was lost: it may have been carried out, may be later, or never. Read, never
    /// assume.
    #[error("{0}; whether the change was made is unknown")]
    Unknown(String),
    /// The store does not answer. Nothing was written.
    #[error("{0}")]
    Unavailable(String),
    /// The store refuses: credentials or rights are missing.
    #[error("{0}")]
    Denied(String),
    /// The changes since the revision that a watch was to begin with, or the revision that was to be read, are
    /// forgotten: list again.
    #[error("the store has forgotten the changes since then")]
    Compacted,
    /// The lease has ended.
    #[error("the lease has ended")]
    LeaseGone,
    /// The request is none: too large, or it contradicts itself.
    #[error("{0}")]
    Invalid(String),
}

impl KvError {
    /// Whether the same request may succeed later. An unknown outcome must be read back first.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unknown(_) | Self::Unavailable(_))
    }
}

/// The store. Live: [`EtcdKv`]; test: [`MemoryKv`]; both satisfy [`conformance`].
///
/// Calls end within seconds: who wants to wait for an absent store calls again.
#[async_trait]
pub trait Kv: Send + Sync {
    /// Reads keys, linearizably.
    ///
    /// # Errors
    /// [`KvError::Compacted`] when the revision asked for is forgotten.
    async fn range(&self, range: &Range) -> Result<Page, KvError>;
    /// Carries out independent transactions at one revision, each if its own conditions hold, all of which are judged
    /// by the state before the call. No part may write what another one writes or has conditions on.
    ///
    /// # Errors
    /// [`KvError::Unknown`] when the reply was lost; [`KvError::LeaseGone`] when a key was to hang on a lease that has
    /// ended, and [`KvError::Invalid`] beyond [`MAX_OPERATIONS`] or [`MAX_BYTES`]: nothing was written then.
    async fn txn(&self, parts: &[Txn]) -> Result<Vec<Outcome>, KvError>;
    /// Follows the changes of keys that begin with `prefix`, from the one after `after` on, in order, without gaps.
    ///
    /// # Errors
    /// In the stream: [`KvError::Compacted`], or [`KvError::Unavailable`] when the connection broke.
    async fn watch(&self, prefix: &str, after: Revision) -> Result<Changes, KvError>;
    /// Grants a lease of at least `ttl`, in whole seconds.
    async fn grant(&self, ttl: Duration) -> Result<Granted, KvError>;
    /// Lets a lease live for its whole time again; answers how long that is.
    ///
    /// # Errors
    /// [`KvError::LeaseGone`] when it has ended.
    async fn renew(&self, lease: LeaseId) -> Result<Duration, KvError>;
    /// Ends a lease, and deletes the keys that hang on it. One that has ended already is no error.
    async fn revoke(&self, lease: LeaseId) -> Result<(), KvError>;
}

/// Checks what [`Kv::txn`] says of its parts.
pub(crate) fn check(parts: &[Txn]) -> Result<(), KvError> {
    let widest = parts.iter().map(|part| part.when.len().max(part.then.len())).max().unwrap_or(0);
    if widest + parts.len() > MAX_OPERATIONS + 1 {
        return Err(KvError::Invalid(format!(
            "a transaction of {widest} operations in a call of {} is too large: at most {MAX_OPERATIONS} in all",
            parts.len()
        )));
    }
    let bytes: usize = parts.iter().map(size).sum();
    if bytes > MAX_BYTES {
        return Err(KvError::Invalid(format!("a transaction of {bytes} bytes is too large: at most {MAX_BYTES}")));
    }
    let mut written = std::collections::HashMap::new();
    for (number, part) in parts.iter().enumerate() {
        for done in &part.then {
            if written.insert(done.key(), number).is_some() {
                return Err(KvError::Invalid(format!("the key `{}` is written twice in one call", done.key())));
            }
        }
    }
    let judged = parts.iter().enumerate().flat_map(|(number, part)| part.when.iter().map(move |when| (number, when)));
    for (number, when) in judged {
        if written.get(when.key()).is_some_and(|writer| *writer != number) {
            return Err(KvError::Invalid(format!("the key `{}` is written by another part of the call", when.key())));
        }
    }
    Ok(())
}

/// Bytes of a transaction's keys and values.
pub(crate) fn size(txn: &Txn) -> usize {
    let written = txn.then.iter().map(|done| match done {
        Do::Put(key, value, _) => key.len() + value.len(),
        Do::Delete(key) => key.len(),
    });
    let judged = txn.when.iter().map(|when| when.key().len());
    written.chain(judged).sum()
}
