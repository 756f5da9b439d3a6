//! The gateway: its options, its doors and their life.

use std::{
    collections::HashMap,
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use slipway_backend::{BackendError, Door, ImageLink, Pushed};
use slipway_oci::{ImageAt, Repo};
use slipway_process::Tasks;
use slipway_registry::Client;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{cache::Cache, known::Known, locked::locked, pull::Pull, push::Push, serve, session::Manner};

pub use slipway_oci::ATTEMPT_ANNOTATION;

/// Tag under which engines push; it exists only between the engine and the gateway.
const PUSH_TAG: &str = "stage";
/// Largest chunk: what fits one is stored as a small blob.
const CHUNK_LIMIT: usize = 4 << 20;
/// Longest name that is shown after the token.
const NAME_LIMIT: usize = 100;

/// Limits of a gateway.
#[derive(Clone, Debug)]
pub struct Options {
    /// Most bytes of blobs that are kept on disk. A larger blob can still be pulled.
    pub cache_bytes: u64,
    /// Most doors open at once.
    pub doors: usize,
    /// Most connections at once; more wait.
    pub connections: usize,
    /// Most bytes of one pushed blob.
    pub blob_bytes: u64,
    /// Bytes of a chunk that is passed on, at most 4 MiB. Each upload under way holds up to two.
    pub chunk_bytes: usize,
    /// How long an engine or a registry may be silent in the middle of something.
    pub idle: Duration,
    /// How long [`Gateway::shut_down`] lets requests go on.
    pub grace: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache_bytes: 20 << 30,
            doors: 1024,
            connections: 512,
            blob_bytes: 64 << 30,
            chunk_bytes: CHUNK_LIMIT,
            idle: Duration::from_secs(120),
            grace: Duration::from_secs(10),
        }
    }
}

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// No port on 127.0.0.1.
    #[error("listen on 127.0.0.1 for the container engine: {0}")]
    Listen(#[source] io::Error),
    /// No place for blobs.
    #[error("open the blob cache {}: {error}; make room for it and make it writable, or choose another directory with --home-dir", directory.display())]
    Cache {
        /// Where it was to be.
        directory: PathBuf,
        /// What went wrong.
        #[source]
        error: io::Error,
    },
}

/// A registry on loopback. It serves until it is dropped or shut down.
pub struct Gateway {
    shared: Arc<Shared>,
    connections: Arc<Semaphore>,
    options: Options,
    stop: CancellationToken,
    _stop_when_dropped: DropGuard,
}

/// What doors, connections and handlers share.
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) tasks: Tasks,
    pub(crate) cache: Arc<Cache>,
    pub(crate) known: Known,
    pub(crate) manner: Manner,
    pub(crate) address: SocketAddr,
    doors: Mutex<HashMap<String, Opened>>,
}

/// A door as requests find it.
#[derive(Clone)]
pub(crate) struct Opened {
    /// Rest of the repository name.
    pub(crate) name: String,
    /// What is behind it.
    pub(crate) inside: Inside,
    /// Cancelled when the door closes.
    pub(crate) closed: CancellationToken,
}

/// The direction of a door.
#[derive(Clone)]
pub(crate) enum Inside {
    Push(Arc<Push>),
    Pull(Arc<Pull>),
}

impl Gateway {
    /// A gateway on a free port of 127.0.0.1, which reaches registries through `client`, runs in `tasks`, and keeps
    /// blobs in `cache_dir`.
    ///
    /// # Errors
    /// [`GatewayError`] when it cannot listen or use the directory.
    pub async fn start(
        client: Client,
        tasks: Tasks,
        cache_dir: PathBuf,
        options: Options,
    ) -> Result<Self, GatewayError> {
        let (directory, limit, idle, own) = (cache_dir.clone(), options.cache_bytes, options.idle, tasks.clone());
        let cache = tasks.blocking(move || Cache::open(directory, limit, idle, own)).await;
        let cache = cache.map_err(|error| GatewayError::Cache { directory: cache_dir, error })?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(GatewayError::Listen)?;
        let address = listener.local_addr().map_err(GatewayError::Listen)?;
        let shared = Arc::new(Shared {
            client,
            tasks: tasks.clone(),
            cache: Arc::new(cache),
            known: Known::default(),
            manner: Manner {
                chunk: options.chunk_bytes.clamp(1, CHUNK_LIMIT),
                limit: options.blob_bytes,
                idle: options.idle,
            },
            address,
            doors: Mutex::default(),
        });
        let connections = Arc::new(Semaphore::new(options.connections));
        let stop = CancellationToken::new();
        drop(tasks.spawn(serve::serve(listener, Arc::clone(&shared), Arc::clone(&connections), stop.clone())));
        tracing::debug!(%address, "the gateway for container engines is open");
        Ok(Self { shared, connections, options, _stop_when_dropped: stop.clone().drop_guard(), stop })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.shared.address
    }

    /// Takes no more connections, and waits for requests under way, up to [`Options::grace`].
    pub async fn shut_down(&self) {
        self.stop.cancel();
        let all = u32::try_from(self.options.connections).unwrap_or(u32::MAX);
        if tokio::time::timeout(self.options.grace, self.connections.acquire_many(all)).await.is_err() {
            tracing::debug!("the gateway was closed while an engine was using it");
        }
    }

    fn reserve(&self) -> Result<(), BackendError> {
        if locked(&self.shared.doors).len() < self.options.doors {
            return Ok(());
        }
        Err(BackendError::Engine(format!("{} images are being pushed and pulled, no more at once", self.options.doors)))
    }

    fn open(&self, token: String, opened: Opened, selector: &str) -> Box<dyn Door> {
        let reference = format!("{}/{token}/{}{selector}", self.shared.address, opened.name);
        locked(&self.shared.doors).insert(token.clone(), opened.clone());
        Box::new(OpenDoor { shared: Arc::clone(&self.shared), token, reference, opened })
    }
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("address", &self.shared.address).finish_non_exhaustive()
    }
}

impl Shared {
    /// The door under a token.
    pub(crate) fn door(&self, token: &str) -> Option<Opened> {
        locked(&self.doors).get(token).cloned()
    }
}

#[async_trait]
impl ImageLink for Gateway {
    async fn pull_door(&self, image: &ImageAt) -> Result<Box<dyn Door>, BackendError> {
        self.reserve()?;
        let closed = CancellationToken::new();
        let pull = Pull::open(Arc::clone(&self.shared), image.clone(), closed.clone()).await?;
        let opened = Opened { name: name_of(&image.repo), inside: Inside::Pull(Arc::new(pull)), closed };
        Ok(self.open(slipway_process::random_id(), opened, &format!("@{}", image.digest)))
    }

    async fn push_door(&self, repo: &Repo, attempt: &str) -> Result<Box<dyn Door>, BackendError> {
        self.reserve()?;
        let (token, name) = (slipway_process::random_id(), name_of(repo));
        let base = format!("/v2/{token}/{name}");
        let push = Push::new(Arc::clone(&self.shared), base, repo.clone(), attempt.to_owned());
        let opened = Opened { name, inside: Inside::Push(Arc::new(push)), closed: CancellationToken::new() };
        Ok(self.open(token, opened, &format!(":{PUSH_TAG}")))
    }
}

/// A door in the hands of its user.
struct OpenDoor {
    shared: Arc<Shared>,
    token: String,
    reference: String,
    opened: Opened,
}

#[async_trait]
impl Door for OpenDoor {
    fn reference(&self) -> String {
        self.reference.clone()
    }

    async fn pushed(&self) -> Result<Pushed, BackendError> {
        match &self.opened.inside {
            Inside::Push(push) => push.pushed().await,
            Inside::Pull(pull) => Err(pull.failure()),
        }
    }
}

impl Drop for OpenDoor {
    fn drop(&mut self) {
        locked(&self.shared.doors).remove(&self.token);
        self.opened.closed.cancel();
    }
}

/// What a repository is called behind a door: its last component, for people who read an engine's log.
fn name_of(repo: &Repo) -> String {
    let last = repo.path.rsplit('/').next().unwrap_or_default();
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let plain = last.len() <= NAME_LIMIT
        && last.bytes().all(|byte| inner(byte) || byte == b'-')
        && last.bytes().next().is_some_and(inner)
        && last.bytes().next_back().is_some_and(inner);
    if plain { last.to_owned() } else { "image".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_behind_doors() {
        let table = [
            ("group/app", "app"),
            ("app-1", "app-1"),
            ("group/a_b", "image"),
            ("-a", "image"),
            ("a-", "image"),
            ("App", "image"),
            ("", "image"),
        ];
        for (path, expected) in table {
            assert_eq!(name_of(&Repo { host: "h".to_owned(), path: path.to_owned() }), expected, "{path}");
        }
    }
}
