//! Copies in a registry: layers are mounted where that goes, and streamed on where it does not.

use anyhow::Result;
use slipway_oci::{Repo, manifest::OCI_INDEX};
use slipway_registry::Client;

use super::source::{self, Source};

/// Writes copies under a tag: one, or an index that leads to one for each platform.
pub(super) async fn write(client: &Client, sources: &[Source], to: &Repo, tag: &str) -> Result<()> {
    for source in sources {
        for layer in &source.layers {
            client.copy_blob(&source.repo, to, layer).await?;
        }
        client.put_blob(to, source.config.clone()).await?;
        let (manifest, media_type) = source.manifest();
        let digest = slipway_oci::BlobDigest::of(&manifest);
        let selector = if sources.len() == 1 { tag } else { digest.as_str() };
        client.put_manifest(to, selector, media_type, manifest.into()).await?;
    }
    if sources.len() > 1 {
        client.put_manifest(to, tag, OCI_INDEX, source::index(sources).to_bytes().into()).await?;
    }
    Ok(())
}
