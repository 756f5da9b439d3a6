//! `slipway host check|df|cleanup|purge`: what this host can do, what is kept on it, less of it, and nothing.
//!
//! Reading order: `findings` and [`trial`] (what this host can do), `usage` (what is kept), `volume` and `account` (what is too
//! much, and what became of it), [`cleanup`] with `native`, `cache`, `leftovers`, `images` and `buildah` (what it cleans),
//! [`auto`] (after builds), [`purge`].

mod account;
pub(crate) mod auto;
mod buildah;
mod cache;
pub(crate) mod cleanup;
mod findings;
mod images;
mod leftovers;
mod native;
pub(crate) mod purge;
pub(crate) mod trial;
mod usage;
mod volume;

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use serde::Serialize;
use slipway_layers::{Store, store::Options};
use slipway_native::{
    check::{self, Surroundings, Trial},
    rootless,
};
use slipway_process::{Environment, Tasks};

use super::session::Desk;
use crate::{
    buildah as by_buildah,
    choose::EngineAddress,
    embedded, engine,
    failure::{Exit, Failure},
    flags::{
        backend::{RUNTIME, STORAGE_DRIVER},
        host::{HOST_OUTPUT, Limit},
        project::HOME_DIR,
    },
    home,
};
use findings::{Backend, Checked, DOCKER, NATIVE};
use usage::Kept;

/// Something that is printed.
trait Report: Serialize {
    /// As text.
    fn text(&self) -> String;
}

/// Tries everything, and says what mends what does not work.
pub(crate) async fn check(desk: Desk) -> Result<(), Failure> {
    let home = home_of(&desk)?;
    let store = engine::store(&home);
    let surroundings =
        Surroundings { store: store.clone(), program: PathBuf::from(engine::OWN_PROGRAM), toolbox: engine::places() };
    let environment = &desk.world.environment;
    let address = EngineAddress::from_environment(environment);
    let checking = async {
        let docker = embedded::probe(&address).await;
        let docker = Backend::new(("docker", DOCKER), docker.map(|()| format!("an engine answers at {address}")));
        let findings = check::check(&surroundings, |what| trial::run(&home, what)).await;
        let (driver, runtime) = (desk.values.text(&STORAGE_DRIVER), desk.values.text(&RUNTIME));
        let native = match embedded::probe_native(&home, driver.as_deref()).await {
            Ok(()) => {
                let what = match (runtime, driver) {
                    (Some(runtime), _) => Trial::Runtime(runtime),
                    (None, Some(driver)) => Trial::Driver(driver),
                    (None, None) => Trial::Plain,
                };
                trial::run(&home, what).await.map(|()| format!("a command ran in a sandbox, in {}", store.display()))
            }
            Err(why) => Err(why),
        };
        let native = Backend::new((check::mode(), NATIVE), native);
        let mut backends = vec![docker, native];
        backends.extend(of_buildah(&home, environment).await);
        Checked { backends, findings }
    };
    let checked = desk.world.interrupted.run_until_cancelled(checking).await.ok_or_else(Failure::interrupted)?;
    print(&desk, &checked)?;
    if checked.backends.iter().any(|backend| backend.works) {
        return Ok(());
    }
    let why = anyhow!("no backend can build on this host: mend one of those that fail, or build with --coordinator");
    Err(Failure { exit: Exit::Failed, error: why })
}

/// What builds by buildah come to, in each mode that this user may ask for.
async fn of_buildah(home: &Path, environment: &Environment) -> Vec<Backend> {
    if let Err(why) = by_buildah::probe(environment) {
        return vec![Backend::new(("buildah", "--backend buildah"), Err(why))];
    }
    let modes = match rootless::is_needed() {
        false => vec![("buildah-chroot", "native-chroot", "--backend buildah")],
        true => vec![
            ("buildah-chroot", "native-chroot", "--backend buildah, WERF_BUILDAH_MODE=native-chroot"),
            ("buildah-rootless", "native-rootless", "--backend buildah, WERF_BUILDAH_MODE=native-rootless"),
        ],
    };
    let mut backends = Vec::new();
    for (name, mode, by) in modes {
        let tried = trial::by_buildah(home, mode).await;
        backends.push(Backend::new((name, by), tried.map(|()| "a command ran in a container".to_owned())));
    }
    backends
}

/// Shows what is kept.
pub(crate) async fn usage(desk: Desk) -> Result<(), Failure> {
    let home = home_of(&desk)?;
    let limit = Limit::from_values(&desk.values).map_err(Failure::usage)?.bytes(&home);
    let look = move || -> Result<Kept, Failure> {
        let store = engine::store(&home);
        // To look is not to make.
        let inventory = match store.exists() {
            true => Some(Store::open(&store, &Options { limit: Some(limit) })?.inventory()?),
            false => None,
        };
        Ok(Kept::new(&home, limit, inventory))
    };
    let kept = desk.world.interrupted.run_until_cancelled(Tasks::new().blocking(look)).await;
    print(&desk, &kept.ok_or_else(Failure::interrupted)??)
}

fn home_of(desk: &Desk) -> Result<PathBuf, Failure> {
    home::directory(desk.values.text(&HOME_DIR).as_deref(), &desk.world.environment)
}

fn print(desk: &Desk, report: &impl Report) -> Result<(), Failure> {
    let text = match desk.values.text(&HOST_OUTPUT).as_deref() {
        Some("json") => serde_json::to_string_pretty(report).map(|text| format!("{text}\n"))?,
        _ => report.text(),
    };
    desk.printer.data(text.as_bytes())?;
    Ok(())
}
