//! Workers that wait for news.

use std::collections::HashMap;

use slipway_protocol::Desired;
use tokio::sync::oneshot;

#[derive(Default)]
struct Line {
    /// What the worker was last told.
    told: Option<Desired>,
    /// What it should be told, and the sync that waits for it.
    waiting: Option<(Desired, oneshot::Sender<Desired>)>,
}

/// Held syncs, one per worker: a sync is answered when there is news, or when it was held long enough.
#[derive(Default)]
pub(super) struct Desk(HashMap<String, Line>);

impl Desk {
    /// A worker asks. It is answered at once when it has not been told this yet.
    pub(super) fn sync(&mut self, worker: String, desired: Desired, reply: oneshot::Sender<Desired>) {
        let line = self.0.entry(worker).or_default();
        if line.told.as_ref() == Some(&desired) {
            line.waiting = Some((desired, reply));
        } else {
            line.say(desired, reply);
        }
    }

    /// A worker's orders may have changed.
    pub(super) fn news(&mut self, worker: &str, desired: Desired) {
        let Some(line) = self.0.get_mut(worker) else { return };
        if line.told.as_ref() != Some(&desired)
            && let Some((_, reply)) = line.waiting.take()
        {
            line.say(desired, reply);
        }
    }

    /// Answers everyone who waits.
    pub(super) fn release_all(&mut self) {
        for line in self.0.values_mut() {
            if let Some((desired, reply)) = line.waiting.take() {
                line.say(desired, reply);
            }
        }
    }
}

impl Line {
    fn say(&mut self, desired: Desired, reply: oneshot::Sender<Desired>) {
        // A worker that hung up meanwhile has not been told.
        self.told = reply.send(desired.clone()).is_ok().then_some(desired);
    }
}
