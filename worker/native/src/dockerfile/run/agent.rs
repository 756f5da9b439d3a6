//! The ssh agent of a command that wants it to be somebody's: a socket of the command's own, behind which the agent is.

use std::{
    io,
    os::{
        fd::AsRawFd as _,
        unix::{
            fs::{PermissionsExt as _, chown},
            net::UnixListener,
        },
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use slipway_backend::BackendError;
use slipway_layers::store::Work;
use tokio::{
    net::UnixStream,
    task::{JoinHandle, JoinSet},
};

use crate::{Shared, error};

/// Name of the socket in its directory.
const SOCKET: &str = "agent";
/// Connections at once; more wait.
const MOST: usize = 64;

/// The socket. Who is connected is cut off when it is dropped.
pub(super) struct Door {
    work: Work,
    waiting: JoinHandle<Option<()>>,
}

impl Drop for Door {
    fn drop(&mut self) {
        self.waiting.abort();
    }
}

impl Door {
    /// Opens one to the agent that listens at `agent`. `name` is that of its directory, and nobody else's.
    pub(super) async fn open(
        shared: &Arc<Shared>,
        agent: &Path,
        name: String,
        (owner, mode): ((u32, u32), u32),
    ) -> Result<Self, BackendError> {
        let doing = "open a socket for an ssh agent";
        let system = |error| error::system(doing, error);
        let store = shared.store.clone();
        let make = move || {
            let work = store.work(&name).map_err(|error| error::layers(doing, error))?;
            let listener = listen(work.path(), owner, mode).map_err(system)?;
            Ok::<_, BackendError>((work, listener))
        };
        let (work, listener) = shared.tasks.blocking(make).await?;
        let listener = tokio::net::UnixListener::from_std(listener).map_err(system)?;
        let waiting = shared.tasks.spawn(serve(listener, agent.to_owned()));
        Ok(Self { work, waiting })
    }

    /// Where it is.
    pub(super) fn path(&self) -> PathBuf {
        self.work.path().join(SOCKET)
    }
}

fn listen(directory: &Path, (uid, gid): (u32, u32), mode: u32) -> io::Result<UnixListener> {
    // The path of a socket is short: that of the store may not be.
    let held = std::fs::File::open(directory)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", held.as_raw_fd()));
    let listener = UnixListener::bind(&path)?;
    chown(&path, Some(uid), Some(gid))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Passes on what is said, until it is aborted.
async fn serve(listener: tokio::net::UnixListener, agent: PathBuf) {
    let mut connected = JoinSet::new();
    loop {
        if connected.len() >= MOST {
            connected.join_next().await;
        }
        let Ok((mut client, _)) = listener.accept().await else { return };
        let agent = agent.clone();
        connected.spawn(async move {
            // Who loses the agent sees the end of its connection.
            let Ok(mut server) = UnixStream::connect(&agent).await else { return };
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        });
        while connected.try_join_next().is_some() {}
    }
}
