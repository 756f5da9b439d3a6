//! A layer and a config that go to their repository while they are made, so that the push finds them there.

use std::{io, sync::Arc};

use bytes::Bytes;
use slipway_layers::{store::Place, stream::Streamed};
use slipway_oci::{BlobDigest, Repo, manifest::Descriptor};
use slipway_registry::{RegistryError, Upload};
use tokio::sync::mpsc::Receiver;

use crate::Shared;

/// Bytes of a layer that are gathered before the first of them go out: most layers are smaller, and go in one request.
const GATHERED: usize = 1 << 20;

/// How far they came.
pub(crate) struct Sending {
    to: Repo,
    layer: Option<Upload>,
    config: Option<Upload>,
}

/// Sends the pieces of a layer that come, to the end of them. Where to send them is asked for beside the packing. When the
/// repository does not take them, the rest is thrown away: the push will try again, and say what is wrong.
pub(crate) async fn send(shared: &Shared, to: Repo, mut pieces: Receiver<io::Result<Bytes>>) -> Sending {
    let open = async { tokio::join!(shared.client.start_upload(&to), shared.client.start_upload(&to)) };
    let ((layer, config), gathered) = tokio::join!(open, gather(&mut pieces));
    let mut layer = layer.inspect_err(given_up).ok();
    for piece in gathered {
        pass_on(&mut layer, piece).await;
    }
    // The other side says what went wrong with it.
    while let Some(Ok(piece)) = pieces.recv().await {
        pass_on(&mut layer, piece).await;
    }
    Sending { to, layer, config: config.inspect_err(given_up).ok() }
}

/// The first pieces: all of a small layer.
async fn gather(pieces: &mut Receiver<io::Result<Bytes>>) -> Vec<Bytes> {
    let (mut gathered, mut size) = (Vec::new(), 0);
    while size < GATHERED
        && let Some(Ok(piece)) = pieces.recv().await
    {
        size += piece.len();
        gathered.push(piece);
    }
    gathered
}

async fn pass_on(upload: &mut Option<Upload>, piece: Bytes) {
    if let Some(open) = upload
        && let Err(error) = open.write(piece).await
    {
        given_up(&error);
        *upload = None;
    }
}

fn given_up(error: &RegistryError) {
    tracing::debug!("send what is made while it is made: {error}");
}

impl Sending {
    /// Ends it: there is this layer, if any, and this config. Without a config there is no image.
    pub(crate) async fn end(self, shared: &Arc<Shared>, layer: Option<Streamed>, config: Option<(BlobDigest, Bytes)>) {
        let Self { to, layer: to_layer, config: to_config } = self;
        let layer = async {
            match (to_layer, layer) {
                (Some(upload), Some(layer)) => end_layer(shared, to, upload, layer).await,
                (Some(upload), None) => upload.cancel().await,
                (None, _) => {}
            }
        };
        let config = async {
            match (to_config, config) {
                (Some(upload), Some((digest, bytes))) => end_config(upload, &digest, bytes).await,
                (Some(upload), None) => upload.cancel().await,
                (None, _) => {}
            }
        };
        tokio::join!(layer, config);
    }
}

async fn end_layer(shared: &Arc<Shared>, to: Repo, upload: Upload, layer: Streamed) {
    let Streamed { diff_id, digest, size, .. } = layer;
    if let Err(error) = upload.finish(&digest).await {
        return given_up(&error);
    }
    let descriptor = Descriptor::new(shared.compression.media_type(), digest, size);
    let (store, place) = (shared.store.clone(), Place { repo: to, descriptor });
    if let Err(error) = shared.tasks.blocking(move || store.put_place(&diff_id, place)).await {
        // It costs looking for it again.
        tracing::debug!("note where a layer is: {error}");
    }
}

async fn end_config(mut upload: Upload, digest: &BlobDigest, bytes: Bytes) {
    let sent = async {
        upload.write(bytes).await?;
        upload.finish(digest).await
    };
    if let Err(error) = sent.await {
        given_up(&error);
    }
}
