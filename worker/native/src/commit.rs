//! Changes to a layer, and the image on top of it.

use std::{io, sync::Arc};

use serde_json::{Value, json};
use slipway_backend::{BackendError, LocalImage};
use slipway_layers::{
    ChainId, Layer, Store,
    codec::Digesting,
    pack::{Packed, View, pack},
    root::Root,
    store::About,
};
use slipway_oci::{BlobDigest, ConfigChange, ImageConfig, change};

use crate::{Shared, error, workspace::Room};

/// Who made a layer, in the history of its image.
const MADE_BY: &str = "slipway";

/// Makes an image of a room; without one nothing was changed.
pub(crate) async fn commit(
    shared: &Arc<Shared>,
    base: ImageConfig,
    layers: Vec<Layer>,
    room: Option<Arc<Room>>,
    change: &ConfigChange,
) -> Result<LocalImage, BackendError> {
    let config = change::apply(&base.config, change);
    let created = shared.now();
    let store = shared.store.clone();
    let make = move || -> Result<LocalImage, BackendError> {
        let doing = "commit a stage";
        let below = layers.last().map(|layer| layer.chain.clone());
        let layer = match room {
            Some(room) => keep(&store, room, below.as_ref())?,
            None => None,
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
        let id = store.put_image(&document.to_bytes()).map_err(|error| error::layers(doing, error))?;
        Ok(LocalImage { id })
    };
    shared.tasks.blocking(make).await
}

fn step(created: &str, is_empty: bool) -> Value {
    let mut step = json!({ "created": created, "created_by": MADE_BY });
    if is_empty {
        step["empty_layer"] = Value::from(true);
    }
    step
}

/// Keeps the changes of a room as a layer; `None` when there are none.
fn keep(store: &Store, room: Arc<Room>, below: Option<&ChainId>) -> Result<Option<Layer>, BackendError> {
    let doing = "commit a stage";
    // Whatever worked in the room has ended; nothing is mounted on the directory when it is read.
    let room = Arc::into_inner(room)
        .ok_or_else(|| BackendError::Engine(format!("{doing}: something is still at work in it")))?;
    let Room { root, work, stubs, .. } = room;
    drop(root);
    let upper = Room::upper(&work);
    let (diff_id, packed) = digest(&upper, stubs).map_err(|error| error::layers(doing, error))?;
    if packed.entries == 0 {
        return Ok(None);
    }
    let chain = ChainId::of(below, &diff_id);
    let _room = store.admit(packed.size).map_err(|error| error::layers(doing, error))?;
    let about = About { diff_id, below: below.map(|chain| chain.hex().to_owned()), size: packed.size };
    store.adopt(&chain, &upper, &about).map(Some).map_err(|error| error::layers(doing, error))
}

fn digest(upper: &std::path::Path, never: Vec<Vec<u8>>) -> Result<(BlobDigest, Packed), slipway_layers::LayerError> {
    let opened = Root::open(upper).and_then(|root| root.directory(b""));
    let directory = opened.map_err(|error| slipway_layers::LayerError::io("open the changes", error))?;
    let (digesting, packed) = pack(&directory, &View::Upper { never }, Digesting::new(io::sink()))?;
    let (_, digest, _) = digesting.finish();
    Ok((digest, packed))
}
