//! Trying something as builds do it: without root, in a process that begins in a user namespace, as a build does.

use std::{
    ffi::OsString,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
};

use slipway_native::{check::Trial, network, rootless};
use slipway_process::{Tasks, child::async_command};

use crate::{
    buildah,
    engine::{self, OWN_PROGRAM},
};

/// First argument of the process that tries; what, and the home directory, follow.
const ROLE: &str = "host-trial";
/// What is tried by buildah.
const BUILDAH: &str = "buildah";
/// What it says when all is well.
const WELL: &str = "ok";

/// Tries it, where builds do.
///
/// # Errors
/// The line that failed.
pub(super) async fn run(home: &Path, what: Trial) -> Result<(), String> {
    if !rootless::is_needed() {
        return here(home, what).await;
    }
    again(home, words(&what)).await
}

/// Tries a mode of buildah, where builds do.
///
/// # Errors
/// The line that failed.
pub(super) async fn by_buildah(home: &Path, mode: &str) -> Result<(), String> {
    if !rootless::is_needed() {
        return buildah::trial(home, mode).await;
    }
    again(home, [BUILDAH, mode]).await
}

/// Tries it in a process that begins in a user namespace.
async fn again(home: &Path, what: [&str; 2]) -> Result<(), String> {
    rootless::probe()?;
    let mut again = async_command(OWN_PROGRAM);
    again.args([rootless::ENTER, OWN_PROGRAM, ROLE]).args(what).arg(home);
    let ended = again.stdin(Stdio::null()).output().await.map_err(|error| format!("start again: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match (text(&ended.stdout), text(&ended.stderr)) {
        (said, _) if said == WELL => Ok(()),
        (said, complaint) if said.is_empty() => Err(complaint.trim_start_matches("Error: ").to_owned()),
        (said, _) => Err(said),
    }
}

/// Whether this process was started to try something; then this is its end.
pub(crate) async fn enter(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter().skip(1);
    if arguments.next()? != ROLE {
        return None;
    }
    let words = [arguments.next()?, arguments.next()?].map(|word| word.to_string_lossy().into_owned());
    let home = PathBuf::from(arguments.next()?);
    let tried = match words {
        [what, mode] if what == BUILDAH => buildah::trial(&home, &mode).await,
        words => here(&home, trial(words)).await,
    };
    let said = tried.err().unwrap_or_else(|| WELL.to_owned());
    // Whoever asked may be gone.
    let _ = writeln!(io::stdout(), "{said}");
    Some(ExitCode::SUCCESS)
}

async fn here(home: &Path, what: Trial) -> Result<(), String> {
    match what {
        Trial::Network => Tasks::new().blocking(|| network::probe(Path::new(OWN_PROGRAM))).await,
        Trial::Plain => engine::trial(home, engine::Trial::default()).await,
        Trial::Runtime(name) => engine::trial(home, engine::Trial { runtime: Some(name), driver: None }).await,
        Trial::Driver(name) => engine::trial(home, engine::Trial { runtime: None, driver: Some(name) }).await,
    }
}

fn words(what: &Trial) -> [&str; 2] {
    match what {
        Trial::Plain => ["plain", ""],
        Trial::Network => ["network", ""],
        Trial::Runtime(name) => ["runtime", name],
        Trial::Driver(name) => ["driver", name],
    }
}

fn trial([kind, name]: [String; 2]) -> Trial {
    match kind.as_str() {
        "network" => Trial::Network,
        "runtime" => Trial::Runtime(name),
        "driver" => Trial::Driver(name),
        _ => Trial::Plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_what_is_tried() {
        for what in [Trial::Plain, Trial::Network, Trial::Runtime("crun".to_owned()), Trial::Driver("vfs".to_owned())] {
            assert_eq!(trial(words(&what).map(str::to_owned)), what);
        }
    }
}
