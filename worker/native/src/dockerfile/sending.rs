//! Layers that go to the image's repository while later instructions run, so that the push finds them there.

use std::{
    collections::BTreeSet,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::{Either, select};
use slipway_dockerfile::{Origin, Program};
use slipway_layers::Layer;
use slipway_oci::Repo;
use tokio::{sync::Semaphore, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    Shared,
    push::{self, AT_ONCE, How, Notes},
};

/// How long a registry is told that a layer will not come.
const TELLING: Duration = Duration::from_secs(5);

/// What is on its way. When it is dropped, the rest is given up.
pub(super) struct Sending {
    shared: Arc<Shared>,
    /// `None` = the image goes nowhere.
    to: Option<Repo>,
    /// The stages whose layers the image has.
    carried: BTreeSet<usize>,
    places: Arc<Semaphore>,
    given_up: CancellationToken,
    under_way: Mutex<Vec<JoinHandle<Option<()>>>>,
}

impl Drop for Sending {
    fn drop(&mut self) {
        self.given_up.cancel();
    }
}

impl Sending {
    /// To a repository, if any.
    pub(super) fn new(shared: &Arc<Shared>, to: Option<Repo>, program: &Program) -> Self {
        Self {
            shared: Arc::clone(shared),
            to,
            carried: carried(program),
            places: Arc::new(Semaphore::new(AT_ONCE)),
            given_up: CancellationToken::new(),
            under_way: Mutex::default(),
        }
    }

    /// From now on, the image has the layers of the stage at a position, and of no other.
    pub(super) fn carry(&mut self, stage: usize) {
        self.carried = BTreeSet::from([stage]);
    }

    /// Sends layers that the stage at a position stands on, if the image will have them.
    pub(super) fn send(&self, stage: usize, layers: &[Layer]) {
        let Some(to) = self.to.as_ref().filter(|_| self.carried.contains(&stage)) else { return };
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        for layer in layers {
            let (shared, layer, to) = (Arc::clone(&self.shared), layer.clone(), to.clone());
            let (places, given_up) = (Arc::clone(&self.places), self.given_up.clone());
            under_way.push(self.shared.tasks.spawn(one(shared, layer, to, places, given_up)));
        }
    }

    /// Waits until all of it is there, or is not to be had there: the push says why.
    pub(super) async fn end(&self) {
        let under_way = std::mem::take(&mut *self.under_way.lock().unwrap_or_else(PoisonError::into_inner));
        for sent in under_way {
            // One that broke off is sent again by the push.
            let _ = sent.await;
        }
    }
}

/// The stages from the target down to the image that it stands on.
fn carried(program: &Program) -> BTreeSet<usize> {
    let mut all = BTreeSet::from([program.target()]);
    let mut at = program.target();
    // A stage stands on an earlier one: this ends. What cannot be read is told where it is built.
    while let Ok(Origin::Stage(below)) = program.head(at).map(|head| head.base) {
        all.insert(below);
        at = below;
    }
    all
}

/// Sends one layer, when it is its turn.
async fn one(shared: Arc<Shared>, layer: Layer, to: Repo, places: Arc<Semaphore>, given_up: CancellationToken) {
    // The semaphore is never closed.
    let _place = places.acquire().await;
    if given_up.is_cancelled() {
        return;
    }
    let doing = format!("send a layer to {to}");
    let how = How { doing: &doing, notes: Notes::Kept, given_up: &given_up };
    let sending = pin!(push::blob(&shared, layer, &to, how));
    let sent = match select(sending, pin!(given_up.cancelled())).await {
        Either::Left((sent, _)) => sent.map(drop),
        Either::Right(((), sending)) => return drop(timeout(TELLING, sending).await),
    };
    if let Err(error) = sent {
        tracing::debug!("{error}");
        // What one layer does not do, the next will not either.
        given_up.cancel();
    }
}
