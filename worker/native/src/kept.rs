//! Layers whose archives were kept, to registries: as they came.

use futures::StreamExt as _;
use slipway_backend::BackendError;
use slipway_layers::{Layer, LayerError};
use slipway_oci::{Repo, manifest::Descriptor};
use slipway_registry::RegistryError;
use tokio_util::io::ReaderStream;

use crate::{Shared, error};

/// Bytes that are sent at once.
const PIECE: usize = 256 * 1024;

/// Sends the archive of a layer; `None` when it was not kept. The registry verifies it.
pub(crate) async fn send(
    shared: &Shared,
    layer: &Layer,
    to: &Repo,
    doing: &str,
) -> Result<Option<Descriptor>, BackendError> {
    let held = layer.clone();
    let kept = shared.tasks.blocking(move || held.kept()).await.map_err(|error| error::layers(doing, error))?;
    let Some(kept) = kept else { return Ok(None) };
    let unread = |error: std::io::Error| error::layers(doing, LayerError::io("read the archive of a layer", error));
    let refused = |error: RegistryError| error::registry(doing, error);
    let file = tokio::fs::File::open(&kept.path).await.map_err(unread)?;
    let mut pieces = ReaderStream::with_capacity(file, PIECE);
    let mut upload = shared.client.start_upload(to).await.map_err(refused)?;
    while let Some(piece) = pieces.next().await {
        match piece {
            Ok(piece) => upload.write(piece).await.map_err(refused)?,
            Err(error) => {
                upload.cancel().await;
                return Err(unread(error));
            }
        }
    }
    upload.finish(&kept.descriptor.digest).await.map_err(refused)?;
    Ok(Some(kept.descriptor))
}
