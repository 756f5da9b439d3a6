//! How a worker in the same process talks to the engine: by its channels.

use std::{collections::HashMap, sync::Mutex};

use async_trait::async_trait;
use slipway_protocol::{AttemptId, CoordinatorLink, Desired, LinkError, Report};
use tokio::sync::oneshot;

use crate::engine::{Engine, Event, LogRoute, Message};

/// The link of a worker in the same process.
pub struct LocalLink {
    engine: Engine,
    /// Where the lines of each attempt go, asked once. A lock for a map look-up, never held over an await.
    routes: Mutex<HashMap<AttemptId, Option<LogRoute>>>,
}

impl LocalLink {
    /// A link to an engine.
    pub fn new(engine: Engine) -> Self {
        Self { engine, routes: Mutex::new(HashMap::new()) }
    }

    async fn route(&self, attempt: &AttemptId) -> Result<Option<LogRoute>, LinkError> {
        let known = self.routes.lock().map_err(|_| stopped())?.get(attempt).cloned();
        if let Some(route) = known {
            return Ok(route);
        }
        let (reply, answer) = oneshot::channel();
        self.engine.inbox().send(Message::LogRoute(attempt.clone(), reply)).await.map_err(|_| stopped())?;
        let route = answer.await.map_err(|_| stopped())?;
        self.routes.lock().map_err(|_| stopped())?.insert(attempt.clone(), route.clone());
        Ok(route)
    }
}

#[async_trait]
impl CoordinatorLink for LocalLink {
    async fn sync(&self, report: Report) -> Result<Desired, LinkError> {
        if let Ok(mut routes) = self.routes.lock() {
            routes.retain(|attempt, _| report.attempts.iter().any(|(held, _)| held == attempt));
        }
        let (reply, answer) = oneshot::channel();
        self.engine.inbox().send(Message::Sync(report, reply)).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())
    }

    async fn log(&self, attempt: &AttemptId, line: Vec<u8>) -> Result<(), LinkError> {
        if let Some(LogRoute { image, kind, reader }) = self.route(attempt).await? {
            // A full reader makes the command wait: output is never lost, and never piles up.
            let _ = reader.send(Event::Log { image, kind, line }).await;
        }
        Ok(())
    }
}

fn stopped() -> LinkError {
    LinkError("it has stopped".to_owned())
}
