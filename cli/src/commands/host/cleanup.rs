//! `slipway host cleanup`: leftovers of killed processes go, and what can be had again, the longest unused first.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use serde::Serialize;
use slipway_native::rootless;
use slipway_process::Tasks;

use super::{
    Report,
    account::Account,
    auto, buildah, cache, home_of,
    images::{EngineImages, Rules},
    leftovers, native, print,
    usage::Cleaned,
    volume::Allowed,
};
use crate::{
    choose::EngineAddress,
    commands::session::Desk,
    engine,
    failure::Failure,
    flags::{
        host::{DRY_RUN, FORCE, Limit, Limits, storage_path},
        project::PROJECT_NAME,
    },
    running::{self, Gate},
};

/// The lock of the one cleanup of a home directory, below it.
const TURN: &str = "service/host-cleanup.lock";

/// What was cleaned.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
struct Done {
    /// The native backend's store.
    #[serde(flatten)]
    native: Option<Cleaned>,
    /// The other parts.
    parts: Vec<Account>,
    /// What went wrong with some of them; the others were cleaned all the same.
    #[serde(skip)]
    failures: Vec<String>,
    #[serde(skip)]
    dry_run: bool,
}

impl Report for Done {
    fn text(&self) -> String {
        let native = self.native.iter().map(Cleaned::text);
        let parts = self.parts.iter().filter(|part| !part.is_empty()).map(|part| part.text(self.dry_run));
        native.chain(parts).collect()
    }
}

/// Cleans this host.
pub(crate) async fn run(desk: Desk) -> Result<(), Failure> {
    let home = home_of(&desk)?;
    let limits = Limits::from_values(&desk.values).map_err(Failure::usage)?;
    // Files of other ids can be removed only in a namespace that has them.
    if rootless::is_needed() && engine::store(&home).exists() && rootless::probe().is_ok() {
        return Err(Failure::from(engine::start_again()));
    }
    let background = auto::is_background(&desk.world.environment);
    let dry_run = desk.values.switch(&DRY_RUN);
    let project = desk.values.text(&PROJECT_NAME);
    let cleaning = async {
        let Some(_turn) = turn(&desk, &home, background).await? else { return Ok(None) };
        if background {
            auto::begin(&home);
        }
        let (native, mut parts) = match project {
            // What is not of the engine is of no project alone.
            Some(_) => (None, Vec::new()),
            None => of_this_host(&desk, &home, &limits, dry_run).await?,
        };
        let mut failures = Vec::new();
        parts.extend(of_engines(&desk, &home, (&limits, project), dry_run, &mut failures).await?);
        Ok(Some(Done { native, parts, failures, dry_run }))
    };
    let done = desk.world.interrupted.run_until_cancelled(Box::pin(cleaning)).await;
    match done.ok_or_else(Failure::interrupted)? {
        Ok(Some(done)) => {
            print(&desk, &done)?;
            match done.failures.as_slice() {
                [] => Ok(()),
                failures => Err(Failure::from(anyhow::anyhow!("{}", failures.join("; ")))),
            }
        }
        Ok(None) => Ok(()),
        Err(failure) => Err(failure),
    }
}

/// Files of the home directory, and temporary ones.
async fn of_this_host(
    desk: &Desk,
    home: &Path,
    limits: &Limits,
    dry_run: bool,
) -> Result<(Option<Cleaned>, Vec<Account>), Failure> {
    let (now, home) = (now(desk), home.to_owned());
    let (backend, local) = (allowed(limits.backend), allowed(limits.cache));
    let clean = move || -> Result<_, Failure> {
        let native = native::clean(&home, backend, dry_run)?;
        let mut parts = Vec::new();
        // To look is not to make.
        if home.exists() {
            let doing = || format!("clean the local cache in {}", home.display());
            parts.push(cache::clean(&home, local, now, dry_run).with_context(doing)?);
        }
        parts.push(leftovers::clean(&home, &std::env::temp_dir(), now, dry_run));
        Ok((Some(native), parts))
    };
    Tasks::new().blocking(clean).await
}

/// What engines keep.
async fn of_engines(
    desk: &Desk,
    home: &Path,
    (limits, project): (&Limits, Option<String>),
    dry_run: bool,
    failures: &mut Vec<String>,
) -> Result<Vec<Account>, Failure> {
    let engine = EngineAddress::from_environment(&desk.world.environment);
    let force = desk.values.switch(&FORCE);
    let rules = Rules { now: now(desk), since: in_use_since(home, now(desk)).await?, force, project, dry_run };
    let mut parts = Vec::new();
    match EngineImages::open(&engine, home, storage_path(&desk.values)).await {
        Ok(images) => {
            if !dry_run {
                auto::remember(home, images.root());
            }
            match images.clean(allowed(limits.docker), &rules).await {
                Ok(account) => parts.push(account),
                Err(error) => failures.push(format!("clean the Docker engine: {error:#}")),
            }
        }
        Err(why) => {
            let mut account = Account::new("docker", format!("the engine at {engine}"));
            account.note(format!("left alone, as it does not answer: {why}"));
            parts.push(account);
        }
    }
    // Its images are of all projects.
    if rules.project.is_none() {
        match buildah::clean(&desk.world.environment, home, allowed(limits.backend), &rules).await {
            Ok(account) => parts.extend(account),
            Err(error) => failures.push(format!("clean the storage of Buildah: {error:#}")),
        }
    }
    Ok(parts)
}

/// From when on something that was used may be in use; `None` = nothing runs.
pub(super) async fn in_use_since(home: &Path, now: SystemTime) -> Result<Option<SystemTime>, Failure> {
    if !home.join("service").exists() {
        return Ok(None);
    }
    let asked = home.to_owned();
    let since = Tasks::new().blocking(move || Gate::shut(&asked)?.processes()).await;
    let doing = || format!("look who works with {}", home.display());
    Ok(running::in_use_since(&since.with_context(doing)?, now))
}

fn allowed((usage, margin): (Limit, Limit)) -> Allowed {
    Allowed { usage, margin }
}

/// Now.
pub(super) fn now(desk: &Desk) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(desk.world.clock.unix_millis())
}

/// The lock of the one cleanup of a home directory.
#[derive(Debug)]
pub(super) struct Turn(#[expect(dead_code, reason = "it holds the lock")] Option<File>);

/// Takes the lock; `None` = another cleanup is under way, and this one need not be. There is none without a home.
pub(super) async fn turn(desk: &Desk, home: &Path, background: bool) -> Result<Option<Turn>, Failure> {
    if !home.exists() {
        return Ok(Some(Turn(None)));
    }
    let path = home.join(TURN);
    let doing = || format!("take the lock {}", path.display());
    let open = |path: &PathBuf| -> io::Result<File> {
        fs::create_dir_all(home.join("service"))?;
        File::options().create(true).truncate(false).write(true).open(path)
    };
    let file = open(&path).with_context(doing)?;
    match file.try_lock() {
        Ok(()) => return Ok(Some(Turn(Some(file)))),
        Err(TryLockError::WouldBlock) if background => return Ok(None),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(Failure::from(anyhow::Error::new(error).context(doing()))),
    }
    desk.printer.info(&format!("Waiting for another cleanup of {}", home.display()));
    let locked = Tasks::new().blocking(move || file.lock().map(|()| file)).await;
    Ok(Some(Turn(Some(locked.with_context(doing)?))))
}
