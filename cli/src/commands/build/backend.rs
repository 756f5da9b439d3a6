//! What a build runs on: which backend, and which ssh agent its commands have.

use std::path::PathBuf;

use slipway_config::{Config, Image, ImageKind};
use slipway_native::{check, rootless};
use slipway_stages::Graph;

use super::flags::Flags;
use crate::{
    buildah,
    choose::{self, Asked, Backend, Choice, EngineAddress, NoBackend, Tried, Wanted},
    commands::session::Session,
    embedded, engine as engines,
    failure::Failure,
    ssh,
};

/// Where the ssh agent for commands listens, and the agent itself when it was started for this build.
pub(super) async fn agent(
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
pub(super) async fn backend(
    session: &Session,
    flags: &Flags,
    engine: &EngineAddress,
    (config, graph): (&Config, &Graph),
) -> Result<Choice, Failure> {
    let refused = |error| match error {
        NoBackend::Refused(_) => Failure::usage(error),
        NoBackend::Absent(_) => Failure::from(error),
    };
    let staged = graph.images().iter().find_map(Image::part);
    let wanted = Wanted::new(flags.backend.backend.clone(), &session.world.environment);
    let asked = wanted.asked().map_err(refused)?;
    let trying = try_backends(session, (engine, flags.backend.driver.as_deref()), &asked);
    let tried = session.world.interrupted.run_until_cancelled(trying).await;
    let tried = tried.ok_or_else(Failure::interrupted)?;
    let mut choice = choose::choose(&asked, engine, &tried).map_err(refused)?;
    // What is kept on this host is loaded into the engine that runs it.
    let is_loaded = flags.repo.is_none() && session.command.runs_images() && choice.backend != Backend::Docker;
    if is_loaded && let Err(problem) = embedded::probe(engine).await {
        return Err(refused(choose::no_runner(engine, &problem)));
    }
    if let Some(part) = staged {
        choose::check_staged(&mut choice, &asked, &part.of).map_err(refused)?;
    }
    choose::check_compression(choice.backend, flags.backend.compression).map_err(refused)?;
    choose::native_runtime(choice.backend, flags.backend.runtime.as_deref()).map_err(refused)?;
    if choice.backend == Backend::Buildah {
        let mode = buildah::mode(&session.world.environment, flags.backend.runtime.clone());
        let (mode, why) = mode.map_err(|why| Failure::usage(anyhow::anyhow!(why)))?;
        if rootless::is_needed() {
            return Err(Failure::from(engines::start_again()));
        }
        choice.why = format!("{}; {mode}, {why}", choice.why);
    }
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
    let mut tried = Tried::default();
    if asked.tries_native() {
        tried.native = Some(embedded::probe_native(&session.home, driver).await);
    }
    if asked.tries_docker(tried.native.as_ref()) {
        tried.docker = Some(embedded::probe(engine).await);
    }
    if asked.tries_buildah() {
        tried.buildah = Some(buildah::probe(&session.world.environment));
    }
    tried
}
