//! Reading the labels of stages that were listed: on first need, all of a digest at once.

use futures::{StreamExt as _, TryStreamExt as _, stream};
use slipway_digest::StageId;
use slipway_process::random_id;
use slipway_stages::StageRecord;

use super::{
    changes::Stand,
    commit::Commit,
    ledger::{Digest, KvLedger},
    place::Reading,
    publish::too_late,
    value::{Kept, KeptState},
};
use crate::{Candidate, StorageError};

/// Requests that run at once.
const AT_ONCE: usize = 8;
/// Records of one transaction.
const RECORDS: usize = 50;
/// How often in a row somebody else may be faster.
const MAX_ROUNDS: u32 = 20;

impl KvLedger {
    /// Reads labels of listed stages into their records. Stages that were not written by this program are adopted by
    /// copy.
    pub(super) async fn read_in(&self, seen: &Digest) -> Result<(), StorageError> {
        let listed = seen.kept.iter().filter(|kept| kept.state == KeptState::Listed).take(RECORDS);
        let listed: Vec<Kept> = listed.cloned().collect();
        let read = stream::iter(listed)
            .map(|kept| async move { Ok::<_, StorageError>((self.place.read(kept.id).await?, kept)) });
        let read: Vec<(Reading, Kept)> = read.buffered(AT_ONCE).try_collect().await?;
        let mut foreign = Vec::new();
        let records: Vec<Kept> = read.into_iter().map(|(reading, kept)| known(kept, reading, &mut foreign)).collect();
        if foreign.is_empty() {
            return self.rewrite(seen, &records).await.map(drop);
        }
        // First the own ones, so that a copy is made only of what nobody has.
        let own: Vec<Kept> = records.iter().filter(|kept| kept.state != KeptState::Foreign).cloned().collect();
        if !own.is_empty() {
            return self.rewrite(seen, &own).await.map(drop);
        }
        for stage in &foreign {
            self.adopt(stage).await?;
        }
        let seen = self.look(seen.digest).await?;
        let unchanged = |kept: &Kept| seen.kept(kept.id).is_some_and(|now| now.revision == kept.revision);
        let records: Vec<Kept> = records.into_iter().filter(unchanged).collect();
        self.rewrite(&seen, &records).await.map(drop)
    }

    /// Adopts a stage that was not committed here, by copy: the same config and layers, a manifest and a timestamp of
    /// our own, a normal commit. `None` when a stage of the same commits is there already.
    pub(super) async fn adopt(&self, stage: &StageRecord) -> Result<Option<StageId>, StorageError> {
        let attempt = random_id();
        let at = self.place.copy(&stage.at, &attempt).await?;
        let record = StageRecord { at, ..stage.clone() };
        let not_before = stage.parent.map(|parent| parent.stamp).unwrap_or_default();
        let candidate = Candidate { record, not_before, attempt };
        for _ in 0..MAX_ROUNDS {
            let seen = self.look(stage.id.digest).await?;
            if let Some(own) = seen.of_attempt(&candidate.attempt) {
                match self.stand(&seen, own).await? {
                    Stand::Stands(stands) => return Ok(Some(stands.id)),
                    Stand::Changed => continue,
                    Stand::Late => return Err(too_late(self, stage.id.digest)),
                }
            }
            let same = |kept: &&Kept| {
                let kept = kept.stage.as_deref().filter(|_| kept.is_live());
                kept.is_some_and(|kept| kept.commits == stage.commits && kept.platform == stage.platform)
            };
            if seen.kept.iter().any(|kept| same(&kept)) {
                self.cancel(&candidate.attempt).await?;
                return Ok(None);
            }
            let fence = self.grant(&candidate.attempt).await?;
            if let Commit::Won(kept) = self.commit(&candidate, &seen, &fence).await? {
                let now = self.look(stage.id.digest).await?;
                if let Stand::Stands(stands) = self.stand(&now, &kept).await? {
                    return Ok(Some(stands.id));
                }
            }
        }
        Err(StorageError::Unavailable(format!(
            "adopt stage {}: others changed its digest {MAX_ROUNDS} times in a row; try again",
            stage.id
        )))
    }
}

/// The record with what was read.
fn known(kept: Kept, reading: Reading, foreign: &mut Vec<StageRecord>) -> Kept {
    match reading {
        Reading::Stage(stage, Some(attempt)) => {
            Kept { state: KeptState::Live, stage: Some(stage), attempt, tagged: true, ..kept }
        }
        Reading::Stage(stage, None) => {
            foreign.push(stage.as_ref().clone());
            let why = Some("another program wrote it; it is used by copy".to_owned());
            Kept { state: KeptState::Foreign, stage: Some(stage), why, ..kept }
        }
        Reading::NoStage(why) => Kept { state: KeptState::Foreign, why: Some(why), ..kept },
        Reading::Absent => {
            Kept { state: KeptState::Rejected, why: Some("its tag was listed, but is not there".to_owned()), ..kept }
        }
    }
}
