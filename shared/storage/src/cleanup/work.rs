//! All that goes, in an order that may be interrupted anywhere: what leads to stages before the stages, those above before
//! those below. Whoever is killed leaves a repository in which every stage that stands has all that it is made of, and the
//! next cleanup goes on.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicUsize, Ordering},
};

use futures::{StreamExt as _, stream};
use slipway_digest::{Millis, StageId};
use slipway_oci::BlobDigest;
use slipway_process::failpoint::failpoint;

use super::{
    Place, Progress,
    plan::{Going, Guarded, Kind, Plan, Side},
    remover::{Failed, Remover},
};
use crate::{StorageError, names, records::PROJECT, repo::from_registry, tags::TagIndex, tiny};

/// The points between the steps at which a test may kill the process.
pub const FAILPOINTS: &[&str] = &[
    "cleanup.announced",
    "cleanup.removed",
    "cleanup.tombstone",
    "cleanup.stages",
    "cleanup.recorded",
    "cleanup.second",
];

/// So many tags in a row that the registry does not delete for the moment, each after several tries, are reason enough to leave the
/// others for the next time.
const ENOUGH: usize = 8;

/// Under this name the record of a cleanup says when it was, in seconds since the Unix epoch.
const TIMESTAMP: &str = "lastcleanuptimestamp";

/// What was done.
#[derive(Debug, Default)]
pub struct Done {
    /// Tags that are gone.
    pub removed: Vec<Going>,
    /// Tags that are still there, and why.
    pub failed: Vec<(Going, String)>,
    /// How many of the last ones the registry did not delete for the moment.
    in_a_row: usize,
}

impl Done {
    fn removed(&mut self, going: Going) {
        self.in_a_row = 0;
        self.removed.push(going);
    }

    fn failed(&mut self, going: Going, error: &StorageError) {
        let for_the_moment = matches!(error, StorageError::Unavailable(_));
        self.in_a_row = if for_the_moment { self.in_a_row + 1 } else { 0 };
        self.failed.push((going, error.to_string()));
    }

    /// Stages of the primary repository that are still there after all.
    pub fn leave(&mut self, back: &BTreeSet<StageId>, why: &str) {
        let is_back = |going: &Going| going.stage_of_primary().is_some_and(|stage| back.contains(&stage));
        let (back, removed): (Vec<Going>, Vec<Going>) =
            std::mem::take(&mut self.removed).into_iter().partition(is_back);
        self.removed = removed;
        self.failed.extend(back.into_iter().map(|going| (going, why.to_owned())));
    }

    /// What was not tried, in the order of the plan.
    fn leave_the_others(&mut self, plan: &Plan) {
        let tried = self.removed.len() + self.failed.len();
        let why = format!("not tried, as the registry did not take the {} before", self.in_a_row);
        self.failed.extend(plan.going.iter().skip(tried).map(|going| (going.clone(), why.clone())));
    }
}

/// Deletes what goes. What cannot be deleted is left for the next time.
///
/// # Errors
/// When a repository lets nothing be deleted; when it holds records of another project.
pub async fn work(
    (primary, last): (&Place, Option<&Place>),
    plan: &Plan,
    now: Millis,
    told: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Done, StorageError> {
    let mut done = Done::default();
    if plan.going.is_empty() {
        note(primary, plan, now).await?;
        return Ok(done);
    }
    // Builds that begin now list the tags anew, and so do those that begin when all is done.
    announce(primary).await?;
    note(primary, plan, now).await?;
    failpoint("cleanup.announced");
    let (count, of) = (AtomicUsize::new(0), plan.going.len());
    let removers = (Remover::new(primary, Side::Primary), last.map(|last| Remover::new(last, Side::Final)));
    let one = |going: Going| {
        let remover = if going.side == Side::Primary { Some(&removers.0) } else { removers.1.as_ref() };
        let count = &count;
        async move {
            let Some(remover) = remover else { return (going, Ok(false)) };
            let removed = remove(primary, remover, &going, &plan.guarded).await;
            failpoint("cleanup.removed");
            told(Progress::Removed { done: count.fetch_add(1, Ordering::Relaxed) + 1, of });
            (going, removed)
        }
    };
    // One kind after the other.
    for kinds in plan.going.chunk_by(|one, other| one.kind == other.kind) {
        if kinds.first().is_some_and(|going| going.kind == Kind::Stage) {
            failpoint("cleanup.stages");
        }
        let mut removing = stream::iter(kinds.to_vec()).map(one).buffered(primary.at_once);
        while let Some((going, removed)) = removing.next().await {
            match removed {
                Ok(_) => done.removed(going),
                Err(Failed::This(error)) => done.failed(going, &error),
                Err(Failed::All(error)) => {
                    announce(primary).await?;
                    return Err(error);
                }
            }
            if done.in_a_row >= ENOUGH {
                break;
            }
        }
        if done.in_a_row >= ENOUGH {
            done.leave_the_others(plan);
            break;
        }
    }
    announce(primary).await?;
    failpoint("cleanup.recorded");
    Ok(done)
}

async fn remove(primary: &Place, remover: &Remover, going: &Going, guarded: &Guarded) -> Result<bool, Failed> {
    match going.kind {
        // All that a record of a commit says is its tag; so its manifest is known.
        Kind::Commit => {
            let known = tiny::digest(&going.tag, primary.labels());
            remover.remove(&going.tag, Some(known), guarded).await
        }
        // A tag that was given to something that stays is the user's own.
        Kind::CustomTag => remover.remove_custom(&going.tag, guarded).await,
        _ => remover.remove(&going.tag, going.digest.clone(), guarded).await,
    }
}

/// Tells builds that tags have changed.
async fn announce(place: &Place) -> Result<(), StorageError> {
    let index = TagIndex::new(place.client.clone(), place.repo.clone());
    index.announce().await.map_err(|error| from_registry(&place.repo, error))
}

/// Notes when the repository was cleaned up, as werf does: builds do not wonder then why stages are gone.
async fn note(place: &Place, plan: &Plan, now: Millis) -> Result<(), StorageError> {
    if !plan.stays {
        return Ok(());
    }
    let failed = |error| from_registry(&place.repo, error);
    let labels = [(PROJECT, place.project.clone()), (TIMESTAMP, (now.0 / 1000).to_string())];
    let labels: BTreeMap<String, String> = labels.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let before: Option<BlobDigest> = place.client.head_manifest(&place.repo, names::CLEANUP).await.map_err(failed)?;
    let same = before.as_ref() == Some(&tiny::digest(names::CLEANUP, labels.clone()));
    tiny::put(&place.client, &place.repo, names::CLEANUP, labels).await.map_err(failed)?;
    if let Some(before) = before.filter(|_| !same) {
        // What it was moved off is of no use. A registry that keeps it does no harm.
        if let Err(error) = place.client.remove(&place.repo, before.as_str()).await {
            tracing::debug!("remove the earlier record of a cleanup: {error}");
        }
    }
    Ok(())
}
