//! `slipway build`.

use std::{collections::BTreeMap, num::NonZeroUsize, path::PathBuf, pin::Pin, sync::Arc};

use anyhow::Context as _;
use slipway_client::{Client, Token};
use slipway_config::{Config, GitWorktree, Image, ImageKind, ImageName};
use slipway_digest::CommitId;
use slipway_native::{check, rootless};
use slipway_oci::Repo;
use slipway_process::random_id;
use slipway_protocol::{BuildName, CustomTag, Requirements, SecretValues, SubmitRequest, secrets as protocol_secrets};
use slipway_stages::{BuildOptions, Graph, Place, Settings, build::BuildFailure};
use slipway_telemetry::{Span, SpanContext, Tracer};

use super::{selection, session::Session, trace};
use crate::{
    archives,
    choose::{self, Asked, Backend, Choice, EngineAddress, NoBackend, Tried, Wanted},
    cluster::{self, ClusterRequest},
    custom_tags,
    embedded::{self, BuildRequest},
    engine as engines,
    failure::{Exit, Failure},
    flags::{
        backend::{ANSIBLE_PATH, BACKEND, BackendFlags, COMPRESSION, STAPEL_IMAGE_NAME, STAPEL_IMAGE_VERSION},
        building::{ADD_CUSTOM_TAG, BuildingFlags},
        capacity,
        capacity::{JOB_CPU, JOB_LABEL, JOB_MEMORY},
        cluster as cluster_flags,
        cluster::{COORDINATOR, DETACH},
        introspect::{
            FOLLOW, INTROSPECT_AFTER, INTROSPECT_BEFORE, INTROSPECT_BEFORE_ERROR, INTROSPECT_ERROR, INTROSPECT_STAGE,
            IntrospectFlags,
        },
        log::Level,
        project::{Giterminism, SSH_KEY},
        report::{ReportFlags, SAVE_BUILD_REPORT},
        storage::{REPO, SYNCHRONIZATION, StorageFlags},
    },
    follow, giterminism, history,
    host::HostOptions,
    introspect::Introspector,
    outcome::{BuildError, BuildOutcome},
    output::{Display, Printer, events::DisplayEvent, failure, plan, summary, timestamp},
    project::Project,
    report::ReportFile,
    secrets, ssh,
    synchronization::Synchronization,
    upstreams::{self, Sources},
};

/// What the flags say, checked before anything is read.
struct Flags {
    building: BuildingFlags,
    backend: BackendFlags,
    storage: StorageFlags,
    repo: Option<Repo>,
    synchronization: Synchronization,
    /// For the coordinator by which builds agree.
    token: Option<Token>,
    report: Option<ReportFile>,
    /// The cluster that builds; `None` = this process does.
    cluster: Option<Client>,
    /// What its jobs need of a worker of the cluster.
    requires: Requirements,
    detach: bool,
    introspect: IntrospectFlags,
    /// Further tags of its images; known when the configuration is.
    custom_tags: Vec<CustomTag>,
}

impl Flags {
    fn new(session: &Session) -> Result<Self, Failure> {
        let storage = StorageFlags::from_values(&session.values).map_err(Failure::usage)?;
        let repo = storage.repo.as_deref().map(str::parse::<Repo>).transpose();
        let report = ReportFlags::from_values(&session.values).map_err(Failure::usage)?;
        let report = report.map(|report| ReportFile::new(&report, &session.here)).transpose();
        let world = &session.world;
        let cluster = cluster_flags::client(&session.values, &world.environment, &session.here, &world.clock);
        let cluster = cluster.map_err(Failure::usage)?;
        check_cluster(session, cluster.is_some(), storage.repo.is_some()).map_err(Failure::usage)?;
        let synchronization =
            Synchronization::new(&storage.synchronization, storage.repo.is_some(), &world.environment);
        let token = cluster_flags::token(&session.values, &world.environment, &session.here);
        Ok(Self {
            synchronization: synchronization.map_err(Failure::usage)?,
            token: token.map_err(Failure::usage)?,
            cluster,
            requires: capacity::requirements(&session.values).map_err(Failure::usage)?,
            detach: session.values.switch(&DETACH),
            introspect: IntrospectFlags::from_values(&session.values).map_err(Failure::usage)?,
            building: BuildingFlags::from_values(&session.values),
            backend: BackendFlags::from_values(&session.values).map_err(Failure::usage)?,
            repo: repo.context("--repo").map_err(Failure::usage)?,
            report: report.map_err(Failure::usage)?,
            storage,
            custom_tags: Vec::new(),
        })
    }
}

/// Refuses what cannot go together.
fn check_cluster(session: &Session, cluster: bool, repo: bool) -> anyhow::Result<()> {
    let values = &session.values;
    if cluster && !repo {
        let spelled = values.spelling(&COORDINATOR);
        anyhow::bail!("{spelled}: a cluster keeps stages in a repository: give one with --{}", REPO.name);
    }
    let others = [&SYNCHRONIZATION, &BACKEND, &STAPEL_IMAGE_NAME, &STAPEL_IMAGE_VERSION, &ANSIBLE_PATH, &COMPRESSION];
    if let Some(flag) = others.into_iter().find(|flag| cluster && values.is_given(flag)) {
        anyhow::bail!("{}: the cluster decides on it: leave it out", values.spelling(flag));
    }
    let alone = [&INTROSPECT_ERROR, &INTROSPECT_BEFORE_ERROR, &INTROSPECT_STAGE, &INTROSPECT_AFTER, &INTROSPECT_BEFORE];
    if let Some(flag) = alone.into_iter().find(|flag| cluster && values.is_given(flag)) {
        let spelled = values.spelling(flag);
        anyhow::bail!(
            "{spelled} opens a shell on your terminal, which workers of a cluster do not have: build without {}",
            values.spelling(&COORDINATOR)
        );
    }
    if values.switch(&DETACH) && values.is_given(&SSH_KEY) {
        let (detach, key) = (values.spelling(&DETACH), values.spelling(&SSH_KEY));
        anyhow::bail!(
            "{key} keeps keys in memory alone, and with {detach} nobody could send them again: leave one of them out"
        );
    }
    if values.is_given(&ADD_CUSTOM_TAG) && !repo {
        let spelled = values.spelling(&ADD_CUSTOM_TAG);
        anyhow::bail!("{spelled}: images are tagged in a repository: give one with --{}", REPO.name);
    }
    if values.switch(&FOLLOW) && values.switch(&DETACH) {
        let (follow, detach) = (values.spelling(&FOLLOW), values.spelling(&DETACH));
        anyhow::bail!("{follow} waits for the end of a build, and {detach} does not: leave one of them out");
    }
    let of_cluster = [&JOB_CPU, &JOB_MEMORY, &JOB_LABEL];
    if let Some(flag) = of_cluster.into_iter().find(|flag| !cluster && values.is_given(flag)) {
        let spelled = values.spelling(flag);
        anyhow::bail!("{spelled}: only a cluster has workers to choose from: give one with --coordinator");
    }
    if values.switch(&DETACH) && !cluster {
        anyhow::bail!("{}: only a cluster goes on by itself: give one with --coordinator", values.spelling(&DETACH));
    }
    if values.switch(&DETACH) && values.switch(&SAVE_BUILD_REPORT) {
        let (detach, report) = (values.spelling(&DETACH), values.spelling(&SAVE_BUILD_REPORT));
        anyhow::bail!("{detach} does not wait for what {report} is to hold: leave one of them out");
    }
    Ok(())
}

/// A finished build.
pub(super) struct Built {
    /// How it ended.
    pub(super) outcome: BuildOutcome,
    /// What has the images of the local storage; `None` = all are in a repository.
    pub(super) host: Option<HostOptions>,
}

/// Builds images, shows how it goes, and writes the report; with `--follow`, again and again.
pub(crate) async fn run(session: Session) -> Result<(), Failure> {
    if !session.values.switch(&FOLLOW) {
        return Box::pin(build(&session, |_| Ok(true))).await.map(drop);
    }
    loop {
        let head = follow::head(&session).await?;
        match Box::pin(build(&session, |_| Ok(true))).await {
            Ok(_) => {}
            Err(failure) if matches!(failure.exit, Exit::Usage | Exit::Interrupted) => return Err(failure),
            // The next commit may mend it.
            Err(failure) => session.printer.error(&failure.text()),
        }
        session.printer.release(None);
        follow::wait(&session, head).await?;
    }
}

/// The same; `check` sees the configuration before anything is built, and says whether to go on. All of it is one span.
pub(super) async fn build(
    session: &Session,
    check: impl FnOnce(&Config) -> Result<bool, Failure>,
) -> Result<Option<Built>, Failure> {
    let environment = &session.world.environment;
    let tracer = Tracer::open(environment, "slipway", Arc::clone(&session.world.clock)).scoped("slipway-cli");
    let mut span = trace::begin(&tracer, environment);
    let built = Box::pin(build_within(session, check, &tracer, &mut span)).await;
    trace::end(span, built.as_ref().err());
    tracer.flush().await;
    built
}

async fn build_within(
    session: &Session,
    check: impl FnOnce(&Config) -> Result<bool, Failure>,
    tracer: &Tracer,
    span: &mut Span,
) -> Result<Option<Built>, Failure> {
    let start = session.world.clock.monotonic();
    let mut flags = Flags::new(session)?;
    let (project, mut config) = session.open().await?;
    if let Some(network) = &flags.building.network {
        config.set_network(network);
    }
    let graph = selection::graph(&config, &project.rendering, &session.patterns, flags.building.final_only)?;
    let platform = selection::platform(&config, graph.images(), &flags.building.platforms)?;
    if !check(&config)? {
        return Ok(None);
    }
    let spelled = session.values.spelling(&ADD_CUSTOM_TAG);
    let tags = custom_tags::wanted(&spelled, &flags.building.custom_tags, &config, &session.patterns);
    flags.custom_tags = tags.map_err(Failure::usage)?;
    if flags.cluster.is_some() {
        upstreams::refuse_logins(&project, &config)?;
        archives::refuse_in_cluster(&project, graph.images())?;
    }
    let worktree = (config.worktree, !flags.building.require_built);
    let checked = checked(session, (project, worktree), graph, platform.to_string(), flags.cluster.is_some());
    let Checked { project, graph, contexts, sources, secrets } = checked.await?;
    let asked = flags.building.virtual_merge.as_ref();
    let virtual_merge = asked.map(|named| history::virtual_merge(&project, named)).transpose()?;
    let settings = Settings {
        project: config.project.clone(),
        commit: project.commit,
        context_commits: contexts,
        commit_time: project.authored.time,
        commit_time_human: timestamp::go(project.authored),
        project_dir: project.prefix.clone(),
        run: random_id(),
        platform,
        dev: project.is_dev(),
        virtual_merge,
        sources: places(&flags),
    };
    let files = failure::Files::new(project.rendering.clone(), graph.images());
    let mut host = None;
    let commit = project.commit.to_string();
    trace::describe(span, &settings, flags.repo.as_ref());
    let built = if let (Some(client), Some(repo)) = (&flags.cluster, &flags.repo) {
        let given = (graph, settings, sources, secrets);
        let mut request = cluster_request(session, &flags, &project, given, (client, repo))?;
        span.set("slipway.build", request.name.as_str());
        request.submit.traceparent = span.traceparent();
        if flags.detach {
            return detached(session, &request).await.map(|()| None);
        }
        let images = request.submit.images.len();
        watched(session, images, |tell| Box::pin(async move { cluster::build(&request, tell).await })).await
    } else {
        let engine = EngineAddress::from_environment(&session.world.environment);
        let introspect =
            Introspector::new(flags.introspect.clone(), &graph, &session.world.environment, &session.printer);
        let introspect = introspect.map_err(Failure::usage)?.map(Arc::new);
        let choice = backend(session, &flags, &engine, &config).await?;
        let agent = agent(session, &engine, &choice, &graph).await?;
        show_mode(session, &project);
        show_plan(session, flags.building.parallel, flags.building.limit, &graph);
        let traced = (tracer.clone(), span.context());
        let own = Own { secrets, agent: agent.as_ref().map(|(socket, _)| socket.clone()), introspect };
        let request = request(session, &flags, &project, Parts { graph, settings, engine, choice, traced, own });
        host = request.repo.is_none().then(|| request.host.clone());
        let images = request.graph.images().len();
        watched(session, images, |tell| Box::pin(embedded::build(request, tell))).await
    };
    let outcome = built.map_err(|error| failed(&session.printer, error, &files))?;
    let took = session.world.clock.monotonic().saturating_sub(start);
    session.printer.info(&summary::text(&outcome.images, took));
    custom_tags::lines(&flags.custom_tags, &outcome.images).iter().for_each(|line| session.printer.info(line));
    if let Some(report) = &flags.report {
        report.write(&outcome.images, &commit)?;
    }
    Ok(Some(Built { outcome, host }))
}

/// Where this process looks for stages that the primary repository lacks.
fn places(flags: &Flags) -> Vec<Place> {
    let local = flags.repo.is_some().then_some(Place::Local);
    local.into_iter().chain(flags.storage.others.sources()).collect()
}

/// A build under way.
type Building<'b> = Pin<Box<dyn Future<Output = Result<BuildOutcome, BuildError>> + Send + 'b>>;
/// Takes what a build tells.
type Tell<'b> = Box<dyn FnMut(DisplayEvent) + Send + 'b>;

/// Builds, and shows how it goes.
async fn watched<'b>(
    session: &Session,
    images: usize,
    build: impl FnOnce(Tell<'b>) -> Building<'b>,
) -> Result<BuildOutcome, BuildError> {
    let display = Display::new(Arc::clone(&session.printer), images);
    let mut building = build(Box::new(move |event| display.show(&event)));
    tokio::select! {
        built = &mut building => built,
        () = session.world.interrupted.cancelled() => {
            session.printer.info("Interrupted: stopping what runs. Interrupt again to end at once.");
            building.await
        }
    }
}

/// Submits a build and leaves it to itself.
async fn detached(session: &Session, request: &ClusterRequest) -> Result<(), Failure> {
    let submitted = session.world.interrupted.run_until_cancelled(cluster::submit(request)).await;
    submitted.ok_or_else(Failure::interrupted)??;
    let name = &request.name;
    session.printer.info(&format!("The build goes on; `slipway attach {name}` follows it"));
    session.printer.data(format!("{name}\n").as_bytes())?;
    Ok(())
}

/// What is known before anything is built.
struct Checked {
    /// Its files are committed, and those of other repositories are here.
    project: Project,
    /// The images, which know the commits of other repositories.
    graph: Graph,
    /// Commits of contexts that hold files from disk.
    contexts: BTreeMap<ImageName, CommitId>,
    /// What a cluster must be given; nothing when this process builds.
    sources: Sources,
    /// None when nothing may be built.
    secrets: SecretValues,
}

async fn checked(
    session: &Session,
    (mut project, (worktree, builds)): (Project, (GitWorktree, bool)),
    graph: Graph,
    platform: String,
    cluster: bool,
) -> Result<Checked, Failure> {
    let (mut images, home) = (graph.images().to_vec(), session.home.clone());
    let environment = session.world.environment.clone();
    let printer = Arc::clone(&session.printer);
    let check = move || {
        history::complete(&project.repository, worktree, &images, &printer)?;
        upstreams::take(&mut project, &mut images, &home, &environment)?;
        let contexts = giterminism::Contexts::take(&mut project, &images, &home)?;
        giterminism::check(&project, &images, &platform, &contexts)?;
        archives::check(&project, &images)?;
        let contexts = contexts.into_commits();
        let gather = |project: &mut Project| upstreams::for_cluster(project, &images, &contexts, &home);
        let sources = if cluster { gather(&mut project)? } else { Sources::default() };
        let secrets =
            if builds { secrets::take(&project, &images, &environment, &printer)? } else { SecretValues::new() };
        Ok(Checked { project, graph: Graph::new(images), contexts, sources, secrets })
    };
    session.blocking(check).await
}

/// Where the ssh agent for commands listens, and the agent itself when it was started for this build.
async fn agent(
    session: &Session,
    engine: &EngineAddress,
    choice: &Choice,
    graph: &Graph,
) -> Result<Option<(PathBuf, Option<ssh::Agent>)>, Failure> {
    let runs = |image: &Image| match &image.kind {
        ImageKind::Stapel(stapel) => !stapel.shell.stages.is_empty() || stapel.ansible.is_some(),
        // Whether one mounts an agent stands in its Dockerfile.
        ImageKind::Dockerfile(_) => true,
    };
    if !graph.images().iter().any(runs) {
        return Ok(None);
    }
    if choice.backend == Backend::Docker && !engine.is_here() {
        if session.agent.is_some() {
            let why = "--ssh-key: commands have no ssh agent, for the Docker engine is on another host";
            session.printer.warn(why);
        }
        return Ok(None);
    }
    if let Some(agent) = &session.agent {
        return Ok(Some((agent.socket().to_owned(), None)));
    }
    let environment = session.world.environment.clone();
    let (socket, agent) = session.blocking(move || Ok(ssh::usual(&environment))).await?;
    Ok(socket.map(|socket| (socket, agent)))
}

/// Finds what builds, and says so.
async fn backend(session: &Session, flags: &Flags, engine: &EngineAddress, config: &Config) -> Result<Choice, Failure> {
    let refused = |error| match error {
        NoBackend::Refused(_) => Failure::usage(error),
        NoBackend::Absent(_) => Failure::from(error),
    };
    let wanted = Wanted::new(flags.backend.backend.clone(), &session.world.environment);
    let asked = wanted.asked().map_err(refused)?;
    let trying = try_backends(session, (engine, flags.backend.driver.as_deref()), &asked);
    let tried = session.world.interrupted.run_until_cancelled(trying).await;
    let tried = tried.ok_or_else(Failure::interrupted)?;
    let mut choice = choose::choose(&asked, engine, &tried).map_err(refused)?;
    choose::check_compression(choice.backend, flags.backend.compression).map_err(refused)?;
    choose::native_runtime(choice.backend, flags.backend.runtime.as_deref()).map_err(refused)?;
    if choice.backend == Backend::Native {
        if rootless::is_needed() {
            return Err(Failure::from(engines::start_again()));
        }
        let why = if rootless::is_inside() { "as this is not root" } else { "as this is root" };
        choice.why = format!("{}; {}, {why}", choice.why, check::mode());
    }
    let repo = flags.repo.as_ref().map(ToString::to_string);
    let home = session.home.display().to_string();
    let said = choose::announcement(&choice, engine, &home, &config.project, repo.as_deref());
    session.printer.release(Some(&said));
    Ok(choice)
}

/// Tries what is asked for.
async fn try_backends(session: &Session, (engine, driver): (&EngineAddress, Option<&str>), asked: &Asked) -> Tried {
    let docker = match asked {
        Asked::Named(Backend::Native, _) => None,
        Asked::Named(Backend::Docker, _) | Asked::Any => Some(embedded::probe(engine).await),
    };
    let native = match (asked, &docker) {
        (Asked::Named(Backend::Docker, _), _) | (Asked::Any, Some(Ok(()))) => None,
        _ => Some(embedded::probe_native(&session.home, driver).await),
    };
    Tried { docker, native }
}

/// Says what is built, where it is not simply the commit.
fn show_mode(session: &Session, project: &Project) {
    let commit = project.commit;
    let (level, text) = match &project.giterminism {
        Giterminism::Strict => (Level::Verbose, format!("Building commit {commit}")),
        Giterminism::Loose => (
            Level::Normal,
            format!(
                "Loose mode: the configuration and Dockerfiles are read from disk, and nothing is checked to be \
                 committed; sources are those of commit {commit}"
            ),
        ),
        Giterminism::Dev(_) => {
            (Level::Normal, "Dev mode: the work tree is built as it is, uncommitted files included".to_owned())
        }
    };
    session.printer.say(level, &text);
}

/// Images that are built one after the other need no plan.
fn show_plan(session: &Session, parallel: bool, limit: Option<NonZeroUsize>, graph: &Graph) {
    if parallel && graph.images().len() > 1 {
        let text = plan::text(&plan::sets(graph), limit, session.printer.pretty());
        session.printer.info(&text);
    }
}

/// What a request is made of, beside what the flags say.
struct Parts {
    graph: Graph,
    settings: Settings,
    engine: EngineAddress,
    choice: Choice,
    traced: (Tracer, Option<SpanContext>),
    own: Own,
}

/// What only the user's own host has.
struct Own {
    secrets: SecretValues,
    agent: Option<PathBuf>,
    introspect: Option<Arc<Introspector>>,
}

fn request(session: &Session, flags: &Flags, project: &Project, parts: Parts) -> BuildRequest {
    let Parts { graph, settings, engine, choice, traced, own } = parts;
    let (tracer, trace) = traced;
    let world = &session.world;
    let places = (session.home.clone(), session.project_flags.tmp_dir.clone());
    let of_flags = (&flags.backend, &flags.storage);
    let host = HostOptions::new((choice.backend, engine), of_flags, &world.environment, places);
    BuildRequest {
        graph,
        settings,
        options: BuildOptions {
            parallel: flags.building.limit.map(usize::from),
            require_built: flags.building.require_built,
            schedule: flags.building.schedule,
        },
        repository: project.repository.clone(),
        directory: project.directory.clone(),
        repo: flags.repo.clone(),
        others: flags.storage.others.clone(),
        custom_tags: flags.custom_tags.clone(),
        synchronization: flags.synchronization.clone(),
        token: flags.token.clone(),
        host,
        clock: Arc::clone(&world.clock),
        interrupted: world.interrupted.clone(),
        secrets: own.secrets,
        agent: own.agent,
        introspect: own.introspect,
        tracer,
        trace,
    }
}

/// A build as a cluster is asked for it; says where it runs, and its plan.
fn cluster_request(
    session: &Session,
    flags: &Flags,
    project: &Project,
    (graph, settings, sources, mut given): (Graph, Settings, Sources, SecretValues),
    (client, repo): (&Client, &Repo),
) -> Result<ClusterRequest, Failure> {
    let name = format!("{}-{}", timestamp::day(session.world.clock.unix_millis()), &random_id()[..12]);
    let name: BuildName = name.parse().context("name the build")?;
    let at = client.addresses().current();
    let announced = format!("Build {name} on the cluster at {at} (--coordinator); stages are kept in {repo}");
    session.printer.release(Some(&announced));
    show_mode(session, project);
    show_plan(session, flags.building.parallel, flags.building.cluster_limit, &graph);
    let config = secrets::hidden(project)?;
    let keys = ssh::contents(&session.values.list(&SSH_KEY), &session.here, &session.world.environment)?;
    let ssh_keys = u32::try_from(keys.len()).context("count ssh keys")?;
    given.extend((0..).map(protocol_secrets::ssh_key).zip(keys));
    let submit = SubmitRequest {
        project: settings.project,
        repo: repo.clone(),
        others: flags.storage.others.clone(),
        custom_tags: flags.custom_tags.clone(),
        config_name: project.config_name.clone(),
        config,
        images: graph.images().iter().map(|image| image.name().clone()).collect(),
        commit: settings.commit,
        commit_time: settings.commit_time,
        commit_time_human: settings.commit_time_human,
        context_commits: settings.context_commits,
        upstreams: sources.upstreams,
        submodules: sources.submodules,
        virtual_merge: settings.virtual_merge,
        project_dir: settings.project_dir,
        platform: settings.platform,
        dev: settings.dev,
        parallel: flags.building.cluster_limit.map(usize::from),
        requires: flags.requires.clone(),
        schedule: flags.building.schedule,
        network: flags.building.network.clone(),
        require_built: flags.building.require_built,
        detached: flags.detach,
        traceparent: None,
        ssh_keys,
        secrets: given,
    };
    let (repository, interrupted) = (project.repository.clone(), session.world.interrupted.clone());
    Ok(ClusterRequest { client: client.clone(), name, submit, repository, interrupted })
}

/// Shows how a build failed; answers how the command ends.
pub(super) fn failed(printer: &Printer, error: BuildError, files: &failure::Files) -> Failure {
    let error = match error {
        BuildError::Setup(error) => return Failure::from(error),
        BuildError::Build(error) => error,
    };
    if let Some(block) = failure::block(&error, files, printer.palette.colors()) {
        printer.raw(&block);
    }
    let exit = match &error {
        BuildFailure::Stage { .. } | BuildFailure::Unanswered { .. } => Exit::Failed,
        BuildFailure::Invalid { .. } => Exit::Project,
        BuildFailure::StageRequired { .. } => Exit::StageMissing,
        BuildFailure::Cancelled => Exit::Interrupted,
    };
    Failure { exit, error: anyhow::Error::msg(failure::error(&error, files)) }
}
