//! The workers that call.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use slipway_process::Clock;
use slipway_protocol::{Code, Refusal};

use crate::{api::answer::refuse, engine::Engine, link::LocalLink};

/// Longest name of a worker, in bytes.
const LONGEST_NAME: usize = 100;
/// A worker that was silent for this long makes room for another.
const GONE: Duration = Duration::from_secs(3600);

/// All workers that have called in this term.
pub(crate) struct Peers {
    engine: Engine,
    limit: usize,
    clock: Arc<dyn Clock>,
    /// A lock for look-ups, never held over an await.
    known: Mutex<HashMap<String, Peer>>,
}

struct Peer {
    link: Arc<LocalLink>,
    heard: Duration,
}

impl Peers {
    pub(super) fn new(engine: Engine, limit: usize, clock: Arc<dyn Clock>) -> Self {
        Self { engine, limit, clock, known: Mutex::default() }
    }

    /// The way of a worker to the engine.
    ///
    /// # Errors
    /// When it cannot be a worker's name, or when there are too many.
    pub(crate) fn link(&self, name: &str) -> Result<Arc<LocalLink>, Refusal> {
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
        if !plain || name.is_empty() || name.len() > LONGEST_NAME {
            let rule = "a worker's name has 1 to 100 letters, digits, `-`, `_` and `.`";
            return Err(refuse(Code::Invalid, rule));
        }
        let now = self.clock.monotonic();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(peer) = known.get_mut(name) {
            peer.heard = now;
            return Ok(Arc::clone(&peer.link));
        }
        if known.len() >= self.limit {
            known.retain(|_, peer| now.saturating_sub(peer.heard) < GONE);
        }
        if known.len() >= self.limit {
            return Err(refuse(Code::Busy, format!("{} workers are here already, and no more are taken", self.limit)));
        }
        let link = Arc::new(LocalLink::new(self.engine.clone()));
        known.insert(name.to_owned(), Peer { link: Arc::clone(&link), heard: now });
        Ok(link)
    }
}
