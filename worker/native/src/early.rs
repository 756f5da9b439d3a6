//! A layer and a config that go to their repository while they are made, so that the push finds them there. Where to send
//! them is asked for while the commands still run.

use std::{future::Future, io, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::{BoxFuture, Either, FutureExt as _, ready, select};
use slipway_layers::{store::Place, stream::Streamed};
use slipway_oci::{BlobDigest, Repo, manifest::Descriptor};
use slipway_registry::{RegistryError, Upload};
use tokio::{sync::mpsc::Receiver, time::timeout};

use crate::Shared;

/// Bytes of a layer that are gathered before the first of them go out: most layers are smaller, and go in one request.
const GATHERED: usize = 1 << 20;

/// How old an upload may be into which nothing was sent: registries do not keep them for ever, and whoever is to send into
/// one may have other rights by then.
const OLDEST: Duration = Duration::from_secs(60);

/// How long a registry is told that an upload is given up.
const TELLING: Duration = Duration::from_secs(5);

/// Uploads that were begun before there is anything to send.
pub(crate) struct Opened {
    to: Repo,
    layer: Option<Upload>,
    config: Option<Upload>,
    /// When, by the clock that only goes forward.
    at: Duration,
}

/// The same, perhaps still on their way.
pub(crate) type Opening = BoxFuture<'static, Opened>;

/// Begins uploads to a repository.
pub(crate) fn open(shared: &Arc<Shared>, to: Repo) -> Opening {
    let shared = Arc::clone(shared);
    let open = async move {
        let at = shared.clock.monotonic();
        let (layer, config) = tokio::join!(shared.client.start_upload(&to), shared.client.start_upload(&to));
        Opened { to, layer: layer.inspect_err(given_up).ok(), config: config.inspect_err(given_up).ok(), at }
    };
    open.boxed()
}

/// Does some work while uploads are begun, but not longer than the work takes.
pub(crate) async fn beside<T>(opening: Opening, work: impl Future<Output = T> + Send) -> (T, Opening) {
    match select(Box::pin(work), opening).await {
        Either::Left((done, opening)) => (done, opening),
        Either::Right((opened, work)) => (work.await, ready(opened).boxed()),
    }
}

/// Tells the registry that nothing will come. One that does not answer is not waited for.
pub(crate) async fn give_up(opening: Opening) {
    let told = async {
        for upload in opening.await.uploads() {
            upload.cancel().await;
        }
    };
    if timeout(TELLING, told).await.is_err() {
        tracing::debug!("the uploads that were begun are left to the registry");
    }
}

impl Opened {
    fn uploads(self) -> impl Iterator<Item = Upload> {
        [self.layer, self.config].into_iter().flatten()
    }
}

/// How far they came.
pub(crate) struct Sending {
    to: Repo,
    layer: Option<Upload>,
    config: Option<Upload>,
}

/// Sends the pieces of a layer that come, to the end of them. When the repository does not take them, the rest is thrown
/// away: the push will try again, and say what is wrong.
pub(crate) async fn send(shared: &Arc<Shared>, opening: Opening, mut pieces: Receiver<io::Result<Bytes>>) -> Sending {
    let (opened, gathered) = tokio::join!(young(shared, opening), gather(&mut pieces));
    let Opened { to, mut layer, config, .. } = opened;
    for piece in gathered {
        pass_on(&mut layer, piece).await;
    }
    // The other side says what went wrong with it.
    while let Some(Ok(piece)) = pieces.recv().await {
        pass_on(&mut layer, piece).await;
    }
    Sending { to, layer, config }
}

/// Uploads that were begun lately: these, or others in their place.
async fn young(shared: &Arc<Shared>, opening: Opening) -> Opened {
    let opened = opening.await;
    if shared.clock.monotonic().saturating_sub(opened.at) < OLDEST {
        return opened;
    }
    let to = opened.to.clone();
    let (opened, ()) = tokio::join!(open(shared, to), give_up(ready(opened).boxed()));
    opened
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
