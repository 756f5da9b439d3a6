//! The way from containers to an ssh agent: a socket of ours in a directory of its own, which can be mounted. An agent
//! speaks only with its owner and root, and its socket may lie anywhere; containers have other users.

use std::{
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context as _;
use slipway_process::{Tasks, random_id};
use slipway_worker::AGENT_SOCKET;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::Semaphore,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Connections at once; more wait.
const CONNECTIONS: usize = 64;

/// A relay, as long as its tasks run. Dropping it removes the socket and ends what goes over it.
#[derive(Debug)]
pub(crate) struct Relay {
    /// Ours alone.
    outer: PathBuf,
    inner: PathBuf,
    _end: DropGuard,
}

impl Relay {
    /// Opens a relay to the agent that listens at `agent`, in `tasks`.
    ///
    /// # Errors
    /// When there is no place for its socket.
    pub(crate) fn open(agent: PathBuf, tasks: &Tasks) -> anyhow::Result<Self> {
        let outer = std::env::temp_dir().join(format!("slipway-agent-{}", random_id()));
        let doing = || format!("open a way to the ssh agent in {}", outer.display());
        DirBuilder::new().mode(0o700).create(&outer).with_context(doing)?;
        let end = tasks.token().child_token();
        let relay = Self { inner: outer.join("tmp"), outer: outer.clone(), _end: end.clone().drop_guard() };
        let listener = relay.listen().with_context(doing)?;
        let (own, agent) = (tasks.clone(), Arc::<Path>::from(agent));
        tasks.spawn(async move { end.run_until_cancelled(serve(listener, agent, (own, end.clone()))).await });
        Ok(relay)
    }

    /// The directory to be mounted.
    pub(crate) fn directory(&self) -> &Path {
        &self.inner
    }

    fn listen(&self) -> io::Result<UnixListener> {
        fs::create_dir(&self.inner)?;
        fs::set_permissions(&self.inner, Permissions::from_mode(0o755))?;
        let socket = self.inner.join(AGENT_SOCKET);
        let listener = UnixListener::bind(&socket)?;
        // Whoever is in the container may use it; on the host nobody gets through the outer directory.
        fs::set_permissions(&socket, Permissions::from_mode(0o666))?;
        Ok(listener)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.outer);
    }
}

async fn serve(listener: UnixListener, agent: Arc<Path>, (tasks, end): (Tasks, CancellationToken)) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let mut stranger = match listener.accept().await {
            Ok((stranger, _)) => stranger,
            Err(error) => {
                tracing::warn!("commands can no longer reach the ssh agent: {error}");
                return;
            }
        };
        let (agent, end) = (Arc::clone(&agent), end.clone());
        tasks.spawn(async move {
            let _place = place;
            match UnixStream::connect(&agent).await {
                // Either side may end it at any time.
                Ok(mut own) => {
                    drop(end.run_until_cancelled(tokio::io::copy_bidirectional(&mut stranger, &mut own)).await);
                }
                Err(error) => tracing::warn!("the ssh agent does not answer: {error}"),
            }
        });
    }
}
