//! An engine, a worker and a backend in this process, and a repository to build from.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, ensure};
use async_trait::async_trait;
use futures::TryStreamExt as _;
use slipway_ansible::Controller;
use slipway_backend::{ContainerBackend, LocalImage, SpoolDir};
use slipway_coordinator::{Bases, Engine, EngineOptions, Event, LocalLink, Outside, Submission, scheduler};
use slipway_digest::CommitId;
use slipway_docker::{BuilderChoice, DockerBackend, DockerOptions};
use slipway_e2e::{
    Part, Project, Registry,
    contents::{Contents, differences, of_archive, of_commit},
    engine, require,
};
use slipway_gateway::Gateway;
use slipway_git::{GitView, Repository};
use slipway_locks::FileLocks;
use slipway_native::{Compression, NativeBackend, NativeOptions, driver::Driver, limits::Limits, network::Commands};
use slipway_oci::{Platform, Reference};
use slipway_paths::TreePath;
use slipway_process::{Clock, Environment, SystemClock, Tasks, random_id};
use slipway_protocol::{Capabilities, Requirements};
use slipway_registry::Client;
use slipway_stages::{
    BaseImage, Build, BuildOptions, Graph, Settings, StageKind,
    build::{BuiltImage, Schedule, Source},
};
use slipway_storage::{JournalLedger, MemoryRecords, Publisher, StageStorage};
use slipway_telemetry::Tracer;
use slipway_toolbox::Places;
use slipway_worker::{HostPaths, Mounts, OneRepository, Stop, Worker};

use crate::history::History;

/// The owner of what comes from `sub`.
const OWNER: u64 = 1000;
/// Two mappings of which one lies in the other, a single file, and a command that depends on one more.
const CONFIG: &str = "configVersion: 1\nproject: PROJECT\n---\nimage: app\nfrom: BASE\ngit:\n\
    - {add: /, to: /app, excludePaths: [sub], stageDependencies: {setup: [deps]}}\n\
    - {add: /sub, to: /app/sub, owner: '1000'}\n\
    - {add: /single, to: /one/file}\n\
    shell: {setup: 'cd /app; while read -r line; do echo \"$line\"; done < deps > /built'}\n";

/// Which backend builds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// No engine at all.
    Native,
    /// A Docker engine.
    Docker,
}

/// What is to be shut down when all is over.
enum Opened {
    Native(Arc<NativeBackend>),
    Docker(Arc<DockerBackend>, Arc<Gateway>),
}

/// Everything that a walk needs.
pub struct Lab {
    opened: Opened,
    backend: Arc<dyn ContainerBackend>,
    outside: Outside,
    graph: Graph,
    engine: Engine,
    tasks: Tasks,
    project: Project,
    _registry: Registry,
}

/// Finds images in registries.
struct InRegistry(Client);

#[async_trait]
impl Bases for InRegistry {
    async fn find(&self, text: &str, platform: &Platform) -> Result<BaseImage, String> {
        let reference: Reference = text.parse().map_err(|error| format!("{error}"))?;
        let at = self.0.resolve(&reference, platform).await.map_err(|error| error.to_string())?;
        Ok(BaseImage { reference: text.to_owned(), at })
    }
}

impl Lab {
    /// Opens a backend with a store of its own; `None`, said aloud, where it cannot run.
    ///
    /// # Errors
    /// When a part of it does not come up.
    pub async fn open(what: What) -> Result<Option<Self>> {
        if !require(&[Part::Docker, Part::Registry, Part::Git]) {
            return Ok(None);
        }
        let (project, registry, tasks) = (Project::new("walk")?, Registry::start()?, Tasks::new());
        if what == What::Native
            && let Err(why) = slipway_native::probe::probe(&project.home().join("native"), None)
        {
            slipway_parts::skip("native", &why);
            return Ok(None);
        }
        let base = registry.repo("base:1");
        engine::run(&["tag", engine::base_image(), &base])?;
        engine::run(&["push", "--quiet", &base])?;
        engine::run(&["image", "rm", &base])?;
        let client = Client::new(slipway_registry::Options::default()).context("a client")?;
        let (opened, backend, storage) = open_backend(what, &project, &client, &tasks).await?;
        let config = CONFIG.replace("PROJECT", project.name()).replace("BASE", &base);
        let config = slipway_config::parse("werf.yaml", &config)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new(None));
        let git: Arc<dyn GitView> = Arc::new(Repository::open(project.path())?);
        let service = project.home().join("service");
        let ledger = Arc::new(JournalLedger::new(&service.join("ledger"), &storage.name()));
        let locks = Arc::new(FileLocks::new(service.join("locks")));
        let publisher = Publisher::new(Arc::clone(&storage), ledger, locks, Arc::clone(&clock));
        let outside = Outside {
            git: Arc::clone(&git),
            primary: storage,
            local: None,
            images: None,
            beside: Default::default(),
            custom_tags: None,
            bases: Arc::new(InRegistry(client.clone())),
            records: Arc::new(MemoryRecords::default()),
            history: Vec::new(),
            publisher: Arc::new(publisher),
            push_to: None,
        };
        let tracer = Tracer::open(&Environment::default(), "slipway", Arc::clone(&clock));
        let options = EngineOptions {
            seed: random_id(),
            clock: Arc::clone(&clock),
            scheduler: scheduler::Options::embedded(),
            estimates: Default::default(),
            tracer: tracer.clone(),
        };
        let engine = Engine::start(&tasks, options);
        let nowhere = project.home().join("ansible");
        let source = slipway_ansible::Source::Toolbox;
        let ansible = slipway_ansible::Options { source, home: nowhere.clone(), locks: nowhere, arguments: Vec::new() };
        let ansible = Controller::new(ansible, tasks.clone());
        let setup = slipway_worker::Setup {
            name: "embedded".to_owned(),
            boot: random_id(),
            slots: 4,
            hold: Duration::ZERO,
            capabilities: Capabilities { backend: format!("{what:?}").to_lowercase(), ..Capabilities::default() },
            link: Arc::new(LocalLink::new(engine.clone())),
            registry: client,
            backend: Arc::clone(&backend),
            ansible,
            sources: Arc::new(OneRepository(git)),
            mounts: Mounts::new(project.home().join("native"), 0, HostPaths::Strangers, Arc::clone(&clock)),
            clock,
            tracer,
            holds: None,
            agents: slipway_worker::Agents::None,
            introspect: None,
        };
        let worker = Worker::new(setup, tasks.clone());
        tasks.spawn(async move { worker.run(Stop::default()).await });
        let graph = Graph::new(config.images);
        Ok(Some(Self { opened, backend, outside, graph, engine, tasks, project, _registry: registry }))
    }

    /// Where the history goes.
    pub fn repository(&self) -> &Path {
        self.project.path()
    }

    /// Builds commit after commit and compares each with what git says.
    ///
    /// # Errors
    /// What differs, and where.
    pub async fn walk(&self, history: &History) -> Result<()> {
        let mut archives = 0;
        for (number, commit) in history.commits.iter().enumerate() {
            let step = || format!("step {number}, commit {commit}");
            let image = self.build(commit).await.with_context(step)?;
            let built = image.stages().filter(|stage| stage.source == Source::Built);
            archives += built.filter(|stage| stage.kind == StageKind::GitArchive).count();
            let again = self.compare(commit, &image).await.with_context(step);
            again.with_context(|| format!("built in {:?}", kinds(&image)))?;
            if number % 50 == 0 {
                let again = self.build(commit).await.with_context(step)?;
                ensure!(!again.rebuilt(), "{}: built twice", step());
            }
        }
        ensure!(archives == history.roots, "{archives} archives of {} unrelated histories", history.roots);
        Ok(())
    }

    /// Ends everything and removes what was made.
    ///
    /// # Panics
    /// When something does not end.
    pub async fn end(self) {
        self.tasks.shut_down().await;
        match self.opened {
            Opened::Native(native) => native.shut_down().await.expect("the backend ends"),
            Opened::Docker(docker, gateway) => {
                docker.shut_down().await;
                gateway.shut_down().await;
                engine::forget_labelled(self.project.name()).expect("the engine forgets");
            }
        }
    }

    async fn build(&self, commit: &str) -> Result<BuiltImage> {
        let settings = Settings {
            project: self.project.name().to_owned(),
            commit: commit.parse::<CommitId>()?,
            context_commits: Default::default(),
            commit_time: 1_600_000_000,
            commit_time_human: "2020-09-13 12:26:40 +0000 +0000".to_owned(),
            project_dir: TreePath::root(),
            run: random_id(),
            platform: Platform::host(),
            dev: false,
            virtual_merge: None,
            sources: Vec::new(),
            foresees: false,
        };
        let options = BuildOptions { parallel: None, require_built: false, schedule: Schedule::Ready };
        let build = Build::new(self.graph.clone(), &Arc::new(settings), options);
        let outside = self.outside.clone();
        let requires = Requirements::default();
        let submission =
            Submission { build, outside, trace: None, requires, commands: Vec::new(), secrets: Default::default() };
        let (_, mut events) = self.engine.submit(submission).await.context("the engine has stopped")?;
        while let Some(event) = events.recv().await {
            if let Event::Finished(result) = event {
                let images = result.map_err(|failure| anyhow::anyhow!("{failure:?}"))?;
                return images.into_iter().next().context("an image");
            }
        }
        anyhow::bail!("the engine has stopped")
    }

    async fn compare(&self, commit: &str, image: &BuiltImage) -> Result<()> {
        let last = image.lasts().next().context("a stage")?;
        let local = LocalImage { id: last.record.image_id.clone() };
        let owner = |path: &[u8]| if path == b"sub" || path.starts_with(b"sub/") { OWNER } else { 0 };
        let expected = of_commit(self.repository(), commit, owner)?;
        let differ = differences(&expected, &self.read(&local, "/app").await?);
        ensure!(differ.is_empty(), "/app is not the commit (git, image):\n{}", differ.join("\n"));
        let one = self.read(&local, "/one").await?;
        ensure!(one.len() == 1 && one.get(b"file".as_slice()) == expected.get(b"single".as_slice()), "{one:?}");
        Ok(())
    }

    async fn read(&self, image: &LocalImage, path: &str) -> Result<Contents> {
        let (_, stream) = self.backend.files(image, path).await?;
        let chunks: Vec<_> = stream.try_collect().await?;
        of_archive(&chunks.concat())
    }
}

async fn open_backend(
    what: What,
    project: &Project,
    client: &Client,
    tasks: &Tasks,
) -> Result<(Opened, Arc<dyn ContainerBackend>, Arc<dyn StageStorage>)> {
    let own = std::env::current_exe()?;
    let program = own.ancestors().nth(2).context("tests are in target/PROFILE/deps")?.join("slipway");
    match what {
        What::Native => {
            let options = NativeOptions {
                store: project.home().join("native"),
                limit: None,
                client: client.clone(),
                toolbox: slipway_toolbox::Source::Own(Places::new(Vec::new())),
                compression: Compression::default(),
                program,
                commands: Commands::Own,
                limits: Limits::default(),
                driver: Driver::default(),
                runtime: None,
                addresses: slipway_native::Addresses::Far,
                clock: Arc::new(SystemClock::new(None)),
            };
            let native = Arc::new(NativeBackend::open(options).await?);
            let storage = Arc::new(native.stage_storage(project.name()));
            Ok((Opened::Native(Arc::clone(&native)), native, storage))
        }
        What::Docker => {
            let cache = project.home().join("blobs");
            let gateway = Gateway::start(client.clone(), tasks.clone(), cache, slipway_gateway::Options::default());
            let gateway = Arc::new(gateway.await?);
            let options = DockerOptions {
                host: None,
                certificates: None,
                link: Arc::clone(&gateway) as Arc<dyn slipway_backend::ImageLink>,
                spool: SpoolDir(project.home().join("spool")),
                attempts: project.home().join("attempts"),
                uses: project.home().join("used"),
                toolbox: slipway_toolbox::Source::Own(Places::new(Vec::new())),
                builder: BuilderChoice::Auto,
            };
            let docker = Arc::new(DockerBackend::connect(options).await?);
            let storage = Arc::new(docker.stage_storage(project.name()));
            Ok((Opened::Docker(Arc::clone(&docker), gateway), docker, storage))
        }
    }
}

fn kinds(image: &BuiltImage) -> Vec<(StageKind, Source)> {
    image.stages().map(|stage| (stage.kind, stage.source)).collect()
}
