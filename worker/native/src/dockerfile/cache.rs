//! What was done before: an instruction with the same files below it and the same inputs is not done again.
//!
//! A key is of contents: the layers below, by their names, and whatever else the instruction depends on. So what was made in one
//! Dockerfile serves all others, and what was made anew and came out the same changes nothing above.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use slipway_backend::BackendError;
use slipway_layers::{
    ChainId, Layer, LayerError, Store,
    store::{StepNote, StepTurn},
};
use slipway_oci::BlobDigest;

use super::{Build, cursor::Cursor, step::Place};
use crate::{Shared, error};

/// Layers that the kernel lays over each other, with some places left for what is mounted.
const MOST_LAYERS: usize = 490;
/// How long is waited before it is looked again whether another process has done an instruction.
const PAUSE: Duration = Duration::from_millis(20);
/// The scheme of keys: another one finds nothing of this.
const SCHEME: &str = "slipway-step-1";

/// What an instruction depends on.
#[derive(Clone)]
pub(super) struct Key(Vec<u8>);

impl Key {
    /// Of an instruction of this kind, on the files of `cursor`.
    pub(super) fn new(kind: &str, cursor: &Cursor) -> Self {
        let mut key = Self::apart(kind, cursor);
        key.add(cursor.chain());
        key
    }

    /// Of one that does the same on whatever files there are.
    pub(super) fn apart(kind: &str, cursor: &Cursor) -> Self {
        let mut key = Self(Vec::new());
        let config = &cursor.config;
        [SCHEME, kind, &config.os, &config.architecture].into_iter().for_each(|text| key.add(text));
        key
    }

    /// Adds an input. Texts are told apart by their lengths.
    pub(super) fn add(&mut self, text: &str) {
        self.0.extend_from_slice(&(text.len() as u64).to_be_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }

    /// Adds a list.
    pub(super) fn list<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>) {
        let texts: Vec<&str> = texts.into_iter().collect();
        self.add(&texts.len().to_string());
        texts.into_iter().for_each(|text| self.add(text));
    }

    fn digest(&self) -> BlobDigest {
        BlobDigest::of(&self.0)
    }
}

/// Steps that this process is doing: builds beside each other do not do the same one twice.
#[derive(Default)]
pub(crate) struct Turns(Mutex<HashMap<BlobDigest, Weak<tokio::sync::Mutex<()>>>>);

impl Turns {
    fn of(&self, key: &BlobDigest) -> Arc<tokio::sync::Mutex<()>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(turn) = all.get(key).and_then(Weak::upgrade) {
            return turn;
        }
        all.retain(|_, turn| turn.strong_count() > 0);
        let turn = Arc::new(tokio::sync::Mutex::new(()));
        all.insert(key.clone(), Arc::downgrade(&turn));
        turn
    }
}

/// Does an instruction by `make`, unless it was done before; `by` is what the history calls it.
pub(super) async fn through<F>(
    build: &Build,
    cursor: &mut Cursor,
    place: &Place<'_>,
    (key, by): (Key, &str),
    make: F,
) -> Result<(), BackendError>
where
    F: AsyncFnOnce(&Cursor) -> Result<Option<Layer>, BackendError>,
{
    let shared = &build.shared;
    let key = key.digest();
    let turn = shared.turns.of(&key);
    let _turn = turn.lock().await;
    let looked = look(shared, &key, cursor).await;
    let _alone = match looked.map_err(|error| place.told(error::layers("look for what it made", error)))? {
        Looked::Done(done) => {
            let (layer, created) = *done;
            build.say(&format!("{} (cached)", place.title)).await;
            build.sending.send(place.stage, layer.as_slice());
            cursor.add(layer, &created, by);
            return Ok(());
        }
        Looked::Ours(turn) => turn,
    };
    if cursor.layers.len() >= MOST_LAYERS {
        let why =
            format!("the image has {MOST_LAYERS} layers already, and no more can lie on each other: join instructions");
        return Err(place.told(BackendError::Refused(why)));
    }
    // The semaphore is never closed.
    let _place = build.places.acquire().await;
    build.say(&place.title).await;
    let layer = make(cursor).await.map_err(|error| place.told(error))?;
    let note = StepNote { diff_id: layer.as_ref().map(|layer| layer.about.diff_id.clone()), created: shared.now() };
    build.sending.send(place.stage, layer.as_slice());
    cursor.add(layer, &note.created, by);
    let store = shared.store.clone();
    if let Err(error) = shared.tasks.blocking(move || store.put_step(&key, &note)).await {
        tracing::warn!("what an instruction made is not noted, so it is done again next time: {error}");
    }
    Ok(())
}

/// What is known of an instruction.
enum Looked {
    /// It was done: what it made, and when.
    Done(Box<(Option<Layer>, String)>),
    /// It is ours to do.
    Ours(StepTurn),
}

/// Looks for what an instruction made; waits while another process does the same.
async fn look(shared: &Arc<Shared>, key: &BlobDigest, cursor: &Cursor) -> Result<Looked, LayerError> {
    loop {
        let (store, key) = (shared.store.clone(), key.clone());
        let below = cursor.layers.last().map(|layer| layer.chain.clone());
        let look = move || {
            if let Some(done) = done(&store, &key, below.as_ref())? {
                return Ok(Some(done));
            }
            let Some(turn) = store.step_turn(&key)? else { return Ok(None) };
            // Whoever had it may have done it just now.
            Ok(Some(done(&store, &key, below.as_ref())?.unwrap_or(Looked::Ours(turn))))
        };
        if let Some(looked) = shared.tasks.blocking(look).await? {
            return Ok(looked);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn done(store: &Store, key: &BlobDigest, below: Option<&ChainId>) -> Result<Option<Looked>, LayerError> {
    let Some(note) = store.step(key)? else { return Ok(None) };
    let Some(diff_id) = &note.diff_id else { return Ok(Some(Looked::Done(Box::new((None, note.created))))) };
    // It may have been evicted.
    let layer = store.layer(&ChainId::of(below, diff_id))?;
    Ok(layer.map(|layer| Looked::Done(Box::new((Some(layer), note.created)))))
}
