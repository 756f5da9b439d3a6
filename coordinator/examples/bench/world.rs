//! What the engine sees: a repository without files, stages in memory, and base images that are all there.

use std::{
    collections::BTreeMap,
    io::Write,
    sync::{Arc, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use slipway_coordinator::{
    Bases, Engine, EngineOptions, Event, LocalLink, Outside, Submission,
    scheduler::{Options, estimates::Estimates},
};
use slipway_digest::CommitId;
use slipway_git::{ArchiveOptions, Authored, Change, CommitInfo, GitError, GitView, TreeSummary};
use slipway_kv::Counted;
use slipway_oci::{Platform, Repo};
use slipway_paths::{Scope, TreePath};
use slipway_process::{Clock, Tasks};
use slipway_stages::{BaseImage, Build, BuildOptions, Graph, Settings, build::JobKey};
use slipway_storage::{MemoryRecords, MemoryStorage, Publisher, StageStorage};
use tokio::sync::mpsc;

use crate::{
    ledger::{MemoryLedger, NoLocks},
    shelf::Shelf,
    stored::Stored,
    time::Time,
    workers::{Starts, Worker},
};

struct NoFiles;

impl GitView for NoFiles {
    fn resolve(&self, name: &str) -> Result<CommitId, GitError> {
        Err(GitError::Missing(name.to_owned()))
    }

    fn commit(&self, id: CommitId) -> Result<CommitInfo, GitError> {
        Ok(CommitInfo { id, time: 0, authored: Authored { time: 0, offset: 0 }, parents: Vec::new() })
    }

    fn read(&self, _at: CommitId, _path: &TreePath) -> Result<Option<Vec<u8>>, GitError> {
        Ok(None)
    }

    fn tree(&self, at: CommitId, _scope: &Scope) -> Result<TreeSummary, GitError> {
        Err(GitError::Missing(at.to_string()))
    }

    fn changes(&self, _from: CommitId, _to: CommitId, _scope: &Scope) -> Result<Vec<Change>, GitError> {
        Ok(Vec::new())
    }

    fn is_ancestor(&self, old: CommitId, new: CommitId) -> Result<bool, GitError> {
        Ok(old == new)
    }

    fn archive(
        &self,
        at: CommitId,
        _scope: &Scope,
        _options: &ArchiveOptions,
        _out: &mut dyn Write,
    ) -> Result<(), GitError> {
        Err(GitError::Missing(at.to_string()))
    }
}

struct AnyBase;

#[async_trait]
impl Bases for AnyBase {
    async fn find(&self, reference: &str, _platform: &Platform) -> Result<BaseImage, String> {
        Ok(BaseImage { reference: reference.to_owned(), at: None })
    }
}

/// An engine with its surroundings.
pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) starts: Starts,
    outside: Outside,
    tasks: Tasks,
}

impl World {
    /// An engine with so many workers, which keeps its records in memory.
    pub(crate) fn new(time: &Time, workers: usize, slots: u16, estimates: Estimates) -> Self {
        let storage = MemoryStorage::new("memory");
        let publisher = Publisher::new(
            Arc::new(storage.clone()),
            Arc::new(MemoryLedger::default()),
            Arc::new(NoLocks),
            time.clock(),
        );
        let stages = Arc::new(storage.clone());
        Self::with(time, (workers, slots), estimates, storage, (stages, publisher), Tasks::new())
    }

    /// The same with the records in etcd; and the counter of what they cost.
    pub(crate) async fn stored(time: &Time, workers: usize, slots: u16, etcd: &str) -> (Self, Counted) {
        let (tasks, storage) = (Tasks::new(), MemoryStorage::new("memory"));
        let Stored { stages, publisher, counted } = Stored::open(etcd, &repo(), &storage, time.clock(), &tasks).await;
        let places = (stages, publisher);
        (Self::with(time, (workers, slots), Estimates::default(), storage, places, tasks), counted)
    }

    fn with(
        time: &Time,
        (workers, slots): (usize, u16),
        estimates: Estimates,
        storage: MemoryStorage,
        (stages, publisher): (Arc<dyn StageStorage>, Publisher),
        tasks: Tasks,
    ) -> Self {
        let clock = time.clock();
        let outside = Outside {
            git: Arc::new(NoFiles),
            primary: stages,
            local: None,
            images: None,
            beside: Default::default(),
            custom_tags: None,
            bases: Arc::new(AnyBase),
            records: Arc::new(MemoryRecords::default()),
            history: Vec::new(),
            publisher: Arc::new(publisher),
            push_to: Some(repo()),
        };
        let options = EngineOptions {
            seed: "bench".to_owned(),
            clock: Arc::clone(&clock),
            // No leases: while time stands still nobody is late.
            scheduler: Options { adopt: Duration::ZERO, lease: None, ..Options::cluster() },
            estimates,
            tracer: slipway_telemetry::Tracer::default(),
        };
        let engine = Engine::start(&tasks, options);
        let starts = Starts::default();
        tasks.spawn(time.clone().pass());
        for number in 0..workers {
            let link = Arc::new(LocalLink::new(engine.clone()));
            let worker = Worker::new(link, Shelf::Memory(storage.clone()), (time, &starts, &tasks));
            tasks.spawn(worker.run(format!("w{number}"), slots));
        }
        Self { engine, clock, starts, outside, tasks }
    }

    /// Hands a build in.
    pub(crate) async fn submit(&self, config: &str, options: BuildOptions) -> mpsc::Receiver<Event> {
        self.hand_in(build(graph(config), options)).await
    }

    /// Hands a build in that is made already.
    pub(crate) async fn hand_in(&self, build: Build) -> mpsc::Receiver<Event> {
        let submission = Submission {
            build,
            outside: self.outside.clone(),
            trace: None,
            requires: Default::default(),
            commands: Vec::new(),
            secrets: Default::default(),
        };
        let (_, events) = self.engine.submit(submission).await.expect("the engine runs");
        events
    }

    /// Reads the events of a build beside everything else.
    pub(crate) fn read_on(&self, events: mpsc::Receiver<Event>) {
        self.tasks.spawn(finished(events));
    }

    /// Waits until a worker has begun a job; answers when that was.
    pub(crate) async fn started(&self, key: &JobKey) -> Duration {
        let job = format!("registry/p/{}", key.0);
        loop {
            let started = self.starts.lock().unwrap_or_else(PoisonError::into_inner).remove(&job);
            if let Some(started) = started {
                return started;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until every worker has said that it is there.
    pub(crate) async fn workers_are_there(&self, workers: usize) {
        while self.engine.snapshot().await.is_none_or(|snapshot| snapshot.scheduler.workers.len() < workers) {
            tokio::task::yield_now().await;
        }
    }

    /// Ends everything.
    pub(crate) async fn end(self) {
        self.tasks.shut_down().await;
    }
}

fn repo() -> Repo {
    Repo { host: "registry".to_owned(), path: "p".to_owned() }
}

/// Reads the events of a build to its end.
pub(crate) async fn finished(mut events: mpsc::Receiver<Event>) {
    while let Some(event) = events.recv().await {
        if let Event::Finished(result) = event {
            let images = result.unwrap_or_else(|failure| panic!("a build of the benchmark failed: {failure:?}"));
            assert!(!images.is_empty(), "something was built");
        }
    }
}

/// The images of a configuration.
pub(crate) fn graph(config: &str) -> Graph {
    let config = slipway_config::parse("werf.yaml", config);
    Graph::new(config.unwrap_or_else(|problems| panic!("the benchmark's configuration is wrong: {problems:?}")).images)
}

/// A build of all images.
pub(crate) fn build(graph: Graph, options: BuildOptions) -> Build {
    let settings = Settings {
        project: "bench".to_owned(),
        commit: CommitId([1; 20]),
        context_commits: BTreeMap::new(),
        commit_time: 0,
        commit_time_human: "1970-01-01 00:00:00 +0000 +0000".to_owned(),
        project_dir: TreePath::root(),
        run: "bench".to_owned(),
        platform: Platform { os: "linux".to_owned(), arch: "amd64".to_owned(), variant: None },
        dev: false,
        virtual_merge: None,
        sources: Vec::new(),
        foresees: false,
    };
    Build::new(graph, &Arc::new(settings), options)
}
