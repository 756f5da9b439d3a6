//! The embedded mode: engine and worker inside this process.

mod agreed;
mod archives;
mod asked;
mod bases;
mod outside;
mod shared;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use slipway_client::Token;
use slipway_coordinator::{Engine, EngineOptions, Event, LearnedFile, LocalLink, Submission, scheduler::Options};
use slipway_digest::StageId;
use slipway_git::{GitView, Repository};
use slipway_oci::Repo;
use slipway_process::{Clock, Panicked, Tasks, caught, random_id};
use slipway_protocol::{CustomTag, OtherRepos, Requirements, SecretValues};
use slipway_stages::{Build, BuildOptions, Graph, Settings, build::BuildFailure};
use slipway_storage::{HostBuild, HostBuilds};
use slipway_telemetry::{SpanContext, Tracer};
use slipway_worker::{Agents, Capabilities, Introspect, OneRepository, Stop, Worker};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::agreed::Agreed;
pub(crate) use self::shared::{Shared, share};

use crate::{
    choose::{Backend, EngineAddress},
    engine,
    host::{Host, HostOptions},
    introspect::Introspector,
    outcome::{BuildError, BuildOutcome},
    output::events::{DisplayEvent, StageName},
    ssh::Relay,
    synchronization::Synchronization,
};

/// Jobs that the worker runs at once when nothing limits the images.
const SLOTS: u16 = 64;
/// How long what was given up may take to be cleared away.
const CLEARING: Duration = Duration::from_secs(60);

/// A build that is ready to run: everything was read and checked.
pub(crate) struct BuildRequest {
    /// The images to build with all that they need.
    pub(crate) graph: Graph,
    /// Project, commit, platform.
    pub(crate) settings: Settings,
    /// How many images at once; whether anything may be built.
    pub(crate) options: BuildOptions,
    /// The repository that the commit is in.
    pub(crate) repository: Repository,
    /// The project directory, for what lies in it beside the commit.
    pub(crate) directory: PathBuf,
    /// Where stages are kept; `None` = in the local storage.
    pub(crate) repo: Option<Repo>,
    /// Repositories beside that.
    pub(crate) others: OtherRepos,
    /// Further tags of its images.
    pub(crate) custom_tags: Vec<CustomTag>,
    /// Where builds agree on the stored stages.
    pub(crate) synchronization: Synchronization,
    /// What names this process to a coordinator by which builds agree.
    pub(crate) token: Option<Token>,
    /// What builds.
    pub(crate) host: HostOptions,
    /// The clock.
    pub(crate) clock: Arc<dyn Clock>,
    /// Cancelled when the user gives up: the build then ends with [`BuildFailure::Cancelled`] and leaves nothing behind.
    pub(crate) interrupted: CancellationToken,
    /// Where spans go.
    pub(crate) tracer: Tracer,
    /// What its commands may read.
    pub(crate) secrets: SecretValues,
    /// Where the ssh agent for its commands listens.
    pub(crate) agent: Option<PathBuf>,
    /// Opens shells in its stages; `None` = none are wanted.
    pub(crate) introspect: Option<Arc<Introspector>>,
    /// The span that the build belongs to; `None` = it is not traced.
    pub(crate) trace: Option<SpanContext>,
}

/// Whether the engine answers within a second; why it does not, otherwise.
pub(crate) async fn probe(engine: &EngineAddress) -> Result<(), String> {
    slipway_docker::probe(engine.host.as_deref(), engine.certificates.as_deref())
        .await
        .map_err(|error| error.to_string())
}

/// Whether this host can run builds itself, with layers on each other as it is asked for; why it cannot, otherwise.
pub(crate) async fn probe_native(home: &Path, driver: Option<&str>) -> Result<(), String> {
    let (store, driver) = (engine::store(home), driver.map(str::to_owned));
    Tasks::new().blocking(move || slipway_native::probe::probe(&store, driver.as_deref())).await
}

/// Runs a build to its end and tells what goes on.
///
/// # Errors
/// [`BuildError`] when it did not finish; everything that it started is gone by then.
pub(crate) async fn build(
    request: BuildRequest,
    mut tell: impl FnMut(DisplayEvent),
) -> Result<BuildOutcome, BuildError> {
    let tasks = Tasks::new();
    let opened = tokio::select! {
        opened = Host::open(&request.host, &tasks) => opened.map_err(BuildError::Setup),
        () = request.interrupted.cancelled() => Err(BuildError::Build(BuildFailure::Cancelled)),
    };
    let host = match opened {
        Ok(host) => host,
        Err(error) => {
            tasks.shut_down().await;
            return Err(error);
        }
    };
    let introspect = request.introspect.clone();
    let mut result = Box::pin(agreed(request, &host, &tasks, &mut tell)).await;
    if let Some(introspect) = introspect {
        if let Ok(outcome) = &result
            && let Err(error) = introspect.visit(host.backend().as_ref(), &outcome.images).await
        {
            result = Err(BuildError::Setup(error));
        }
        introspect.ended().await;
    }
    host.shut_down().await;
    tasks.shut_down().await;
    // Containers of the jobs that ended with the tasks are removed by the backend.
    host.shut_down().await;
    result
}

/// Builds; where many hosts share the stages, as one of their builds.
async fn agreed(
    request: BuildRequest,
    host: &Host,
    tasks: &Tasks,
    tell: &mut impl FnMut(DisplayEvent),
) -> Result<BuildOutcome, BuildError> {
    let opened = Agreed::open(&request, host);
    let opened = request.interrupted.run_until_cancelled(opened).await;
    let opened = opened.ok_or(BuildError::Build(BuildFailure::Cancelled))?;
    let Some(agreed) = opened.map_err(BuildError::Setup)? else {
        let known = on_this_host(&request).await.map_err(BuildError::Setup)?;
        let hidden = known.as_ref().map(|build| Arc::clone(&build.hidden)).unwrap_or_default();
        return run(request, host, Stages::Alone(hidden), tasks, tell).await;
    };
    let begun = request.interrupted.run_until_cancelled(agreed.begin(&request.settings.project)).await;
    let live = match begun.ok_or(BuildError::Build(BuildFailure::Cancelled)) {
        Ok(begun) => begun.map_err(BuildError::Setup),
        Err(cancelled) => Err(cancelled),
    };
    let live = match live {
        Ok(live) => live,
        Err(error) => {
            agreed.close().await;
            return Err(error);
        }
    };
    let mut result = run(request, host, Stages::Agreed(&agreed), tasks, tell).await;
    if let Ok(outcome) = &result
        && let Err(error) = agreed.end(&live, &outcome.images).await
    {
        result = Err(BuildError::Setup(error));
    }
    agreed.close().await;
    result
}

/// Who may know of the stages besides this build.
enum Stages<'a> {
    /// Builds of this host; of these stages a cleanup says that they go.
    Alone(Arc<HashSet<StageId>>),
    /// Builds of many hosts.
    Agreed(&'a Agreed),
}

/// Lets the cleanups of this host know of a build into a repository.
async fn on_this_host(request: &BuildRequest) -> anyhow::Result<Option<HostBuild>> {
    let Some(repo) = &request.repo else { return Ok(None) };
    let builds = HostBuilds::new(&request.host.service(), repo);
    let note = format!("{} in process {}", request.settings.project, std::process::id());
    Ok(Some(builds.begin(&note).await?))
}

async fn run(
    request: BuildRequest,
    host: &Host,
    stages: Stages<'_>,
    tasks: &Tasks,
    tell: &mut impl FnMut(DisplayEvent),
) -> Result<BuildOutcome, BuildError> {
    let git: Arc<dyn GitView> = Arc::new(request.repository.clone());
    let alone = matches!(stages, Stages::Alone(_));
    let outside = outside::outside(&request, host, stages, (&git, tasks));
    let recovered = outside.publisher.recover().await;
    recovered
        .with_context(|| format!("finish what interrupted builds left in {}", outside.primary.name()))
        .map_err(BuildError::Setup)?;
    if request.repo.is_some() && alone {
        tracing::info!("{}", slipway_storage::journal::NOTICE);
    }
    let learned = LearnedFile::new(request.host.service().join("learned.json"));
    let options = EngineOptions {
        seed: random_id(),
        clock: Arc::clone(&request.clock),
        scheduler: Options::embedded(),
        estimates: learned.load(),
        tracer: request.tracer.clone(),
    };
    let engine = Engine::start(tasks, options);
    let relay = request.agent.map(|agent| Relay::open(agent, tasks)).transpose().map_err(BuildError::Setup)?;
    let mounts = engine::mounts(&request.host, Arc::clone(&request.clock)).map_err(BuildError::Setup)?;
    let stop = Stop::default();
    let slots = request.options.parallel.and_then(|images| u16::try_from(images).ok());
    let setup = slipway_worker::Setup {
        name: "embedded".to_owned(),
        boot: random_id(),
        slots: slots.unwrap_or(SLOTS),
        hold: Duration::ZERO,
        capabilities: capabilities(request.host.backend),
        link: Arc::new(LocalLink::new(engine.clone())),
        registry: host.client.clone(),
        backend: host.backend(),
        ansible: request.host.ansible(tasks),
        sources: Arc::new(OneRepository(git)),
        mounts,
        clock: Arc::clone(&request.clock),
        tracer: request.tracer.clone(),
        holds: None,
        agents: relay.as_ref().map_or(Agents::None, |relay| Agents::One(relay.directory().to_owned())),
        introspect: request.introspect.map(|introspect| introspect as Arc<dyn Introspect>),
    };
    let worker = Worker::new(setup, tasks.clone());
    let stopped = stop.clone();
    let mut working = tasks.spawn(async move { caught(worker.run(stopped)).await });
    let build = Build::new(request.graph, &Arc::new(request.settings), request.options);
    let submitted = engine.submit(Submission {
        build,
        outside,
        trace: request.trace,
        requires: Requirements::default(),
        commands: Vec::new(),
        secrets: request.secrets,
    });
    let submitted = submitted.await;
    let Some((id, mut events)) = submitted else {
        return Err(BuildError::Setup(anyhow::anyhow!("the build engine has stopped")));
    };
    let result = tokio::select! {
        result = follow(&mut events, tell) => result,
        // Nobody would do its jobs, and nobody would hear how they ended.
        ended = &mut working => return Err(BuildError::Setup(worker_ended(ended.ok().flatten()))),
        () = request.interrupted.cancelled() => {
            engine.cancel(id).await;
            follow(&mut events, tell).await
        }
    };
    // What the build gave up is stopped and removed before anybody is told that it is over.
    let drained = async {
        tokio::select! {
            () = engine.drained() => {}
            // Its jobs ended with it.
            _ = &mut working => {}
        }
    };
    if tokio::time::timeout(CLEARING, drained).await.is_err() {
        tracing::warn!("some build containers are still being stopped; the next build removes what is left");
    }
    keep_learned(&engine, learned, tasks).await;
    stop.now.cancel();
    result
}

/// What the worker of this process says of itself: its jobs are all its own, so that nothing limits them but the backend.
fn capabilities(backend: Backend) -> Capabilities {
    Capabilities { backend: backend.to_string(), instructions: backend.does_instructions(), ..Capabilities::default() }
}

/// Remembers how long stages took, for the builds to come.
async fn keep_learned(engine: &Engine, file: LearnedFile, tasks: &Tasks) {
    let learned = engine.learned().await;
    if learned.is_empty() {
        return;
    }
    if let Err(error) = tasks.blocking(move || file.add(&learned)).await {
        tracing::debug!("keep how long stages took: {error}");
    }
}

/// Why there is no worker any more, while there is a build.
fn worker_ended(ended: Option<Result<(), Panicked>>) -> anyhow::Error {
    match ended {
        Some(Err(panicked)) => anyhow::anyhow!("run the worker: {panicked}"),
        Some(Ok(())) | None => anyhow::anyhow!("the worker has stopped before the build was over"),
    }
}

/// Passes events on until the build is over.
async fn follow(
    events: &mut mpsc::Receiver<Event>,
    tell: &mut impl FnMut(DisplayEvent),
) -> Result<BuildOutcome, BuildError> {
    while let Some(event) = events.recv().await {
        match event {
            Event::Progress(progress) => tell(progress.into()),
            Event::Log { image, kind, line, .. } => {
                let name = StageName { image: image.to_string(), stage: kind.to_string() };
                tell(DisplayEvent::StageLog { name, line });
            }
            Event::Notice(text) => tracing::warn!("{text}"),
            Event::Finished(Ok(images)) => return Ok(BuildOutcome { images }),
            Event::Finished(Err(failure)) => return Err(BuildError::Build(failure)),
        }
    }
    Err(BuildError::Setup(anyhow::anyhow!("the build engine has stopped")))
}
