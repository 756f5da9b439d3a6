//! `slipway build`.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use slipway_config::{Config, ImageName};
use slipway_digest::CommitId;
use slipway_oci::Repo;
use slipway_stages::{BuildOptions, Graph, Settings, build::BuildFailure};

use super::{selection, session::Session};
use crate::{
    choose::{self, Choice, EngineAddress, NoBackend, Wanted},
    embedded::{self, BuildError, BuildOutcome, BuildRequest, RegistryOptions},
    failure::{Exit, Failure},
    flags::{
        backend::BackendFlags, building::BuildingFlags, log::Level, project::Giterminism, report::ReportFlags,
        storage::StorageFlags,
    },
    giterminism,
    output::{Display, failure, plan, summary, timestamp},
    project::Project,
    report::ReportFile,
};

/// What the flags say, checked before anything is read.
struct Flags {
    building: BuildingFlags,
    backend: BackendFlags,
    storage: StorageFlags,
    repo: Option<Repo>,
    report: Option<ReportFile>,
}

impl Flags {
    fn new(session: &Session) -> Result<Self, Failure> {
        let storage = StorageFlags::from_values(&session.values);
        let repo = storage.repo.as_deref().map(str::parse::<Repo>).transpose();
        let report = ReportFlags::from_values(&session.values).map_err(Failure::usage)?;
        let report = report.map(|report| ReportFile::new(&report, &session.here)).transpose();
        Ok(Self {
            building: BuildingFlags::from_values(&session.values),
            backend: BackendFlags::from_values(&session.values),
            repo: repo.context("--repo").map_err(Failure::usage)?,
            report: report.map_err(Failure::usage)?,
            storage,
        })
    }
}

/// Builds images, shows how it goes, and writes the report.
pub(crate) async fn run(session: Session) -> Result<(), Failure> {
    let start = session.world.clock.monotonic();
    let flags = Flags::new(&session)?;
    let (project, config) = session.open().await?;
    let graph = selection::graph(&config, &project.rendering, &session.patterns, flags.building.final_only)?;
    let platform = selection::platform(&config, graph.images(), &flags.building.platforms)?;
    let (project, context_commits) = checked(&session, project, &graph, platform.to_string()).await?;
    let settings = Settings {
        project: config.project.clone(),
        commit: project.commit,
        context_commits,
        commit_time: project.commit_time,
        commit_time_human: timestamp::go(project.commit_time),
        project_dir: project.prefix.clone(),
        platform,
        dev: project.is_dev(),
        copy_from_local: flags.repo.is_some(),
    };
    let engine = EngineAddress::from_environment(&session.world.environment);
    let choice = backend(&session, &flags, &engine, &config).await?;
    show_mode(&session, &project);
    show_plan(&session, &flags, &graph);
    let request = request(&session, &flags, &project, Parts { graph, settings, engine, choice });
    let files = failure::Files::new(project.rendering.clone(), request.graph.images());
    let commit = project.commit.to_string();
    let built = watched(&session, request).await;
    let outcome = built.map_err(|error| failed(&session, error, &files))?;
    let took = session.world.clock.monotonic().saturating_sub(start);
    session.printer.info(&summary::text(&outcome.images, took));
    if let Some(report) = &flags.report {
        report.write(&outcome.images, &commit)?;
    }
    Ok(())
}

/// Builds, and shows how it goes.
async fn watched(session: &Session, request: BuildRequest) -> Result<BuildOutcome, BuildError> {
    let display = Display::new(Arc::clone(&session.printer), request.graph.images().len());
    let mut building = Box::pin(embedded::build(request, |event| display.show(&event)));
    tokio::select! {
        built = &mut building => built,
        () = session.world.interrupted.cancelled() => {
            session.printer.info("Interrupted: stopping what runs. Interrupt again to end at once.");
            building.await
        }
    }
}

/// The project, once its files are known to be committed, and the commits of contexts that hold files from disk.
async fn checked(
    session: &Session,
    mut project: Project,
    graph: &Graph,
    platform: String,
) -> Result<(Project, BTreeMap<ImageName, CommitId>), Failure> {
    let (images, home) = (graph.images().to_vec(), session.home.clone());
    let check = move || {
        let contexts = giterminism::Contexts::take(&mut project, &images, &home)?;
        giterminism::check(&project, &images, &platform, &contexts)?;
        Ok((project, contexts.into_commits()))
    };
    session.blocking(check).await
}

/// Finds what builds, and says so.
async fn backend(session: &Session, flags: &Flags, engine: &EngineAddress, config: &Config) -> Result<Choice, Failure> {
    let wanted = Wanted::new(flags.backend.backend.clone(), &session.world.environment);
    let answer = session.world.interrupted.run_until_cancelled(embedded::probe(engine)).await;
    let answer = answer.ok_or_else(Failure::interrupted)?;
    let choice = choose::choose(&wanted, engine, answer).map_err(|error| match error {
        NoBackend::Refused(_) => Failure::usage(error),
        NoBackend::Absent(_) => Failure::from(error),
    })?;
    let repo = flags.repo.as_ref().map(ToString::to_string);
    session.printer.release(Some(&choose::announcement(&choice, engine, &config.project, repo.as_deref())));
    Ok(choice)
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
fn show_plan(session: &Session, flags: &Flags, graph: &Graph) {
    if flags.building.parallel && graph.images().len() > 1 {
        let text = plan::text(&plan::sets(graph), flags.building.limit, session.printer.pretty());
        session.printer.info(&text);
    }
}

/// What a request is made of, beside what the flags say.
struct Parts {
    graph: Graph,
    settings: Settings,
    engine: EngineAddress,
    choice: Choice,
}

fn request(session: &Session, flags: &Flags, project: &Project, parts: Parts) -> BuildRequest {
    let Parts { graph, settings, engine, choice } = parts;
    let world = &session.world;
    let home = world.environment.non_empty("HOME");
    let docker = flags.storage.docker_config.clone().map(PathBuf::from);
    let docker = docker.or_else(|| home.map(|home| PathBuf::from(home).join(".docker")));
    BuildRequest {
        graph,
        settings,
        options: BuildOptions {
            parallel: flags.building.limit.map(usize::from),
            require_built: flags.building.require_built,
            schedule: flags.building.schedule,
        },
        repository: project.repository.clone(),
        repo: flags.repo.clone(),
        backend: choice.backend,
        engine,
        registry: RegistryOptions {
            docker_config: docker.map(|directory| directory.join("config.json")),
            insecure: flags.storage.insecure,
            skip_tls_verify: flags.storage.skip_tls_verify,
        },
        toolbox: flags.backend.toolbox.clone(),
        home: session.home.clone(),
        tmp: session.project_flags.tmp_dir.clone().map(PathBuf::from),
        environment: world.environment.clone(),
        clock: Arc::clone(&world.clock),
        interrupted: world.interrupted.clone(),
    }
}

/// Shows how a build failed; answers how the command ends.
fn failed(session: &Session, error: BuildError, files: &failure::Files) -> Failure {
    let error = match error {
        BuildError::Setup(error) => return Failure::from(error),
        BuildError::Build(error) => error,
    };
    if let Some(block) = failure::block(&error, files, session.printer.palette.colors()) {
        session.printer.raw(&block);
    }
    let exit = match &error {
        BuildFailure::Stage { .. } | BuildFailure::Unanswered { .. } => Exit::Failed,
        BuildFailure::Invalid { .. } => Exit::Project,
        BuildFailure::StageRequired { .. } => Exit::StageMissing,
        BuildFailure::Cancelled => Exit::Interrupted,
    };
    Failure { exit, error: anyhow::Error::msg(failure::error(&error, files)) }
}
