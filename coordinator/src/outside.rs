//! What an engine needs of the world around one build.

use std::sync::Arc;

use async_trait::async_trait;
use slipway_digest::CommitId;
use slipway_git::GitView;
use slipway_oci::{Platform, Repo};
use slipway_stages::BaseImage;
use slipway_storage::{Beside, CustomTags, Publisher, Records, RepoStorage, StageStorage};

/// Finds external images. Live: registries, with the local engine as a fallback.
#[async_trait]
pub trait Bases: Send + Sync {
    /// The image that a reference names, for a platform. The error says what was tried and what to do.
    async fn find(&self, reference: &str, platform: &Platform) -> Result<BaseImage, String>;
}

/// What the engine asks and commits to, for one build.
#[derive(Clone)]
pub struct Outside {
    /// The project's repository.
    pub git: Arc<dyn GitView>,
    /// Where stages are published.
    pub primary: Arc<dyn StageStorage>,
    /// The local storage of this host, when stages are published to a repository: they may be copied from it.
    pub local: Option<Arc<dyn StageStorage>>,
    /// Where the stages of images are noted, so that they are found at once; `None` = nowhere, and they are looked for one by one.
    pub images: Option<Arc<RepoStorage>>,
    /// Repositories beside the primary one.
    pub beside: Beside,
    /// Further tags of its images; `None` = there are none.
    pub custom_tags: Option<CustomTags>,
    /// External images.
    pub bases: Arc<dyn Bases>,
    /// What is kept beside the stages.
    pub records: Arc<dyn Records>,
    /// The commits to record the images under; none for a build that leaves no history.
    pub history: Vec<CommitId>,
    /// Makes stages the stored ones.
    pub publisher: Arc<Publisher>,
    /// Where workers push; `None` = their local storage.
    pub push_to: Option<Repo>,
}
