//! A build as this process does it, and as a cluster is asked for it.

use std::{num::NonZeroUsize, path::PathBuf, sync::Arc};

use anyhow::Context as _;
use slipway_client::Client;
use slipway_config::ImageName;
use slipway_oci::{Platform, Repo};
use slipway_process::random_id;
use slipway_protocol::{BuildName, SecretValues, SubmitRequest, secrets as protocol_secrets};
use slipway_stages::{BuildOptions, Graph, Settings};
use slipway_telemetry::{SpanContext, Tracer};

use super::flags::Flags;
use crate::{
    choose::{Choice, EngineAddress},
    cluster::ClusterRequest,
    commands::session::Session,
    embedded::BuildRequest,
    failure::Failure,
    flags::{
        log::Level,
        project::{Giterminism, SSH_KEY},
    },
    host::HostOptions,
    introspect::Introspector,
    output::{plan, timestamp},
    project::Project,
    secrets, ssh,
    upstreams::Sources,
};

/// What a request is made of, beside what the flags say.
pub(super) struct Parts {
    pub(super) graph: Graph,
    pub(super) settings: Settings,
    pub(super) engine: EngineAddress,
    pub(super) choice: Choice,
    pub(super) traced: (Tracer, Option<SpanContext>),
    pub(super) own: Own,
}

/// What only the user's own host has.
pub(super) struct Own {
    pub(super) secrets: SecretValues,
    pub(super) agent: Option<PathBuf>,
    pub(super) introspect: Option<Arc<Introspector>>,
}

/// A build as this process does it.
pub(super) fn request(session: &Session, flags: &Flags, project: &Project, parts: Parts) -> BuildRequest {
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

/// What is asked of a cluster.
pub(super) struct Asked {
    pub(super) graph: Graph,
    pub(super) settings: Settings,
    pub(super) sources: Sources,
    pub(super) secrets: SecretValues,
    /// Of all images, whatever the configuration says.
    pub(super) platforms: Vec<Platform>,
    /// Platforms whose programs are run, each with an image.
    pub(super) commands: Vec<(ImageName, Platform)>,
}

/// A build as a cluster is asked for it; says where it runs, and its plan.
pub(super) fn cluster_request(
    session: &Session,
    flags: &Flags,
    project: &Project,
    Asked { graph, settings, sources, secrets: mut given, platforms, commands }: Asked,
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
        // The coordinator finds the parts of Dockerfiles by itself.
        images: graph.images().iter().filter(|image| !image.is_inner()).map(|image| image.name().clone()).collect(),
        commit: settings.commit,
        commit_time: settings.commit_time,
        commit_time_human: settings.commit_time_human,
        context_commits: settings.context_commits,
        upstreams: sources.upstreams,
        submodules: sources.submodules,
        virtual_merge: settings.virtual_merge,
        project_dir: settings.project_dir,
        platform: settings.platform,
        platforms,
        commands,
        dev: settings.dev,
        parallel: flags.building.cluster_limit.map(usize::from),
        requires: flags.requires.clone(),
        schedule: flags.building.schedule,
        network: flags.building.network.clone(),
        force_staged: flags.building.force_staged,
        require_built: flags.building.require_built,
        detached: flags.detach,
        traceparent: None,
        ssh_keys,
        secrets: given,
    };
    let (repository, interrupted) = (project.repository.clone(), session.world.interrupted.clone());
    Ok(ClusterRequest { client: client.clone(), name, submit, repository, interrupted })
}

/// Says what is built, where it is not simply the commit.
pub(super) fn show_mode(session: &Session, project: &Project) {
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
pub(super) fn show_plan(session: &Session, parallel: bool, limit: Option<NonZeroUsize>, graph: &Graph) {
    if parallel && graph.targets().len() > 1 {
        let text = plan::text(&plan::sets(graph), limit, session.printer.pretty());
        session.printer.info(&text);
    }
}
