//! Agents for the jobs of a worker, with keys that came along with them.

use async_trait::async_trait;
use slipway_process::Tasks;
use slipway_protocol::Hidden;
use slipway_worker::{LentAgent, StartAgent};

use super::{Agent, Relay};

/// Starts an agent for each job that brings keys.
pub(crate) struct Lender {
    tasks: Tasks,
}

impl Lender {
    /// Agents whose ways to containers run in `tasks`.
    pub(crate) fn new(tasks: Tasks) -> Self {
        Self { tasks }
    }
}

#[async_trait]
impl StartAgent for Lender {
    async fn start(&self, keys: Vec<Hidden>) -> Result<LentAgent, String> {
        let agent = self.tasks.blocking(move || Agent::holding(&keys)).await.map_err(|error| format!("{error:#}"))?;
        let relay = Relay::open(agent.socket().to_owned(), &self.tasks).map_err(|error| format!("{error:#}"))?;
        Ok(LentAgent { directory: relay.directory().to_owned(), held: Box::new((relay, agent)) })
    }
}
