//! Making an uploaded stage the stored one, by the publish protocol.

use std::sync::Arc;

use async_trait::async_trait;
use futures::{
    FutureExt as _,
    future::{BoxFuture, join_all},
};
use slipway_digest::{Millis, StageDigest, StageId};
use slipway_git::{GitError, GitView};
use slipway_oci::Repo;
use slipway_process::Tasks;
use slipway_protocol::{AttemptId, Failure, Outcome, Uploaded};
use slipway_stages::{
    Commits, Question, StagePlan, StageRecord,
    build::{Fall, StageFailure},
    select,
};
use slipway_storage::{Begun, Candidate, Judge, Remaining, StorageError, Verdict};

use crate::outside::Outside;

/// How publishing ended.
pub(crate) enum Published {
    /// A stage stands: this one or another that was first.
    Settled(Outcome),
    /// This one is committed, and may be built upon; it stands when what remains is done.
    Ahead(Arc<StageRecord>, Rising),
    /// It could not be published.
    Failed(Failure),
    /// The same, because the upload is not there any more.
    Vanished(Failure),
}

/// What lets a committed stage stand; or why it does not.
pub(crate) type Rising = BoxFuture<'static, Result<(), Fall>>;

/// Publishes what an attempt has uploaded.
pub(crate) async fn publish(
    outside: &Arc<Outside>,
    tasks: &Tasks,
    plan: &StagePlan,
    attempt: &AttemptId,
    uploaded: Uploaded,
) -> Published {
    let caches_failed = uploaded.caches_failed;
    let record = StageRecord {
        id: StageId { digest: plan.digest, stamp: Millis(0) },
        platform: plan.platform.clone(),
        at: uploaded.at,
        image_id: uploaded.image_id,
        commits: plan.commits.clone(),
        content: plan.content,
        parent: plan.parent,
        size: uploaded.size,
    };
    let candidate = Candidate { record, not_before: plan.not_before, attempt: attempt.id.clone() };
    let judge = Arc::new(Ancestry {
        git: Arc::clone(&outside.git),
        tasks: tasks.clone(),
        wanted: plan.commits.clone(),
        not_before: plan.not_before,
    });
    let begun = match outside.publisher.admit(&attempt.id).await {
        Ok(()) => outside.publisher.begin(candidate, judge).await,
        Err(error) => Err(error),
    };
    match begun {
        Ok(Begun::Committed(record, remaining)) => {
            Published::Ahead(Arc::new(*record), rising(Arc::clone(outside), remaining, caches_failed))
        }
        Ok(Begun::Done(verdict)) => match *verdict {
            Verdict::Won(record) => {
                mirror(outside, &record, caches_failed).await;
                Published::Settled(Outcome::Committed(Arc::new(record)))
            }
            Verdict::Lost(record) => {
                // It will not commit: its leave is of no use, and does no harm should it stay.
                if let Err(error) = outside.publisher.dismiss(&attempt.id).await {
                    tracing::debug!("take back the leave of attempt {attempt}: {error}");
                }
                Published::Settled(Outcome::Superseded(Arc::new(record)))
            }
        },
        Err(error) => failed(outside, plan.digest, &error),
    }
}

/// What is left of publishing after the commit.
fn rising(outside: Arc<Outside>, remaining: Remaining, caches_failed: Vec<(Repo, String)>) -> Rising {
    let rising = async move {
        match remaining.await {
            Ok(Verdict::Won(record)) => {
                mirror(&outside, &record, caches_failed).await;
                Ok(())
            }
            Ok(Verdict::Lost(other)) => {
                Err(Fall::Again(format!("the older stage {} of another host stands", other.id)))
            }
            Err(error) => {
                let why = format!("publish to {}: {error}", outside.primary.name());
                match error {
                    StorageError::Gone(_) | StorageError::Broken { .. } | StorageError::Unavailable(_) => {
                        Err(Fall::Again(why))
                    }
                    StorageError::Denied(_) | StorageError::Fenced(_) => Err(Fall::Failed(StageFailure::of(why))),
                }
            }
        }
    };
    rising.boxed()
}

/// Gives a stored stage its tag in the caches, where its worker has brought it.
async fn mirror(outside: &Outside, record: &StageRecord, failed: Vec<(Repo, String)>) {
    let caches = &outside.beside.caches;
    for (repo, why) in failed {
        caches.iter().filter(|cache| *cache.repo() == repo).for_each(|cache| cache.failed(&why));
    }
    join_all(caches.iter().map(|cache| cache.tag(record))).await;
}

fn failed(outside: &Outside, digest: StageDigest, error: &StorageError) -> Published {
    let failure = Failure {
        retryable: error.is_retryable(),
        why: format!("publish stage {digest} to {}: {error}", outside.primary.name()),
        exit: None,
        line: None,
        tail: Vec::new(),
        lost: None,
    };
    match error {
        // What is not in the local storage any more cannot be uploaded again.
        StorageError::Gone(_) if outside.push_to.is_some() => Published::Vanished(failure),
        _ => Published::Failed(failure),
    }
}

/// Chooses among stored stages as a conveyor does: the oldest whose commits are ancestors.
struct Ancestry {
    git: Arc<dyn GitView>,
    tasks: Tasks,
    wanted: Commits,
    not_before: Millis,
}

#[async_trait]
impl Judge for Ancestry {
    async fn choose(&self, candidates: &[StageRecord]) -> Result<Option<StageRecord>, StorageError> {
        let mut judged = self.judge(candidates).await?;
        judged.sort_by_key(|(record, _)| record.id.stamp);
        Ok(judged.into_iter().find(|(_, suits)| *suits == Some(true)).map(|(record, _)| record))
    }

    async fn unknown(&self, candidates: &[StageRecord]) -> Result<Vec<StageId>, StorageError> {
        let judged = self.judge(candidates).await?;
        Ok(judged.into_iter().filter(|(_, suits)| suits.is_none()).map(|(record, _)| record.id).collect())
    }
}

impl Ancestry {
    /// Which of the candidates above the parent are suitable; `None` when the history that would tell is cut.
    async fn judge(&self, candidates: &[StageRecord]) -> Result<Vec<(StageRecord, Option<bool>)>, StorageError> {
        let (git, wanted) = (Arc::clone(&self.git), self.wanted.clone());
        let younger = |record: &&StageRecord| record.id.stamp > self.not_before;
        let candidates: Vec<StageRecord> = candidates.iter().filter(younger).cloned().collect();
        if wanted.is_empty() {
            // Without commits the history has no say.
            return Ok(candidates.into_iter().map(|record| (record, Some(true))).collect());
        }
        let judge = move || {
            let judged = candidates.into_iter().map(|record| {
                let suits = suits(git.as_ref(), &record, &wanted)?;
                Ok((record, suits))
            });
            judged.collect()
        };
        let judged: Result<_, GitError> = self.tasks.blocking(judge).await;
        // Without an answer nothing may be stored beside what is there.
        judged.map_err(|error| StorageError::Broken { what: "the git history".to_owned(), why: error.to_string() })
    }
}

/// Whether a stage is suitable; `None` when the history that would tell is cut.
fn suits(git: &dyn GitView, record: &StageRecord, wanted: &Commits) -> Result<Option<bool>, GitError> {
    if !wanted.keys().all(|key| record.commits.contains_key(key)) {
        return Ok(Some(false));
    }
    let mut known = Some(true);
    for question in &select::ancestries(record, wanted) {
        match is_ancestor(git, question)? {
            Some(true) => {}
            Some(false) => return Ok(Some(false)),
            None => known = None,
        }
    }
    Ok(known)
}

fn is_ancestor(git: &dyn GitView, question: &Question) -> Result<Option<bool>, GitError> {
    let Question::Ancestor { old, new, .. } = question else { return Ok(Some(false)) };
    match git.is_ancestor(*old, *new) {
        Ok(answer) => Ok(Some(answer)),
        Err(GitError::Shallow(_) | GitError::Submodule { .. }) => Ok(None),
        // All ancestors are where a commit is, unless its history is cut.
        Err(GitError::Missing(_)) => Ok(Some(false)),
        Err(error) => Err(error),
    }
}
