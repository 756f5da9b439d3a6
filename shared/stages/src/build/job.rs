//! The jobs of a build: their names and ends.

use std::{fmt, sync::Arc};

use slipway_oci::ImageAt;

use super::{Effort, original};
use crate::plan::{StagePlan, StageRecord};

/// Equal jobs have equal keys: two images that want the same stage share one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize)]
pub struct JobKey(pub Arc<str>);

impl JobKey {
    pub(super) fn of(plan: &StagePlan) -> Self {
        // Equal digests are one stage only when the commits are equal too, and when it may be as old.
        let key = format!("{}@{} {} after {}", plan.digest, plan.platform, plan.content, plan.not_before.0);
        // Others may not see where it is copied from: what fails there is no failure of theirs.
        Self(match original(plan) {
            Some(original) => format!("{key} from {}", original.record.at).into(),
            None => key.into(),
        })
    }
}

impl fmt::Display for Fall {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Again(why) | Self::Failed(StageFailure { why, .. }) => formatter.write_str(why),
        }
    }
}

/// How a job ended.
#[derive(Clone, PartialEq, Debug)]
pub enum JobEnd {
    /// The stage is stored.
    Stored {
        /// What is stored.
        record: Arc<StageRecord>,
        /// Whether others see it already; else it is said later, by [`BuildEvent::Stands`] or [`BuildEvent::Fell`].
        stands: bool,
        /// Whether another build was first and its stage was taken instead.
        adopted: bool,
        /// What that took.
        effort: Effort,
    },
    /// It could not be built.
    Failed(StageFailure),
    /// It could not be built because a stored stage that it needs is not there any more.
    Lost(ImageAt, StageFailure),
}

/// Why a stage that was stored is not visible to others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fall {
    /// Another one stands, or this one is gone: it is to be looked for, and built, again. Says why.
    Again(String),
    /// That could not be done.
    Failed(StageFailure),
}

/// Why a stage could not be built.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct StageFailure {
    /// What was being done and what went wrong.
    pub why: String,
    /// Exit code of the user's command.
    pub exit: Option<i64>,
    /// Line of `werf.yaml` (or of the Dockerfile) that was running.
    pub line: Option<u32>,
    /// Last lines of output.
    pub tail: Vec<String>,
}

impl StageFailure {
    /// One of which nothing is known but its reason.
    pub fn of(why: String) -> Self {
        Self { why, exit: None, line: None, tail: Vec::new() }
    }
}
