//! What became of each image.

use std::{sync::Arc, time::Duration};

use slipway_config::{Image, ImageName};
use slipway_digest::Checksum;
use slipway_oci::{ImageAt, Platform, Repo};

use crate::{
    kind::StageKind,
    plan::{Place, StageRecord},
};

/// Where a stage came from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub enum Source {
    /// It was stored already, or another build was first.
    Reused,
    /// It was copied from another place.
    Copied(Origin),
    /// It was built by this build.
    Built,
}

/// From what kind of place a stage was copied.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub enum Origin {
    /// The local storage of the host.
    Local,
    /// A cache repository.
    Cache,
    /// A secondary repository.
    Secondary,
}

impl Origin {
    /// What it is called in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Cache => "cache",
            Self::Secondary => "secondary",
        }
    }

    pub(super) fn of(place: &Place) -> Self {
        match place {
            Place::Primary | Place::Local => Self::Local,
            Place::Cache(_) => Self::Cache,
            Place::Secondary(_) => Self::Secondary,
        }
    }
}

/// One stage of a finished image.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct BuiltStage {
    /// Which step.
    pub kind: StageKind,
    /// What is stored.
    pub record: Arc<StageRecord>,
    /// Where it came from.
    pub source: Source,
    /// How long it took to get.
    pub took: Duration,
    /// Whether what it stands on had to be fetched to build it.
    #[serde(default)]
    pub base_pulled: bool,
}

/// What a job has taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Effort {
    /// How long it ran.
    pub took: Duration,
    /// Whether what the stage stands on had to be fetched for it.
    pub base_pulled: bool,
}

/// A finished image for one platform. Its last stage is the image.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct BuiltTarget {
    /// The platform.
    pub platform: Platform,
    /// Its stages, lowest first; never empty.
    pub stages: Vec<BuiltStage>,
    /// The key under which its stages are to be noted; `None` = they are, or nothing is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Checksum>,
}

impl BuiltTarget {
    /// The stage that is the image.
    pub fn last(&self) -> Option<&BuiltStage> {
        self.stages.last()
    }
}

/// What leads to an image for several platforms.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct ImageIndex {
    /// Its tag: a digest over those of the images.
    pub tag: String,
    /// Where it is.
    pub at: ImageAt,
}

/// One finished image.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub struct BuiltImage {
    /// All its names.
    pub names: Vec<ImageName>,
    /// Whether it is an artifact.
    pub artifact: bool,
    /// Whether it may be deployed.
    pub is_final: bool,
    /// Whether it is part of a staged Dockerfile, and not the image that this is of.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub inner: bool,
    /// What was built of it for each platform; never empty.
    pub platforms: Vec<BuiltTarget>,
    /// What leads to all of them; `None` for one platform, and where an image of several cannot be stored as one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<ImageIndex>,
    /// The repository that it was copied to, to be run from there; `None` = it runs from where it is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_repo: Option<Repo>,
}

impl BuiltImage {
    /// An image of which nothing is built yet.
    pub(super) fn new(image: &Image) -> Self {
        Self {
            names: image.names.clone(),
            artifact: image.artifact,
            is_final: image.is_final,
            inner: image.is_inner(),
            platforms: Vec::new(),
            index: None,
            final_repo: None,
        }
    }

    /// Its stages for all platforms.
    pub fn stages(&self) -> impl Iterator<Item = &BuiltStage> {
        self.platforms.iter().flat_map(|target| &target.stages)
    }

    /// The stages that are the image, one for each platform.
    pub fn lasts(&self) -> impl Iterator<Item = &BuiltStage> {
        self.platforms.iter().filter_map(BuiltTarget::last)
    }

    /// Its tag and where it is: of its index, or of its only stage that is the image. `None` for an image of several
    /// platforms that no index leads to.
    pub fn whole(&self) -> Option<(String, &ImageAt)> {
        if let Some(index) = &self.index {
            return Some((index.tag.clone(), &index.at));
        }
        let mut lasts = self.lasts();
        match (lasts.next(), lasts.next()) {
            (Some(last), None) => Some((last.record.id.to_string(), &last.record.at)),
            _ => None,
        }
    }

    /// Whether it may be deployed: who runs it wants it, and not only other images.
    pub fn is_run(&self) -> bool {
        self.is_final && !self.artifact
    }

    /// Whether it has its name only within the build: nobody asks for an artifact or a part of a Dockerfile later.
    pub fn is_within(&self) -> bool {
        self.artifact || self.inner
    }

    /// The repository that it runs from.
    pub fn repo(&self) -> Option<&Repo> {
        self.final_repo.as_ref().or(self.lasts().next().map(|last| &last.record.at.repo))
    }

    /// Whether a stage of it was built now.
    pub fn rebuilt(&self) -> bool {
        self.stages().any(|stage| stage.source == Source::Built)
    }
}
