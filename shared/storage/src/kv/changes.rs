//! What becomes of a record after its commit. Each change compares when the record was last written: what somebody
//! else did to it in between is seen first.

use slipway_digest::StageId;
use slipway_kv::{Do, Outcome, Txn, When};
use slipway_process::failpoint::failpoint;
use slipway_stages::StageRecord;
use tokio::time::timeout;

use super::{
    ledger::{Digest, KvLedger},
    value::{HeadText, Kept, KeptState, json},
};
use crate::StorageError;

/// Longest reason that is kept, in characters.
const MAX_REASON: usize = 500;

/// What was found when a record was to be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Stand {
    /// Its tag stands; it may be used.
    Stands(Box<StageRecord>),
    /// It was changed, by us or by another: read the digest again.
    Changed,
    /// Its tag was not written in time. It may be deleted by now: read the digest again.
    Late,
}

impl KvLedger {
    /// Makes a record usable: its tag is written unless it stands, and the intent is cleared. A tag of another image is
    /// never overwritten: the record gets a new timestamp. A record that was never used and has lost its image is
    /// rejected.
    ///
    /// # Errors
    /// [`StorageError::Gone`] when the image of a stage that was used is lost, and what the repository has to say.
    pub async fn stand(&self, seen: &Digest, kept: &Kept) -> Result<Stand, StorageError> {
        let Some(stage) = kept.stage.as_deref() else { return Ok(Stand::Changed) };
        let Ok(tagged) = timeout(self.tag_time, self.place.tag(stage)).await else { return Ok(Stand::Late) };
        match tagged {
            Ok(()) => {}
            Err(StorageError::Broken { why, .. }) if !kept.tagged => {
                tracing::warn!("stage {} gets another timestamp: {why}", kept.id);
                self.retime(seen, kept).await?;
                return Ok(Stand::Changed);
            }
            Err(StorageError::Gone(what)) if !kept.tagged => {
                self.reject(seen, kept, &format!("{what} was lost before it was tagged")).await?;
                return Ok(Stand::Changed);
            }
            Err(error) => return Err(error),
        }
        failpoint("publish.tag");
        if kept.tagged || self.tagged(seen, kept).await? {
            failpoint("publish.clear");
            return Ok(Stand::Stands(Box::new(stage.clone())));
        }
        Ok(Stand::Changed)
    }

    /// Clears the intent: the tag was seen to stand. `false` when the record was changed meanwhile.
    async fn tagged(&self, seen: &Digest, kept: &Kept) -> Result<bool, StorageError> {
        let tagged = Kept { tagged: true, ..kept.clone() };
        let then = vec![Do::put(self.keys.stage(kept.id), tagged.encode()), Do::Delete(self.keys.intent(kept.id))];
        self.change(Txn { when: vec![seen.standing.generation.clone(), self.is_as_read(kept)], then }).await
    }

    /// Gives a record that was never tagged, and so never used, a new timestamp.
    async fn retime(&self, seen: &Digest, kept: &Kept) -> Result<bool, StorageError> {
        let below = kept.stage.as_deref().and_then(|stage| stage.parent).map(|parent| parent.stamp);
        let stamp = self.next_stamp(seen, below.unwrap_or_default())?;
        let id = StageId { stamp, ..kept.id };
        let stage = kept.stage.clone().map(|stage| Box::new(StageRecord { id, ..*stage }));
        let next = Kept { id, stage, ..kept.clone() };
        let when = vec![seen.standing.generation.clone(), self.is_as_read(kept), self.head_is(seen)];
        let then = vec![
            Do::Delete(self.keys.stage(kept.id)),
            Do::Delete(self.keys.intent(kept.id)),
            Do::put(self.keys.stage(id), next.encode()),
            Do::put(self.keys.intent(id), next.attempt.clone()),
            Do::put(self.keys.head(id.digest), json(&HeadText { last: stamp })),
        ];
        self.change(Txn { when, then }).await
    }

    /// Takes a record out of use. `false` when the record was changed meanwhile.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn reject(&self, seen: &Digest, kept: &Kept, why: &str) -> Result<bool, StorageError> {
        let why = Some(why.chars().take(MAX_REASON).collect());
        let rejected = Kept { state: KeptState::Rejected, why, ..kept.clone() };
        self.rewrite(seen, &[rejected]).await
    }

    /// Marks records whose history is not known here: for everybody, so that all choose the same.
    pub(super) async fn orphan(&self, seen: &Digest, ids: &[StageId]) -> Result<bool, StorageError> {
        let live = seen.kept.iter().filter(|kept| kept.is_live() && ids.contains(&kept.id));
        let orphans: Vec<Kept> = live.map(|kept| Kept { state: KeptState::Orphan, ..kept.clone() }).collect();
        match orphans.is_empty() {
            true => Ok(true),
            false => self.rewrite(seen, &orphans).await,
        }
    }

    /// Writes records of a digest in another state; the intents of those that may not be used are dropped.
    pub(super) async fn rewrite(&self, seen: &Digest, records: &[Kept]) -> Result<bool, StorageError> {
        let mut when = vec![seen.standing.generation.clone(), self.head_is(seen)];
        when.extend(records.iter().map(|kept| self.is_as_read(kept)));
        let mut then = vec![self.same_head(seen)];
        for kept in records {
            then.push(Do::put(self.keys.stage(kept.id), kept.encode()));
            if matches!(kept.state, KeptState::Rejected | KeptState::Foreign) {
                then.push(Do::Delete(self.keys.intent(kept.id)));
            }
        }
        self.change(Txn { when, then }).await
    }

    /// The head is written again as it was, for every change of a digest's records does that.
    pub(super) fn same_head(&self, seen: &Digest) -> Do {
        Do::put(self.keys.head(seen.digest), json(&HeadText { last: seen.last.unwrap_or_default() }))
    }

    /// `false` when it was refused, or its outcome is not known.
    async fn change(&self, txn: Txn) -> Result<bool, StorageError> {
        match self.write(txn).await? {
            Some(Outcome::Done(_)) => Ok(true),
            Some(Outcome::Refused) => {
                self.forget();
                self.check_fences().await.map(|()| false)
            }
            None => Ok(false),
        }
    }

    fn is_as_read(&self, kept: &Kept) -> When {
        When::ModifiedAt(self.keys.stage(kept.id), kept.revision)
    }
}
