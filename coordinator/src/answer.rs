//! Finding out what conveyors ask. Each kind of question has its room; none of them decides anything.

mod base;
mod git;
pub(crate) mod import;
mod storage;

use slipway_process::Tasks;
use slipway_stages::{Answer, Question};

use crate::outside::Outside;

/// Answers a question; `Ok(None)` when only a worker can. The error says what was being done.
pub(crate) async fn answer(outside: &Outside, tasks: &Tasks, question: &Question) -> Result<Option<Answer>, String> {
    match question {
        Question::File { .. } | Question::Tree { .. } | Question::Changes { .. } | Question::Ancestor { .. } => {
            git::answer(outside, tasks, question.clone()).await.map(Some)
        }
        Question::Stored { place, digest, platform, not_before } => {
            storage::answer(outside, place, *digest, platform, *not_before).await.map(Some)
        }
        Question::Foreseen { key, platform } => Ok(Some(storage::foreseen(outside, key, platform).await)),
        Question::Base { reference, platform } => base::answer(outside, reference, platform).await.map(Some),
        Question::Imported { content, input, .. } => import::recorded(outside, content.as_ref(), input).await,
    }
}
