//! A sandbox that waits for the next command, and directories for its changes.
//!
//! To make them takes as long as a small command itself: two programs to start, and their namespaces; and a file system that
//! much was deleted from searches long for a place for a directory. So those for the next command are made while this one
//! runs.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use slipway_layers::store::Work;
use slipway_process::random_id;

use crate::{
    Shared,
    run::{self, Prepared},
    workspace,
};

/// What waits, if anything does.
#[derive(Default)]
pub(crate) struct Standby(Mutex<State>);

#[derive(Default)]
struct State {
    /// Whether a command has run: where there is one only, a second sandbox is of no use.
    used: bool,
    making: bool,
    closed: bool,
    /// With the network mode that it was made for.
    waiting: Option<(Option<String>, Prepared)>,
    place: Option<Work>,
}

impl Standby {
    /// The sandbox that waits, if it has the network mode that is wanted.
    pub(crate) fn take(&self, network: Option<&str>) -> Option<Prepared> {
        let taken = self.state().waiting.take_if(|(mode, _)| mode.as_deref() == network);
        taken.map(|(_, prepared)| prepared).filter(Prepared::is_alive)
    }

    /// Directories for changes, furnished, if they wait.
    pub(crate) fn place(&self) -> Option<Work> {
        self.state().place.take()
    }

    /// Ends what waits; there will be no more.
    pub(crate) fn close(&self) {
        let waiting = {
            let mut state = self.state();
            state.closed = true;
            (state.waiting.take(), state.place.take())
        };
        drop(waiting);
    }

    /// Whether a sandbox is to be made, by whoever asks.
    fn begin(&self) -> bool {
        let mut state = self.state();
        let is_first = !mem::replace(&mut state.used, true);
        let wanted = !is_first && !state.closed && !state.making && state.waiting.is_none();
        state.making |= wanted;
        wanted
    }

    /// It is made, or could not be.
    fn made(&self, prepared: Option<(Option<String>, Prepared)>) {
        let superfluous = {
            let mut state = self.state();
            state.making = false;
            if state.closed { prepared } else { mem::replace(&mut state.waiting, prepared) }
        };
        drop(superfluous);
    }

    /// Directories are made.
    fn placed(&self, place: Work) {
        let superfluous = {
            let mut state = self.state();
            if state.closed { Some(place) } else { state.place.replace(place) }
        };
        drop(superfluous);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A command has begun: lets a sandbox and directories wait for the next one, which is likely to have the same network mode.
pub(crate) fn renew(shared: &Arc<Shared>, network: Option<String>) {
    if !shared.standby.begin() {
        return;
    }
    let owned = Arc::clone(shared);
    shared.tasks.later(move || {
        let place =
            owned.store.work(&format!("next-{}", random_id())).and_then(|work| workspace::furnish(&owned, work));
        match place {
            Ok(place) => owned.standby.placed(place),
            // Whoever needs them makes them then, and is told.
            Err(error) => tracing::debug!("make directories ready: {error}"),
        }
    });
    let owned = Arc::clone(shared);
    shared.tasks.spawn(async move {
        let made = run::make(&owned, network.as_deref(), None).await;
        // Whoever needs one makes it then, and is told.
        let made = made.inspect_err(|error| tracing::debug!("make a sandbox ready: {error}"));
        owned.standby.made(made.ok().map(|prepared| (network, prepared)));
    });
}
