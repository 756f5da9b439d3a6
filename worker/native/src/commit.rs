//! Changes to a layer, and the image on top of it.

use std::{io, sync::Arc};

use bytes::Bytes;
use serde_json::{Value, json};
use slipway_backend::{BackendError, LocalImage, pipe};
use slipway_layers::{
    ChainId, Layer, LayerError, Store,
    codec::{Compression, Digesting},
    pack::{Packed, View, pack},
    root::Root,
    store::{About, Reservation, Work},
    stream::{self, Streamed},
};
use slipway_oci::{BlobDigest, ConfigChange, ImageConfig, change};

use crate::{
    Shared,
    early::{self, Opening},
    error,
    workspace::Room,
};

/// Who made a layer, in the history of its image.
const MADE_BY: &str = "slipway";

/// What an image is made of: the one below, and what changed on it.
pub(crate) struct Ground {
    /// The config of the image below.
    pub(crate) base: ImageConfig,
    /// Its layers.
    pub(crate) layers: Vec<Layer>,
    /// Where the changes are; `None` = nothing was changed.
    pub(crate) room: Option<Arc<Room>>,
}

/// Makes an image, and sends its layer and its config to a repository on the way.
pub(crate) async fn commit(
    shared: &Arc<Shared>,
    ground: Ground,
    change: &ConfigChange,
    to: Option<Opening>,
) -> Result<LocalImage, BackendError> {
    let config = change::apply(&ground.base.config, change);
    let (created, store, compression) = (shared.now(), shared.store.clone(), shared.compression);
    let (output, sending) = match to.filter(|_| ground.room.is_some()) {
        None => (None, None),
        Some(opening) => {
            let (output, pieces) = pipe::pair();
            (Some((compression, output)), Some(Box::pin(early::send(shared, opening, pieces))))
        }
    };
    let tasks = shared.tasks.clone();
    let make = move || -> Result<(LocalImage, Option<Streamed>, Bytes), BackendError> {
        let doing = "commit a stage";
        let Ground { base, layers, room } = ground;
        let below = layers.last().map(|layer| layer.chain.clone());
        let (layer, streamed) = match room {
            Some(room) => {
                let Kept { layer, streamed, rest } = keep(&store, room, below.as_ref(), output)?;
                tasks.later(move || drop(rest));
                (layer, streamed)
            }
            None => (None, None),
        };
        let mut document = ImageConfig { config, ..base };
        let mut history = vec![step(&created, layer.is_none())];
        if let Some(layer) = &layer {
            document.rootfs.diff_ids.push(layer.about.diff_id.to_string());
        }
        if let Some(Value::Array(earlier)) = document.other.get("history") {
            history.splice(0..0, earlier.iter().cloned());
        }
        document.rootfs.kind = "layers".to_owned();
        document.created = Some(created);
        document.other.insert("history".to_owned(), Value::from(history));
        let bytes = document.to_bytes();
        let id = store.put_image(&bytes).map_err(|error| error::layers(doing, error))?;
        Ok((LocalImage { id }, streamed.filter(|_| layer.is_some()), bytes.into()))
    };
    let Some(sending) = sending else { return shared.tasks.blocking(make).await.map(|(image, ..)| image) };
    let (made, sent) = tokio::join!(shared.tasks.blocking(make), sending);
    match made {
        Ok((image, streamed, config)) => {
            sent.end(shared, streamed, Some((image.id.clone(), config))).await;
            Ok(image)
        }
        Err(error) => {
            sent.end(shared, None, None).await;
            Err(error)
        }
    }
}

fn step(created: &str, is_empty: bool) -> Value {
    let mut step = json!({ "created": created, "created_by": MADE_BY });
    if is_empty {
        step["empty_layer"] = Value::from(true);
    }
    step
}

/// Keeps the changes of a room as a layer on top of others; `None` when there are none. `before` is done first, where it may
/// block.
pub(crate) async fn layer(
    shared: &Arc<Shared>,
    room: Arc<Room>,
    below: &[Layer],
    before: impl FnOnce() + Send + 'static,
) -> Result<Option<Layer>, BackendError> {
    let (store, below) = (shared.store.clone(), below.last().map(|layer| layer.chain.clone()));
    let keep = move || {
        before();
        keep(&store, room, below.as_ref(), None)
    };
    let Kept { layer, rest, .. } = shared.tasks.blocking(keep).await?;
    shared.tasks.later(move || drop(rest));
    Ok(layer)
}

/// Where a layer goes while it is made.
type Output = Option<(Compression, pipe::Chunks)>;

/// What became of a room.
struct Kept {
    /// Its changes, if any.
    layer: Option<Layer>,
    /// What went out.
    streamed: Option<Streamed>,
    /// What is left: it takes a while to remove that.
    rest: Option<Work>,
}

/// Keeps the changes of a room as a layer.
fn keep(store: &Store, room: Arc<Room>, below: Option<&ChainId>, output: Output) -> Result<Kept, BackendError> {
    let doing = "commit a stage";
    // Whatever worked in the room has ended; nothing is mounted on the directory when it is read.
    let room = Arc::into_inner(room)
        .ok_or_else(|| BackendError::Engine(format!("{doing}: something is still at work in it")))?;
    let Room { tree, work, stubs, promised, .. } = room;
    let (root, stands_on) = tree.parts();
    drop(root);
    stands_on.settle(&Room::upper(&work)).map_err(|error| error::system(doing, error))?;
    let (layer, streamed) = made(store, (&work, &promised), below, (stubs, output))?;
    Ok(Kept { layer, streamed, rest: left(work) })
}

/// Keeps as a layer what was made in a directory without anything below it. Blocks.
pub(crate) fn apart(
    store: &Store,
    (work, promised): (Work, Reservation),
    below: &[Layer],
) -> Result<Option<Layer>, BackendError> {
    let below = below.last().map(|layer| &layer.chain);
    made(store, (&work, &promised), below, (Vec::new(), None)).map(|(layer, _)| layer)
}

/// Keeps the changes in a directory as a layer; `stubs` are none of them.
fn made(
    store: &Store,
    (work, promised): (&Work, &Reservation),
    below: Option<&ChainId>,
    (stubs, output): (Vec<Vec<u8>>, Output),
) -> Result<(Option<Layer>, Option<Streamed>), BackendError> {
    let (doing, upper) = ("commit a stage", Room::upper(work));
    let (diff_id, packed, streamed) = digest(&upper, stubs, output).map_err(|error| error::layers(doing, error))?;
    if packed.entries == 0 {
        return Ok((None, None));
    }
    let chain = ChainId::of(below, &diff_id);
    let more = Some(packed.size.saturating_sub(promised.bytes)).filter(|more| *more > 0);
    let _more = more.map(|more| store.admit(more)).transpose().map_err(|error| error::layers(doing, error))?;
    let about = About { diff_id, below: below.map(|chain| chain.hex().to_owned()), size: packed.size };
    let layer = store.adopt(&chain, &upper, &about).map_err(|error| error::layers(doing, error))?;
    Ok((Some(layer), streamed))
}

/// What is left of a directory, which another attempt of its name may follow.
fn left(work: Arc<Work>) -> Option<Work> {
    Arc::into_inner(work).map(Work::aside)
}

fn digest(
    upper: &std::path::Path,
    never: Vec<Vec<u8>>,
    output: Output,
) -> Result<(BlobDigest, Packed, Option<Streamed>), LayerError> {
    let opened = Root::open(upper).and_then(|root| root.directory(b""));
    let directory = opened.map_err(|error| LayerError::io("open the changes", error))?;
    let view = View::Upper { never };
    if let Some((compression, output)) = output {
        let streamed = stream::stream(&directory, &view, compression, output)?;
        return Ok((streamed.diff_id.clone(), streamed.packed, Some(streamed)));
    }
    let (digesting, packed) = pack(&directory, &view, Digesting::new(io::sink()))?;
    let (_, digest, _) = digesting.finish();
    Ok((digest, packed, None))
}
