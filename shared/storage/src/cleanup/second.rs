//! The second look: whether a tag came back that was deleted.
//!
//! Who was about to write the tag of a stage when it was doomed may have done so after it was deleted. So the tags are listed once
//! more when nobody can be about to any longer; what came back is deleted again. Only then the record of the stage is dropped:
//! until then no other stage is taken for it, and the next cleanup knows of it.

use std::collections::BTreeSet;

use slipway_digest::StageId;
use slipway_process::failpoint::failpoint;

use super::{
    Place,
    plan::{Guarded, Side},
    remover::{Failed, Remover},
};
use crate::StorageError;

/// How often what came back is deleted again before that is left for the next cleanup.
const ROUNDS: u32 = 3;

/// Makes sure that these stages, whose tags were deleted, are gone; answers those that are.
///
/// # Errors
/// When the repository does not answer, or lets nothing be deleted.
pub async fn second_look(
    place: &Place,
    guarded: &Guarded,
    deleted: &BTreeSet<StageId>,
) -> Result<BTreeSet<StageId>, StorageError> {
    failpoint("cleanup.second");
    let remover = Remover::new(place, Side::Primary);
    let mut back = BTreeSet::new();
    for round in 0..=ROUNDS {
        let listed = place.list().await?.stages;
        back = listed.into_iter().filter(|stage| deleted.contains(stage)).collect();
        if back.is_empty() || round == ROUNDS {
            break;
        }
        for stage in &back {
            tracing::debug!("the tag {stage} came back: it is deleted again");
            match remover.remove(&stage.to_string(), None, guarded).await {
                Ok(_) => {}
                Err(Failed::This(error)) => tracing::warn!("the stage {stage} is still there: {error}"),
                Err(Failed::All(error)) => return Err(error),
            }
        }
    }
    Ok(deleted - &back)
}
