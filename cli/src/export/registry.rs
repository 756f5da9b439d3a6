//! Copies in a registry: layers are mounted where that goes, and streamed on where it does not.

use anyhow::Result;
use futures::TryStreamExt as _;
use slipway_oci::{Repo, manifest::Descriptor};
use slipway_registry::Client;

use super::source::Source;

/// Writes a copy under a tag.
pub(super) async fn write(client: &Client, source: &Source, to: &Repo, tag: &str) -> Result<()> {
    for layer in &source.layers {
        bring(client, &source.repo, layer, to).await?;
    }
    client.put_blob(to, source.config.clone()).await?;
    let (manifest, media_type) = source.manifest();
    client.put_manifest(to, tag, media_type, manifest.into()).await?;
    Ok(())
}

async fn bring(client: &Client, from: &Repo, layer: &Descriptor, to: &Repo) -> Result<()> {
    if client.head_blob(to, &layer.digest).await? == Some(layer.size) {
        return Ok(());
    }
    // A registry that would rather have the blob, or cannot say, gets it.
    if from.host == to.host && matches!(client.mount_blob(from, to, &layer.digest).await, Ok(true)) {
        return Ok(());
    }
    let (_, mut bytes) = client.blob_stream(from, &layer.digest).await?;
    let mut upload = client.start_upload(to).await?;
    loop {
        match bytes.try_next().await {
            Ok(Some(piece)) => upload.write(piece).await?,
            Ok(None) => return Ok(upload.finish(&layer.digest).await?),
            Err(error) => {
                upload.cancel().await;
                return Err(anyhow::Error::from(error).context(format!("read {} of {from}", layer.digest)));
            }
        }
    }
}
