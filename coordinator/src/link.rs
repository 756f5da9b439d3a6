//! How a worker in the same process talks to the engine: by its channels.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use slipway_protocol::{AttemptId, CoordinatorLink, Desired, LinkError, Report};
use tokio::sync::oneshot;

use crate::engine::{Engine, Event, LogRoute, Message};

/// The link of a worker in the same process.
pub struct LocalLink {
    engine: Engine,
    /// What is known of where lines go. A lock for a map look-up, never held over an await.
    routes: Mutex<Routes>,
}

/// Where the lines of each attempt go, asked once as long as nothing changes.
#[derive(Default)]
struct Routes {
    version: u64,
    known: HashMap<AttemptId, Vec<LogRoute>>,
}

impl LocalLink {
    /// A link to an engine.
    pub fn new(engine: Engine) -> Self {
        Self { engine, routes: Mutex::default() }
    }

    async fn routes(&self, attempt: &AttemptId) -> Result<Vec<LogRoute>, LinkError> {
        // Read before the engine is asked: what changes meanwhile makes the answer an old one.
        let version = self.engine.routes_version();
        if let Some(known) = self.known(version, attempt) {
            return Ok(known);
        }
        let (reply, answer) = oneshot::channel();
        self.engine.inbox().send(Message::LogRoutes(attempt.clone(), reply)).await.map_err(|_| stopped())?;
        let routes = answer.await.map_err(|_| stopped())?;
        let mut cache = self.lock();
        if cache.version == version {
            cache.known.insert(attempt.clone(), routes.clone());
        }
        Ok(routes)
    }

    fn known(&self, version: u64, attempt: &AttemptId) -> Option<Vec<LogRoute>> {
        let mut cache = self.lock();
        if cache.version != version {
            *cache = Routes { version, known: HashMap::new() };
        }
        cache.known.get(attempt).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Routes> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl CoordinatorLink for LocalLink {
    async fn sync(&self, report: Report) -> Result<Desired, LinkError> {
        self.lock().known.retain(|attempt, _| report.attempts.iter().any(|(held, _)| held == attempt));
        let (reply, answer) = oneshot::channel();
        self.engine.inbox().send(Message::Sync(report, reply)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())
    }

    async fn log(&self, attempt: &AttemptId, line: Vec<u8>) -> Result<(), LinkError> {
        for LogRoute { image, kind, reader } in self.routes(attempt).await? {
            // A full reader makes the command wait: output is never lost, and never piles up.
            if let Some(reader) = reader.upgrade() {
                let _ = reader.send(Event::Log { image, kind, line: line.clone() }).await;
            }
        }
        Ok(())
    }
}

fn stopped() -> LinkError {
    LinkError("it has stopped".to_owned())
}
