//! The records of stages, for builds and cleanups that run elsewhere and have no access to the store: what they may do is what
//! is here.
//!
//! Nobody writes a record by itself. A stage is published when its image is in the repository under the caller's attempt
//! and says that it is this stage; one is rejected when its image is looked for here and is lost.
//! A cleanup condemns, dooms and drops records in the same order as one that speaks to the store, and no other way.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use slipway_kv::Revision;
use slipway_oci::Repo;
use slipway_protocol::{
    BuildKept, CleanStages, CleanStep, Code, FindStages, FoundStages, JudgedStage, KeepBuild, MOST_CLEANED,
    PublishStage, Refusal, RejectStage, StagePublished, StageRejected, StagesCleaned,
};
use slipway_storage::{
    Candidate, StorageError, Verdict,
    asked::{self, Asked, Suits},
    kv::KvLedger,
};

use super::Reign;
use crate::{api::answer::refuse, places::Place};

/// How long a build that says nothing counts as running.
const LIVE: Duration = Duration::from_secs(60);
/// How long a repository is kept open that nobody asks for.
const UNUSED: Duration = Duration::from_secs(600);
/// Repositories that are kept open at once.
const MOST: usize = 1000;
/// Longest name of a build, and longest note on it.
const LONGEST_NAME: usize = 64;
const LONGEST_NOTE: usize = 200;

/// Repositories that builds elsewhere use.
#[derive(Default)]
pub(super) struct Lent(Mutex<HashMap<Repo, (Arc<Place>, Duration)>>);

impl Lent {
    /// Notes that a repository is used; forgets those that are not.
    fn note(&self, repo: &Repo, place: &Arc<Place>, now: Duration) {
        let mut lent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lent.retain(|_, (_, used)| now.saturating_sub(*used) < UNUSED);
        if lent.len() < MOST || lent.contains_key(repo) {
            lent.insert(repo.clone(), (Arc::clone(place), now));
        }
    }
}

impl Reign {
    /// The stages of a digest that may be used.
    ///
    /// # Errors
    /// When repository or store do not answer.
    pub(crate) async fn find_stages(&self, asked: &FindStages) -> Result<FoundStages, Refusal> {
        let place = self.lend(&asked.repo).await?;
        let found = place.stages.find(asked.digest, &asked.platform, false).await;
        Ok(FoundStages { stages: found.map_err(|error| refused(&asked.repo, &error))? })
    }

    /// Makes a stage the stored one, unless one suits that is stored already.
    ///
    /// # Errors
    /// When its image does not say that it is this stage of this attempt; when repository or store do not answer.
    pub(crate) async fn publish_stage(&self, asked: PublishStage) -> Result<StagePublished, Refusal> {
        let PublishStage { record, not_before, attempt, judged } = asked;
        let repo = record.at.repo.clone();
        let place = self.lend(&repo).await?;
        let suits = |judged: JudgedStage| {
            let suits = judged.suits.map_or(Suits::Unknown, |suits| if suits { Suits::Yes } else { Suits::No });
            (judged.stage, suits)
        };
        let candidate = Candidate { record, not_before, attempt };
        let judged = judged.into_iter().map(suits).collect();
        match asked::publish_asked(place.shared(), &candidate, judged).await {
            Ok(Asked::Done(verdict)) => Ok(match *verdict {
                Verdict::Won(stage) => StagePublished::Won(Box::new(stage)),
                Verdict::Lost(stage) => StagePublished::Lost(Box::new(stage)),
            }),
            Ok(Asked::Judge(stages)) => Ok(StagePublished::Judge(stages)),
            Err(StorageError::Gone(what)) => Ok(StagePublished::Gone(what)),
            Err(error) => Err(refused(&repo, &error)),
        }
    }

    /// Takes a stage out of use whose image is lost.
    ///
    /// # Errors
    /// When repository or store do not answer.
    pub(crate) async fn reject_stage(&self, asked: &RejectStage) -> Result<StageRejected, Refusal> {
        let place = self.lend(&asked.repo).await?;
        let rejected = place.shared().reject_lost(asked.stage, &asked.why).await;
        Ok(StageRejected { rejected: rejected.map_err(|error| refused(&asked.repo, &error))? })
    }

    /// A build that runs elsewhere says that it does, or that it has ended.
    ///
    /// # Errors
    /// When it has no usable name, or the store does not answer.
    pub(crate) async fn keep_build(&self, asked: &KeepBuild) -> Result<BuildKept, Refusal> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if asked.build.is_empty() || asked.build.len() > LONGEST_NAME || !asked.build.bytes().all(plain) {
            return Err(refuse(Code::Invalid, "a build's name has 1 to 64 letters, digits and `-`"));
        }
        let place = self.lend(&asked.repo).await?;
        let ledger = place.shared().ledger();
        let note: String = asked.note.chars().take(LONGEST_NOTE).collect();
        let since = match asked.ended {
            true => ledger.end_live(&asked.build).await,
            false => ledger.keep_live(&asked.build, &note, LIVE).await.map(Some),
        };
        let since = since.map_err(|error| refused(&asked.repo, &error))?;
        Ok(BuildKept { since: since.map(|revision| revision.0) })
    }

    /// A cleanup that runs elsewhere takes a step.
    ///
    /// # Errors
    /// When it names too many stages, or repository or store do not answer.
    pub(crate) async fn clean_stages(&self, asked: &CleanStages) -> Result<StagesCleaned, Refusal> {
        if asked.step.stages().len() > MOST_CLEANED {
            return Err(refuse(Code::TooLarge, format!("a step of a cleanup names {MOST_CLEANED} stages at most")));
        }
        let place = self.lend(&asked.repo).await?;
        let cleaned = clean(place.shared().ledger(), &asked.step).await;
        cleaned.map_err(|error| refused(&asked.repo, &error))
    }

    /// A repository, kept open for a while.
    async fn lend(&self, repo: &Repo) -> Result<Arc<Place>, Refusal> {
        let place = self.parts.places.open(repo).await.map_err(|why| refuse(Code::Unavailable, why))?;
        self.lent.note(repo, &place, self.parts.clock.monotonic());
        Ok(place)
    }
}

async fn clean(ledger: &KvLedger, step: &CleanStep) -> Result<StagesCleaned, StorageError> {
    let mut cleaned = StagesCleaned::default();
    match step {
        CleanStep::Condemn(stages) => cleaned.since = ledger.mark_condemned(stages).await?.0,
        CleanStep::Older(since) => cleaned.builds = ledger.older_builds(Revision(*since)).await?,
        CleanStep::Spare(stages) => ledger.spare(stages).await?,
        CleanStep::Doom(stages) => cleaned.stages = ledger.doom(stages).await?.into_iter().collect(),
        CleanStep::Doomed => cleaned.stages = ledger.doomed().await?.into_iter().collect(),
        CleanStep::Drop(stages) => ledger.drop_records(stages).await?,
    }
    Ok(cleaned)
}

/// What a failure of the records means to a caller.
fn refused(repo: &Repo, error: &StorageError) -> Refusal {
    match error {
        StorageError::Fenced(_) => refuse(Code::NotLeader, "this coordinator does not lead any more"),
        StorageError::Broken { .. } => refuse(Code::Invalid, error.to_string()),
        StorageError::Denied(why) => refuse(Code::Forbidden, format!("the coordinator may not use {repo}: {why}")),
        StorageError::Gone(_) | StorageError::Unavailable(_) => {
            tracing::warn!("the records of {repo}: {error}");
            refuse(Code::Unavailable, format!("the records of the stages of {repo}: {error}"))
        }
    }
}
