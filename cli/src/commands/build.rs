//! `slipway build`.

mod backend;
mod flags;
mod request;

use std::{collections::BTreeMap, pin::Pin, sync::Arc, time::Duration};

use slipway_config::{Config, GitWorktree, ImageName};
use slipway_digest::CommitId;
use slipway_oci::Platform;
use slipway_process::random_id;
use slipway_protocol::SecretValues;
use slipway_stages::{Graph, Platforms, Settings, build::BuildFailure};
use slipway_telemetry::{Span, Tracer};

use super::{selection, session::Session, trace};
use crate::{
    archives,
    choose::{Backend, EngineAddress},
    cluster::{self, ClusterRequest},
    custom_tags, embedded, emulation,
    failure::{Exit, Failure},
    flags::{CommandName, building::ADD_CUSTOM_TAG, introspect::FOLLOW},
    follow, giterminism, history,
    host::HostOptions,
    introspect::Introspector,
    outcome::{BuildError, BuildOutcome},
    output::{Display, Printer, events::DisplayEvent, failure, summary, timestamp},
    parts,
    project::Project,
    secrets,
    upstreams::{self, Sources},
};
use backend::{agent, backend};
use flags::Flags;
use request::{Asked, Own, Parts, cluster_request, request, show_mode, show_plan};

/// What to do with images that no engine and no registry knows.
const KEPT_HERE: &str = "The images are kept on this host: `slipway export IMAGE --tag NAME:TAG --to docker` gives one to a Docker engine, \
and --repo builds into a registry";

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
    flags.building.overrule(&mut config);
    let platforms = selection::platforms(&flags.building.platforms)?;
    let chosen = (flags.building.final_only, &platforms);
    let graph = selection::graph(&config, &session.patterns, chosen)?;
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
    let checked = checked(session, (project, worktree), (graph, &platforms), flags.cluster.is_some());
    let Checked { project, graph, contexts, sources, commands, secrets } = checked.await?;
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
        platform: platforms.otherwise.clone(),
        dev: project.is_dev(),
        virtual_merge,
        sources: flags.places(),
        foresees: flags.repo.is_some() && flags.cluster.is_none(),
    };
    let files = failure::Files::new(project.rendering.clone(), &graph);
    let mut host = None;
    let commit = project.commit.to_string();
    trace::describe(span, (&settings, &graph), flags.repo.as_ref());
    let built = if let (Some(client), Some(repo)) = (&flags.cluster, &flags.repo) {
        let images = graph.targets().len();
        let asked = Asked { graph, settings, sources, secrets, platforms: platforms.forced, commands };
        let mut request = cluster_request(session, &flags, &project, asked, (client, repo))?;
        span.set("slipway.build", request.name.as_str());
        request.submit.traceparent = span.traceparent();
        if flags.detach {
            return detached(session, &request).await.map(|()| None);
        }
        watched(session, images, |tell| Box::pin(async move { cluster::build(&request, tell).await })).await
    } else {
        let engine = EngineAddress::from_environment(&session.world.environment);
        let introspect =
            Introspector::new(flags.introspect.clone(), &graph, &session.world.environment, &session.printer);
        let introspect = introspect.map_err(Failure::usage)?.map(Arc::new);
        let choice = backend(session, &flags, &engine, (&config, &graph)).await?;
        if !flags.building.require_built && (choice.backend != Backend::Docker || engine.is_here()) {
            let room = session.home.join("service/tmp");
            session.blocking(move || emulation::check(&commands, &room)).await?;
        }
        let agent = agent(session, &engine, &choice, &graph).await?;
        show_mode(session, &project);
        show_plan(session, flags.building.parallel, flags.building.limit, &graph);
        let traced = (tracer.clone(), span.context());
        let own = Own { secrets, agent: agent.as_ref().map(|(socket, _)| socket.clone()), introspect };
        let request = request(session, &flags, &project, Parts { graph, settings, engine, choice, traced, own });
        host = request.repo.is_none().then(|| request.host.clone());
        let images = request.graph.targets().len();
        watched(session, images, |tell| Box::pin(embedded::build(request, tell))).await
    };
    let outcome = built.map_err(|error| failed(&session.printer, error, &files))?;
    let took = session.world.clock.monotonic().saturating_sub(start);
    tell(session, &flags, (&outcome, took), &commit)?;
    if session.command == CommandName::Build && host.as_ref().is_some_and(|host| host.backend == Backend::Native) {
        session.printer.info(KEPT_HERE);
    }
    Ok(Some(Built { outcome, host }))
}

/// Says what was built, and writes the report.
fn tell(
    session: &Session,
    flags: &Flags,
    (outcome, took): (&BuildOutcome, Duration),
    commit: &str,
) -> Result<(), Failure> {
    session.printer.info(&summary::text(&outcome.images, took));
    custom_tags::lines(&flags.custom_tags, &outcome.images).iter().for_each(|line| session.printer.info(line));
    if let Some(report) = &flags.report {
        report.write(&outcome.images, commit)?;
    }
    Ok(())
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
    /// The images, which know the commits of other repositories, and the parts of staged Dockerfiles.
    graph: Graph,
    /// Commits of contexts that hold files from disk.
    contexts: BTreeMap<ImageName, CommitId>,
    /// What a cluster must be given; nothing when this process builds.
    sources: Sources,
    /// Platforms whose programs are run, each with an image.
    commands: Vec<(ImageName, Platform)>,
    /// None when nothing may be built.
    secrets: SecretValues,
}

async fn checked(
    session: &Session,
    (mut project, (worktree, builds)): (Project, (GitWorktree, bool)),
    (graph, platforms): (Graph, &Platforms),
    cluster: bool,
) -> Result<Checked, Failure> {
    let (mut images, home) = (graph.images().to_vec(), session.home.clone());
    let otherwise = platforms.otherwise.clone();
    let environment = session.world.environment.clone();
    let printer = Arc::clone(&session.printer);
    let check = move || {
        history::complete(&project.repository, worktree, &images, &printer)?;
        upstreams::take(&mut project, &mut images, &home, &environment)?;
        let contexts = giterminism::Contexts::take(&mut project, &images, &home)?;
        let graph = graph.renewed(images.clone());
        giterminism::check(&project, &graph, &contexts, &otherwise)?;
        archives::check(&project, &images)?;
        let contexts = contexts.into_commits();
        let gather = |project: &mut Project| upstreams::for_cluster(project, &images, &contexts, &home);
        let sources = if cluster { gather(&mut project)? } else { Sources::default() };
        let secrets =
            if builds { secrets::take(&project, &images, &environment, &printer)? } else { SecretValues::new() };
        let commands = emulation::commands(&project, &graph);
        let graph = parts::apart(&project, &graph, &contexts, &otherwise)?;
        Ok(Checked { project, graph, contexts, commands, sources, secrets })
    };
    session.blocking(check).await
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
