//! The commit: the moment from which a stage is the stored one.

use slipway_digest::{Millis, StageId};
use slipway_kv::{Do, Outcome, Txn, When};
use slipway_stages::StageRecord;

use super::{
    attempts::Fence,
    ledger::{Digest, KvLedger},
    value::{HeadText, Kept, KeptState, json},
};
use crate::{Candidate, StorageError};

/// The first moment whose milliseconds have the 13 digits that a tag needs (2001-09-09), and the last (2286-11-20).
const FIRST_STAMP: Millis = Millis(1_000_000_000_000);
const LAST_STAMP: Millis = Millis(9_999_999_999_999);

/// How a commit ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Commit {
    /// The stage is committed; its tag is still to be written.
    Won(Box<Kept>),
    /// Something changed, or the outcome is unknown: read the digest again, and see whether the attempt has a record.
    LookAgain,
    /// The attempt may not commit, or has: read the digest to know.
    Fenced,
}

impl KvLedger {
    /// Commits a stage, if its digest is as it was `seen`, and the attempt's fence stands.
    ///
    /// # Errors
    /// [`StorageError::Fenced`] when this process may not write any more.
    pub async fn commit(&self, candidate: &Candidate, seen: &Digest, fence: &Fence) -> Result<Commit, StorageError> {
        let stamp = self.next_stamp(seen, candidate.not_before)?;
        let id = StageId { digest: seen.digest, stamp };
        let kept = Kept {
            id,
            state: KeptState::Live,
            stage: Some(Box::new(StageRecord { id, ..candidate.record.clone() })),
            attempt: candidate.attempt.clone(),
            tagged: false,
            why: None,
            was: None,
            revision: Default::default(),
        };
        let when = vec![seen.standing.generation.clone(), self.head_is(seen), fence.0.clone()];
        let then = vec![
            Do::put(self.keys.stage(id), kept.encode()),
            Do::put(self.keys.head(seen.digest), json(&HeadText { last: stamp })),
            Do::put(self.keys.intent(id), candidate.attempt.clone()),
            Do::Delete(fence.0.key().to_owned()),
        ];
        match self.write(Txn { when, then }).await? {
            Some(Outcome::Done(revision)) => Ok(Commit::Won(Box::new(Kept { revision, ..kept }))),
            Some(Outcome::Refused) => {
                self.check_fences().await?;
                // It may have been the generation.
                self.forget();
                let granted = self.granted(&candidate.attempt).await?;
                Ok(if granted.as_ref() == Some(fence) { Commit::LookAgain } else { Commit::Fenced })
            }
            None => Ok(Commit::LookAgain),
        }
    }

    /// Nothing of the digest changed since it was seen.
    pub(super) fn head_is(&self, seen: &Digest) -> When {
        When::ModifiedAt(self.keys.head(seen.digest), seen.head)
    }

    /// Greater than now, than all of the digest, than the parent's, and than all that was before the generation.
    pub(super) fn next_stamp(&self, seen: &Digest, not_before: Millis) -> Result<Millis, StorageError> {
        let below = [seen.last, Some(not_before), Some(seen.standing.floor)].into_iter().flatten().max();
        let after = below.map_or(0, |stamp| stamp.0.saturating_add(1));
        let stamp = self.now().max(Millis(after)).max(FIRST_STAMP);
        match stamp <= LAST_STAMP {
            true => Ok(stamp),
            false => Err(StorageError::Broken {
                what: format!("stage {}", seen.digest),
                why:
                    "its timestamp would be later than the year 2286; set the clock, and remove stages from the future"
                        .to_owned(),
            }),
        }
    }
}
