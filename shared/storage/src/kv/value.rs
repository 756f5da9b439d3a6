//! What the store holds, as JSON: small, readable with `etcdctl`, and read again by later versions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use slipway_digest::{Millis, StageId};
use slipway_kv::Revision;
use slipway_oci::{BlobDigest, ImageAt, Repo};
use slipway_stages::StageRecord;

/// What a record is good for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeptState {
    /// Its tag was listed; its labels were not read yet.
    Listed,
    /// It may be chosen.
    Live,
    /// The history of its commits is not known everywhere: only a build of the very same commits chooses it.
    Orphan,
    /// It is not to be used: it was rejected, or its image was lost before anybody used it.
    Rejected,
    /// Its image was not written by us, or is no usable stage: it is never chosen as it is.
    Foreign,
    /// A cleanup found that nothing needs it: a build that wants it takes it back.
    Condemned,
    /// A cleanup deletes its image now.
    Deleting,
}

impl KeptState {
    /// Whether a cleanup has begun to remove it.
    pub fn is_going(self) -> bool {
        matches!(self, Self::Condemned | Self::Deleting)
    }
}

/// A record as it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// Which stage.
    pub id: StageId,
    /// What it is good for.
    pub state: KeptState,
    /// The stage; `None` when its labels were never read, or cannot be.
    pub stage: Option<Box<StageRecord>>,
    /// Which attempt built it.
    pub attempt: String,
    /// Whether its tag was seen to stand: only then it has ever been used.
    pub tagged: bool,
    /// Why it is rejected or foreign.
    pub why: Option<String>,
    /// What it was good for before it was condemned.
    pub was: Option<KeptState>,
    /// When it was last written; conditions of transactions compare it.
    pub revision: Revision,
}

/// The value of a record.
#[derive(Serialize, Deserialize)]
struct RecordText {
    state: KeptState,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    tagged: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    attempt: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    was: Option<KeptState>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stage: Option<StageText>,
}

#[derive(Serialize, Deserialize)]
struct StageText {
    manifest: BlobDigest,
    image: BlobDigest,
    platform: String,
    content: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    commits: BTreeMap<String, String>,
    size: u64,
}

impl Kept {
    /// A record whose tag was listed.
    pub(super) fn listed(id: StageId, rejected: bool) -> Self {
        let state = if rejected { KeptState::Rejected } else { KeptState::Listed };
        let why = rejected.then(|| "it was marked as rejected in the repository".to_owned());
        Self { id, state, stage: None, attempt: String::new(), tagged: true, why, was: None, revision: Revision(0) }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let stage = self.stage.as_deref().map(|stage| StageText {
            manifest: stage.at.digest.clone(),
            image: stage.image_id.clone(),
            platform: stage.platform.to_string(),
            content: stage.content.to_string(),
            parent: stage.parent.map(|parent| parent.to_string()),
            commits: stage.commits.iter().map(|(key, commit)| (key.clone(), commit.to_string())).collect(),
            size: stage.size,
        });
        let (attempt, why) = (self.attempt.clone(), self.why.clone());
        json(&RecordText { state: self.state, tagged: self.tagged, attempt, why, was: self.was, stage })
    }

    /// Reads a record of a stage in `repo`; says what is wrong with it.
    pub(super) fn decode(id: StageId, repo: &Repo, value: &[u8], revision: Revision) -> Result<Self, String> {
        let text: RecordText = serde_json::from_slice(value).map_err(|why| why.to_string())?;
        let stage = text.stage.map(|stage| record(id, repo, stage)).transpose()?;
        Ok(Self {
            id,
            state: text.state,
            stage: stage.map(Box::new),
            attempt: text.attempt,
            tagged: text.tagged,
            why: text.why,
            was: text.was,
            revision,
        })
    }

    /// Whether it may be chosen.
    pub fn is_live(&self) -> bool {
        self.state == KeptState::Live && self.stage.is_some()
    }
}

fn record(id: StageId, repo: &Repo, text: StageText) -> Result<StageRecord, String> {
    let commits = text.commits.into_iter().map(|(key, commit)| Ok((key, parse(&commit)?)));
    Ok(StageRecord {
        id,
        platform: parse(&text.platform)?,
        at: ImageAt { repo: repo.clone(), digest: text.manifest },
        image_id: text.image,
        commits: commits.collect::<Result<_, String>>()?,
        content: parse(&text.content)?,
        parent: text.parent.as_deref().map(parse).transpose()?,
        size: text.size,
    })
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|why: T::Err| why.to_string())
}

/// The value of a head: the last timestamp that was given.
#[derive(Serialize, Deserialize, Clone, Copy)]
pub(super) struct HeadText {
    pub(super) last: Millis,
}

/// The value of `attached`.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub(super) struct AttachedText {
    /// The generation's id.
    pub(super) generation: String,
    /// Which one it is, from 1.
    pub(super) number: u64,
    /// Every timestamp is greater than this.
    pub(super) floor: Millis,
    /// The store it was written to: in another one, this is a copy out of a snapshot.
    pub(super) store: String,
    /// When, by the clock of who wrote it.
    pub(super) at: Millis,
    /// How many stages were listed.
    pub(super) stages: u64,
}

pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("maps with text keys can be written as JSON")
}
