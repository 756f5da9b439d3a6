//! Images of registries: their layers fetched, verified and unpacked at once.

use std::{
    fs::File,
    io::{Read, Write as _},
    sync::Arc,
};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use rustix::fs::FileType;
use slipway_backend::{BackendError, ByteStream, LocalImage};
use slipway_layers::{
    ChainId, Layer, LayerError, Store,
    codec::{Decoder, Digesting},
    entry::Time,
    root::Root,
    store::{About, Claim, Claimed, Known, Place},
    tar::{Limits, TarReader},
    unpack::{Purpose, Unpacked, unpack},
};
use slipway_oci::{
    BlobDigest, ImageAt, ImageConfig, Repo,
    manifest::{Descriptor, Manifest},
};
use slipway_registry::{Client, RegistryError};
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::{Shared, error};

/// Layers that are fetched at once.
const AT_ONCE: usize = 4;
/// How many times as large as its archive a layer is taken to be before it is known.
const GROWTH: u64 = 4;

/// A layer that is there, or is but for its place.
enum Fetched {
    There(Layer),
    Unpacked { claim: Claim, unpacked: Unpacked, about: About },
}

/// One layer to fetch.
#[derive(Clone)]
struct Wanted {
    chain: ChainId,
    below: Option<ChainId>,
    diff_id: BlobDigest,
    descriptor: Descriptor,
    repo: Repo,
}

/// Makes an image local.
pub(crate) async fn pull(shared: &Arc<Shared>, at: &ImageAt) -> Result<LocalImage, BackendError> {
    if at.repo.host.is_empty() {
        // In the local storage, images go by their ids.
        let image = LocalImage { id: at.digest.clone() };
        return shared.image_size(&image).await.map(|_| image).map_err(|error| gone(at, error));
    }
    if let Some(image) = known(shared, at).await? {
        return Ok(image);
    }
    let doing = if at.repo.is_passing() { format!("unpack the image {}", at.digest) } else { format!("pull {at}") };
    // Of the processes of this host one fetches, and the others find what it has fetched.
    let (store, digest) = (shared.store.clone(), at.digest.clone());
    let alone = shared.tasks.blocking(move || store.pulling(&digest)).await;
    let _alone = alone.map_err(|error| error::layers(&doing, error))?;
    if let Some(image) = known(shared, at).await? {
        return Ok(image);
    }
    let (manifest, config_bytes, config) = documents(shared, at, &doing).await?;
    let layers = layers(at, &manifest, &config, &doing)?;
    // Held until all is noted, so that nothing is evicted meanwhile.
    let _placed = fetch_all(shared, &layers, &doing).await?;
    let (store, at) = (shared.store.clone(), at.clone());
    let finish = move || -> Result<LocalImage, LayerError> {
        for wanted in layers.into_iter().filter(|wanted| !wanted.repo.is_passing()) {
            store.put_place(&wanted.diff_id, Place { repo: wanted.repo, descriptor: wanted.descriptor })?;
        }
        let id = store.put_image(&config_bytes)?;
        store.put_known(&at.digest, &Known { image: id.clone(), repo: at.repo, layers: manifest.layers })?;
        Ok(LocalImage { id })
    };
    shared.tasks.blocking(finish).await.map_err(|error| error::layers(&doing, error))
}

/// Whether an image was pulled or pushed before, and all of it is still there.
pub(crate) async fn is_here(shared: &Arc<Shared>, at: &ImageAt) -> bool {
    matches!(known(shared, at).await, Ok(Some(_)))
}

fn gone(at: &ImageAt, error: BackendError) -> BackendError {
    match error {
        BackendError::Gone(_) => BackendError::Gone(at.to_string()),
        other => other,
    }
}

/// The image of a manifest that was pulled or pushed before, if all of it is still there.
async fn known(shared: &Arc<Shared>, at: &ImageAt) -> Result<Option<LocalImage>, BackendError> {
    let (store, digest) = (shared.store.clone(), at.digest.clone());
    let known = shared.tasks.blocking(move || store.known(&digest)).await;
    let known = known.map_err(|error| error::layers(&format!("look for {at}"), error))?;
    let Some(known) = known else { return Ok(None) };
    let image = LocalImage { id: known.image };
    match shared.image_size(&image).await {
        Ok(_) => Ok(Some(image)),
        Err(BackendError::Gone(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn documents(shared: &Shared, at: &ImageAt, doing: &str) -> Result<(Manifest, Bytes, ImageConfig), BackendError> {
    let found = shared.client.pulling().manifest(&at.repo, at.digest.as_str()).await;
    let found = found.map_err(|error| error::registry(doing, error))?;
    let raw = found.ok_or_else(|| BackendError::Gone(at.to_string()))?;
    let bad = |why: String| BackendError::Refused(format!("{doing}: {why}"));
    let manifest = Manifest::parse(&raw.bytes).map_err(|error| bad(error.to_string()))?;
    let bytes = shared.client.pulling().blob(&at.repo, &manifest.config.digest).await.map_err(|error| match error {
        RegistryError::NotFound(_) => BackendError::Gone(at.to_string()),
        other => error::registry(doing, other),
    })?;
    let config = ImageConfig::parse(&bytes).map_err(|error| bad(error.to_string()))?;
    Ok((manifest, bytes, config))
}

fn layers(at: &ImageAt, manifest: &Manifest, config: &ImageConfig, doing: &str) -> Result<Vec<Wanted>, BackendError> {
    let ids: Result<Vec<BlobDigest>, _> = config.rootfs.diff_ids.iter().map(|id| id.parse()).collect();
    let ids = ids.map_err(|error: slipway_oci::DigestError| BackendError::Refused(format!("{doing}: {error}")))?;
    if ids.len() != manifest.layers.len() {
        let (listed, known) = (manifest.layers.len(), ids.len());
        let why = format!("{doing}: its manifest lists {listed} layers, and its config {known}");
        return Err(BackendError::Refused(why));
    }
    let stacks = ChainId::stacks(&ids);
    let all = ids.into_iter().zip(&manifest.layers).enumerate().map(|(index, (diff_id, descriptor))| Wanted {
        chain: stacks[index].clone(),
        below: index.checked_sub(1).map(|below| stacks[below].clone()),
        diff_id,
        descriptor: descriptor.clone(),
        repo: at.repo.clone(),
    });
    Ok(all.collect())
}

/// Fetches several layers at once, and brings each to its place as soon as those below it are there.
///
/// Whoever holds the claim on a layer waits for lower ones only. Were claims held until all layers are fetched, two that
/// pull one image would wait for each other.
async fn fetch_all(shared: &Arc<Shared>, layers: &[Wanted], doing: &str) -> Result<Vec<Layer>, BackendError> {
    let mut fetched = stream::iter(layers.to_vec())
        .map(|wanted| fetch(Arc::clone(shared), wanted, doing.to_owned()))
        .buffered(AT_ONCE);
    let mut placed: Vec<Layer> = Vec::with_capacity(layers.len());
    while let Some(fetched) = fetched.try_next().await? {
        let below = placed.clone();
        let layer = shared.tasks.blocking(move || place(fetched, &below)).await;
        placed.push(layer.map_err(|error| error::layers(doing, error))?);
    }
    Ok(placed)
}

/// Why a layer was not fetched.
enum Unfetched {
    Layer(LayerError),
    Registry(RegistryError),
}

impl Unfetched {
    fn into_backend(self, doing: &str) -> BackendError {
        match self {
            Self::Layer(error) => error::layers(doing, error),
            Self::Registry(error) => error::registry(doing, error),
        }
    }
}

impl From<LayerError> for Unfetched {
    fn from(error: LayerError) -> Self {
        Self::Layer(error)
    }
}

/// Fetches a layer; once more when a mirror may have spoilt it.
async fn fetch(shared: Arc<Shared>, wanted: Wanted, doing: String) -> Result<Fetched, BackendError> {
    let client = shared.client.pulling();
    let fetched = match fetch_once(&shared, &client, wanted.clone()).await {
        Err(Unfetched::Layer(LayerError::Corrupt(why))) if client.distrust_mirrors(&wanted.repo, &why) => {
            fetch_once(&shared, &client, wanted).await
        }
        // A file does not mend itself: trying again does not help.
        Err(Unfetched::Layer(LayerError::Corrupt(why))) if wanted.repo.is_passing() => {
            Err(Unfetched::Layer(LayerError::Bad(format!("the archive is damaged: {why}"))))
        }
        fetched => fetched,
    };
    fetched.map_err(|error| error.into_backend(&doing))
}

/// Fetches a layer, unless it is there or another process is fetching it: then that is waited for.
async fn fetch_once(shared: &Shared, client: &Client, wanted: Wanted) -> Result<Fetched, Unfetched> {
    let (store, chain) = (shared.store.clone(), wanted.chain.clone());
    let claim = match shared.tasks.blocking(move || store.claim(&chain)).await? {
        Claimed::There(layer) => return Ok(Fetched::There(layer)),
        Claimed::Ours(claim) => claim,
    };
    let (size, bytes) =
        client.blob_stream(&wanted.repo, &wanted.descriptor.digest).await.map_err(Unfetched::Registry)?;
    check("size", &size, &wanted.descriptor.size)?;
    let store = shared.store.clone();
    Ok(shared.tasks.blocking(move || receive(&store, &wanted, claim, bytes)).await?)
}

/// Bytes of a layer on their way.
type Incoming = Digesting<Keeping<SyncIoBridge<StreamReader<ByteStream, Bytes>>>>;

/// Unpacks an archive as it comes, and verifies it on both sides of the decompressor.
fn receive(store: &Store, wanted: &Wanted, claim: Claim, bytes: ByteStream) -> Result<Fetched, LayerError> {
    let Wanted { descriptor, repo, .. } = wanted;
    let io = |error: std::io::Error| LayerError::io(format!("fetch the layer {}", descriptor.digest), error);
    let guessed = descriptor.size.saturating_mul(GROWTH);
    let archive = if repo.is_passing() { descriptor.size } else { 0 };
    let _promised = store.admit(guessed.saturating_add(archive))?;
    let limits = Limits { bytes: store.usage()?.limit, ..Limits::default() };
    let kept = if repo.is_passing() { Some(claim.keep().map_err(io)?) } else { None };
    let mut input = Digesting::new(Keeping { input: SyncIoBridge::new(StreamReader::new(bytes)), kept });
    let (unpacked, diff_id) = match decode(&mut input, &claim, limits) {
        Ok(decoded) => decoded,
        Err(LayerError::TooMuch(why)) if why.ends_with(&format!(" {} bytes", limits.bytes)) => {
            return Err(LayerError::TooMuch(format!(
                "the layer {} is {} bytes packed, but {why}, all that the store of layers may take: if that is no mistake of \
                 the image, allow more with --allowed-backend-storage-volume-usage",
                descriptor.digest, descriptor.size
            )));
        }
        Err(error) => return Err(cause(error, input, &descriptor.digest)),
    };
    let (_, digest, size) = input.finish();
    check("digest", &digest, &descriptor.digest)?;
    check("size", &size, &descriptor.size)?;
    check("diffID", &diff_id, &wanted.diff_id)?;
    if repo.is_passing() {
        claim.kept(descriptor).map_err(io)?;
    }
    let _more = store.admit(unpacked.size.saturating_sub(guessed))?;
    let below = wanted.below.as_ref().map(|chain| chain.hex().to_owned());
    let about = About { diff_id, below, size: unpacked.size + archive };
    Ok(Fetched::Unpacked { claim, unpacked, about })
}

/// Unpacks all of an archive; answers the digest of what was in the compression, too.
fn decode(input: &mut Incoming, claim: &Claim, limits: Limits) -> Result<(Unpacked, BlobDigest), LayerError> {
    let io = |error: std::io::Error| LayerError::io("read a layer", error);
    let decoder = Decoder::new(input).map_err(io)?;
    let root = Root::open(&claim.diff()).map_err(io)?;
    let mut reader = TarReader::new(Digesting::new(decoder), limits);
    let unpacked = unpack(&mut reader, &root, &Purpose::Layer)?;
    let mut plain = reader.into_inner();
    std::io::copy(&mut plain, &mut std::io::sink()).map_err(io)?;
    let (decoder, diff_id, _) = plain.finish();
    decoder.finish().map_err(io)?;
    Ok((unpacked, diff_id))
}

/// What is behind a failure to read an archive: bytes that are not those which were promised explain it best.
fn cause(error: LayerError, mut input: Incoming, promised: &BlobDigest) -> LayerError {
    // What is too much already is not read on, and what broke off has no digest.
    if matches!(error, LayerError::TooMuch(_)) || std::io::copy(&mut input, &mut std::io::sink()).is_err() {
        return error;
    }
    let (_, digest, _) = input.finish();
    match check("digest", &digest, promised) {
        Err(LayerError::Corrupt(why)) => LayerError::Corrupt(format!("{why} ({error})")),
        Ok(()) | Err(_) => error,
    }
}

/// Writes what is read to a file as well.
struct Keeping<R> {
    input: R,
    kept: Option<File>,
}

impl<R: Read> Read for Keeping<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.input.read(buffer)?;
        if let Some(kept) = &mut self.kept {
            kept.write_all(&buffer[..count])?;
        }
        Ok(count)
    }
}

fn check<T: PartialEq + std::fmt::Display>(what: &str, found: &T, promised: &T) -> Result<(), LayerError> {
    if found == promised {
        return Ok(());
    }
    Err(LayerError::Corrupt(format!("a layer has the {what} {found}; {promised} was promised")))
}

/// Brings a layer to its place on top of those below it, lowest first.
fn place(fetched: Fetched, below: &[Layer]) -> Result<Layer, LayerError> {
    match fetched {
        Fetched::There(layer) => Ok(layer),
        Fetched::Unpacked { claim, unpacked, about } => {
            dress_implied(&claim, &unpacked, below)?;
            claim.finish(&about)
        }
    }
}

/// A directory that an archive does not list is that of the layers below.
fn dress_implied(claim: &Claim, unpacked: &Unpacked, below: &[Layer]) -> Result<(), LayerError> {
    let io = |error: std::io::Error| LayerError::io("take over directories of the layers below", error);
    let own = Root::open(&claim.diff()).map_err(io)?;
    for path in &unpacked.implied {
        for layer in below.iter().rev() {
            let lower = Root::open(&layer.diff()).map_err(io)?;
            let Some(stat) = lower.look(path.as_bytes()).map_err(io)? else { continue };
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                break;
            }
            let directory = own.directory(path.as_bytes()).map_err(io)?;
            let xattrs = lower.directory(path.as_bytes()).and_then(|lower| lower.xattrs(b".")).map_err(io)?;
            let plain: Vec<_> = xattrs.into_iter().filter(|(key, _)| !key.starts_with(b"trusted.overlay.")).collect();
            directory.dress(b".", (stat.st_uid, stat.st_gid), Some(stat.st_mode & 0o7777), &plain).map_err(io)?;
            directory.set_time(b".", Time::of(&stat)).map_err(io)?;
            break;
        }
    }
    Ok(())
}
