//! The coordinator as a process: it listens, stands for leader, and reigns while it leads.

use std::{
    fs::{self, File, TryLockError},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use slipway_kv::{Batched, Counted, Kv};
use slipway_process::{Clock, Environment, Tasks};
use slipway_registry::Client;
use slipway_storage::kv::Fences;
use slipway_telemetry::Tracer;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{
        Api, Standing,
        auth::Guard,
        serve::{Server, Tls},
    },
    bases::RegistryBases,
    leader::{Candidate, Leadership, News},
    limits::Limits,
    metrics::Metrics,
    mirrors::Mirrors,
    places::Places,
    reign::{Parts, Reign},
    store::Store,
};

/// How long a lease lives that is not renewed: a leader that dies is followed after this.
pub const LEASE: Duration = Duration::from_secs(5);
/// Pause before a term is tried again that could not begin.
const PAUSE: Duration = Duration::from_secs(1);
/// How often mirrors are tidied up.
const TIDY_EVERY: Duration = Duration::from_secs(3600);
/// How long calls under way may take when the process ends.
const DRAIN: Duration = Duration::from_secs(5);

/// What anybody may know of a store that does not answer.
const NO_STORE: &str = "the store by which a leader is found does not answer";

/// What a coordinator is made of.
pub struct Config {
    /// Where it listens.
    pub listener: TcpListener,
    /// Its certificate; `None` = plain HTTP.
    pub tls: Option<Tls>,
    /// Where others are told to call it; `None` = they are not told.
    pub url: Option<String>,
    /// Who may call.
    pub guard: Arc<Guard>,
    /// The store that all coordinators of the cluster share.
    pub kv: Arc<dyn Kv>,
    /// Where mirrors and output lie. One process only uses it.
    pub data: PathBuf,
    /// How registries are spoken to.
    pub registry: Client,
    /// Limits.
    pub limits: Limits,
    /// How long a lease lives that is not renewed.
    pub lease: Duration,
    /// The environment.
    pub environment: Environment,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where the spans of builds go.
    pub tracer: Tracer,
}

/// Why a coordinator does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its directory cannot be used.
    #[error("use the data directory {}", .0.display())]
    Data(PathBuf, #[source] io::Error),
    /// Another process uses its directory.
    #[error("the data directory {} belongs to another coordinator that runs; give each its own", .0.display())]
    Taken(PathBuf),
    /// It cannot listen.
    #[error("listen for calls")]
    Listen(#[source] io::Error),
}

/// A coordinator that runs.
pub struct Service {
    address: SocketAddr,
    stop: CancellationToken,
    leading: Tasks,
    serving: Tasks,
    background: Tasks,
    /// Held as long as the process lives.
    _data: File,
}

impl Service {
    /// Starts a coordinator.
    ///
    /// # Errors
    /// When it cannot listen, or use its directory.
    pub fn start(config: Config) -> Result<Self, StartError> {
        let address = config.listener.local_addr().map_err(StartError::Listen)?;
        let unusable = |error| StartError::Data(config.data.clone(), error);
        let lock = take(&config.data)?;
        let spool = config.data.join("spool");
        // What an earlier process has left is of an earlier term: nobody reads it any more.
        let _ = fs::remove_dir_all(&spool);
        let mirrors = Mirrors::open(config.data.join("git"), &config.environment, config.limits);
        let mirrors = mirrors.map_err(unusable)?;
        let store = Counted::new(config.kv);
        let metrics = Arc::new(Metrics::default());
        let nobody = Standing::Away("it has just started".to_owned());
        let (standing, stands) = watch::channel(nobody);
        let (stop, leading, serving, background) = (CancellationToken::new(), Tasks::new(), Tasks::new(), Tasks::new());
        let ruler = Ruler {
            // Leases and leadership wait for nobody.
            candidate: Candidate::new(Arc::new(store.clone()), config.url, config.lease),
            standing,
            // What many stages and builds write at the same time goes in few proposals, each under its own conditions.
            kv: Arc::new(Batched::new(Arc::new(store.clone()), &background)),
            mirrors: mirrors.clone(),
            spool,
            durations: config.data.join("durations.json"),
            registry: config.registry,
            limits: config.limits,
            clock: config.clock,
            metrics: Arc::clone(&metrics),
            tracer: config.tracer,
            stop: stop.clone(),
        };
        drop(leading.spawn(async move { ruler.run().await }));
        drop(background.spawn(async move { tidy_up(mirrors).await }));
        let api = Api {
            guard: config.guard,
            standing: stands,
            limits: config.limits,
            metrics,
            store,
            tasks: background.clone(),
        };
        let server = Server {
            api: Arc::new(api),
            tls: config.tls,
            connections: Arc::new(Semaphore::new(config.limits.connections)),
            tasks: serving.clone(),
            stop: stop.clone(),
        };
        drop(serving.spawn(server.serve(config.listener)));
        Ok(Self { address, stop, leading, serving, background, _data: lock })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it: leadership is given up at once, for another to take; calls under way are answered if that is soon.
    pub async fn stop(self) {
        self.stop.cancel();
        self.leading.wait().await;
        if timeout(DRAIN, self.serving.wait()).await.is_err() {
            self.serving.shut_down().await;
        }
        self.background.shut_down().await;
    }
}

/// Takes the directory for this process alone.
fn take(data: &Path) -> Result<File, StartError> {
    let unusable = |error| StartError::Data(data.to_owned(), error);
    fs::create_dir_all(data).map_err(unusable)?;
    let lock = File::create(data.join("coordinator.lock")).map_err(unusable)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(StartError::Taken(data.to_owned())),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

async fn tidy_up(mirrors: Mirrors) {
    loop {
        tokio::time::sleep(TIDY_EVERY).await;
        mirrors.tidy_up().await;
    }
}

/// Stands for leader, and reigns while it leads.
struct Ruler {
    candidate: Candidate,
    standing: watch::Sender<Standing>,
    kv: Arc<dyn Kv>,
    mirrors: Mirrors,
    spool: PathBuf,
    durations: PathBuf,
    registry: Client,
    limits: Limits,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    tracer: Tracer,
    stop: CancellationToken,
}

impl Ruler {
    async fn run(self) {
        loop {
            let won = self.candidate.win(|news| self.heard(news));
            let Some(leadership) = self.stop.run_until_cancelled(won).await else { return };
            self.lead(leadership).await;
            if self.stop.is_cancelled() {
                return;
            }
        }
    }

    fn heard(&self, news: News) {
        match &news {
            News::Led(url) => tracing::info!(leader = url.as_deref().unwrap_or("unknown"), "another coordinator leads"),
            News::Away(why) => tracing::warn!("the store by which a leader is found does not answer: {why}"),
        }
        self.standing.send_replace(match news {
            News::Led(url) => Standing::Led(url),
            News::Away(_) => Standing::Away(NO_STORE.to_owned()),
        });
    }

    /// Reigns until leadership is lost or the process ends.
    async fn lead(&self, leadership: Leadership) {
        let lost = leadership.lost();
        let begun = tokio::select! {
            begun = Reign::begin(self.parts(&leadership)) => begun,
            () = lost.cancelled() => Err("the lease was lost before the term began".to_owned()),
            () = self.stop.cancelled() => return leadership.resign().await,
        };
        let reign = match begun {
            Ok(reign) => reign,
            Err(why) => {
                tracing::error!("this coordinator cannot lead: {why}");
                // What is wrong may name inner addresses: everybody may ask how it stands.
                self.standing.send_replace(Standing::Away("its term could not begin; its log says why".to_owned()));
                leadership.resign().await;
                return tokio::time::sleep(PAUSE).await;
            }
        };
        self.metrics.term_began();
        self.standing.send_replace(Standing::Leading(Arc::clone(&reign)));
        tokio::select! {
            () = lost.cancelled() => {
                tracing::error!(term = reign.term(), "the lease is lost: this coordinator does not lead any more");
                self.metrics.term_lost();
            }
            () = self.stop.cancelled() => tracing::info!(term = reign.term(), "giving up leadership"),
        }
        // First nothing is decided any more, then another may begin.
        self.standing.send_replace(Standing::Led(None));
        reign.end().await;
        leadership.resign().await;
    }

    fn parts(&self, leadership: &Leadership) -> Parts {
        let bases = Arc::new(RegistryBases(self.registry.clone()));
        let fences = Fences::closed().counting(self.metrics.fences_refused());
        fences.set(leadership.fence());
        let (kv, clock) = (Arc::clone(&self.kv), Arc::clone(&self.clock));
        let places = Places::new(self.registry.clone(), kv, clock, fences, bases);
        Parts {
            term: leadership.term(),
            store: Store::new(Arc::clone(&self.kv), leadership.fence(), leadership.lease())
                .counting(self.metrics.fences_refused()),
            places,
            mirrors: self.mirrors.clone(),
            spool: self.spool.join(leadership.term().to_string()),
            durations: self.durations.clone(),
            limits: self.limits,
            clock: Arc::clone(&self.clock),
            metrics: Arc::clone(&self.metrics),
            tracer: self.tracer.clone(),
        }
    }
}
