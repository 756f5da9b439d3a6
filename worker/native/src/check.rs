//! What this host can do for builds, and what it lacks: tried, not read off versions.
//!
//! Some of it must be tried in a process without threads: for that the program starts itself again ([`enter`]).

mod cgroups;
pub(crate) mod ids;
mod kernel;
mod namespaces;
mod programs;
mod trials;

use std::{ffi::OsString, path::PathBuf, process::ExitCode};

use serde::Serialize;
use slipway_backend::{ContainerBackend, Script, Setup};
use slipway_oci::{ConfigChange, Platform};
use slipway_process::random_id;
use slipway_toolbox::Places;
use tokio::sync::mpsc;

use crate::{
    rootless,
    runtime::{Kind, Runtime},
};

pub use namespaces::enter;

/// What is said where there is no Linux.
pub const OTHER_SYSTEM: &str = "images are built on Linux only: use WSL2 on Windows, a virtual machine elsewhere, or a \
                                cluster with --coordinator";

/// What became of trying something.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It works.
    Works,
    /// It does not work.
    Fails,
    /// It is not installed.
    Absent,
    /// It was not tried, as nothing here needs it.
    Unneeded,
}

/// One thing that was tried.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// What it is called.
    pub name: String,
    /// What became of it.
    pub state: State,
    /// What was found, or why it does not work.
    pub found: String,
    /// What cannot be done without it; empty = it helps, and nothing needs it.
    pub needed_by: Vec<&'static str>,
    /// The one command or setting that mends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Finding {
    fn new(name: &str, state: State, found: impl Into<String>) -> Self {
        Self { name: name.to_owned(), state, found: found.into(), needed_by: Vec::new(), mend: None }
    }

    fn works(name: &str, found: impl Into<String>) -> Self {
        Self::new(name, State::Works, found)
    }

    fn fails(name: &str, why: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { mend: Some(mend.into()), ..Self::new(name, State::Fails, why) }
    }

    /// What was not tried has nothing that mends it but what mends that.
    fn blamed(self) -> Self {
        match self.found.starts_with(UNTRIED) {
            true => Self { found: UNTRIED.to_owned(), mend: None, ..self },
            false => self,
        }
    }

    /// Of what helps, and is not there; `who` = what alone needs it.
    fn absent(name: &str, who: &str, mend: impl Into<String>) -> Self {
        let found = format!("not installed; only {who} needs it");
        Self { mend: Some(mend.into()), ..Self::new(name, State::Absent, found) }
    }

    fn needed_by(self, needed_by: &[&'static str]) -> Self {
        Self { needed_by: needed_by.to_vec(), ..self }
    }
}

/// Needs of a build as root.
const CHROOT: &str = "native-chroot";
/// Needs of a build without root.
const ROOTLESS: &str = "native-rootless";

/// Where things are tried.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Directory of the store of layers.
    pub store: PathBuf,
    /// The program that is started again; its `main` begins with [`enter`].
    pub program: PathBuf,
    /// Where the programs of the toolbox are.
    pub toolbox: Places,
}

/// What is said of what stands on ids that the user does not have.
const UNTRIED: &str = "not tried: builds without root need subordinate ids first";

/// Something that is tried as builds do it, in the namespaces that they run in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trial {
    /// A command in a sandbox.
    Plain,
    /// A command in a sandbox by a runtime.
    Runtime(String),
    /// A command in a sandbox on layers that lie on each other in this way.
    Driver(String),
    /// A network of commands' own.
    Network,
}

/// Tries everything that the native backend stands on, and the programs that help it. `trial` = how it is tried as builds
/// do it.
pub async fn check<F: Future<Output = Result<(), String>>>(
    surroundings: &Surroundings,
    trial: impl Fn(Trial) -> F,
) -> Vec<Finding> {
    if !cfg!(target_os = "linux") {
        let system = Finding::fails("system", std::env::consts::OS, OTHER_SYSTEM);
        return vec![system.needed_by(&["docker", CHROOT, ROOTLESS, "buildah"])];
    }
    let root = rustix::process::geteuid().is_root();
    let mut findings = vec![kernel::calls(), kernel::overlay(&surroundings.store, root)];
    findings.extend(namespaces::user(surroundings, root).await);
    findings.push(ids::subordinate(surroundings, root).await);
    findings.push(namespaces::network(surroundings, root).await);
    findings.push(programs::toolbox(surroundings.toolbox.clone()).await);
    let blocked = !root && rootless::probe().is_err();
    let tried = async |what| if blocked { Err(UNTRIED.to_owned()) } else { trial(what).await };
    findings.push(trials::network(root, tried(Trial::Network).await));
    for name in ["fuse-overlayfs", "vfs"] {
        findings.push(trials::driver(name, tried(Trial::Driver(name.to_owned())).await));
    }
    findings.push(cgroups::limits(root));
    for kind in Kind::ALL {
        findings.push(match Runtime::find(kind.name()) {
            Ok(found) => trials::runtime(&found, tried(Trial::Runtime(kind.name().to_owned())).await),
            Err(_) => Finding::absent(kind.name(), &format!("--native-runtime {}", kind.name()), kind.install()),
        });
    }
    findings.push(programs::buildah().await);
    findings.into_iter().map(Finding::blamed).collect()
}

/// Runs a command in a sandbox of this backend, on top of nothing; why that does not work, when it does not.
///
/// # Errors
/// The line that failed.
pub async fn trial(backend: &dyn ContainerBackend) -> Result<(), String> {
    let setup = Setup {
        attempt: format!("trial-{}", random_id()),
        platform: Platform::host(),
        network: None,
        to: None,
        mounts: Vec::new(),
        secrets: slipway_backend::Secrets::none(),
    };
    let mut workspace = backend.open(None, setup).await.map_err(|error| error.to_string())?;
    let script = Script { commands: vec![(1, "true".to_owned())], ..Script::default() };
    let (logs, mut lines) = mpsc::channel::<Vec<u8>>(16);
    let said = async {
        let mut said = Vec::new();
        while let Some(line) = lines.recv().await {
            said.push(String::from_utf8_lossy(&line).into_owned());
        }
        said
    };
    let (ran, said) = tokio::join!(workspace.run(script, logs), said);
    let last = said.last().map(|line| format!(": {line}")).unwrap_or_default();
    ran.map_err(|error| format!("run a command in a sandbox: {error}{last}"))?;
    // What it would store is thrown away again: nothing was changed.
    let image = workspace.commit(ConfigChange::default()).await;
    let image = image.map_err(|error| format!("take the changes of a command: {error}"))?;
    backend.remove(&image).await.map_err(|error| error.to_string())
}

/// The name of the mode that the native backend has here.
pub fn mode() -> &'static str {
    if rootless::is_needed() || rootless::is_inside() { ROOTLESS } else { CHROOT }
}

/// First argument of the process that tries namespaces.
fn is_probe(arguments: &mut impl Iterator<Item = OsString>) -> bool {
    arguments.next().is_some_and(|role| role == namespaces::ROLE)
}

/// How a process that only tries something ends.
fn ended(tried: std::io::Result<()>) -> ExitCode {
    if tried.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
