//! The sandbox that commands run in.
//!
//! Three processes: the *worker* starts the program again as the *outer* one, which makes the namespaces and starts it
//! once more as the *init* of them; that one builds the root, gives up its rights and becomes the shell. No code runs
//! between a fork and an exec, and nothing unshares in a process with threads.
//!
//! The worker holds one end of a socket. When it is closed, however the worker ended, the outer process kills the init,
//! and the kernel everything in its namespace; when the outer process is killed, the kernel kills the init.

mod bundle;
mod filter;
mod handover;
mod init;
mod keeper;
mod mounts;
mod outer;
mod rights;
mod search;
mod seen;
mod start;

use std::{collections::BTreeMap, ffi::OsString, path::PathBuf, process::ExitCode};

use serde::{Deserialize, Serialize};
use slipway_backend::HostMount;
use slipway_rootfs::accounts::User;

use crate::{
    limits::ProcessLimit,
    network::{Helped, space},
    runtime::Runtime,
};

pub(crate) use start::{Ended, Running, Spoken, rehearse, start, start_to};

/// First argument of the outer process.
const OUTER: &str = "sandbox-outer";
/// First argument of an outer process that ends when it has made the surroundings.
const REHEARSAL: &str = "sandbox-rehearsal";
/// First arguments of what starts the keeper of a network helper, and of the keeper.
const KEEPER: &str = "sandbox-keeper";
const KEPT: &str = "sandbox-kept";
/// First argument of what keeps devices of a root closed after a runtime has opened them; its path follows.
const GUARD: &str = "sandbox-guard";
/// First argument of the init.
const INIT: &str = "sandbox-init";
/// Exit code of a sandbox that could not be set up.
const BROKEN: u8 = 125;
/// What is said last when the network that was made before is as it was.
const CLEAN: &[u8] = b"\0";

/// Which network commands see.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Network {
    /// Their own, with nothing in it but a loopback.
    None,
    /// The host's.
    Host,
    /// One that was made before, by the path of its descriptor.
    Ready(PathBuf),
    /// Their own, behind a program that passes on what they send.
    Helped(Helped),
}

/// What the outer process needs to know.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Surroundings {
    /// The network.
    pub(crate) network: Network,
    /// What is written to, to be in the groups of the sandbox.
    pub(crate) doors: Vec<PathBuf>,
    /// What a process may use.
    pub(crate) limits: Vec<ProcessLimit>,
}

/// What a sandbox is made of, beside its root and its script.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// The shell and its arguments.
    pub(crate) command: Vec<String>,
    /// Its whole environment.
    pub(crate) variables: BTreeMap<String, String>,
    /// Name of the machine.
    pub(crate) hostname: String,
    /// Where it starts: an absolute path that is there.
    pub(crate) directory: String,
    /// Whom it runs as; `None` = root.
    pub(crate) user: Option<User>,
    /// The toolbox, mounted read-only at `/.werf/stapel`; `None` = it is not seen.
    pub(crate) toolbox: Option<PathBuf>,
    /// What is seen beside it.
    pub(crate) tools: Option<PathBuf>,
    /// An empty directory.
    pub(crate) empty: PathBuf,
    /// Files of the host that stand in the place of the image's: path in the image, path on the host.
    pub(crate) files: Vec<(String, PathBuf)>,
    /// Whether the kernel makes overlays.
    pub(crate) overlays: bool,
    /// Whether commands may make packets of their own, which no route keeps from going anywhere.
    pub(crate) raw: bool,
    /// What one process may use; set already, and to be told to runtimes.
    pub(crate) limits: Vec<ProcessLimit>,
    /// The runtime that it is handed to, and the empty directory for its bundle.
    pub(crate) runtime: Option<(Runtime, PathBuf)>,
    /// What else is seen of the host.
    pub(crate) mounts: Vec<HostMount>,
    /// Directories and files of images and of the host, by paths that cannot leave them.
    pub(crate) seen: Vec<Seen>,
    /// Files that lie in memory.
    pub(crate) confided: Vec<Confided>,
    /// Where memory is mounted.
    pub(crate) memory: Vec<Memory>,
    /// Whether it has a terminal: that is its standard output.
    pub(crate) interactive: bool,
}

/// A file system in memory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// Absolute path in the container.
    pub(crate) target: String,
    /// Most bytes of it; `None` = as the kernel has it.
    pub(crate) size: Option<u64>,
    /// Mode of its root.
    pub(crate) mode: u32,
    /// Whether programs in it can be run.
    pub(crate) programs: bool,
}

/// A part of a directory, in the place of whatever the container has there.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// Where it is a part of.
    pub(crate) of: Whole,
    /// Path in it; empty = all of it. Its links are followed inside of it.
    pub(crate) path: String,
    /// Absolute path in the container.
    pub(crate) target: String,
    /// Whether commands may only read it.
    pub(crate) read_only: bool,
}

/// A directory that parts of are seen.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Whole {
    /// A mount that is nowhere yet: number of its descriptor among those that are handed over beside the root's.
    Mount(usize),
    /// A directory of the host.
    Directory(PathBuf),
}

/// A file in memory.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Confided {
    /// Absolute path in the container.
    pub(crate) target: String,
    /// What is in it.
    pub(crate) content: Vec<u8>,
    /// Its owner and group.
    pub(crate) owner: (u32, u32),
    /// Its mode.
    pub(crate) mode: u32,
    /// Whether it can be run.
    pub(crate) program: bool,
}

impl std::fmt::Debug for Confided {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Confided").field("target", &self.target).finish_non_exhaustive()
    }
}

/// Whether this process was started to be a part of a sandbox; then it is one, and this is its end. To be asked before
/// anything else, threads above all.
pub fn enter(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter().skip(1);
    let role = arguments.next()?;
    if role == OUTER {
        Some(outer::run(arguments.next(), false))
    } else if role == REHEARSAL {
        Some(outer::run(arguments.next(), true))
    } else if role == KEEPER {
        Some(keeper::run(arguments))
    } else if role == GUARD {
        Some(handover::guard(arguments.next()))
    } else if role == KEPT {
        Some(keeper::keep(arguments))
    } else if role == INIT {
        Some(init::run())
    } else if role == space::ROLE {
        Some(space::run(arguments.next()))
    } else {
        None
    }
}
