//! External images, from their registries only: a coordinator has no engine.

use std::time::Duration;

use async_trait::async_trait;
use slipway_oci::{ArchiveName, Platform, Reference};
use slipway_registry::Client;
use slipway_stages::BaseImage;

use crate::outside::Bases;

/// How long a registry may take to answer.
const PATIENCE: Duration = Duration::from_secs(120);
/// A host without a port that is no registry: images that were made on one machine are named so.
const THIS_MACHINE: &str = "localhost";

/// Looks in the registry that a reference names.
pub struct RegistryBases(pub Client);

#[async_trait]
impl Bases for RegistryBases {
    async fn find(&self, text: &str, platform: &Platform) -> Result<BaseImage, String> {
        if ArchiveName::is_meant(text) {
            return Err(format!(
                "the base {text} lies in an archive of the project, which a cluster does not have: push the image to a \
                 registry that its workers reach and name it there by `from`, or build without a coordinator"
            ));
        }
        let reference: Reference = text.parse().map_err(|error| format!("unable to fetch base image: {error}"))?;
        if reference.repo.host == THIS_MACHINE {
            return Err(missing(text, platform, "it is named as an image of one machine; push it to a registry"));
        }
        let looked = tokio::time::timeout(PATIENCE, self.0.pulling().resolve(&reference, platform)).await;
        match looked {
            Ok(Ok(Some(at))) => Ok(BaseImage { reference: text.to_owned(), at: Some(at) }),
            Ok(Ok(None)) => Err(missing(text, platform, "its registry does not have it")),
            Ok(Err(error)) => Err(missing(text, platform, &error.to_string())),
            Err(_) => Err(missing(text, platform, "its registry does not answer")),
        }
    }
}

fn missing(reference: &str, platform: &Platform, why: &str) -> String {
    format!(
        "unable to fetch base image {reference} for {platform}: {why}; check the name, and the coordinator's access to \
         that registry"
    )
}
