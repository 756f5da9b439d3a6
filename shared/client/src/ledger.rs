//! What builds and cleanups of this host ask of a coordinator that keeps the records of their stages.

use std::time::Duration;

use http::Method;
use serde::{Serialize, de::DeserializeOwned};
use slipway_protocol::{
    BuildKept, CleanStages, FindStages, FoundStages, KeepBuild, PublishStage, RejectStage, StagePublished,
    StageRejected, StagesCleaned,
};

use crate::{Client, ClientError, call::Call};

/// How long one try may take: the coordinator asks its store and the registry.
const EACH: Duration = Duration::from_secs(60);
/// How long coordinators may be away in the middle of a build or cleanup.
const PATIENCE: Duration = Duration::from_secs(600);
/// How long they may be away when it begins.
const AT_FIRST: Duration = Duration::from_secs(20);

impl Client {
    /// The stages of a digest that may be used, oldest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn find_stages(&self, asked: &FindStages) -> Result<FoundStages, ClientError> {
        self.of_stages("look for stored stages", "find", asked, PATIENCE).await
    }

    /// Makes a stage the stored one, unless one suits that is stored already.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn publish_stage(&self, asked: &PublishStage) -> Result<StagePublished, ClientError> {
        self.of_stages("publish a stage", "publish", asked, PATIENCE).await
    }

    /// Takes a stage out of use whose image is lost.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn reject_stage(&self, asked: &RejectStage) -> Result<StageRejected, ClientError> {
        self.of_stages("take a lost stage out of use", "reject", asked, PATIENCE).await
    }

    /// Says that a build of this host runs, or has ended; `first` = coordinators are not waited for.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn keep_build(&self, asked: &KeepBuild, first: bool) -> Result<BuildKept, ClientError> {
        let patience = if first { AT_FIRST } else { PATIENCE };
        self.of_stages("agree with other builds", "builds", asked, patience).await
    }

    /// Takes a step of a cleanup; `first` = coordinators are not waited for.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn clean_stages(&self, asked: &CleanStages, first: bool) -> Result<StagesCleaned, ClientError> {
        let patience = if first { AT_FIRST } else { PATIENCE };
        self.of_stages("clean up the records of stages", "clean", asked, patience).await
    }

    async fn of_stages<T: DeserializeOwned>(
        &self,
        doing: &str,
        verb: &str,
        asked: &impl Serialize,
        patience: Duration,
    ) -> Result<T, ClientError> {
        let call = Call::get(doing, format!("v1/stages/{verb}")).with(Method::POST, asked);
        self.ask(&call.patience(EACH.min(patience), patience)).await
    }
}
