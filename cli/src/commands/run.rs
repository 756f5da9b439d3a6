//! `slipway run`: one image, built, and run by the Docker engine.

use anyhow::anyhow;

use super::{images, load, outside, session::Session};
use crate::{
    failure::Failure,
    flags::{
        bridge::{BASH, DOCKER_OPTIONS, SHELL, words},
        host::DRY_RUN,
    },
};

const DOCKER: &str = "docker";

/// Builds the image and runs it.
pub(crate) async fn run(session: Session) -> Result<(), Failure> {
    let options = options(&session)?;
    let dry_run = session.values.switch(&DRY_RUN);
    let docker = [DOCKER.to_owned()];
    if !dry_run {
        let version = ["--version".to_owned()];
        let there = outside::output(&session, &docker, &version).await;
        there.map_err(|failure| failure.context("images are run by Docker's own program".to_owned()))?;
    }
    let (image, keeper) = images::one(&session).await?;
    if let Some(keeper) = keeper {
        load::load(&session, [&image], keeper).await?;
    }
    let arguments: Vec<String> = std::iter::once("run".to_owned())
        .chain(options)
        .chain([image.place.name()])
        .chain(session.rest.clone())
        .collect();
    if dry_run {
        session.printer.data(format!("{DOCKER} {}\n", arguments.join(" ")).as_bytes())?;
        return Ok(());
    }
    outside::run(&session, &docker, &arguments, &[]).await
}

/// The options for `docker run`.
fn options(session: &Session) -> Result<Vec<String>, Failure> {
    let given = words(&session.values, &DOCKER_OPTIONS);
    let shell = match (session.values.switch(&SHELL), session.values.switch(&BASH)) {
        (true, true) => return Err(Failure::usage(anyhow!("--shell and --bash exclude each other"))),
        (true, false) => "/bin/sh",
        (false, true) => "/bin/bash",
        (false, false) if given.is_empty() => return Ok(vec!["--rm".to_owned()]),
        (false, false) => return Ok(given),
    };
    if !given.is_empty() || !session.rest.is_empty() {
        return Err(Failure::usage(anyhow!(
            "--shell and --bash run a shell as it is: leave out --docker-options and the command"
        )));
    }
    Ok(vec!["-ti".to_owned(), "--rm".to_owned(), format!("--entrypoint={shell}")])
}
