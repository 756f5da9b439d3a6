//! What a build tells while it runs, as plain data.

use std::time::Duration;

use slipway_stages::{Progress, StageRecord, build::Source};

/// One stage of one image.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub(crate) struct StageName {
    /// The image, as logs name it (`~` for the nameless one).
    pub(crate) image: String,
    /// The stage.
    pub(crate) stage: String,
}

impl std::fmt::Display for StageName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.image, self.stage)
    }
}

/// A stage in its storage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StoredStage {
    /// `REPO:DIGEST-TIMESTAMP`.
    pub(crate) name: String,
    /// The engine's image id, shortened.
    pub(crate) id: String,
    /// When it was stored, milliseconds since the Unix epoch.
    pub(crate) created: u64,
    /// Size of all its layers in bytes.
    pub(crate) size: u64,
}

impl From<&StageRecord> for StoredStage {
    fn from(record: &StageRecord) -> Self {
        Self {
            name: format!("{}:{}", record.at.repo, record.id),
            id: record.image_id.short().to_owned(),
            created: record.id.stamp.0,
            size: record.size,
        }
    }
}

/// What happened in a build.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum DisplayEvent {
    /// Work on an image begins.
    ImageStarted {
        /// The image, as logs name it.
        image: String,
    },
    /// A stage is stored already.
    StageFound {
        /// Which.
        name: StageName,
        /// What is stored.
        stored: StoredStage,
    },
    /// A stage is being built, or copied from another place.
    StageStarted {
        /// Which.
        name: StageName,
        /// Whether it is only copied.
        copy: bool,
    },
    /// A line of output of a stage's commands.
    StageLog {
        /// Which.
        name: StageName,
        /// The line as it came, without its end.
        line: Vec<u8>,
    },
    /// A stage is stored now.
    StageStored {
        /// Which.
        name: StageName,
        /// What is stored.
        stored: StoredStage,
        /// Where it came from.
        source: Source,
        /// How long it took.
        took: Duration,
    },
    /// An image is done.
    ImageDone {
        /// The image, as logs name it.
        image: String,
    },
    /// Sources start from an archive, although one is stored.
    BeginsAnew {
        /// Which stage.
        name: StageName,
        /// The commit of the stage that is stored and cannot be taken.
        commit: String,
    },
    /// Something that whoever waits should know.
    Notice {
        /// In a line.
        text: String,
    },
}

impl DisplayEvent {
    /// What a coordinator tells of a build; its end is none.
    pub(crate) fn told(event: slipway_protocol::BuildEvent) -> Option<Self> {
        use slipway_protocol::BuildEvent;
        match event {
            BuildEvent::Progress(progress) => Some(progress.into()),
            BuildEvent::Log { image, kind, line, .. } => {
                let name = StageName { image: image.to_string(), stage: kind.to_string() };
                Some(Self::StageLog { name, line: line.into_bytes() })
            }
            BuildEvent::Notice(text) => Some(Self::Notice { text }),
            BuildEvent::Finished(_) => None,
        }
    }
}

impl From<Progress> for DisplayEvent {
    fn from(progress: Progress) -> Self {
        let name = |image: &slipway_config::ImageName, kind: slipway_stages::StageKind| StageName {
            image: image.to_string(),
            stage: kind.to_string(),
        };
        match progress {
            Progress::ImageStarted(image) => Self::ImageStarted { image: image.to_string() },
            Progress::StageFound { image, kind, record } => {
                Self::StageFound { name: name(&image, kind), stored: StoredStage::from(&*record) }
            }
            Progress::BeginsAnew { image, kind, commit } => {
                Self::BeginsAnew { name: name(&image, kind), commit: commit.to_string() }
            }
            Progress::StageStarted { image, kind, key: _, copy } => {
                Self::StageStarted { name: name(&image, kind), copy }
            }
            Progress::StageStored { image, kind, record, source, took } => {
                Self::StageStored { name: name(&image, kind), stored: StoredStage::from(&*record), source, took }
            }
            Progress::ImageDone(image) => Self::ImageDone { image: image.to_string() },
        }
    }
}
