//! Getting a repository into the ledger: its tags are listed once, and every stage gets a record.
//!
//! One process does it at a time, under a key on its lease that all of its transactions compare: who is too slow is
//! refused, and the next begins anew. Nothing is committed meanwhile, for every commit compares the generation, which
//! is there only while the repository is attached.

use std::{
    collections::{BTreeMap, HashSet},
    sync::PoisonError,
    time::Duration,
};

use slipway_digest::{Millis, StageDigest, StageId};
use slipway_kv::{Do, Entry, Outcome, Range, Revision, Session, Txn, Watched, When};
use slipway_process::{failpoint::failpoint, random_id};

use super::{
    ledger::KvLedger,
    patience::failed,
    place::Listing,
    value::{AttachedText, HeadText, Kept, json},
};
use crate::StorageError;

/// How long a process that attaches may be silent before another takes over.
const TTL: Duration = Duration::from_secs(20);
/// Writes of one transaction.
const AT_ONCE: usize = 100;

/// How a repository is attached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attached {
    /// Which generation of records, from 1: recovery and imports raise it.
    pub generation: u64,
    /// How many stages were listed for it.
    pub stages: u64,
    /// When, by the clock of who did it.
    pub at: Millis,
}

/// What commits need of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Standing {
    /// The generation is still this one.
    pub(super) generation: When,
    /// Every timestamp is greater.
    pub(super) floor: Millis,
    /// The store's identity.
    pub(super) store: u64,
    pub(super) attached: Attached,
}

/// Why attaching begins.
enum Cause {
    /// There are no records.
    Never,
    /// The records are those of an old snapshot, or not wanted any more; `attached` was written at this revision.
    Anew(Revision, AttachedText),
}

impl KvLedger {
    /// Attaches the repository, if it is not.
    ///
    /// # Errors
    /// When store or repository do not answer.
    pub async fn attach(&self) -> Result<Attached, StorageError> {
        self.forget();
        Ok(self.standing().await?.attached)
    }

    /// Attaches the repository anew: all records are made again from its tags, in a new generation. What was committed
    /// and not tagged is dropped; nobody has used it. To be called while nothing builds.
    ///
    /// # Errors
    /// When store or repository do not answer.
    pub async fn attach_anew(&self) -> Result<Attached, StorageError> {
        self.forget();
        let page = self.range(&Range::key(self.keys.attached())).await?;
        let cause = match page.entries.first() {
            Some(entry) => Cause::Anew(entry.modified, self.parse(entry)?),
            None => Cause::Never,
        };
        self.take_over(cause).await?;
        self.attach().await
    }

    /// How the repository is attached; attaches it if it is not, or if the store was restored from a snapshot.
    pub(super) async fn standing(&self) -> Result<Standing, StorageError> {
        let known = self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known {
            return Ok(known);
        }
        loop {
            if let Some(found) = self.load().await? {
                *self.standing.lock().unwrap_or_else(PoisonError::into_inner) = Some(found.clone());
                return Ok(found);
            }
        }
    }

    /// `None` when something was done about it: look again.
    async fn load(&self) -> Result<Option<Standing>, StorageError> {
        let page = self.range(&Range::key(self.keys.attached())).await?;
        let Some(entry) = page.entries.first() else {
            self.take_over(Cause::Never).await?;
            return Ok(None);
        };
        let text: AttachedText = self.parse(entry)?;
        if text.store != store_name(page.store) {
            tracing::warn!(
                "the store of stage records was restored from a snapshot; the stages of {} are recorded anew",
                self.repo
            );
            self.take_over(Cause::Anew(entry.modified, text)).await?;
            return Ok(None);
        }
        let generation = self.keys.generation(&text.generation);
        let Some(found) = self.get(generation.clone()).await? else { return Ok(None) };
        Ok(Some(Standing {
            generation: When::CreatedAt(generation, found.created),
            floor: text.floor,
            store: page.store,
            attached: Attached { generation: text.number, stages: text.stages, at: text.at },
        }))
    }

    /// Attaches, if nobody else does: then waits for him.
    async fn take_over(&self, cause: Cause) -> Result<(), StorageError> {
        let session = self.patience.call(|| Session::open(self.kv.clone(), TTL)).await.map_err(failed)?;
        let (key, id) = (self.keys.attaching(), random_id());
        let mut txn = Txn {
            when: vec![When::Absent(key.clone())],
            then: vec![Do::Put(key.clone(), id.clone().into_bytes(), Some(session.lease()))],
        };
        let mut number = 1;
        match cause {
            Cause::Never => txn.when.push(When::Absent(self.keys.attached())),
            Cause::Anew(modified, text) => {
                number = text.number + 1;
                txn.when.push(When::ModifiedAt(self.keys.attached(), modified));
                // From here on no commit of the old generation is accepted.
                txn.then.push(Do::Delete(self.keys.attached()));
                txn.then.push(Do::Delete(self.keys.generation(&text.generation)));
            }
        }
        let outcome = self.write(txn).await?;
        let mine = match outcome {
            Some(Outcome::Done(revision)) => Some(revision),
            Some(Outcome::Refused) => None,
            None => {
                self.get(key.clone()).await?.filter(|entry| entry.value == id.as_bytes()).map(|entry| entry.created)
            }
        };
        let Some(created) = mine else {
            self.check_fences().await?;
            return self.wait_for_another().await;
        };
        failpoint("attach.begun");
        let done = self.record_all(When::CreatedAt(key, created), number).await;
        drop(session.close().await);
        done
    }

    async fn wait_for_another(&self) -> Result<(), StorageError> {
        let prefix = format!("{}attach", self.keys.root());
        let opened = self.patience.call(|| Watched::open(self.kv.clone(), &prefix)).await;
        let mut watched = opened.map_err(failed)?;
        let (attached, attaching) = (self.keys.attached(), self.keys.attaching());
        let mut said = false;
        while !watched.state().contains_key(&attached) && watched.state().contains_key(&attaching) {
            if !said {
                tracing::info!("waiting while another process records the stages of {}", self.repo);
                said = true;
            }
            watched.next().await.map_err(failed)?;
        }
        Ok(())
    }

    /// Under `mine`: no records, then all records, then the generation. Ends early when somebody else took over.
    async fn record_all(&self, mine: When, number: u64) -> Result<(), StorageError> {
        let anew = self.wipe(&mine).await?;
        let listing = self.place.list().await?;
        tracing::info!("recording {} stages of {}", listing.stages.len(), self.repo);
        for writes in batches(&self.records_of(&listing)) {
            if !self.write_mine(&mine, writes.to_vec()).await? {
                return Ok(());
            }
            failpoint("attach.half");
        }
        failpoint("attach.recorded");
        // After a restore a timestamp may have been given that no tag tells of.
        let floor = if anew || number > 1 { listing.latest().max(Some(self.now())) } else { listing.latest() };
        let page = self.range(&Range::key(self.keys.attaching())).await?;
        let text = AttachedText {
            generation: random_id(),
            number,
            floor: floor.unwrap_or_default(),
            store: store_name(page.store),
            at: self.now(),
            stages: listing.stages.len() as u64,
        };
        let generation = Do::put(self.keys.generation(&text.generation), number.to_string());
        let attached = Do::put(self.keys.attached(), json(&text));
        let when = vec![mine, When::Absent(self.keys.attached())];
        self.write(Txn { when, then: vec![generation, attached] }).await.map(drop)
    }

    /// Removes all that is left of earlier generations; says whether there was anything.
    async fn wipe(&self, mine: &When) -> Result<bool, StorageError> {
        let parts = [self.keys.stages(), self.keys.intents(), self.keys.attempts(), self.keys.generations()];
        let mut found = false;
        for prefix in parts {
            let listed = self.patience.call(|| slipway_kv::list(&*self.kv, &prefix)).await;
            let (entries, _): (Vec<Entry>, Revision) = listed.map_err(failed)?;
            found |= !entries.is_empty();
            let deletes: Vec<Do> = entries.into_iter().map(|entry| Do::Delete(entry.key)).collect();
            for writes in deletes.chunks(AT_ONCE) {
                if !self.write_mine(mine, writes.to_vec()).await? {
                    return Ok(true);
                }
            }
        }
        Ok(found)
    }

    /// Writes that do the same when they are done twice.
    async fn write_mine(&self, mine: &When, then: Vec<Do>) -> Result<bool, StorageError> {
        loop {
            let when = vec![mine.clone(), When::Absent(self.keys.attached())];
            match self.write(Txn { when, then: then.clone() }).await? {
                Some(Outcome::Done(_)) => return Ok(true),
                Some(Outcome::Refused) => return Ok(false),
                None => {}
            }
        }
    }

    /// Digest by digest: its records in the order of their timestamps, then its head.
    fn records_of(&self, listing: &Listing) -> Vec<Vec<Do>> {
        let rejected: HashSet<StageId> = listing.rejected.iter().copied().collect();
        let mut by_digest: BTreeMap<StageDigest, Vec<StageId>> = BTreeMap::new();
        listing.stages.iter().for_each(|id| by_digest.entry(id.digest).or_default().push(*id));
        let records = by_digest.into_iter().map(|(digest, mut ids)| {
            ids.sort();
            ids.dedup();
            let last = ids.last().map(|id| id.stamp).unwrap_or_default();
            let record =
                |id: &StageId| Do::put(self.keys.stage(*id), Kept::listed(*id, rejected.contains(id)).encode());
            let head = Do::put(self.keys.head(digest), json(&HeadText { last }));
            ids.iter().map(record).chain(std::iter::once(head)).collect()
        });
        records.collect()
    }

    /// Another generation of the same records: whoever was about to commit looks again.
    pub(super) async fn raise_generation(&self) -> Result<(), StorageError> {
        loop {
            let standing = self.standing().await?;
            let page = self.range(&Range::key(self.keys.attached())).await?;
            let Some(entry) = page.entries.first() else {
                self.forget();
                continue;
            };
            let text: AttachedText = self.parse(entry)?;
            let next = AttachedText { generation: random_id(), number: text.number + 1, ..text.clone() };
            let when = vec![standing.generation, When::ModifiedAt(self.keys.attached(), entry.modified)];
            let then = vec![
                Do::Delete(self.keys.generation(&text.generation)),
                Do::put(self.keys.generation(&next.generation), next.number.to_string()),
                Do::put(self.keys.attached(), json(&next)),
            ];
            let outcome = self.write(Txn { when, then }).await?;
            self.forget();
            match outcome {
                Some(Outcome::Done(_)) => return Ok(()),
                Some(Outcome::Refused) => self.check_fences().await?,
                // Raised once too often is raised.
                None => {}
            }
        }
    }
}

/// Writes in transactions of a good size; those of a digest stay in order.
fn batches(digests: &[Vec<Do>]) -> Vec<Vec<Do>> {
    let mut batches: Vec<Vec<Do>> = vec![Vec::new()];
    for write in digests.iter().flatten() {
        match batches.last_mut() {
            Some(last) if last.len() < AT_ONCE => last.push(write.clone()),
            _ => batches.push(vec![write.clone()]),
        }
    }
    batches.retain(|batch| !batch.is_empty());
    batches
}

fn store_name(store: u64) -> String {
    format!("{store:016x}")
}
