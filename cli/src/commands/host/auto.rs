//! The cleanup after commands that build: a process of its own, now and then, that nobody waits for.
//!
//! A build must not take longer for it: it looks at the time of one file, and, when that is some minutes old, asks how full
//! the volumes are.

use std::{
    ffi::OsString,
    fs::{self, File},
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use slipway_process::{
    Clock, Environment,
    child::{async_command, command},
};

use super::{
    home_of,
    volume::{Allowed, Volume},
};
use crate::{
    commands::session::Desk,
    engine::OWN_PROGRAM,
    flags::host::{DISABLE_AUTO, Limits},
};

/// Its time is that of the last cleanup, and it says where the Docker engine keeps images; below the home directory.
const STAMP: &str = "service/host-cleanup";
/// What the last one said.
const LOG: &str = "service/host-cleanup.log";
/// Says to the process that nobody waits for it.
const BACKGROUND: &str = "_SLIPWAY_BACKGROUND_CLEANUP";
/// Variables that are for the command that builds.
const OF_BUILDS: [&str; 4] = ["PROJECT_NAME", "DRY_RUN", "FORCE", "OUTPUT"];
/// Where a Docker engine keeps images usually.
const USUAL_ROOT: &str = "/var/lib/docker";
/// How long leftovers may lie,
const RARELY: Duration = Duration::from_secs(24 * 3600);
/// and how often a volume that is too full is cleaned.
const OFTEN: Duration = Duration::from_secs(600);
/// How often a worker looks whether it is time.
const LOOK: Duration = Duration::from_secs(60);
/// How much the process lets others go first.
const NICE: i32 = 10;

/// What is to be done after a command.
pub(crate) struct After {
    home: PathBuf,
    limits: Limits,
}

impl After {
    /// After a command with these flags; `None` = nothing.
    pub(crate) fn new(desk: &Desk) -> Option<Self> {
        if !desk.command.builds() || desk.values.switch(&DISABLE_AUTO) {
            return None;
        }
        // The command itself complains of what is wrong.
        Some(Self { home: home_of(desk).ok()?, limits: Limits::from_values(&desk.values).ok()? })
    }

    /// Starts a cleanup when it is time.
    pub(crate) fn go(&self, clock: &dyn Clock) {
        if !is_due(&self.home, &self.limits, now(clock)) {
            return;
        }
        let mut cleanup = command(OWN_PROGRAM);
        if prepare(&mut cleanup, &self.home, &self.limits).is_some() {
            // It goes on when this process has ended.
            drop(cleanup.spawn());
        }
    }
}

/// Cleans a worker's host now and then, from its start on, as long as the worker lives.
pub(crate) async fn of_worker(data: PathBuf, limits: Limits, clock: impl AsRef<dyn Clock>) {
    loop {
        if is_due(&data, &limits, now(clock.as_ref())) {
            let mut cleanup = async_command(OWN_PROGRAM);
            if prepare(cleanup.as_std_mut(), &data, &limits).is_some()
                && let Err(error) = cleanup.status().await
            {
                tracing::debug!("start a cleanup of this host: {error}");
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether this process cleans while nobody waits for it; then it also stands back.
pub(super) fn is_background(environment: &Environment) -> bool {
    let background = environment.get(BACKGROUND).is_some();
    if background {
        // It is only slower for others otherwise.
        let _ = rustix::process::nice(NICE);
    }
    background
}

/// Says that a cleanup begins now.
pub(super) fn begin(home: &Path) {
    stamp(home, &known_root(&home.join(STAMP)));
}

/// Remembers where the Docker engine keeps images.
pub(super) fn remember(home: &Path, root: Option<&Path>) {
    if home.join("service").exists() {
        stamp(home, root.map_or(&[], |root| root.as_os_str().as_bytes()));
    }
}

fn stamp(home: &Path, root: &[u8]) {
    // It is the time of the file that matters, and an empty write has none.
    let text = [root, b"\n"].concat();
    if let Err(error) = fs::write(home.join(STAMP), text) {
        tracing::debug!("note the time of a cleanup: {error}");
    }
}

fn known_root(stamp: &Path) -> Vec<u8> {
    let mut known = fs::read(stamp).unwrap_or_default();
    known.truncate(known.iter().position(|byte| *byte == b'\n').unwrap_or(known.len()));
    known
}

fn now(clock: &dyn Clock) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(clock.unix_millis())
}

/// Whether it is time; then others are told that it is taken care of.
fn is_due(home: &Path, limits: &Limits, now: SystemTime) -> bool {
    let path = home.join(STAMP);
    let age = match fs::metadata(&path).and_then(|found| found.modified()) {
        // One from the future was made by a clock that was wrong.
        Ok(last) => now.duration_since(last).unwrap_or_default(),
        // Before the first one nothing is old.
        Err(_) if home.join("service").is_dir() => {
            stamp(home, &[]);
            OFTEN
        }
        Err(_) => return false,
    };
    if age < OFTEN || (age < RARELY && !is_pressed(home, limits, &path)) {
        return false;
    }
    begin(home);
    true
}

/// Whether some volume is fuller than it may be.
fn is_pressed(home: &Path, limits: &Limits, stamp: &Path) -> bool {
    let known = known_root(stamp);
    let root = match known.as_slice() {
        [] => Path::new(USUAL_ROOT),
        known => Path::new(std::ffi::OsStr::from_bytes(known)),
    };
    let places = [(home, limits.backend), (home, limits.cache), (root, limits.docker)];
    let over = |(place, (usage, margin)): (&Path, _)| {
        let allowed = Allowed { usage, margin };
        !allowed.is_of_own() && place.is_dir() && allowed.excess(0, Volume::of(place)).is_some_and(|excess| excess > 0)
    };
    places.into_iter().any(over)
}

/// Sets a cleanup up; `None` = it could not say anything.
fn prepare<'c>(cleanup: &'c mut Command, home: &Path, limits: &Limits) -> Option<&'c mut Command> {
    let log = File::create(home.join(LOG)).ok()?;
    let (out, complaints) = (log.try_clone().ok()?, log);
    for name in OF_BUILDS {
        cleanup.env_remove(format!("SLIPWAY_{name}")).env_remove(format!("WERF_{name}"));
    }
    let arguments: [OsString; 4] = ["host".into(), "cleanup".into(), "--home-dir".into(), home.into()];
    cleanup.args(arguments).args(&limits.arguments).env(BACKGROUND, "1").env_remove("SLIPWAY_FAILPOINT");
    // The terminal's interrupts, and the end of the directory that the command was started in, are nothing to it.
    Some(cleanup.current_dir("/").process_group(0).stdin(Stdio::null()).stdout(out).stderr(complaints))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::host::Limit;

    fn limits(usage: Limit) -> Limits {
        let limit = (usage, Limit::Share(5));
        let full = (Limit::Share(100), Limit::Share(5));
        Limits { backend: full, docker: full, cache: limit, arguments: Vec::new() }
    }

    #[test]
    fn it_is_time_now_and_then_and_oftener_when_a_volume_is_full() {
        let home = tempfile::tempdir().expect("a directory");
        let (fine, pressed) = (limits(Limit::Share(100)), limits(Limit::Share(0)));
        let path = home.path().join(STAMP);
        assert!(!is_due(home.path(), &pressed, UNIX_EPOCH), "there is nothing yet");
        fs::create_dir(home.path().join("service")).expect("a directory");
        assert!(!is_due(home.path(), &fine, UNIX_EPOCH) && path.exists());
        let written = fs::metadata(&path).and_then(|found| found.modified()).expect("a time");
        for (limits, age, due) in [
            (&pressed, OFTEN / 2, false),
            (&fine, OFTEN * 2, false),
            (&pressed, OFTEN * 2, true),
            (&fine, RARELY * 2, true),
            // What it itself may take is not measured that often.
            (&self::limits(Limit::Bytes(1)), OFTEN * 2, false),
        ] {
            let times = fs::FileTimes::new().set_modified(written);
            File::options().write(true).open(&path).and_then(|file| file.set_times(times)).expect("a time");
            assert_eq!(is_due(home.path(), limits, written + age), due, "{limits:?} {age:?}");
        }
        fs::remove_file(&path).expect("it was there");
        assert!(is_due(home.path(), &pressed, UNIX_EPOCH), "a full volume does not wait for the first");
    }

    #[test]
    fn where_images_are_is_remembered() {
        let home = tempfile::tempdir().expect("a directory");
        remember(home.path(), Some(Path::new("/r")));
        assert!(!home.path().join(STAMP).exists(), "to look is not to make");
        fs::create_dir(home.path().join("service")).expect("a directory");
        remember(home.path(), Some(home.path()));
        begin(home.path());
        let full = (Limit::Share(100), Limit::Share(5));
        let of_docker = Limits { docker: (Limit::Share(0), Limit::Share(5)), ..limits(Limit::Share(100)) };
        assert!(is_pressed(home.path(), &of_docker, &home.path().join(STAMP)));
        remember(home.path(), Some(Path::new("/not/there")));
        assert!(!is_pressed(home.path(), &of_docker, &home.path().join(STAMP)));
        assert_eq!(of_docker.backend, full);
    }
}
