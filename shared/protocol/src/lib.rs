//! What the command line, the coordinator and the workers say to each other, as values.
//!
//! A worker reports its state and is told the state it should be in: one call, repeated. Lost messages heal
//! themselves. In the embedded mode the same values pass through channels; between processes they travel as JSON, by
//! the paths in [`api`].
//!
//! Reading order: this file (workers), [`builds`] (clients), [`api`] (how both reach a coordinator), [`ledger`]
//! (builds that run elsewhere), [`secrets`].

pub mod api;
mod attempt;
pub mod builds;
mod capabilities;
pub mod ledger;
pub mod secrets;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use slipway_digest::Checksum;
use slipway_oci::{BlobDigest, ImageAt, Repo};
use slipway_stages::{ImportInput, StagePlan, StageRecord};

pub use api::{Code, LogLines, Readiness, Refusal};
pub use attempt::AttemptId;
pub use builds::{
    BuildEvent, BuildName, BuildState, BuildSummary, CustomTag, EventId, MissingAnswer, MissingRequest, OtherRepos,
    SubmitRequest, TimedEvent, UpstreamCommit,
};
pub use capabilities::{Capabilities, Requirements};
pub use ledger::{
    BuildKept, CleanStages, CleanStep, FindStages, FoundStages, JudgedStage, KeepBuild, MOST_CLEANED, PublishStage,
    RejectStage, StagePublished, StageRejected, StagesCleaned,
};
pub use secrets::{HandedSecret, Hidden, SecretValues};

/// What a worker can be asked to do.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub enum Job {
    /// Build (or copy) a stage and store it untagged.
    Stage(Arc<StagePlan>),
    /// Compute the checksum of files to be imported.
    Checksum(Box<ImportInput>),
    /// Copy an image to where it runs from.
    Deliver(Box<Delivery>),
}

/// A stored image, or an index with its images, that goes to the final repository as it is, under the same tag.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Delivery {
    /// Where it is.
    pub image: ImageAt,
    /// Its tag.
    pub tag: String,
    /// Where it goes.
    pub to: Repo,
}

/// A job given to a worker.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Assignment {
    /// Which try at which job.
    pub attempt: AttemptId,
    /// What to do.
    pub job: Job,
    /// Where the result goes; `None` = the worker's local storage.
    pub push_to: Option<Repo>,
    /// After this time the worker stops the attempt by itself, whether it hears from the coordinator or not;
    /// `None` = never.
    pub deadline: Option<Duration>,
    /// An earlier attempt at the same job, whose upload has vanished from where results go. A worker that still holds its
    /// result uploads that again, as this attempt, instead of doing the job; one that does not does the job.
    #[serde(default)]
    pub again: Option<AttemptId>,
    /// W3C trace context of the attempt; `None` = it is not traced.
    #[serde(default)]
    pub traceparent: Option<String>,
    /// Secrets that its commands may read.
    #[serde(default)]
    pub secrets: Vec<HandedSecret>,
    /// Private keys that its commands have in an ssh agent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_keys: Vec<Hidden>,
    /// Cache repositories: stages are read from them first, and what was built or read goes there, too.
    #[serde(default)]
    pub caches: Vec<Repo>,
}

/// How far an attempt is.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub enum Phase {
    /// Under way; `progress` grows as long as something happens.
    Running {
        /// Output lines and finished steps so far.
        progress: u64,
    },
    /// Built, and stored untagged.
    Uploaded(Uploaded),
    /// A checksum.
    Summed(Checksum),
    /// The image is in the final repository.
    Delivered,
    /// Ended without a result.
    Failed(Failure),
}

/// A built or copied stage as it was stored.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Uploaded {
    /// Where: manifest digest in a repository, image id in a local storage.
    pub at: ImageAt,
    /// Digest of the config.
    pub image_id: BlobDigest,
    /// Size of all layers, in bytes.
    pub size: u64,
    /// Time from the start of the attempt.
    pub took: Duration,
    /// Whether what the stage stands on had to be fetched for it.
    #[serde(default)]
    pub base_pulled: bool,
    /// Cache repositories that failed the worker, and how.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caches_failed: Vec<(Repo, String)>,
}

/// Why an attempt ended without a result.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Failure {
    /// Whether another try may help: the infrastructure's fault, not the user's.
    pub retryable: bool,
    /// What was being done and what went wrong.
    pub why: String,
    /// Exit code of the user's command.
    pub exit: Option<i64>,
    /// Line of `werf.yaml` (or the Dockerfile) that was running.
    pub line: Option<u32>,
    /// Last lines of output.
    pub tail: Vec<String>,
    /// The stored stage that the job needs and that is not there any more.
    pub lost: Option<ImageAt>,
}

/// A worker's state.
#[derive(Clone, PartialEq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Report {
    /// Its name: unlike that of any other worker.
    pub worker: String,
    /// Its life: another one after every start of the worker. What an earlier life was running is lost.
    pub boot: String,
    /// Grows with every report of one life.
    pub seq: u64,
    /// How many jobs it can run at once.
    pub slots: u16,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Attempts it holds.
    pub attempts: Vec<(AttemptId, Phase)>,
    /// Images that it has at hand, by the digest under which jobs name them; those that it built for this coordinator
    /// need not be among them. Only a hint: where a job would start sooner.
    pub holds: Vec<BlobDigest>,
    /// It is about to end: it finishes what it has, and takes no more.
    pub drain: bool,
}

/// What a worker should be doing.
#[derive(Clone, PartialEq, Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Desired {
    /// Attempts to run. One it already holds is not started again.
    pub run: Vec<Assignment>,
    /// Attempts that an earlier coordinator gave out and that may be wanted again: to be gone on with.
    pub keep: Vec<AttemptId>,
    /// Attempts that are over, and how. An attempt in none of these lists is stopped.
    pub settled: Vec<(AttemptId, Outcome)>,
    /// No more work will come: end when the rest is done.
    pub drain: bool,
    /// A worker that has not been heard for this long is taken for lost, and its attempts are given to others; zero =
    /// never. It reports at least three times in it.
    pub lease: Duration,
    /// How long a worker goes on without hearing from a coordinator before it gives its attempts up; zero = for ever.
    pub hold: Duration,
}

/// How an attempt's result was taken.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub enum Outcome {
    /// It is the stored stage, tagged.
    Committed(Arc<StageRecord>),
    /// Another was first: throw this one away.
    Superseded(Arc<StageRecord>),
    /// Nobody wants it any more, or it was a failure, a checksum or a delivery that was heard.
    Dropped,
}

/// The link to a coordinator is broken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the coordinator is away: {0}")]
pub struct LinkError(pub String);

/// A worker's view of its coordinator. Live: in-process channels, and HTTP.
#[async_trait]
pub trait CoordinatorLink: Send + Sync {
    /// Reports, and waits until there is news for this worker (or a while has passed).
    async fn sync(&self, report: Report) -> Result<Desired, LinkError>;
    /// Hands over a line of output of an attempt.
    async fn log(&self, attempt: &AttemptId, line: Vec<u8>) -> Result<(), LinkError>;
    /// Waits, for a while, until the lines that were handed over have arrived.
    async fn logged(&self, _attempt: &AttemptId) {}
    /// No more lines of an attempt will come, and nothing more will be asked about it.
    async fn ended(&self, _attempt: &AttemptId) {}
}

#[cfg(test)]
mod tests;
