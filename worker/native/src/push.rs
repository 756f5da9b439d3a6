//! Images to registries: what is there is referred to or mounted, what is not is packed and sent in one stream.

use std::{io, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use slipway_backend::{BackendError, LocalImage, Pushed};
use slipway_layers::{
    Layer, LayerError,
    codec::{Compression, Digesting, Encoder},
    pack::{View, pack},
    root::Root,
    store::{Known, Place},
};
use slipway_oci::{
    BlobDigest, Repo,
    manifest::{Descriptor, Manifest, OCI_CONFIG, OCI_MANIFEST},
};
use slipway_registry::{RegistryError, Upload};

use crate::{Shared, error, pipe};

/// Annotation by which no two attempts share a manifest.
const ATTEMPT: &str = "io.slipway.attempt";
/// Layers that are looked for or sent at once.
const AT_ONCE: usize = 4;
/// Chunks of a layer between the one that packs and the one that compresses.
const WAITING: usize = 4;
/// Bytes of such a chunk.
const CHUNK: usize = 256 * 1024;

/// What a layer is remembered by, beside what it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Notes {
    /// Where it went is noted: it need not go there again.
    Kept,
    /// Nothing is: the repository is gone soon.
    None,
}

/// Stores an image in a repository, untagged.
pub(crate) async fn push(
    shared: &Arc<Shared>,
    image: &LocalImage,
    to: &Repo,
    attempt: &str,
    notes: Notes,
) -> Result<Pushed, BackendError> {
    let doing = format!("push an image to {to}");
    let (bytes, layers) = shared.image_bytes(image).await?;
    let size = bytes.len() as u64;
    let sent =
        stream::iter(layers).map(|layer| blob(shared, layer, to, (&doing, notes))).buffered(AT_ONCE).try_collect();
    let config = shared.client.put_blob(to, Bytes::from(bytes));
    let config = async { config.await.map_err(|error| error::registry(&doing, error)) };
    let (layers, _): (Vec<Descriptor>, BlobDigest) = tokio::try_join!(sent, config)?;
    let total = layers.iter().map(|layer| layer.size).sum::<u64>() + size;
    let manifest = Manifest {
        schema_version: 2,
        media_type: Some(OCI_MANIFEST.to_owned()),
        config: Descriptor::new(OCI_CONFIG, image.id.clone(), size),
        layers: layers.clone(),
        annotations: Default::default(),
    };
    let annotations = [(ATTEMPT.to_owned(), attempt.to_owned())].into();
    let (bytes, media_type) = manifest.to_oci_annotated(&annotations);
    let digest = BlobDigest::of(&bytes);
    let stored = shared.client.put_manifest(to, digest.as_str(), media_type, Bytes::from(bytes)).await;
    let manifest = stored.map_err(|error| error::registry(&doing, error))?;
    if notes == Notes::None {
        return Ok(Pushed { manifest, size: total });
    }
    let known = Known { image: image.id.clone(), repo: to.clone(), layers };
    let (store, named) = (shared.store.clone(), manifest.clone());
    let noted = shared.tasks.blocking(move || store.put_known(&named, &known)).await;
    noted.map_err(|error| error::layers(&doing, error))?;
    Ok(Pushed { manifest, size: total })
}

/// Brings a layer to a repository; answers how it is called there.
async fn blob(
    shared: &Arc<Shared>,
    layer: Layer,
    to: &Repo,
    (doing, notes): (&str, Notes),
) -> Result<Descriptor, BackendError> {
    let (store, diff_id) = (shared.store.clone(), layer.about.diff_id.clone());
    let places = shared.tasks.blocking(move || store.places(&diff_id)).await;
    let places = places.map_err(|error| error::layers(doing, error))?;
    let found = match elsewhere(shared, &places, to).await.map_err(|error| error::registry(doing, error))? {
        Some(descriptor) => descriptor,
        None => pack_and_send(shared, &layer, to, doing).await?,
    };
    let place = Place { repo: to.clone(), descriptor: found.clone() };
    if notes == Notes::Kept && places.first() != Some(&place) {
        let (store, diff_id) = (shared.store.clone(), layer.about.diff_id.clone());
        let noted = shared.tasks.blocking(move || store.put_place(&diff_id, place)).await;
        noted.map_err(|error| error::layers(doing, error))?;
    }
    Ok(found)
}

/// A layer that a registry has: in the repository itself, in another of the same registry, or in another registry.
async fn elsewhere(shared: &Shared, places: &[Place], to: &Repo) -> Result<Option<Descriptor>, RegistryError> {
    let client = &shared.client;
    for place in places.iter().filter(|place| place.repo == *to) {
        if client.head_blob(to, &place.descriptor.digest).await? == Some(place.descriptor.size) {
            return Ok(Some(place.descriptor.clone()));
        }
    }
    let others = places.iter().filter(|place| place.repo != *to);
    for place in others.clone().filter(|place| place.repo.host == to.host) {
        let digest = &place.descriptor.digest;
        // A registry that would rather have the blob, or cannot say, gets it.
        if matches!(client.mount_blob(&place.repo, to, digest).await, Ok(true)) {
            return Ok(Some(place.descriptor.clone()));
        }
    }
    for place in others {
        // A registry that has lost it, or is gone, costs nothing but packing the layer again.
        if copy(shared, place, to).await? {
            return Ok(Some(place.descriptor.clone()));
        }
    }
    Ok(None)
}

/// From one registry to another, as it is: the receiving one verifies it. `false` when the first does not give it.
async fn copy(shared: &Shared, place: &Place, to: &Repo) -> Result<bool, RegistryError> {
    let started = shared.client.blob_stream(&place.repo, &place.descriptor.digest).await;
    let mut bytes = match started {
        Ok((_, bytes)) => bytes,
        Err(error) => {
            tracing::debug!("take a layer from {}: {error}", place.repo);
            return Ok(false);
        }
    };
    let mut upload = shared.client.start_upload(to).await?;
    while let Some(piece) = bytes.next().await {
        match piece {
            Ok(piece) => upload.write(piece).await?,
            Err(error) => {
                upload.cancel().await;
                tracing::debug!("take a layer from {}: {error}", place.repo);
                return Ok(false);
            }
        }
    }
    upload.finish(&place.descriptor.digest).await.map(|()| true)
}

/// What was sent.
struct Sent {
    digest: BlobDigest,
    size: u64,
    diff_id: BlobDigest,
}

/// Packs, digests, compresses, digests and sends a layer, all at the same time.
async fn pack_and_send(
    shared: &Arc<Shared>,
    layer: &Layer,
    to: &Repo,
    doing: &str,
) -> Result<Descriptor, BackendError> {
    let compression = shared.compression;
    let (chunks, mut receiver) = pipe::pair();
    let held = layer.clone();
    let packing = shared.tasks.blocking(move || compress(&held, compression, chunks));
    let client = shared.client.clone();
    let sending = async {
        let mut upload: Upload = client.start_upload(to).await?;
        while let Some(piece) = receiver.recv().await {
            // The other side says what went wrong with it.
            let Ok(piece) = piece else { break };
            upload.write(piece).await?;
        }
        Ok::<Upload, RegistryError>(upload)
    };
    let (packed, upload) = tokio::join!(packing, sending);
    let upload = upload.map_err(|error| error::registry(doing, error))?;
    let sent = match packed {
        Ok(sent) => sent,
        Err(error) => {
            upload.cancel().await;
            return Err(error::layers(doing, error));
        }
    };
    if sent.diff_id != layer.about.diff_id {
        upload.cancel().await;
        let why = format!("{doing}: the layer {} is not what it was: build it again", layer.about.diff_id);
        return Err(BackendError::Gone(why));
    }
    upload.finish(&sent.digest).await.map_err(|error| error::registry(doing, error))?;
    Ok(Descriptor::new(compression.media_type(), sent.digest, sent.size))
}

/// One thread packs and digests, the other compresses and digests.
fn compress(layer: &Layer, compression: Compression, output: pipe::Chunks) -> Result<Sent, LayerError> {
    let (sender, receiver) = std::sync::mpsc::sync_channel::<Vec<u8>>(WAITING);
    let io = |error: io::Error| LayerError::io("pack a layer", error);
    std::thread::scope(|scope| {
        let packing = scope.spawn(move || {
            let root = Root::open(&layer.diff()).and_then(|root| root.directory(b""));
            let to = Digesting::new(Handing { sender, pending: Vec::with_capacity(CHUNK) });
            let (digesting, _) = pack(&root.map_err(io)?, &View::Upper { never: Vec::new() }, to)?;
            let (handing, diff_id, _) = digesting.finish();
            handing.end().map_err(io)?;
            Ok::<BlobDigest, LayerError>(diff_id)
        });
        let pressing = (|| {
            let mut encoder = Encoder::new(compression, Digesting::new(output)).map_err(io)?;
            for piece in receiver {
                io::Write::write_all(&mut encoder, &piece).map_err(io)?;
            }
            let mut digesting = encoder.finish().map_err(io)?;
            io::Write::flush(&mut digesting).map_err(io)?;
            let (_, digest, size) = digesting.finish();
            Ok::<_, LayerError>((digest, size))
        })();
        let packed = packing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let (digest, size) = pressing?;
        Ok(Sent { digest, size, diff_id: packed? })
    })
}

/// Hands bytes to the other thread.
struct Handing {
    sender: std::sync::mpsc::SyncSender<Vec<u8>>,
    pending: Vec<u8>,
}

impl Handing {
    fn hand(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.pending, Vec::with_capacity(CHUNK));
        self.sender.send(piece).map_err(|_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody compresses any more"))
    }

    fn end(mut self) -> io::Result<()> {
        self.hand()
    }
}

impl io::Write for Handing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= CHUNK {
            self.hand()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
