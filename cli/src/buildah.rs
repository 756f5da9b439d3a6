//! Builds by the program buildah: in which mode, and with what.

use std::{path::Path, sync::Arc};

use anyhow::{Result, anyhow};
use slipway_backend::SpoolDir;
use slipway_buildah::{
    BuildahBackend, BuildahOptions,
    mode::{self, Mode, Place},
};
use slipway_gateway::Gateway;
use slipway_native::{
    Compression, check,
    driver::{self, Driver},
    rootless,
};
use slipway_process::{Environment, SystemClock, Tasks};
use slipway_registry::Client;
use slipway_toolbox::Source;

use crate::{
    engine::{places, store, toolbox},
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

/// Runs a command by buildah in this mode.
///
/// # Errors
/// The line that failed.
pub(crate) async fn trial(home: &Path, mode: &str) -> Result<(), String> {
    let tasks = Tasks::new();
    let tried = tried(home, mode, &tasks).await;
    tasks.shut_down().await;
    tried
}

async fn tried(home: &Path, mode: &str, tasks: &Tasks) -> Result<(), String> {
    let mut environment = Environment::from_process();
    environment.set(mode::VARIABLE, mode);
    let backend = with_usual(home, environment, tasks).await?;
    let tried = check::trial(&backend).await;
    backend.shut_down().await;
    tried
}

/// Sets it up as it is when nobody says otherwise.
///
/// # Errors
/// When a part of it does not work.
pub(crate) async fn with_usual(home: &Path, environment: Environment, tasks: &Tasks) -> Result<BuildahBackend, String> {
    let place = store(home);
    let driver = tasks.blocking(move || driver::find(None, &place)).await?;
    let client = Client::new(slipway_registry::Options::default()).map_err(|error| error.to_string())?;
    let cache = home.join("local_cache/blobs");
    let gateway = Gateway::start(client.clone(), tasks.clone(), cache, slipway_gateway::Options::default()).await;
    let gateway = Arc::new(gateway.map_err(|error| error.to_string())?);
    let buildah = usual(home, (client, gateway), driver, (None, environment))?;
    BuildahBackend::open(buildah).await.map_err(|error| error.to_string())
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
    let asked = (options.runtime.clone(), options.environment.clone());
    let usual = usual(&options.home, (client.clone(), gateway), driver, asked).map_err(|why| anyhow!(why))?;
    let spool = options.tmp.as_ref().map_or(usual.spool.clone(), |tmp| SpoolDir(tmp.join("slipway-buildah")));
    let buildah = BuildahOptions {
        toolbox: toolbox(options),
        spool,
        compression: options.compression,
        limits: options.process_limits()?,
        strangers: options.strangers,
        ..usual
    };
    Ok(BuildahBackend::open(buildah).await?)
}

/// What is set when nobody says otherwise.
fn usual(
    home: &Path,
    (client, gateway): (Client, Arc<Gateway>),
    driver: Driver,
    (runtime, environment): (Option<String>, Environment),
) -> Result<BuildahOptions, String> {
    let (mode, _) = mode(&environment, runtime)?;
    let program = slipway_buildah::find(&environment).ok_or("buildah is not installed: apt-get install buildah")?;
    let service = home.join("service/buildah");
    Ok(BuildahOptions {
        program,
        mode,
        driver,
        room: None,
        link: gateway,
        client,
        toolbox: Source::Own(places()),
        store: store(home),
        spool: SpoolDir(service.join("tmp")),
        attempts: service.join("attempts"),
        compression: Compression::default(),
        limits: Vec::new(),
        strangers: false,
        environment,
        clock: Arc::new(SystemClock::new(None)),
    })
}
