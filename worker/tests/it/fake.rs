//! Both sides of a worker.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use slipway_backend::{
    BackendError, ByteStream, ContainerBackend, DockerfileBuild, ImageBuilder, ImageStore, LocalImage, Logs, Pushed,
    Root, Workspace,
};
use slipway_digest::{Encoder, Millis, StageDigest, StageId};
use slipway_oci::{BlobDigest, ImageAt, ImageConfig, Platform, Reference, Repo, Respec};
use slipway_process::{Clock, Tasks};
use slipway_protocol::{Assignment, AttemptId, CoordinatorLink, Desired, Job, LinkError, Report};
use slipway_stages::{ImportInput, ImportedImage};
use slipway_worker::{HostPaths, Mounts, OneRepository, Setup, Worker};
use tokio::sync::watch;

/// A coordinator that says what a test wants and keeps what it is told.
pub(crate) struct Coordinator {
    desired: watch::Sender<Desired>,
    pub(crate) away: watch::Sender<bool>,
    reports: Mutex<Vec<Report>>,
    changed: watch::Sender<u64>,
}

impl Coordinator {
    pub(crate) fn new(desired: Desired) -> Arc<Self> {
        Arc::new(Self {
            desired: watch::Sender::new(desired),
            away: watch::Sender::new(false),
            reports: Mutex::default(),
            changed: watch::Sender::new(0),
        })
    }

    pub(crate) fn say(&self, desired: Desired) {
        self.desired.send_replace(desired);
    }

    /// Waits for a report that is so.
    pub(crate) async fn hears(&self, is_it: impl Fn(&Report) -> bool) -> Report {
        let mut changed = self.changed.subscribe();
        let wait = async {
            loop {
                let found =
                    self.reports.lock().unwrap_or_else(PoisonError::into_inner).iter().find(|r| is_it(r)).cloned();
                match found {
                    Some(report) => return report,
                    None => changed.changed().await.expect("the coordinator lives"),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(30), wait).await.expect("such a report comes")
    }

    pub(crate) fn forget(&self) {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[async_trait]
impl CoordinatorLink for Coordinator {
    async fn sync(&self, report: Report) -> Result<Desired, LinkError> {
        let held: Vec<AttemptId> = report.attempts.iter().map(|(attempt, _)| attempt.clone()).collect();
        self.reports.lock().unwrap_or_else(PoisonError::into_inner).push(report);
        self.changed.send_modify(|count| *count += 1);
        let mut away = self.away.subscribe();
        // Held while the worker has all that it should have, and nothing else.
        let mut desired = self.desired.subscribe();
        let news = |desired: &Desired| {
            let wanted: Vec<&AttemptId> = desired.run.iter().map(|run| &run.attempt).collect();
            wanted.len() != held.len() || !held.iter().all(|held| wanted.contains(&held)) || desired.drain
        };
        tokio::select! {
            biased;
            _ = away.wait_for(|away| *away) => Err(LinkError("cut off".to_owned())),
            said = desired.wait_for(news) => Ok(said.map_err(|_| LinkError("gone".to_owned()))?.clone()),
        }
    }

    async fn log(&self, _attempt: &AttemptId, _line: Vec<u8>) -> Result<(), LinkError> {
        Ok(())
    }
}

/// A backend on which nothing ends, and everything that is given up is counted.
#[derive(Default)]
pub(crate) struct Endless {
    pub(crate) given_up: Arc<AtomicU64>,
}

struct Guard(Arc<AtomicU64>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn refused<T>() -> Result<T, BackendError> {
    Err(BackendError::Refused("not of this test".to_owned()))
}

#[async_trait]
impl ImageStore for Endless {
    async fn pull(&self, _image: &ImageAt) -> Result<LocalImage, BackendError> {
        let _guard = Guard(Arc::clone(&self.given_up));
        std::future::pending().await
    }

    async fn has(&self, _image: &ImageAt) -> bool {
        false
    }

    async fn local(&self, _: &Reference, _: &Platform) -> Result<Option<LocalImage>, BackendError> {
        refused()
    }

    async fn push(&self, _: &LocalImage, _: &Repo, _: &str) -> Result<Pushed, BackendError> {
        refused()
    }

    async fn files(&self, _: &LocalImage, _: &str) -> Result<(Root, ByteStream), BackendError> {
        refused()
    }

    async fn config(&self, _: &LocalImage) -> Result<ImageConfig, BackendError> {
        refused()
    }

    async fn remove(&self, _: &LocalImage) -> Result<(), BackendError> {
        refused()
    }
}

#[async_trait]
impl ImageBuilder for Endless {
    async fn open(
        &self,
        _base: Option<&LocalImage>,
        _setup: slipway_backend::Setup,
    ) -> Result<Box<dyn Workspace>, BackendError> {
        refused()
    }

    async fn dockerfile(&self, _: DockerfileBuild, _: ByteStream, _: Logs) -> Result<LocalImage, BackendError> {
        refused()
    }

    async fn respec(
        &self,
        _: &LocalImage,
        _: &Respec,
        _: &BTreeMap<String, String>,
    ) -> Result<LocalImage, BackendError> {
        refused()
    }
}

#[async_trait]
impl ContainerBackend for Endless {
    async fn sweep(&self) -> Result<u32, BackendError> {
        Ok(0)
    }
}

/// A clock that is moved by hand.
#[derive(Default)]
pub(crate) struct Hands(AtomicU64);

impl Hands {
    pub(crate) fn forward(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn unix_millis(&self) -> u64 {
        0
    }

    fn monotonic(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

/// A job that pulls, and so never ends.
pub(crate) fn job(id: &str, deadline: Option<Duration>) -> Assignment {
    let digest = BlobDigest::of(b"image");
    let input = ImportInput {
        image: ImportedImage::Stage {
            id: StageId { digest: StageDigest(Encoder::new("stage").finish()), stamp: Millis(1) },
            at: ImageAt { repo: Repo { host: "r.example".to_owned(), path: "p".to_owned() }, digest: digest.clone() },
            image_id: digest,
        },
        add: "/".to_owned(),
        include: Vec::new(),
        exclude: Vec::new(),
        to: "/".to_owned(),
        owner: None,
        group: None,
    };
    let attempt = AttemptId { job: id.to_owned(), number: 1, id: format!("s-{id}") };
    Assignment {
        attempt,
        job: Job::Checksum(Box::new(input)),
        push_to: None,
        deadline,
        again: None,
        traceparent: None,
        secrets: Vec::new(),
        ssh_keys: Vec::new(),
        caches: Vec::new(),
    }
}

/// A controller that no job of these tests needs.
fn ansible(tasks: &Tasks) -> slipway_ansible::Controller {
    let nowhere = || std::path::PathBuf::from("/dev/null/ansible");
    let (source, arguments) = (slipway_ansible::Source::Toolbox, Vec::new());
    let options = slipway_ansible::Options { source, home: nowhere(), locks: nowhere(), arguments };
    slipway_ansible::Controller::new(options, tasks.clone())
}

/// A worker that goes on for 100 seconds without a coordinator.
pub(crate) fn worker(
    coordinator: &Arc<Coordinator>,
    backend: &Arc<Endless>,
    clock: &Arc<Hands>,
    tasks: &Tasks,
) -> Worker {
    let repository = slipway_git::Repository::open(std::path::Path::new(env!("CARGO_MANIFEST_DIR")));
    let setup = Setup {
        name: "w".to_owned(),
        boot: "first".to_owned(),
        slots: 2,
        capabilities: slipway_worker::Capabilities::default(),
        hold: Duration::from_secs(100),
        link: coordinator.clone(),
        registry: slipway_registry::Client::new(slipway_registry::Options::default()).expect("a client"),
        backend: backend.clone(),
        ansible: ansible(tasks),
        sources: Arc::new(OneRepository(Arc::new(repository.expect("the checkout is a git repository")))),
        mounts: Mounts::new(std::env::temp_dir().join("never"), 0, HostPaths::Strangers, clock.clone()),
        clock: clock.clone(),
        tracer: slipway_telemetry::Tracer::default(),
        holds: None,
        agents: slipway_worker::Agents::None,
        introspect: None,
    };
    Worker::new(setup, tasks.clone())
}
