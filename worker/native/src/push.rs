//! Images to registries: what is there is referred to or mounted, what is not is packed and sent in one stream.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream as streams};
use slipway_backend::{BackendError, LocalImage, Pushed, pipe};
use slipway_layers::{
    Layer, LayerError,
    pack::View,
    root::Root,
    store::{Known, Place},
    stream,
};
use slipway_oci::{
    BlobDigest, Repo,
    manifest::{Descriptor, Manifest, OCI_CONFIG, OCI_MANIFEST},
};
use slipway_registry::{CopyError, RawManifest, RegistryError, Upload};
use tokio_util::sync::CancellationToken;

use crate::{Shared, error, kept};

/// Annotation by which no two attempts share a manifest.
const ATTEMPT: &str = "io.slipway.attempt";
/// Layers that are looked for or sent at once.
pub(crate) const AT_ONCE: usize = 4;

/// What a layer is remembered by, beside what it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Notes {
    /// Where it went is noted: it need not go there again.
    Kept,
    /// Nothing is: the repository is gone soon.
    None,
}

/// How a layer is brought to a repository.
#[derive(Clone, Copy)]
pub(crate) struct How<'a> {
    /// What is being done, for errors.
    pub(crate) doing: &'a str,
    /// Whether its place is noted.
    pub(crate) notes: Notes,
    /// Cancelled when nobody wants it there any more.
    pub(crate) given_up: &'a CancellationToken,
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
    match once(shared, image, to, attempt, (&doing, notes)).await? {
        Sent::Stored(pushed) => Ok(pushed),
        // It was there a moment ago: nothing is taken for granted now.
        Sent::Lost(layers) => {
            layers.iter().for_each(|layer| shared.client.unsee(to, &layer.digest));
            shared.client.unsee(to, &image.id);
            match once(shared, image, to, attempt, (&doing, notes)).await? {
                Sent::Stored(pushed) => Ok(pushed),
                Sent::Lost(_) => {
                    Err(BackendError::Gone(format!("{doing}: its parts vanish as soon as they are stored")))
                }
            }
        }
    }
}

/// How an attempt at a push ended.
enum Sent {
    Stored(Pushed),
    /// The registry lacks one of these layers, or the config.
    Lost(Vec<Descriptor>),
}

async fn once(
    shared: &Arc<Shared>,
    image: &LocalImage,
    to: &Repo,
    attempt: &str,
    (doing, notes): (&str, Notes),
) -> Result<Sent, BackendError> {
    let (bytes, layers) = shared.image_bytes(image).await?;
    let size = bytes.len() as u64;
    let never = CancellationToken::new();
    let how = How { doing, notes, given_up: &never };
    let sent = streams::iter(layers).map(|layer| blob(shared, layer, to, how)).buffered(AT_ONCE).try_collect();
    let config = config(shared, image, bytes, to);
    let config = async { config.await.map_err(|error| error::registry(doing, error)) };
    let (layers, ()): (Vec<Descriptor>, ()) = tokio::try_join!(sent, config)?;
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
    let raw =
        RawManifest { digest: BlobDigest::of(&bytes), media_type: media_type.to_owned(), bytes: Bytes::from(bytes) };
    let manifest = match store(shared, to, raw).await {
        Ok(manifest) => manifest,
        Err(RegistryError::NotFound(why)) => {
            tracing::debug!("{doing}: {why}");
            return Ok(Sent::Lost(layers));
        }
        Err(error) => return Err(error::registry(doing, error)),
    };
    if notes == Notes::None {
        return Ok(Sent::Stored(Pushed { manifest, size: total }));
    }
    let known = Known { image: image.id.clone(), repo: to.clone(), layers };
    let (store, named) = (shared.store.clone(), manifest.clone());
    let noted = shared.tasks.blocking(move || store.put_known(&named, &known)).await;
    noted.map_err(|error| error::layers(doing, error))?;
    Ok(Sent::Stored(Pushed { manifest, size: total }))
}

/// Stores a manifest, or leaves that to who gives it its tag.
async fn store(shared: &Shared, to: &Repo, raw: RawManifest) -> Result<BlobDigest, RegistryError> {
    if shared.client.hold_manifest(to, raw.clone()) {
        return Ok(raw.digest);
    }
    shared.client.put_manifest(to, raw.digest.as_str(), &raw.media_type, raw.bytes).await
}

/// Brings the config of an image to a repository, unless it went there while the image was made.
async fn config(shared: &Shared, image: &LocalImage, bytes: Vec<u8>, to: &Repo) -> Result<(), RegistryError> {
    if shared.client.seen_lately(to, &image.id) {
        return Ok(());
    }
    // The config of a new stage is nowhere yet: asking whether it is costs more than sending it.
    let mut upload = shared.client.start_upload(to).await?;
    upload.write(Bytes::from(bytes)).await?;
    upload.finish(&image.id).await
}

/// Brings a layer to a repository; answers how it is called there.
pub(crate) async fn blob(
    shared: &Arc<Shared>,
    layer: Layer,
    to: &Repo,
    how: How<'_>,
) -> Result<Descriptor, BackendError> {
    let How { doing, notes, .. } = how;
    let (store, diff_id) = (shared.store.clone(), layer.about.diff_id.clone());
    let places = shared.tasks.blocking(move || store.places(&diff_id)).await;
    let places = places.map_err(|error| error::layers(doing, error))?;
    let refused = |error| error::registry(doing, error);
    let found = match there(shared, &places, to).await.map_err(refused)? {
        Some(descriptor) => descriptor,
        None => match kept::send(shared, &layer, to, doing).await? {
            Some(descriptor) => descriptor,
            None => match elsewhere(shared, &places, to).await.map_err(refused)? {
                Some(descriptor) => descriptor,
                None => pack_and_send(shared, &layer, to, how).await?,
            },
        },
    };
    let place = Place { repo: to.clone(), descriptor: found.clone() };
    if notes == Notes::Kept && places.first() != Some(&place) {
        let (store, diff_id) = (shared.store.clone(), layer.about.diff_id.clone());
        let noted = shared.tasks.blocking(move || store.put_place(&diff_id, place)).await;
        noted.map_err(|error| error::layers(doing, error))?;
    }
    Ok(found)
}

/// A layer that the registry has: in the repository itself, or in another one.
async fn there(shared: &Shared, places: &[Place], to: &Repo) -> Result<Option<Descriptor>, RegistryError> {
    let client = &shared.client;
    for place in places.iter().filter(|place| place.repo == *to) {
        // What it had a moment ago need not be asked for: it refuses the manifest should it be gone.
        if client.seen_lately(to, &place.descriptor.digest) {
            return Ok(Some(place.descriptor.clone()));
        }
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
    for place in others.filter(|place| place.repo.host != to.host) {
        // What was read from one place may have come here by another way.
        if client.head_blob(to, &place.descriptor.digest).await? == Some(place.descriptor.size) {
            return Ok(Some(place.descriptor.clone()));
        }
    }
    Ok(None)
}

/// A layer that another registry has, brought from there.
async fn elsewhere(shared: &Shared, places: &[Place], to: &Repo) -> Result<Option<Descriptor>, RegistryError> {
    for place in places.iter().filter(|place| place.repo != *to) {
        // A registry that has lost it, or is gone, costs nothing but packing the layer again.
        if copy(shared, place, to).await? {
            return Ok(Some(place.descriptor.clone()));
        }
    }
    Ok(None)
}

/// From one registry to another, as it is: the receiving one verifies it. `false` when the first does not give it.
async fn copy(shared: &Shared, place: &Place, to: &Repo) -> Result<bool, RegistryError> {
    // What was pulled from a mirror may be had from there only.
    match shared.client.pulling().send_blob(&place.repo, to, &place.descriptor.digest).await {
        Ok(()) => Ok(true),
        Err(CopyError::Source(error)) => {
            tracing::debug!("take a layer from {}: {error}", place.repo);
            Ok(false)
        }
        Err(CopyError::Target(error)) => Err(error),
    }
}

/// Packs, digests, compresses, digests and sends a layer, all at the same time.
async fn pack_and_send(
    shared: &Arc<Shared>,
    layer: &Layer,
    to: &Repo,
    How { doing, given_up, .. }: How<'_>,
) -> Result<Descriptor, BackendError> {
    let compression = shared.compression;
    let (chunks, mut receiver) = pipe::pair();
    let held = layer.clone();
    let packing = move || {
        let root = Root::open(&held.diff()).and_then(|root| root.directory(b""));
        let root = root.map_err(|error| LayerError::io("open a layer", error))?;
        stream::stream(&root, &View::Upper { never: Vec::new() }, compression, chunks)
    };
    let packing = shared.tasks.blocking(packing);
    let client = shared.client.clone();
    let sending = async move {
        let mut upload: Upload = client.start_upload(to).await?;
        // The other side says what went wrong with it; nobody packs for who is gone.
        while let Some(Some(Ok(piece))) = given_up.run_until_cancelled(receiver.recv()).await {
            upload.write(piece).await?;
        }
        drop(receiver);
        Ok::<Upload, RegistryError>(upload)
    };
    let (packed, upload) = tokio::join!(packing, sending);
    let upload = upload.map_err(|error| error::registry(doing, error))?;
    if given_up.is_cancelled() {
        upload.cancel().await;
        return Err(BackendError::Engine(format!("{doing}: it was given up")));
    }
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
