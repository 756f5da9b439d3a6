//! Builds without root: the program starts itself again in a user namespace, where it is root of the ids that the host
//! gave its user.
//!
//! The process stays the same one: it becomes a process without threads, which makes the namespace, and then the program
//! again. A helper that was started before writes the map of ids, which only the host may.

use std::{
    ffi::OsString,
    fs, io,
    io::{Read as _, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{ExitCode, Stdio},
};

use nix::sched::{CloneFlags, unshare};
use rustix::process::{geteuid, getgid, getppid, getuid};
use slipway_process::child::command;

use crate::check::ids::{WANTED, name_of, range};

/// First argument of the process that makes the namespace; the program and its arguments follow.
pub const ENTER: &str = "rootless-enter";
/// First argument of the helper that maps ids.
const MAP: &str = "rootless-map";
/// The files with the ids of users, the programs that map them, and what gives a user some.
const HELPERS: [(&str, &str, &str); 2] =
    [("/etc/subuid", "newuidmap", "--add-subuids"), ("/etc/subgid", "newgidmap", "--add-subgids")];

/// Whether the program has to start again in a user namespace before it can build.
pub fn is_needed() -> bool {
    !geteuid().is_root()
}

/// Whether this process is in such a namespace.
pub fn is_inside() -> bool {
    slipway_layers::userns::inside()
}

/// Whether the program can start again like that; why not, otherwise.
///
/// # Errors
/// What is missing, and what to do about it.
pub fn probe() -> Result<(), String> {
    let (uid, user) = user();
    for (file, helper, flag) in HELPERS {
        let text = fs::read_to_string(file).unwrap_or_default();
        if range(&text, &user, uid).is_none() {
            return Err(format!(
                "builds without root need {WANTED} ids of {user} in {file}: as root, usermod {flag} 100000-165535 {user}"
            ));
        }
        if let Err(error) = command(helper).stdout(Stdio::null()).stderr(Stdio::null()).status() {
            return Err(format!("start {helper}: {error}; builds without root need it: install uidmap"));
        }
    }
    Ok(())
}

fn user() -> (u32, String) {
    let uid = getuid().as_raw();
    (uid, name_of(uid).unwrap_or_else(|| uid.to_string()))
}

/// Becomes the same program in a user namespace; answers only why it did not. Nothing may be at work in this process.
pub fn start_again(program: &Path, arguments: impl IntoIterator<Item = OsString>) -> io::Error {
    command(program).arg(ENTER).arg(program).args(arguments).exec()
}

/// Whether this process was started to make a user namespace, or to help with it; then this is its end, unless it becomes
/// the program in it. To be asked before there are threads.
pub fn enter(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter().skip(1);
    let role = arguments.next()?;
    let failed = if role == ENTER {
        become_root(arguments)
    } else if role == MAP {
        return Some(map());
    } else {
        return None;
    };
    // Nothing else says it: the program itself is not there yet.
    let _ = writeln!(io::stderr(), "Error: enter a user namespace: {failed}");
    Some(ExitCode::FAILURE)
}

fn become_root(mut arguments: impl Iterator<Item = OsString>) -> io::Error {
    let Some(program) = arguments.next() else { return io::ErrorKind::InvalidInput.into() };
    match mapped() {
        Ok(()) => command(program).arg0("slipway").args(arguments).exec(),
        Err(error) => error,
    }
}

/// Makes the namespace and lets the helper map ids.
fn mapped() -> io::Result<()> {
    let mut helper = command("/proc/self/exe").arg(MAP).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS).map_err(|error| {
        let error = io::Error::from(error);
        io::Error::new(error.kind(), format!("{error}; `slipway host check` says what mends it"))
    })?;
    // The end of its input is the sign to begin.
    drop(helper.stdin.take());
    let mut said = String::new();
    if let Some(mut output) = helper.stdout.take() {
        output.read_to_string(&mut said)?;
    }
    if helper.wait()?.success() {
        return Ok(());
    }
    Err(io::Error::other(said.trim().to_owned()))
}

/// Waits until the parent has its namespace, and maps ids into it.
fn map() -> ExitCode {
    let mapped = io::stdin().read_to_end(&mut Vec::new()).map_err(|error| error.to_string()).and_then(|_| map_all());
    match mapped {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            let _ = writeln!(io::stdout(), "{why}");
            ExitCode::FAILURE
        }
    }
}

fn map_all() -> Result<(), String> {
    let parent = getppid().ok_or("the parent process is gone")?.as_raw_nonzero();
    let (uid, user) = user();
    for ((file, helper, _), own) in HELPERS.into_iter().zip([uid, getgid().as_raw()]) {
        let text = fs::read_to_string(file).unwrap_or_default();
        let (start, count) = range(&text, &user, uid).ok_or_else(|| format!("{file} gives {user} too few ids"))?;
        // The user is root, and the rest are those that the host gave.
        let ids = [0, own, 1, 1, start, count.min(WANTED)].map(|id| id.to_string());
        let output = command(helper).arg(parent.to_string()).args(ids).stdin(Stdio::null()).output();
        let output = output.map_err(|error| format!("start {helper}: {error}; install uidmap"))?;
        if !output.status.success() {
            return Err(format!("{helper}: {}", String::from_utf8_lossy(&output.stderr).trim()));
        }
    }
    Ok(())
}
