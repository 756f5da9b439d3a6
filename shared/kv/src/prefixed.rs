//! One store for several instances: each lives under a prefix of its own.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::StreamExt as _;

use crate::{
    Change, Changed, Changes, Do, Entry, Granted, Kv, KvError, LeaseId, Outcome, Page, Range, Revision, Txn, When,
};

/// The part of a store under a prefix, as a store.
#[derive(Clone)]
pub struct Prefixed {
    kv: Arc<dyn Kv>,
    prefix: Arc<str>,
}

impl Prefixed {
    /// The keys of `kv` that begin with `prefix`, without it.
    pub fn new(kv: Arc<dyn Kv>, prefix: &str) -> Self {
        Self { kv, prefix: prefix.into() }
    }

    fn long(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn lengthen(&self, txn: &Txn) -> Txn {
        let when = txn.when.iter().map(|when| match when {
            When::Absent(key) => When::Absent(self.long(key)),
            When::CreatedAt(key, at) => When::CreatedAt(self.long(key), *at),
            When::ModifiedAt(key, at) => When::ModifiedAt(self.long(key), *at),
        });
        let then = txn.then.iter().map(|done| match done {
            Do::Put(key, value, lease) => Do::Put(self.long(key), value.clone(), *lease),
            Do::Delete(key) => Do::Delete(self.long(key)),
        });
        Txn { when: when.collect(), then: then.collect() }
    }
}

fn short(prefix: &str, key: String) -> String {
    key.strip_prefix(prefix).map(str::to_owned).unwrap_or(key)
}

fn shorten(prefix: &str, entry: Entry) -> Entry {
    Entry { key: short(prefix, entry.key), ..entry }
}

#[async_trait]
impl Kv for Prefixed {
    async fn range(&self, range: &Range) -> Result<Page, KvError> {
        let after = range.after.as_deref().map(|key| self.long(key));
        let mut page = self.kv.range(&Range { prefix: self.long(&range.prefix), after, ..range.clone() }).await?;
        page.entries = page.entries.into_iter().map(|entry| shorten(&self.prefix, entry)).collect();
        Ok(page)
    }

    async fn txn(&self, parts: &[Txn]) -> Result<Vec<Outcome>, KvError> {
        let parts: Vec<Txn> = parts.iter().map(|part| self.lengthen(part)).collect();
        self.kv.txn(&parts).await
    }

    async fn watch(&self, prefix: &str, after: Revision) -> Result<Changes, KvError> {
        let cut = self.prefix.clone();
        let changes = self.kv.watch(&self.long(prefix), after).await?;
        let shortened = changes.map(move |changed| {
            let Changed { revision, changes } = changed?;
            let changes = changes.into_iter().map(|change| match change {
                Change::Put(entry) => Change::Put(shorten(&cut, entry)),
                Change::Deleted(key) => Change::Deleted(short(&cut, key)),
            });
            Ok(Changed { revision, changes: changes.collect() })
        });
        Ok(shortened.boxed())
    }

    async fn grant(&self, ttl: Duration) -> Result<Granted, KvError> {
        self.kv.grant(ttl).await
    }

    async fn renew(&self, lease: LeaseId) -> Result<Duration, KvError> {
        self.kv.renew(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), KvError> {
        self.kv.revoke(lease).await
    }
}
