//! Namespaces: a process without threads makes them, and says how that went.

use std::{
    ffi::OsString,
    fs,
    io::{self, BufRead as _, Read as _, Write as _},
    path::Path,
    process::{ExitCode, Stdio},
    time::Duration,
};

use nix::sched::{CloneFlags, unshare};
use rustix::{
    fs::CWD,
    mount::{MountFlags, mount},
};
use slipway_layers::{Store, store::Options};
use slipway_process::{child::async_command, random_id};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, ChildStdin},
};

use super::{CHROOT, Finding, ROOTLESS, State, Surroundings};

/// First argument of the process that tries.
pub(super) const ROLE: &str = "host-check";
/// How long it may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Namespaces that a host should allow, for builds of many users.
const WANTED_NAMESPACES: u64 = 15_000;

/// Whether this process was started to try something; then it does, and this is its end. To be asked before there are
/// threads.
pub fn enter(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter().skip(1);
    if !super::is_probe(&mut arguments) {
        return None;
    }
    let what = arguments.next().unwrap_or_default();
    Some(super::ended(run(what.to_str().unwrap_or_default(), arguments.next().unwrap_or_default().as_ref())))
}

fn run(what: &str, directory: &Path) -> io::Result<()> {
    let flags = match what {
        "network" => CloneFlags::CLONE_NEWNET,
        "overlay" => CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS,
        _ => CloneFlags::CLONE_NEWUSER,
    };
    let ids = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    say(unshare(flags).map_err(io::Error::from))?;
    if what == "overlay" {
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("0 {} 1", ids.0))?;
        fs::write("/proc/self/gid_map", format!("0 {} 1", ids.1))?;
        say(overlay(directory))?;
    }
    // What was made lives until whoever asked has seen it.
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}

/// One line: how it went.
fn say(tried: io::Result<()>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match &tried {
        Ok(()) => writeln!(out, "ok")?,
        Err(error) => writeln!(out, "{error}")?,
    }
    out.flush()?;
    tried
}

/// An overlay of which a file is deleted, as builds do it.
fn overlay(directory: &Path) -> io::Result<()> {
    std::env::set_current_dir(directory)?;
    for name in ["low", "lower", "upper", "work", "root"] {
        fs::create_dir(name)?;
    }
    fs::write("low/file", "")?;
    let options = c"lowerdir=low:lower,upperdir=upper,workdir=work,userxattr";
    mount("overlay", "root", "overlay", MountFlags::empty(), options)?;
    fs::remove_file("root/file")?;
    // Opaque directories need an attribute.
    rustix::fs::mkdirat(CWD, "root/new", rustix::fs::Mode::RWXU)?;
    Ok(())
}

/// The process that tries, waiting with what it has made.
pub(super) struct Tried {
    child: Child,
    lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
    _input: Option<ChildStdin>,
}

impl Tried {
    /// Starts it.
    pub(super) fn start(surroundings: &Surroundings, what: &str, directory: &Path) -> io::Result<Self> {
        let mut command = async_command(&surroundings.program);
        command.args([ROLE, what]).arg(directory).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let output = child.stdout.take().ok_or_else(|| io::Error::other("it has no output"))?;
        let input = child.stdin.take();
        Ok(Self { child, lines: BufReader::new(output).lines(), _input: input })
    }

    /// How the next step went.
    pub(super) async fn step(&mut self) -> Result<(), String> {
        let line = tokio::time::timeout(PATIENCE, self.lines.next_line()).await;
        match line.map_err(|_| "no answer within 10 s".to_owned())?.map_err(|error| error.to_string())? {
            Some(line) if line == "ok" => Ok(()),
            Some(line) => Err(line),
            None => Err("the process that tries it ended".to_owned()),
        }
    }

    /// Its id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id().unwrap_or(0)
    }
}

/// User namespaces, and overlays in them.
pub(super) async fn user(surroundings: &Surroundings, root: bool) -> Vec<Finding> {
    const USER: &str = "user-namespaces";
    const OVERLAY: &str = "user-namespace-overlay";
    let as_whom = if root { "one was made, as root; other users may be refused" } else { "one was made" };
    let store = Store::open(&surroundings.store, &Options { limit: None });
    let work = store.and_then(|store| store.work(&format!("check-{}", random_id())));
    let work = match work {
        Ok(work) => work,
        Err(error) => {
            let mend = "choose a writable place with --home-dir";
            return vec![Finding::fails(USER, error.to_string(), mend).needed_by(&[ROOTLESS])];
        }
    };
    let tried = Tried::start(surroundings, "overlay", work.path());
    let mut tried = match tried {
        Ok(tried) => tried,
        Err(error) => {
            let why = format!("start {}: {error}", surroundings.program.display());
            return vec![Finding::fails(USER, why, "mount /proc").needed_by(&[ROOTLESS])];
        }
    };
    if let Err(why) = tried.step().await {
        return vec![Finding::fails(USER, format!("make one: {why}"), mend()).needed_by(&[ROOTLESS])];
    }
    let mut made = Finding::works(USER, as_whom).needed_by(&[ROOTLESS]);
    if let Some(number) = setting("user/max_user_namespaces").filter(|number| *number < WANTED_NAMESPACES) {
        made.found = format!("{as_whom}; only {number} may exist at once");
        made.mend = Some(format!("sysctl -w user.max_user_namespaces={WANTED_NAMESPACES}"));
    }
    let overlay = match tried.step().await {
        Ok(()) => Finding::works(OVERLAY, "an overlay was mounted in one, and a file deleted"),
        Err(why) => {
            let mend = "use a kernel of version 5.13 or later and a home directory on ext4 or xfs (--home-dir)";
            Finding::fails(OVERLAY, format!("mount an overlay in a user namespace: {why}"), mend)
        }
    };
    vec![made, overlay.needed_by(&[ROOTLESS])]
}

/// What keeps user namespaces from being made.
fn mend() -> String {
    if !Path::new("/proc/self/ns/user").exists() {
        return "use a kernel that is built with CONFIG_USER_NS=y".to_owned();
    }
    if setting("kernel/unprivileged_userns_clone") == Some(0) {
        return "sysctl -w kernel.unprivileged_userns_clone=1".to_owned();
    }
    if setting("user/max_user_namespaces").is_some_and(|number| number < WANTED_NAMESPACES) {
        return format!("sysctl -w user.max_user_namespaces={WANTED_NAMESPACES}");
    }
    if setting("kernel/apparmor_restrict_unprivileged_userns") == Some(1) {
        return "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0".to_owned();
    }
    "in a container: start it with --security-opt seccomp=unconfined --security-opt apparmor=unconfined".to_owned()
}

/// A number of the kernel's.
fn setting(name: &str) -> Option<u64> {
    let file = fs::File::open(Path::new("/proc/sys").join(name)).ok()?;
    io::BufReader::new(file).lines().next()?.ok()?.trim().parse().ok()
}

/// A network of its own for commands, as root.
pub(super) async fn network(surroundings: &Surroundings, root: bool) -> Finding {
    const NAME: &str = "network-namespaces";
    if !root {
        return Finding::new(NAME, State::Unneeded, "made inside of a user namespace");
    }
    let tried = match Tried::start(surroundings, "network", Path::new("/")) {
        Ok(mut tried) => tried.step().await,
        Err(error) => Err(error.to_string()),
    };
    match tried {
        Ok(()) => Finding::works(NAME, "one was made"),
        Err(why) => Finding::fails(NAME, format!("make one: {why}"), "in a container: start it with --privileged"),
    }
    .needed_by(&[CHROOT])
}
