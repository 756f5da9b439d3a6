//! Making an uploaded stage the stored one, by the publish protocol.

use std::sync::Arc;

use async_trait::async_trait;
use slipway_digest::{Millis, StageId};
use slipway_git::{GitError, GitView};
use slipway_process::Tasks;
use slipway_protocol::{AttemptId, Failure, Outcome, Uploaded};
use slipway_stages::{Commits, Question, StagePlan, StageRecord, select};
use slipway_storage::{Candidate, Judge, StorageError, Verdict};

use crate::outside::Outside;

/// How publishing ended.
pub(crate) enum Published {
    /// A stage stands: this one or another that was first.
    Settled(Outcome),
    /// It could not be published.
    Failed(Failure),
}

/// Publishes what an attempt has uploaded.
pub(crate) async fn publish(
    outside: &Outside,
    tasks: &Tasks,
    plan: &StagePlan,
    attempt: &AttemptId,
    uploaded: Uploaded,
) -> Published {
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
    let judge = Ancestry {
        git: Arc::clone(&outside.git),
        tasks: tasks.clone(),
        wanted: plan.commits.clone(),
        not_before: plan.not_before,
    };
    match outside.publisher.publish(&candidate, &judge).await {
        Ok(Verdict::Won(record)) => Published::Settled(Outcome::Committed(Box::new(record))),
        Ok(Verdict::Lost(record)) => Published::Settled(Outcome::Superseded(Box::new(record))),
        Err(error) => Published::Failed(Failure {
            retryable: error.is_retryable(),
            why: format!("publish stage {} to {}: {error}", plan.digest, outside.primary.name()),
            exit: None,
            line: None,
            tail: Vec::new(),
            lost: None,
        }),
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
        let (git, wanted) = (Arc::clone(&self.git), self.wanted.clone());
        let younger = |record: &&StageRecord| record.id.stamp > self.not_before;
        let mut candidates: Vec<StageRecord> = candidates.iter().filter(younger).cloned().collect();
        candidates.sort_by_key(|record| record.id.stamp);
        let suitable = move || {
            for record in candidates {
                if is_suitable(git.as_ref(), &record, &wanted)? {
                    return Ok(Some(record));
                }
            }
            Ok(None)
        };
        let chosen = self.tasks.blocking(suitable).await;
        // Without an answer nothing may be stored beside what is there.
        chosen.map_err(|error: GitError| StorageError::Broken {
            what: "the git history".to_owned(),
            why: error.to_string(),
        })
    }
}

fn is_suitable(git: &dyn GitView, record: &StageRecord, wanted: &Commits) -> Result<bool, GitError> {
    let is_ancestor = |question: &Question| match question {
        Question::Ancestor { old, new, .. } => match git.is_ancestor(*old, *new) {
            // A commit that is not here is no ancestor as far as anyone here can tell: the stage is left alone.
            Err(GitError::Shallow(_) | GitError::Missing(_)) => Ok(false),
            answer => answer,
        },
        Question::File { .. }
        | Question::Tree { .. }
        | Question::Changes { .. }
        | Question::Stored { .. }
        | Question::Base { .. }
        | Question::Imported { .. } => Ok(false),
    };
    if !wanted.keys().all(|key| record.commits.contains_key(key)) {
        return Ok(false);
    }
    for question in &select::ancestries(record, wanted) {
        if !is_ancestor(question)? {
            return Ok(false);
        }
    }
    Ok(true)
}
