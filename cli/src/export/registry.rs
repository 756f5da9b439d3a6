//! Copies in a registry: layers are mounted where that goes, and streamed on where it does not.

use anyhow::Result;
use slipway_oci::Repo;
use slipway_registry::Client;

use super::source::Source;

/// Writes a copy under a tag.
pub(super) async fn write(client: &Client, source: &Source, to: &Repo, tag: &str) -> Result<()> {
    for layer in &source.layers {
        client.copy_blob(&source.repo, to, layer).await?;
    }
    client.put_blob(to, source.config.clone()).await?;
    let (manifest, media_type) = source.manifest();
    client.put_manifest(to, tag, media_type, manifest.into()).await?;
    Ok(())
}
