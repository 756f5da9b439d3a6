//! Taking in what was written past the ledger: by other programs, or by builds without it.

use std::collections::HashSet;

use slipway_digest::StageId;
use slipway_kv::Revision;

use super::{
    ledger::KvLedger,
    place::Reading,
    value::{Kept, KeptState},
};
use crate::StorageError;

/// What an import did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Imported {
    /// Stages that were adopted: the tag that was found, and the one that is used from now on.
    pub adopted: Vec<(StageId, StageId)>,
    /// Stages of which there was one of the same commits already.
    pub known: Vec<StageId>,
    /// Tags that are no usable stages, and why.
    pub unusable: Vec<(StageId, String)>,
}

impl KvLedger {
    /// Lists the repository, and adopts every stage that has no record, by copy, in the order of their timestamps.
    ///
    /// # Errors
    /// When store or repository do not answer. What was adopted by then stays.
    pub async fn import(&self) -> Result<Imported, StorageError> {
        self.raise_generation().await?;
        let listing = self.place.list().await?;
        let recorded: HashSet<StageId> = self.all().await?.into_iter().map(|kept| kept.id).collect();
        let rejected: HashSet<StageId> = listing.rejected.iter().copied().collect();
        let is_new = |id: &StageId| !recorded.contains(id) && !rejected.contains(id);
        let mut fresh: Vec<StageId> = listing.stages.iter().copied().filter(is_new).collect();
        fresh.sort_by_key(|id| (id.stamp, id.digest));
        let mut imported = Imported::default();
        for id in fresh {
            self.import_one(id, &mut imported).await?;
        }
        Ok(imported)
    }

    async fn import_one(&self, id: StageId, imported: &mut Imported) -> Result<(), StorageError> {
        let (stage, why) = match self.place.read(id).await? {
            Reading::Absent => return Ok(()),
            Reading::NoStage(why) => {
                imported.unusable.push((id, why.clone()));
                (None, why)
            }
            Reading::Stage(stage, _) => {
                self.read(id.digest).await?;
                match self.adopt(&stage).await? {
                    Some(copy) => imported.adopted.push((id, copy)),
                    None => imported.known.push(id),
                }
                (Some(stage), "it was written past the ledger; it is used by copy".to_owned())
            }
        };
        // So that the next import need not look at it again.
        let kept = Kept {
            id,
            state: KeptState::Foreign,
            stage,
            attempt: String::new(),
            tagged: true,
            why: Some(why),
            was: None,
            revision: Revision(0),
        };
        loop {
            let mut seen = self.look(id.digest).await?;
            if seen.kept(id).is_some() {
                return Ok(());
            }
            seen.last = seen.last.max(Some(id.stamp));
            if self.rewrite(&seen, std::slice::from_ref(&kept)).await? {
                return Ok(());
            }
        }
    }
}
