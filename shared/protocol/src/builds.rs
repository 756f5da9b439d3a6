//! What a client and a coordinator say to each other about builds.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use slipway_config::ImageName;
use slipway_digest::CommitId;
use slipway_oci::{Platform, Repo};
use slipway_paths::TreePath;
use slipway_stages::{
    Place, Progress, StageKind, VirtualMerge,
    build::{BuildFailure, BuiltImage, Schedule},
};

use crate::{Requirements, SecretValues};

/// A build as its client names it, so that a submit whose answer was lost can be repeated: 8 to 64 characters out of
/// `a-z`, `0-9` and `-`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct BuildName(String);

/// A text that names no build.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` names no build; a name has 8 to 64 characters out of a-z, 0-9 and -")]
pub struct BuildNameError(String);

impl BuildName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BuildName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for BuildName {
    type Err = BuildNameError;

    fn from_str(text: &str) -> Result<Self, BuildNameError> {
        let plain = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        if plain && (8..=64).contains(&text.len()) {
            return Ok(Self(text.to_owned()));
        }
        Err(BuildNameError(text.chars().take(100).collect()))
    }
}

/// What a client asks to be built. Everything was read and checked by the client; the coordinator reads the
/// configuration's text itself.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SubmitRequest {
    /// The project's name, as its configuration has it.
    pub project: String,
    /// Where stages are stored.
    pub repo: Repo,
    /// Which repositories are used beside that.
    #[serde(default, skip_serializing_if = "OtherRepos::is_empty")]
    pub others: OtherRepos,
    /// Further tags of its images.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub custom_tags: Vec<CustomTag>,
    /// Path of the configuration, as messages name it.
    pub config_name: String,
    /// The configuration, rendered.
    pub config: String,
    /// The images that were asked for; what they need is built too.
    pub images: Vec<ImageName>,
    /// The commit to build. The coordinator has it: see [`MissingRequest`].
    pub commit: CommitId,
    /// Its committer time, seconds since the Unix epoch.
    pub commit_time: i64,
    /// The same for people.
    pub commit_time_human: String,
    /// Commits that the contexts of some Dockerfile images come from, because they hold files from the client's disk.
    pub context_commits: BTreeMap<ImageName, CommitId>,
    /// The commits that other repositories are at, for the whole build. The coordinator has them like the others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<UpstreamCommit>,
    /// Commits of the submodules of all these, as far as they are needed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub submodules: Vec<CommitId>,
    /// What the commit merges, when it is made for a request to merge and for nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_merge: Option<VirtualMerge>,
    /// The project directory in its repository.
    pub project_dir: TreePath,
    /// The platform of images of which the configuration says nothing.
    pub platform: Platform,
    /// Platforms of all images, whatever the configuration says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub platforms: Vec<Platform>,
    /// Platforms whose programs its commands are, each with an image that has such.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<(ImageName, Platform)>,
    /// Whether the commit is a snapshot of uncommitted work.
    pub dev: bool,
    /// How many images may be under way at once; `None` = no limit.
    pub parallel: Option<usize>,
    /// What each of its jobs needs of a worker, beside its platform.
    #[serde(default)]
    pub requires: Requirements,
    /// In which order images start.
    #[serde(default)]
    pub schedule: Schedule,
    /// Network of the commands of all images, instead of what their configuration says.
    #[serde(default)]
    pub network: Option<String>,
    /// Whether every instruction of all Dockerfiles is a stage, whatever their configuration says.
    #[serde(default)]
    pub force_staged: bool,
    /// A stage that would have to be built is an error.
    pub require_built: bool,
    /// Whether the build goes on when nobody follows it.
    pub detached: bool,
    /// W3C trace context of the client.
    pub traceparent: Option<String>,
    /// How many ssh keys its commands have in an agent. They are among the secrets, under the names that
    /// [`secrets::ssh_key`](crate::secrets::ssh_key) gives.
    #[serde(default)]
    pub ssh_keys: u32,
    /// What its commands may read, by the keys that its plans name. Never stored: a coordinator that goes on with the build
    /// is sent them again.
    #[serde(default, skip_serializing_if = "SecretValues::is_empty")]
    pub secrets: SecretValues,
}

/// A further tag of an image.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CustomTag {
    /// The image, by one of its names.
    pub image: ImageName,
    /// The tag; `%image_content_based_tag%` in it stands for that of the image's last stage.
    pub tag: String,
}

/// Repositories of an installation beside its primary one, each kind in the order in which they are looked through.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct OtherRepos {
    /// Near the builders; read and written.
    pub caches: Vec<Repo>,
    /// Of others; only read.
    pub secondaries: Vec<Repo>,
    /// Where the images go that run; only written.
    pub final_repo: Option<Repo>,
}

impl OtherRepos {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Repo> {
        self.caches.iter().chain(&self.secondaries).chain(&self.final_repo)
    }

    /// Those that are written.
    pub fn written(&self) -> impl Iterator<Item = &Repo> {
        self.caches.iter().chain(&self.final_repo)
    }

    /// Where stages may be copied from, in order: what is near comes first.
    pub fn sources(&self) -> Vec<Place> {
        let caches = self.caches.iter().cloned().map(Place::Cache);
        caches.chain(self.secondaries.iter().cloned().map(Place::Secondary)).collect()
    }
}

/// At which commit another repository is for a build. Who asks for the build has looked it up, by the rights that he has
/// there: they do not go to the cluster.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct UpstreamCommit {
    /// `url` of the mapping, as written.
    pub url: String,
    /// What names the commit there, as in `branch main`; `default` for the repository's own branch.
    pub revision: String,
    /// The commit.
    pub commit: CommitId,
}

/// Which of these commits does the coordinator lack?
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MissingRequest {
    /// Commits that the build reads.
    pub commits: Vec<CommitId>,
}

/// The commits that must be pushed before the build is submitted.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MissingAnswer {
    /// Commits that are not there.
    pub missing: Vec<CommitId>,
}

/// The place of an event in the events of its build: grows with every event. `TERM.NUMBER` as text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct EventId {
    /// The term of the leader that told it: the revision at which it was elected. Another leader tells a build from its
    /// beginning again.
    pub term: u64,
    /// From 1 within a term.
    pub number: u64,
}

/// A text that is no event id.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("`{0}` is no event id; write TERM.NUMBER, or leave it out to start from the beginning")]
pub struct EventIdError(String);

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.number)
    }
}

impl FromStr for EventId {
    type Err = EventIdError;

    fn from_str(text: &str) -> Result<Self, EventIdError> {
        let refuse = || EventIdError(text.chars().take(100).collect());
        let (term, number) = text.split_once('.').ok_or_else(refuse)?;
        Ok(Self { term: term.parse().map_err(|_| refuse())?, number: number.parse().map_err(|_| refuse())? })
    }
}

/// One event of a build; a line of the stream that follows it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct TimedEvent {
    /// Its place.
    pub id: EventId,
    /// What happened.
    pub event: BuildEvent,
}

/// What a build tells.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuildEvent {
    /// Something went on. A new leader tells again what holds still: who followed before passes over what he knows.
    Progress(Progress),
    /// A line of output of a stage. `(attempt, offset)` is unlike that of any other line.
    Log {
        /// Of which image.
        image: ImageName,
        /// Which stage.
        kind: StageKind,
        /// Which attempt.
        attempt: String,
        /// The number of the line in the output of its attempt, from 0.
        offset: u64,
        /// The line, without its end; bytes that are no UTF-8 are replaced.
        line: String,
    },
    /// Something that whoever waits should know: nobody can take a job, a worker was lost.
    Notice(String),
    /// The build is over; the last event.
    Finished(Result<Vec<BuiltImage>, BuildFailure>),
}

/// How far a build is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BuildState {
    /// It is under way.
    Running,
    /// All images are stored and tagged.
    Succeeded,
    /// It ended without a result.
    Failed,
    /// Somebody gave it up.
    Cancelled,
}

/// A build in a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BuildSummary {
    /// Its name.
    pub build: BuildName,
    /// Of which project.
    pub project: String,
    /// Where its stages are stored.
    pub repo: Repo,
    /// Which commit.
    pub commit: CommitId,
    /// How far it is.
    pub state: BuildState,
    /// When it was submitted, milliseconds since the Unix epoch.
    pub submitted: u64,
    /// When it ended.
    pub ended: Option<u64>,
    /// Why it failed, in a line.
    pub failure: Option<String>,
    /// Commits that it waits for: this coordinator lacks them, and who has them should push them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<CommitId>,
}

slipway_digest::travels_as_text!(BuildName, EventId);
