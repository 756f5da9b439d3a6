//! One line of the journal: the checksum of a JSON text, a space, the text.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use slipway_digest::{Encoder, Millis, StageId};
use slipway_oci::{BlobDigest, ImageAt, Repo};
use slipway_registry::RawManifest;
use slipway_stages::StageRecord;

use crate::Intent;

/// What happened to a stage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Line {
    /// The journal begins; no two have the same id.
    Begin { id: String },
    /// It was committed, and is to be tagged.
    Committed {
        intent: Box<Intent>,
        attempt: String,
        /// When, by the clock of who wrote it.
        at: Millis,
    },
    /// It was committed and dealt with; only its timestamp still matters.
    Stamp { id: StageId, at: Millis },
    /// Its tag stands.
    Tagged { id: StageId },
    /// Its commit was taken back.
    Rejected { id: StageId, why: String },
}

/// The same in words that JSON has.
#[derive(Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "lowercase")]
enum Text {
    Begin { id: String },
    Committed(Box<Stage>),
    Stamp { stage: String, at: u64 },
    Tagged { stage: String },
    Rejected { stage: String, why: String },
}

#[derive(Serialize, Deserialize)]
struct Stage {
    stage: String,
    at: u64,
    attempt: String,
    host: String,
    path: String,
    manifest: BlobDigest,
    image: BlobDigest,
    platform: String,
    content: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    commits: BTreeMap<String, String>,
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held: Option<Held>,
}

/// A manifest that the repository did not have when the stage was committed.
#[derive(Serialize, Deserialize)]
struct Held {
    media_type: String,
    document: String,
}

impl Line {
    /// The line with its end.
    pub(super) fn encode(&self) -> Vec<u8> {
        let json = serde_json::to_string(&self.to_text()).expect("maps with text keys can be written as JSON");
        format!("{} {json}\n", checksum(&json)).into_bytes()
    }

    /// Reads a line without its end; says what is wrong with it.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is no text".to_owned())?;
        let (sum, json) = text.split_once(' ').ok_or("it has no checksum")?;
        if sum != checksum(json) {
            return Err("its checksum does not match".to_owned());
        }
        let text: Text = serde_json::from_str(json).map_err(|why| why.to_string())?;
        Self::from_text(text)
    }

    fn to_text(&self) -> Text {
        match self {
            Self::Committed { intent, attempt, at } => Text::Committed(Box::new(stage(intent, attempt.clone(), *at))),
            Self::Begin { id } => Text::Begin { id: id.clone() },
            Self::Stamp { id, at } => Text::Stamp { stage: id.to_string(), at: at.0 },
            Self::Tagged { id } => Text::Tagged { stage: id.to_string() },
            Self::Rejected { id, why } => Text::Rejected { stage: id.to_string(), why: why.clone() },
        }
    }

    fn from_text(text: Text) -> Result<Self, String> {
        Ok(match text {
            Text::Committed(stage) => {
                let at = Millis(stage.at);
                let attempt = stage.attempt.clone();
                Self::Committed { intent: Box::new(intent(*stage)?), attempt, at }
            }
            Text::Begin { id } => Self::Begin { id },
            Text::Stamp { stage, at } => Self::Stamp { id: parse(&stage)?, at: Millis(at) },
            Text::Tagged { stage } => Self::Tagged { id: parse(&stage)? },
            Text::Rejected { stage, why } => Self::Rejected { id: parse(&stage)?, why },
        })
    }
}

fn stage(intent: &Intent, attempt: String, at: Millis) -> Stage {
    let record = &intent.stage;
    Stage {
        stage: record.id.to_string(),
        at: at.0,
        attempt,
        host: record.at.repo.host.clone(),
        path: record.at.repo.path.clone(),
        manifest: record.at.digest.clone(),
        image: record.image_id.clone(),
        platform: record.platform.to_string(),
        content: record.content.to_string(),
        parent: record.parent.map(|parent| parent.to_string()),
        commits: record.commits.iter().map(|(key, commit)| (key.clone(), commit.to_string())).collect(),
        size: record.size,
        held: intent.held.as_ref().map(|held| Held {
            media_type: held.media_type.clone(),
            document: String::from_utf8_lossy(&held.bytes).into_owned(),
        }),
    }
}

fn intent(mut stage: Stage) -> Result<Intent, String> {
    let digest = stage.manifest.clone();
    let held = stage.held.take().map(|held| RawManifest {
        digest: digest.clone(),
        media_type: held.media_type,
        bytes: held.document.into_bytes().into(),
    });
    // A manifest that is no text was not written as it is.
    let held = held.filter(|held| BlobDigest::of(&held.bytes) == digest);
    Ok(Intent { stage: record(stage)?, held })
}

fn record(stage: Stage) -> Result<StageRecord, String> {
    let commits = stage.commits.into_iter().map(|(key, commit)| Ok((key, parse(&commit)?)));
    Ok(StageRecord {
        id: parse(&stage.stage)?,
        platform: parse(&stage.platform)?,
        at: ImageAt { repo: Repo { host: stage.host, path: stage.path }, digest: stage.manifest },
        image_id: stage.image,
        commits: commits.collect::<Result<_, String>>()?,
        content: parse(&stage.content)?,
        parent: stage.parent.as_deref().map(parse).transpose()?,
        size: stage.size,
    })
}

fn parse<T: std::str::FromStr<Err: std::fmt::Display>>(text: &str) -> Result<T, String> {
    text.parse().map_err(|why: T::Err| why.to_string())
}

fn checksum(json: &str) -> String {
    Encoder::new("journal").text(json).finish().to_string()
}
