//! Why a stage stays, or goes.

use std::{fmt, sync::Arc};

use slipway_config::ReferenceKind;
use slipway_digest::{CommitId, StageId};

/// What becomes of a stage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It stays.
    Keep(Reason),
    /// It goes.
    Go(Why),
}

/// Why a stage stays.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// A branch or tag leads to it.
    Reference {
        /// Which of the two.
        kind: ReferenceKind,
        /// Its name, without `origin/`.
        name: Arc<str>,
        /// The image that it was; empty for one without a name.
        image: Arc<str>,
        /// At which commit.
        commit: CommitId,
    },
    /// It runs, or is to run: who says so, such as `context prod: deployment shop/api`.
    InUse(Arc<str>),
    /// It is not older than this many hours.
    BuiltWithin(u64),
    /// It is marked as one to stay: a running build uses it.
    Building,
    /// The stage that stays stands on it.
    Parent(StageId),
    /// The stage that stays has files of it.
    Import(StageId),
    /// The stage that stays names it among its dependencies.
    Dependency(StageId),
    /// Its files are those that another stage was built with: without it, they would be built again to know that.
    SameImport(StageId),
    /// The image for several platforms that stays leads to it.
    Index(Arc<str>),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reference { kind, name, image, commit } => {
                let kind = match kind {
                    ReferenceKind::Branch => "branch",
                    ReferenceKind::Tag => "tag",
                };
                let image = if image.is_empty() { "~" } else { image };
                write!(f, "{kind} {name}: image {image} at commit {}", &commit.to_string()[..12])
            }
            Self::InUse(what) => write!(f, "in use: {what}"),
            Self::BuiltWithin(hours) => write!(f, "built within the last {hours} h"),
            Self::Building => f.write_str("a running build uses it"),
            Self::Parent(stage) => write!(f, "below {stage}"),
            Self::Import(stage) => write!(f, "{stage} imports files of it"),
            Self::Dependency(stage) => write!(f, "{stage} depends on it"),
            Self::SameImport(stage) => write!(f, "it has the same files as {stage}, which are imported"),
            Self::Index(tag) => write!(f, "image {tag} for several platforms leads to it"),
        }
    }
}

/// Why a stage goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Why {
    /// Nothing needs it.
    Unneeded,
    /// It was marked as unusable.
    Rejected,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unneeded => "nothing needs it",
            Self::Rejected => "it was rejected",
        })
    }
}
