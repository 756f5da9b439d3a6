//! What is to be deleted, as nobody's: builds that run beside a cleanup lose nothing that they use.
//!
//! Where hosts share records, those of the stages are condemned; where they do not, builds of this host are told by files. Either
//! way a build that begins later knows, and those that began before are waited for. What these have made and recorded meanwhile is
//! looked at then; so a plan is made twice.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::anyhow;
use slipway_digest::{Millis, StageId};
use slipway_process::failpoint::failpoint;
use slipway_storage::{
    Hiding,
    cleanup::{Done, Going, Plan, Progress, second_look, work},
    kv::TAG_TIME,
};

use super::{places::Places, records::SharedRecords};
use crate::{commands::session::Session, failure::Failure, flags::cleanup::SECOND_LOOK};

/// What a tag that was sent in time may still take to appear.
const ON_ITS_WAY: Duration = Duration::from_secs(5);

/// Stages that nobody uses, and that no build takes from now on. Those of this host know that until this is dropped.
pub(super) struct Claim {
    /// The stages.
    pub(super) stages: Arc<BTreeSet<StageId>>,
    /// Whether a build was waited for.
    pub(super) waited: bool,
    /// How long after it is too late to take one back the second look is due.
    look_after: Duration,
    _hiding: Option<Hiding>,
}

impl Claim {
    /// Claims what a plan deletes. Waits for builds that run.
    ///
    /// # Errors
    /// When the records do not answer, or the files cannot be written.
    pub(super) async fn new(session: &Session, places: &Places, plan: &Plan) -> Result<Self, Failure> {
        let look_after = patience(session)?;
        let stages: Vec<StageId> = plan.going.iter().filter_map(Going::stage_of_primary).collect();
        let waited = AtomicBool::new(false);
        let waiting = |builds: &[String]| {
            waited.store(true, Ordering::Relaxed);
            session.printer.info(&format!("Waiting for builds that began before: {}", builds.join("; ")));
        };
        let hiding = match &places.shared {
            Some(shared) => {
                shared.condemn(&stages, &waiting).await?;
                None
            }
            None if stages.is_empty() => None,
            None => {
                let mut hiding = places.builds(session).hide(stages.iter().copied()).await?;
                failpoint("cleanup.hidden");
                hiding.wait(&waiting).await;
                Some(hiding)
            }
        };
        let (stages, waited) = (Arc::new(stages.into_iter().collect()), waited.into_inner());
        Ok(Self { stages, waited, look_after, _hiding: hiding })
    }

    /// Does what a plan says that deletes nothing but what is claimed.
    ///
    /// # Errors
    /// When a repository or the records do not answer, or nothing may be deleted.
    pub(super) async fn work(
        self,
        session: &Session,
        places: &Places,
        plan: &mut Plan,
        told: &(dyn Fn(Progress) + Send + Sync),
    ) -> Result<Done, Failure> {
        plan.spare(&plan.stages().difference(&self.stages).copied().collect());
        let doomed = match &places.shared {
            Some(shared) => self.doom(shared, plan).await?,
            None => BTreeSet::new(),
        };
        let clock = &session.world.clock;
        let look_at = clock.monotonic() + self.look_after;
        let now = Millis(clock.unix_millis());
        let mut done = work((&places.primary, places.last.as_ref()), plan, now, told).await?;
        if let Some(shared) = &places.shared {
            let failed: BTreeSet<StageId> =
                done.failed.iter().filter_map(|(going, _)| going.stage_of_primary()).collect();
            let deleted = &doomed - &failed;
            if !deleted.is_empty() {
                wait(session, look_at).await;
                let gone = second_look(&places.primary, &plan.guarded, &deleted).await?;
                shared.drop_records(&gone.iter().copied().collect::<Vec<_>>()).await?;
                done.leave(&(&deleted - &gone), "somebody writes its tag again and again");
            }
            shared.close().await;
        }
        Ok(done)
    }

    /// From here on nobody takes the stages of a plan back. What is wanted again stays, and is not in the plan any more. Answers what
    /// is doomed, by an earlier cleanup that was killed, too.
    async fn doom(&self, shared: &SharedRecords, plan: &mut Plan) -> Result<BTreeSet<StageId>, Failure> {
        let going = plan.stages();
        let needed: Vec<StageId> = self.stages.difference(&going).copied().collect();
        shared.spare(&needed).await?;
        let going: Vec<StageId> = going.into_iter().collect();
        let free = shared.doom(&going).await?;
        plan.spare(&going.iter().filter(|stage| !free.contains(stage)).copied().collect());
        let mut doomed = shared.doomed().await?;
        // No build finds those; but what runs may.
        doomed.retain(|stage| plan.keeping.reason(*stage).is_none());
        Ok(doomed)
    }
}

/// Waits until nobody can be about to write a tag of what was doomed.
async fn wait(session: &Session, until: Duration) {
    let left = until.saturating_sub(session.world.clock.monotonic());
    if !left.is_zero() {
        let seconds = left.as_secs().max(1);
        session.printer.info(&format!("Waiting {seconds} s for tags that may be on their way, before looking again"));
        tokio::time::sleep(left).await;
    }
}

/// How long after stages were doomed the second look is due.
fn patience(session: &Session) -> Result<Duration, Failure> {
    let Some(seconds) = session.values.number(&SECOND_LOOK) else { return Ok(TAG_TIME + ON_ITS_WAY) };
    let seconds = u64::try_from(seconds).map_err(|_| {
        let spelled = session.values.spelling(&SECOND_LOOK);
        Failure::usage(anyhow!("{spelled}: {seconds} is no number of seconds"))
    })?;
    Ok(Duration::from_secs(seconds))
}
