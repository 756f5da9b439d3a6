//! Runtimes of the OCI specification, which a sandbox may be handed to in place of our own.

use std::{
    fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::{Deserialize, Serialize};
use slipway_process::{Environment, child::command};

/// The runtimes that are known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// `runc`
    Runc,
    /// `crun`
    Crun,
    /// Kata Containers: virtual machines.
    Kata,
    /// gVisor: a kernel of its own.
    Runsc,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Runc, Self::Crun, Self::Kata, Self::Runsc];

    /// The name that users give.
    pub fn name(self) -> &'static str {
        match self {
            Self::Runc => "runc",
            Self::Crun => "crun",
            Self::Kata => "kata",
            Self::Runsc => "runsc",
        }
    }

    /// The program.
    pub fn program(self) -> &'static str {
        match self {
            Self::Kata => "kata-runtime",
            Self::Runc | Self::Crun | Self::Runsc => self.name(),
        }
    }

    /// How it is had.
    pub(crate) fn install(self) -> &'static str {
        match self {
            Self::Runc => "apt-get install runc",
            Self::Crun => "apt-get install crun",
            Self::Kata => "see katacontainers.io",
            Self::Runsc => "see gvisor.dev",
        }
    }
}

/// A runtime that is installed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Runtime {
    kind: Kind,
    program: PathBuf,
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.kind.name(), self.program.display())
    }
}

impl Runtime {
    /// The one that is called `name`, or that lies at the absolute path `name`.
    ///
    /// # Errors
    /// When it is unknown, or not installed.
    pub fn find(name: &str) -> Result<Self, String> {
        let path = Path::new(name);
        let last = path.file_name().and_then(|last| last.to_str()).unwrap_or_default();
        let kind = Kind::ALL.into_iter().find(|kind| [kind.name(), kind.program()].contains(&last));
        let Some(kind) = kind.filter(|_| path.is_absolute() || !name.contains('/')) else {
            let known = Kind::ALL.map(Kind::name).join(", ");
            return Err(format!(
                "`{name}` is no runtime that is known: use one of {known}, or the absolute path of one"
            ));
        };
        let program = if path.is_absolute() { Some(path.to_owned()).filter(|path| path.is_file()) } else { look(kind) };
        let Some(program) = program else {
            let sought = if path.is_absolute() { name.to_owned() } else { format!("{} in PATH", kind.program()) };
            return Err(format!("the runtime {name} is not installed: looked for {sought}; {}", kind.install()));
        };
        let found = Self { kind, program };
        match found.asked() {
            Ok(()) => Ok(found),
            Err(why) => Err(format!("the runtime {found} does not work: {why}")),
        }
    }

    /// Which one it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    fn asked(&self) -> Result<(), String> {
        let mut asked = command(&self.program);
        asked.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        match asked.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("--version ends with {status}")),
            Err(error) => Err(format!("--version: {error}")),
        }
    }

    /// What runs the bundle in a directory, in the foreground; `state` = where it keeps its own files. It leaves control
    /// groups alone: the whole of it is in one already.
    pub(crate) fn run(&self, bundle: &Path, state: &Path, id: &str) -> Command {
        let mut command = command(&self.program);
        command.arg("--root").arg(state);
        match self.kind {
            Kind::Runc => command.args(["--rootless", "true"]),
            Kind::Crun => command.args(["--cgroup-manager", "disabled"]),
            // Its network is the one that it is started in. What commands write goes to the root itself, and not to a file beside
            // it; which rights they have is said elsewhere.
            Kind::Runsc => command.args(["--ignore-cgroups", "--network", "host", "--overlay2", "none", "--net-raw"]),
            Kind::Kata => &mut command,
        };
        command.args(["run", "--bundle"]).arg(bundle).arg(id);
        command
    }
}

fn look(kind: Kind) -> Option<PathBuf> {
    let path = Environment::from_process().get("PATH").unwrap_or_default().to_owned();
    // What only root uses often is in no other user's list.
    let places = path.split(':').chain(["/usr/local/sbin", "/usr/sbin", "/sbin"]);
    places.map(|place| Path::new(place).join(kind.program())).find(|program| program.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_or_absent_is_said() {
        let home = tempfile::tempdir().expect("a directory");
        let at = |name: &str| home.path().join(name).display().to_string();
        for (name, expected) in [
            ("podman".to_owned(), "use one of runc, crun, kata, runsc"),
            ("bin/runc".to_owned(), "absolute path"),
            (String::new(), "no runtime"),
            (at("runsc"), "not installed"),
        ] {
            let why = Runtime::find(&name).expect_err(&name);
            assert!(why.contains(expected), "{name}: {why}");
        }
        std::fs::write(home.path().join("crun"), "").expect("a file");
        let why = Runtime::find(&at("crun")).expect_err("no program");
        assert!(why.contains("does not work"), "{why}");
        std::os::unix::fs::symlink("/bin/true", home.path().join("kata-runtime")).expect("a link");
        let found = Runtime::find(&at("kata-runtime")).expect("a runtime");
        assert_eq!(found.kind(), Kind::Kata);
    }
}
