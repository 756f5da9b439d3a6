//! External images: from their registries, from archives of the project, or as the local engine has them.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use slipway_backend::ImageStore;
use slipway_coordinator::Bases;
use slipway_oci::{BaseName, ImageAt, Platform, Reference};
use slipway_registry::Client;
use slipway_stages::BaseImage;

use super::archives::Archives;

/// How long a registry may take to answer when the engine has the image anyway.
const PATIENCE: Duration = Duration::from_secs(5);
/// A host without a port that is no registry: images that were made on this machine are named so.
const THIS_MACHINE: &str = "localhost";

/// Looks in the registry that a reference names, then in the local engine.
pub(super) struct FoundBases {
    pub(super) client: Client,
    pub(super) images: Arc<dyn ImageStore>,
    pub(super) archives: Archives,
    /// Whether the images are those of a Docker engine.
    pub(super) engine: bool,
}

#[async_trait]
impl Bases for FoundBases {
    async fn find(&self, text: &str, platform: &Platform) -> Result<BaseImage, String> {
        let name: BaseName = text.parse().map_err(|error| format!("unable to fetch base image: {error}"))?;
        let reference = match name {
            BaseName::Registry(reference) => reference,
            BaseName::Archive(name) => {
                let at = self.archives.find(name, platform).await?;
                return Ok(BaseImage { reference: text.to_owned(), at: Some(at) });
            }
            BaseName::Scratch => return Err(format!("`{text}` holds nothing that could be fetched")),
        };
        let is_local = self.is_local(&reference, platform).await?;
        let found = |at| Ok(BaseImage { reference: text.to_owned(), at });
        if reference.repo.host == THIS_MACHINE {
            return if is_local {
                found(None)
            } else {
                Err(self.missing(text, platform, &format!("{} does not have it", self.here())))
            };
        }
        if !is_local {
            return match self.client.resolve(&reference, platform).await {
                Ok(Some(at)) => found(Some(at)),
                Ok(None) => {
                    Err(self.missing(text, platform, &format!("neither its registry nor {} has it", self.here())))
                }
                Err(error) => Err(self.missing(text, platform, &error.to_string())),
            };
        }
        match self.resolve_soon(&reference, platform).await {
            Ok(at) => found(Some(at)),
            Err(why) => {
                tracing::warn!("using existing image {text} without pull: {why}");
                found(None)
            }
        }
    }
}

impl FoundBases {
    async fn is_local(&self, reference: &Reference, platform: &Platform) -> Result<bool, String> {
        let local = self.images.local(reference, platform).await;
        local.map(|image| image.is_some()).map_err(|error| format!("look for {reference} in the local engine: {error}"))
    }

    /// What has images on this host.
    fn here(&self) -> &'static str {
        if self.engine { "the local engine" } else { "this host" }
    }

    fn missing(&self, reference: &str, platform: &Platform, why: &str) -> String {
        let advice = match self.engine {
            true => "check the name, or log in with `docker login`",
            false => {
                "check the name, log in with `docker login`, or build with --backend docker when only a Docker engine has it"
            }
        };
        format!("unable to fetch base image {reference} for {platform}: {why}; {advice}")
    }

    async fn resolve_soon(&self, reference: &Reference, platform: &Platform) -> Result<ImageAt, String> {
        match tokio::time::timeout(PATIENCE, self.client.resolve(reference, platform)).await {
            Ok(Ok(Some(at))) => Ok(at),
            Ok(Ok(None)) => Err("its registry does not have it".to_owned()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err(format!("its registry did not answer within {} s", PATIENCE.as_secs())),
        }
    }
}
