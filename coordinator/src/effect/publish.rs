//! Making an uploaded stage the stored one, by the publish protocol.

use std::sync::Arc;

use async_trait::async_trait;
use slipway_digest::{Millis, StageId};
use slipway_git::GitView;
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
        let suitable = move || candidates.into_iter().find(|record| is_suitable(git.as_ref(), record, &wanted));
        Ok(self.tasks.blocking(suitable).await)
    }
}

fn is_suitable(git: &dyn GitView, record: &StageRecord, wanted: &Commits) -> bool {
    let is_ancestor = |question: Question| match question {
        // What cannot be told is no ancestor: the stage is left alone.
        Question::Ancestor { old, new, .. } => git.is_ancestor(old, new).unwrap_or(false),
        Question::File { .. }
        | Question::Tree { .. }
        | Question::Changes { .. }
        | Question::Stored { .. }
        | Question::Base { .. }
        | Question::Imported { .. } => false,
    };
    wanted.keys().all(|key| record.commits.contains_key(key))
        && select::ancestries(record, wanted).into_iter().all(is_ancestor)
}
