//! Builds by the program buildah: in which mode, and with what.

use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use slipway_backend::SpoolDir;
use slipway_buildah::{
    BuildahBackend, BuildahOptions,
    mode::{self, Mode, Place},
};
use slipway_gateway::Gateway;
use slipway_native::{driver::Driver, rootless};
use slipway_process::{Environment, SystemClock};
use slipway_registry::Client;

use crate::{
    engine::{store, toolbox},
    host::HostOptions,
};

/// How commands are kept from the host here, and why as a clause; `runtime` = `--native-runtime`.
///
/// # Errors
/// When what is asked for cannot be had, with what to do instead.
pub(crate) fn mode(environment: &Environment, runtime: Option<String>) -> Result<(Mode, String), String> {
    let as_root = !rootless::is_needed() && !rootless::is_inside();
    mode::choose(environment.non_empty(mode::VARIABLE), &Place::new(as_root, runtime, environment))
}

/// Whether the program is there and can be used; why not, otherwise.
///
/// # Errors
/// What is missing, and what to do about it.
pub(crate) fn probe(environment: &Environment) -> Result<(), String> {
    if slipway_buildah::find(environment).is_none() {
        return Err("buildah is not installed: apt-get install buildah, or build with --backend native".to_owned());
    }
    if rootless::is_needed() { rootless::probe() } else { Ok(()) }
}

/// Sets it up.
///
/// # Errors
/// When a part of it does not work.
pub(crate) async fn open(
    options: &HostOptions,
    (client, gateway): (&Client, Arc<Gateway>),
    driver: Driver,
) -> Result<BuildahBackend> {
    let environment = options.environment.clone();
    let (mode, _) = mode(&environment, options.runtime.clone()).map_err(|why| anyhow!(why))?;
    let program = slipway_buildah::find(&environment).context("buildah is not installed: apt-get install buildah")?;
    let service = options.service().join("buildah");
    let buildah = BuildahOptions {
        program,
        mode,
        driver,
        room: None,
        link: gateway,
        client: client.clone(),
        toolbox: toolbox(options),
        store: store(&options.home),
        spool: SpoolDir(options.tmp.as_ref().map_or_else(|| service.join("tmp"), |tmp| tmp.join("slipway-buildah"))),
        attempts: service.join("attempts"),
        compression: options.compression,
        limits: options.process_limits()?,
        strangers: options.strangers,
        environment,
        clock: Arc::new(SystemClock::new(None)),
    };
    Ok(BuildahBackend::open(buildah).await?)
}
