//! What builds and cleanups that run elsewhere ask of a coordinator that keeps the records of stages.

use serde::{Deserialize, Serialize};
use slipway_digest::{Millis, StageDigest, StageId};
use slipway_oci::{Platform, Repo};
use slipway_stages::StageRecord;

/// Which stages are stored?
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FindStages {
    /// Where.
    pub repo: Repo,
    /// Of this digest.
    pub digest: StageDigest,
    /// For this platform.
    pub platform: Platform,
}

/// Stages that may be used, the oldest first.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct FoundStages {
    /// The stages.
    pub stages: Vec<StageRecord>,
}

/// A stage that was built and uploaded, untagged, and asks to be the stored one.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct PublishStage {
    /// The stage; the timestamp in it is ignored. Its repository is the one that it is published in.
    pub record: StageRecord,
    /// Its timestamp must be greater than this.
    pub not_before: Millis,
    /// Which attempt built it; the manifest names it.
    pub attempt: String,
    /// Stored stages that the caller has looked at.
    pub judged: Vec<JudgedStage>,
}

/// What a caller says of a stored stage.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct JudgedStage {
    /// Which one.
    pub stage: StageId,
    /// Whether his build may use it; `None` = the history that would tell is cut.
    pub suits: Option<bool>,
}

/// What became of it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StagePublished {
    /// It is the stored one.
    Won(Box<StageRecord>),
    /// An earlier one is.
    Lost(Box<StageRecord>),
    /// Nothing yet: these are stored, and the caller has not said of all of them whether they suit.
    Judge(Vec<StageRecord>),
    /// Nothing: what is named here is not in the repository (any more). It must be uploaded again.
    Gone(String),
}

/// A stage whose image the caller could not find.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RejectStage {
    /// Where.
    pub repo: Repo,
    /// Which one.
    pub stage: StageId,
    /// What is wrong with it.
    pub why: String,
}

/// Whether a stage was taken out of use.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct StageRejected {
    /// `false`: its image is not lost, or the stage was out of use already.
    pub rejected: bool,
}

/// A build that runs elsewhere, or has ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeepBuild {
    /// Where its stages are stored.
    pub repo: Repo,
    /// The build, as its process names it: unlike any other.
    pub build: String,
    /// What it is, for operators.
    pub note: String,
    /// Whether it has ended. One that has not must say so again within a minute.
    pub ended: bool,
}

/// Since when a build has been known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BuildKept {
    /// A number that is another one when it was not known for a while in between; `None` = it is not known.
    pub since: Option<i64>,
}

/// Most stages that one step of a cleanup may name.
pub const MOST_CLEANED: usize = 1000;

/// A step of a cleanup that runs elsewhere, and deletes what is in the repository itself. Taken twice, it is taken once.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CleanStages {
    /// Where.
    pub repo: Repo,
    /// What.
    pub step: CleanStep,
}

/// Which step. Stages are [`MOST_CLEANED`] at most.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CleanStep {
    /// These are to be deleted: a build that begins from now on takes back what it wants. Answered with the time.
    Condemn(Vec<StageId>),
    /// Which builds began before that time, and have not ended? Answered with builds.
    Older(i64),
    /// These are needed after all.
    Spare(Vec<StageId>),
    /// Nobody takes these back any more. Answered with those that may be deleted now.
    Doom(Vec<StageId>),
    /// Which stages were doomed, by whomever, and have their records yet? Answered with those.
    Doomed,
    /// The images of these, which were doomed, are gone.
    Drop(Vec<StageId>),
}

impl CleanStep {
    /// The stages that it names.
    pub fn stages(&self) -> &[StageId] {
        match self {
            Self::Condemn(stages) | Self::Spare(stages) | Self::Doom(stages) | Self::Drop(stages) => stages,
            Self::Older(_) | Self::Doomed => &[],
        }
    }
}

/// What came of a step.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct StagesCleaned {
    /// When the last of the stages was condemned, as the store counts.
    pub since: i64,
    /// What builds say of themselves.
    pub builds: Vec<String>,
    /// Stages.
    pub stages: Vec<StageId>,
}
