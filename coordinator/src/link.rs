//! How a worker talks to the engine: by its channels. Between processes the API stands in between.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use slipway_protocol::{AttemptId, CoordinatorLink, Desired, LinkError, Report};
use tokio::sync::oneshot;

use crate::engine::{Engine, Event, LogRoute, Message};

/// So many attempts are remembered before those that are over are forgotten: a line may come a little later than the
/// report that its attempt is over.
const MANY: usize = 1024;

/// The link of one worker.
pub struct LocalLink {
    engine: Engine,
    /// What is known of where lines go. A lock for a map look-up, never held over an await.
    routes: Mutex<Routes>,
    /// The number of the next line of each attempt. A lock as the other one.
    next: Mutex<HashMap<AttemptId, u64>>,
    /// Calls with several lines take turns, so that a line that is handed over twice at once is told once.
    turn: tokio::sync::Mutex<()>,
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
        Self { engine, routes: Mutex::default(), next: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// Hands over lines of an attempt, of which the first is number `offset` of its output. Those that were handed over
    /// before are passed over. When it is given up half-way, what was not handed over may be handed over again.
    pub(crate) async fn lines(&self, attempt: &AttemptId, offset: u64, lines: Vec<Vec<u8>>) -> Result<(), LinkError> {
        let _turn = self.turn.lock().await;
        for (number, line) in (offset..).zip(lines) {
            if number >= self.next_line(attempt) {
                self.line(attempt, number, line).await?;
                self.counts().insert(attempt.clone(), number + 1);
            }
        }
        Ok(())
    }

    fn next_line(&self, attempt: &AttemptId) -> u64 {
        self.counts().get(attempt).copied().unwrap_or(0)
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<AttemptId, u64>> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn line(&self, attempt: &AttemptId, offset: u64, line: Vec<u8>) -> Result<(), LinkError> {
        let routes = self.routes(attempt).await?.ok_or_else(early)?;
        for LogRoute { image, kind, reader } in routes {
            // A full reader makes the command wait: output is never lost, and never piles up.
            if let Some(reader) = reader.upgrade() {
                let line = line.clone();
                let _ = reader.send(Event::Log { image, kind, attempt: attempt.id.clone(), offset, line }).await;
            }
        }
        Ok(())
    }

    async fn routes(&self, attempt: &AttemptId) -> Result<Option<Vec<LogRoute>>, LinkError> {
        // Read before the engine is asked: what changes meanwhile makes the answer an old one.
        let version = self.engine.routes_version();
        if let Some(known) = self.known(version, attempt) {
            return Ok(Some(known));
        }
        let (reply, answer) = oneshot::channel();
        self.engine.inbox().send(Message::LogRoutes(attempt.clone(), reply)).await.map_err(|_| stopped())?;
        let routes = answer.await.map_err(|_| stopped())?;
        let mut cache = self.lock();
        if let Some(routes) = routes.as_ref().filter(|_| cache.version == version) {
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
        let is_held = |attempt: &AttemptId| report.attempts.iter().any(|(held, _)| held == attempt);
        self.lock().known.retain(|attempt, _| is_held(attempt));
        {
            let mut counts = self.counts();
            if counts.len() > MANY {
                counts.retain(|attempt, _| is_held(attempt));
            }
        }
        let (reply, answer) = oneshot::channel();
        self.engine.inbox().send(Message::Sync(report, reply)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())
    }

    async fn log(&self, attempt: &AttemptId, line: Vec<u8>) -> Result<(), LinkError> {
        let offset = {
            let mut counts = self.counts();
            let next = counts.entry(attempt.clone()).or_insert(0);
            *next += 1;
            *next - 1
        };
        self.line(attempt, offset, line).await
    }
}

/// Output of an attempt of an earlier coordinator comes before anybody has asked for it.
fn early() -> LinkError {
    LinkError("it does not know the attempt yet".to_owned())
}

fn stopped() -> LinkError {
    LinkError("it has stopped".to_owned())
}
