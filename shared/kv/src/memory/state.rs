//! What the store in memory holds.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
    time::Duration,
};

use tokio::time::Instant;

use crate::{Change, Changed, Do, Entry, KvError, LeaseId, Outcome, Page, Range, Revision, Txn, When};

/// Revisions that are remembered for watches.
const MAX_LOG: usize = 10_000;

type Entries = BTreeMap<String, Entry>;

/// Keys, leases, and what happened lately.
#[derive(Debug)]
pub(super) struct State {
    revision: i64,
    entries: Entries,
    leases: BTreeMap<LeaseId, Lease>,
    last_lease: i64,
    /// What the keys were at `compacted`; everything before is forgotten.
    base: Entries,
    compacted: i64,
    /// Changes after `compacted`, by revision.
    log: VecDeque<(i64, Vec<Change>)>,
    /// Another one after a restore: watches of an earlier one end.
    store: u64,
}

#[derive(Clone, Debug)]
struct Lease {
    ttl: Duration,
    deadline: Instant,
    keys: BTreeSet<String>,
}

impl Default for State {
    /// An empty store has the revision 1, as etcd.
    fn default() -> Self {
        Self {
            revision: 1,
            entries: Entries::new(),
            leases: BTreeMap::new(),
            last_lease: 0,
            base: Entries::new(),
            compacted: 0,
            log: VecDeque::new(),
            store: new_store(),
        }
    }
}

impl State {
    pub(super) fn revision(&self) -> Revision {
        Revision(self.revision)
    }

    pub(super) fn store(&self) -> u64 {
        self.store
    }

    /// The state as a snapshot holds it, restored `now`: leases begin anew, the past is forgotten.
    pub(super) fn copy(&self, now: Instant) -> Self {
        let mut leases = self.leases.clone();
        leases.values_mut().for_each(|lease| lease.deadline = now + lease.ttl);
        Self {
            revision: self.revision,
            entries: self.entries.clone(),
            leases,
            last_lease: self.last_lease,
            base: self.entries.clone(),
            compacted: self.revision,
            log: VecDeque::new(),
            store: new_store(),
        }
    }

    pub(super) fn replace(&mut self, other: Self) {
        *self = other;
    }

    pub(super) fn compact(&mut self, revision: Revision) {
        let revision = revision.0.min(self.revision);
        while self.log.front().is_some_and(|(at, _)| *at <= revision) {
            let Some((_, changes)) = self.log.pop_front() else { break };
            changes.into_iter().for_each(|change| apply(&mut self.base, change));
        }
        self.compacted = self.compacted.max(revision);
    }

    pub(super) fn range(&self, range: &Range) -> Result<Page, KvError> {
        let past;
        let entries = match range.at {
            Some(at) if at.0 > self.revision => {
                return Err(KvError::Invalid(format!("revision {} is in the future", at.0)));
            }
            Some(at) if at.0 < self.revision => {
                past = self.past(at)?;
                &past
            }
            _ => &self.entries,
        };
        let start = match &range.after {
            Some(after) if *after >= range.prefix => Bound::Excluded(after.clone()),
            _ => Bound::Included(range.prefix.clone()),
        };
        let wanted = |key: &str| if range.exact { key == range.prefix } else { key.starts_with(&range.prefix) };
        let mut found = entries.range((start, Bound::Unbounded)).take_while(|(key, _)| wanted(key));
        let limit = if range.limit == 0 { usize::MAX } else { range.limit };
        let taken: Vec<Entry> = found.by_ref().take(limit).map(|(_, entry)| entry.clone()).collect();
        Ok(Page { entries: taken, revision: self.revision(), more: found.next().is_some(), store: self.store })
    }

    fn past(&self, at: Revision) -> Result<Entries, KvError> {
        if at.0 < self.compacted {
            return Err(KvError::Compacted);
        }
        let mut entries = self.base.clone();
        let until = self.log.iter().take_while(|(revision, _)| *revision <= at.0);
        until.flat_map(|(_, changes)| changes.clone()).for_each(|change| apply(&mut entries, change));
        Ok(entries)
    }

    pub(super) fn txn(&mut self, parts: &[Txn]) -> Result<Vec<Outcome>, KvError> {
        let holds: Vec<bool> = parts.iter().map(|part| part.when.iter().all(|when| self.holds(when))).collect();
        let writes: Vec<&Do> =
            parts.iter().zip(&holds).filter(|(_, holds)| **holds).flat_map(|(part, _)| &part.then).collect();
        let gone = |done: &&Do| matches!(done, Do::Put(_, _, Some(lease)) if !self.leases.contains_key(lease));
        if writes.iter().any(gone) {
            return Err(KvError::LeaseGone);
        }
        self.write(writes.into_iter().cloned());
        let revision = self.revision();
        Ok(holds.into_iter().map(|holds| if holds { Outcome::Done(revision) } else { Outcome::Refused }).collect())
    }

    fn holds(&self, when: &When) -> bool {
        let entry = self.entries.get(when.key());
        match when {
            When::Absent(_) => entry.is_none(),
            When::CreatedAt(_, at) => entry.map(|entry| entry.created).unwrap_or_default() == *at,
            When::ModifiedAt(_, at) => entry.map(|entry| entry.modified).unwrap_or_default() == *at,
        }
    }

    /// Writes at one new revision, if anything changes at all.
    fn write(&mut self, writes: impl Iterator<Item = Do>) {
        let next = Revision(self.revision + 1);
        let mut changes = Vec::new();
        for done in writes {
            let before = self.entries.get(done.key());
            if let Some(lease) = before.and_then(|entry| entry.lease).and_then(|lease| self.leases.get_mut(&lease)) {
                lease.keys.remove(done.key());
            }
            let change = match done {
                Do::Put(key, value, lease) => {
                    if let Some(lease) = lease.and_then(|lease| self.leases.get_mut(&lease)) {
                        lease.keys.insert(key.clone());
                    }
                    let created = before.map_or(next, |entry| entry.created);
                    Change::Put(Entry { key, value, created, modified: next, lease })
                }
                Do::Delete(_) if before.is_none() => continue,
                Do::Delete(key) => Change::Deleted(key),
            };
            apply(&mut self.entries, change.clone());
            changes.push(change);
        }
        if changes.is_empty() {
            return;
        }
        self.revision = next.0;
        self.log.push_back((next.0, changes));
        if self.log.len() > MAX_LOG {
            let oldest = self.log.front().map_or(0, |(at, _)| *at);
            self.compact(Revision(oldest));
        }
    }

    /// The changes of one revision under `prefix`, the first after `after`; without any when that revision had others
    /// only; `None` when nothing happened yet.
    pub(super) fn changes(&self, prefix: &str, after: Revision, store: u64) -> Result<Option<Changed>, KvError> {
        if store != self.store {
            return Err(KvError::Unavailable("the store was restored from a snapshot".to_owned()));
        }
        if after.0 < self.compacted {
            return Err(KvError::Compacted);
        }
        let Some((at, changes)) = self.log.iter().find(|(at, _)| *at > after.0) else { return Ok(None) };
        let changes = changes.iter().filter(|change| change.key().starts_with(prefix)).cloned().collect();
        Ok(Some(Changed { revision: Revision(*at), changes }))
    }

    pub(super) fn grant(&mut self, ttl: Duration, now: Instant) -> LeaseId {
        self.last_lease += 1;
        let lease = LeaseId(self.last_lease);
        self.leases.insert(lease, Lease { ttl, deadline: now + ttl, keys: BTreeSet::new() });
        lease
    }

    pub(super) fn renew(&mut self, lease: LeaseId, now: Instant) -> Option<Duration> {
        let lease = self.leases.get_mut(&lease)?;
        lease.deadline = now + lease.ttl;
        Some(lease.ttl)
    }

    pub(super) fn revoke(&mut self, lease: LeaseId) {
        let Some(ended) = self.leases.remove(&lease) else { return };
        self.write(ended.keys.into_iter().map(Do::Delete));
    }

    pub(super) fn expire(&mut self, now: Instant) {
        let ended: Vec<LeaseId> =
            self.leases.iter().filter(|(_, lease)| lease.deadline <= now).map(|(id, _)| *id).collect();
        ended.into_iter().for_each(|lease| self.revoke(lease));
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.leases.values().map(|lease| lease.deadline).min()
    }
}

/// An id unlike any other.
fn new_store() -> u64 {
    u64::from_str_radix(&slipway_process::random_id()[..16], 16).unwrap_or_default()
}

fn apply(entries: &mut Entries, change: Change) {
    match change {
        Change::Put(entry) => drop(entries.insert(entry.key.clone(), entry)),
        Change::Deleted(key) => drop(entries.remove(&key)),
    }
}
