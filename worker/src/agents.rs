//! Ssh agents that commands of jobs reach.

use std::{any::Any, fmt, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use slipway_backend::BackendError;
use slipway_protocol::Hidden;

/// Name of the socket of an ssh agent in the directory that containers see it in.
pub const AGENT_SOCKET: &str = "ssh-auth-sock";

/// The ssh agent that commands of a worker's jobs reach.
#[derive(Clone, Default)]
pub enum Agents {
    /// None. Keys that come with a job are an error.
    #[default]
    None,
    /// The same for all jobs: the directory with its socket, which is named [`AGENT_SOCKET`].
    One(PathBuf),
    /// One of its own for each job that brings keys.
    OfKeys(Arc<dyn StartAgent>),
}

/// Starts ssh agents.
#[async_trait]
pub trait StartAgent: Send + Sync {
    /// An agent with these keys, which are never on a disk. It ends when what is answered is dropped.
    ///
    /// # Errors
    /// Why there is none.
    async fn start(&self, keys: Vec<Hidden>) -> Result<LentAgent, String>;
}

/// An agent that lives as long as this.
pub struct LentAgent {
    /// The directory with its socket, which is named [`AGENT_SOCKET`].
    pub directory: PathBuf,
    /// Ends it.
    pub held: Box<dyn Any + Send + Sync>,
}

impl fmt::Debug for LentAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LentAgent").field(&self.directory).finish()
    }
}

impl Agents {
    /// The agent of a job that brings these keys; `None` = its commands have none.
    pub(crate) async fn lend(&self, keys: &[Hidden]) -> Result<Option<LentAgent>, BackendError> {
        let refused = |why: &str| BackendError::Refused(format!("give commands an ssh agent: {why}"));
        match self {
            Self::One(directory) => Ok(Some(LentAgent { directory: directory.clone(), held: Box::new(()) })),
            Self::None | Self::OfKeys(_) if keys.is_empty() => Ok(None),
            Self::None => Err(refused("the Docker engine of this worker is on another host")),
            Self::OfKeys(agents) => agents.start(keys.to_vec()).await.map(Some).map_err(|why| refused(&why)),
        }
    }
}
