//! A layer that goes to its repository while it is made, so that the push finds it there.

use std::{io, sync::Arc};

use bytes::Bytes;
use slipway_layers::{store::Place, stream::Streamed};
use slipway_oci::{Repo, manifest::Descriptor};
use slipway_registry::{RegistryError, Upload};
use tokio::sync::mpsc::Receiver;

use crate::Shared;

/// Bytes from which on a layer is worth a beginning: a smaller one goes beside the config, which costs no time.
const WORTH: usize = 1 << 20;

/// How far a layer came.
pub(crate) struct Sending {
    to: Repo,
    upload: Option<Upload>,
}

/// Sends what comes, to the end of it. When the repository does not take it, the rest is thrown away: the push will try
/// again, and say what is wrong.
pub(crate) async fn send(shared: &Shared, to: Repo, mut pieces: Receiver<io::Result<Bytes>>) -> Sending {
    let (mut held, mut size, mut upload, mut gave_up) = (Vec::new(), 0, None, false);
    while let Some(piece) = pieces.recv().await {
        // The other side says what went wrong with it.
        let Ok(piece) = piece else { break };
        if gave_up {
            continue;
        }
        size += piece.len();
        held.push(piece);
        if size < WORTH {
            continue;
        }
        if let Err(error) = pass_on(shared, &to, &mut upload, &mut held).await {
            tracing::debug!("send a layer while it is made: {error}");
            (gave_up, upload) = (true, None);
            held.clear();
        }
    }
    Sending { to, upload }
}

async fn pass_on(
    shared: &Shared,
    to: &Repo,
    upload: &mut Option<Upload>,
    held: &mut Vec<Bytes>,
) -> Result<(), RegistryError> {
    let upload = match upload {
        Some(upload) => upload,
        none => none.insert(shared.client.start_upload(to).await?),
    };
    for piece in held.drain(..) {
        upload.write(piece).await?;
    }
    Ok(())
}

impl Sending {
    /// Ends it: the layer is as told, or there is none.
    pub(crate) async fn end(self, shared: &Arc<Shared>, layer: Option<Streamed>) {
        let Some(upload) = self.upload else { return };
        let Some(Streamed { diff_id, digest, size, .. }) = layer else { return upload.cancel().await };
        let ended = upload.finish(&digest).await;
        if let Err(error) = ended {
            return tracing::debug!("send a layer while it is made: {error}");
        }
        let descriptor = Descriptor::new(shared.compression.media_type(), digest, size);
        let (store, place) = (shared.store.clone(), Place { repo: self.to, descriptor });
        if let Err(error) = shared.tasks.blocking(move || store.put_place(&diff_id, place)).await {
            // It costs looking for it again.
            tracing::debug!("note where a layer is: {error}");
        }
    }
}
