//! The program, and how it is asked for something.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::Duration,
};

use slipway_backend::{BackendError, driver::Driver};
use slipway_process::{Environment, Tasks, child::async_command};
use tokio::{process::Command, runtime::Handle};

use crate::{
    error::{failed, is_passing, system},
    mode::Mode,
};

/// What it is called.
const NAME: &str = "buildah";
/// How often something is tried when the program stumbles over itself.
pub(crate) const TRIES: u32 = 4;
/// How long it is left alone after the first stumble; twice as long after each further one.
const PAUSE: Duration = Duration::from_millis(100);
/// Variables that it is given of ours: where the user's things are, and how he has set up storage.
const PASSED: [&str; 7] = [
    "HOME",
    "PATH",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_RUNTIME_DIR",
    "CONTAINERS_CONF",
    "CONTAINERS_STORAGE_CONF",
];
/// Variables of the proxy for registries.
const PROXIES: [&str; 2] = ["HTTP_PROXY", "HTTPS_PROXY"];
/// The one that says where a user's things are that need not outlive the machine's running.
const RUN: &str = "XDG_RUNTIME_DIR";
/// Where programs are when nobody says so; also those that only root uses often.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Names without a host are Docker's; nothing of the host's own settings counts, so that all hosts build alike.
const REGISTRIES: &str = "unqualified-search-registries = [\"docker.io\"]\nshort-name-mode = \"disabled\"\n";
/// What is pulled comes by its digest, through our own gateway.
const POLICY: &str = "{\"default\":[{\"type\":\"insecureAcceptAnything\"}]}\n";
/// Where the kernel says who the root of a user namespace is outside of it.
const UID_MAP: &str = "/proc/self/uid_map";
const GID_MAP: &str = "/proc/self/gid_map";

/// Where it keeps images, when not where the user's settings say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Room {
    /// Directory of images and containers.
    pub root: PathBuf,
    /// Directory of what need not outlive the machine's running.
    pub run: PathBuf,
}

/// The program with its settings. It outlives whoever asked it for something: nothing is broken off in the middle.
#[derive(Debug)]
pub(crate) struct Program {
    path: PathBuf,
    global: Vec<OsString>,
    variables: Vec<(String, String)>,
    pub(crate) policy: PathBuf,
    pub(crate) mode: Mode,
    /// Directory of temporary files.
    pub(crate) spool: PathBuf,
    /// Directory of the lock files of running attempts.
    pub(crate) attempts: PathBuf,
    pub(crate) tasks: Tasks,
    runtime: Handle,
}

/// What a program is made of.
pub(crate) struct Parts<'a> {
    pub(crate) path: PathBuf,
    pub(crate) mode: Mode,
    pub(crate) driver: &'a Driver,
    pub(crate) room: Option<&'a Room>,
    pub(crate) spool: PathBuf,
    pub(crate) attempts: PathBuf,
    pub(crate) environment: &'a Environment,
}

/// What became of something that was asked for.
pub(crate) struct Answer {
    /// What it said.
    pub(crate) said: Vec<u8>,
    /// What it complained of, if it failed.
    pub(crate) complaint: Option<String>,
}

impl Program {
    /// Writes its settings. Blocks.
    pub(crate) fn new(parts: Parts<'_>) -> Result<Self, BackendError> {
        let Parts { path, mode, driver, room, spool, attempts, environment } = parts;
        let doing = "write the settings of buildah";
        let (registries, policy) = (spool.join("registries.conf"), spool.join("policy.json"));
        let write = || -> io::Result<()> {
            for directory in [&spool, &attempts] {
                fs::create_dir_all(directory)?;
            }
            put(&registries, REGISTRIES)?;
            put(&policy, POLICY)
        };
        write().map_err(|error| system(doing, error))?;
        let mut global: Vec<OsString> = vec!["--registries-conf".into(), registries.into()];
        if let Some(room) = room {
            global.extend(["--root".into(), room.root.clone().into(), "--runroot".into(), room.run.clone().into()]);
        }
        global.extend(match driver {
            Driver::Overlay => vec!["--storage-driver".into(), "overlay".into()],
            Driver::Vfs => vec!["--storage-driver".into(), "vfs".into()],
            Driver::FuseOverlayfs(program) => {
                let mut option = OsString::from("overlay.mount_program=");
                option.push(program);
                vec!["--storage-driver".into(), "overlay".into(), "--storage-opt".into(), option]
            }
        });
        let variables = variables(environment).map_err(|error| system(doing, error))?;
        let (tasks, runtime) = (Tasks::new(), Handle::current());
        Ok(Self { path, global, variables, policy, mode, spool, attempts, tasks, runtime })
    }

    /// The program and its arguments, as one line of words.
    pub(crate) fn line(&self, arguments: &[OsString]) -> Vec<OsString> {
        let own = std::iter::once(self.path.clone().into_os_string()).chain(self.global.iter().cloned());
        own.chain(arguments.iter().cloned()).collect()
    }

    /// A process of `program` as it is to run here: it has no environment but what builds need, and what happens on the
    /// user's terminal is nothing to it. `temporary` = where it puts what it soon removes.
    pub(crate) fn process(&self, program: &OsStr, temporary: &Path) -> Command {
        let mut command = async_command(program);
        command.env_clear().envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.env("TMPDIR", temporary).process_group(0).stdin(Stdio::null());
        command
    }

    /// Asks it for something and waits for the answer, which is what it wrote. It is tried again when it stumbles.
    pub(crate) async fn ask(&self, doing: &str, arguments: &[&str]) -> Result<String, BackendError> {
        let Answer { said, complaint } = self.answer(doing, arguments).await?;
        match complaint {
            None => Ok(String::from_utf8_lossy(&said).trim().to_owned()),
            Some(complaint) => Err(failed(doing, &complaint)),
        }
    }

    /// The same, for who wants to know what was complained of.
    pub(crate) async fn answer(&self, doing: &str, arguments: &[&str]) -> Result<Answer, BackendError> {
        self.through(None, doing, arguments).await
    }

    /// The same with a proxy for all that it asks of registries.
    pub(crate) async fn through(
        &self,
        proxy: Option<&str>,
        doing: &str,
        arguments: &[&str],
    ) -> Result<Answer, BackendError> {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        let mut pause = PAUSE;
        for attempt in 1.. {
            let Output { status, stdout, stderr } = self.once(proxy, doing, &arguments).await?;
            let complaint = String::from_utf8_lossy(&stderr).into_owned();
            if status.success() {
                return Ok(Answer { said: stdout, complaint: None });
            }
            if attempt == TRIES || !is_passing(&complaint) {
                return Ok(Answer { said: stdout, complaint: Some(complaint) });
            }
            again(doing, attempt, &complaint);
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Err(BackendError::Engine(format!("{doing}: it was tried too often")))
    }

    async fn once(&self, proxy: Option<&str>, doing: &str, arguments: &[OsString]) -> Result<Output, BackendError> {
        let mut line = self.line(arguments).into_iter();
        let program = line.next().unwrap_or_default();
        let mut command = self.process(&program, &self.spool);
        command.args(line);
        if let Some(proxy) = proxy {
            command.envs(PROXIES.map(|name| (name, proxy)));
        }
        // In a task: when the asker goes away, it is still seen through.
        let task = self.tasks.spawn(async move { command.output().await });
        let ended = || BackendError::Engine(format!("{doing}: the backend is shutting down"));
        let output = task.await.ok().flatten().ok_or_else(ended)?;
        output.map_err(|error| not_started(&self.path, &error))
    }

    /// Starts work that goes on when its starter is dropped, on whichever thread that is.
    pub(crate) fn in_background(&self, work: impl Future<Output = ()> + Send + 'static) {
        let _entered = self.runtime.enter();
        drop(self.tasks.spawn(work));
    }
}

/// Where the program is; `None` = it is not installed.
pub fn find(environment: &Environment) -> Option<PathBuf> {
    let own = environment.non_empty("PATH").unwrap_or_default();
    let places = own.split(':').chain(PATH.split(':')).filter(|place| !place.is_empty());
    places.map(|place| Path::new(place).join(NAME)).find(|program| program.is_file())
}

/// Says that something is tried again.
pub(crate) fn again(doing: &str, attempt: u32, complaint: &str) {
    let why = complaint.lines().last().unwrap_or_default();
    tracing::warn!(attempt, why, "buildah stumbled; trying once more to {doing}");
}

/// Why the program is not there.
pub(crate) fn not_started(path: &Path, error: &io::Error) -> BackendError {
    let path = path.display();
    BackendError::Engine(match error.kind() {
        io::ErrorKind::NotFound => format!("start {path}: it is not installed: apt-get install buildah"),
        _ => format!("start {path}: {error}"),
    })
}

fn put(path: &Path, text: &str) -> io::Result<()> {
    // Other processes may be reading it.
    if fs::read_to_string(path).is_ok_and(|found| found == text) {
        return Ok(());
    }
    let directory = path.parent().unwrap_or(Path::new("/"));
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    io::Write::write_all(&mut file, text.as_bytes())?;
    file.persist(path).map(drop).map_err(|error| error.error)
}

fn variables(environment: &Environment) -> io::Result<Vec<(String, String)>> {
    let passed = PASSED.iter().filter_map(|name| Some(((*name).to_owned(), environment.non_empty(name)?.to_owned())));
    let mut all: Vec<(String, String)> = passed.filter(|(name, _)| name != "PATH").collect();
    let path = match environment.non_empty("PATH") {
        Some(own) => format!("{own}:{PATH}"),
        None => PATH.to_owned(),
    };
    all.push(("PATH".to_owned(), path));
    if slipway_layers::userns::inside() {
        // It is told that the namespace is made, and whose it is: else it would take this for the root of the host.
        let (uid, gid) = (outside(&fs::read_to_string(UID_MAP)?), outside(&fs::read_to_string(GID_MAP)?));
        if environment.non_empty(RUN).is_none() {
            all.push((RUN.to_owned(), run_directory(&uid)?));
        }
        for (name, value) in [("CONFIGURED", "done".to_owned()), ("UID", uid), ("GID", gid)] {
            let whose = if name == "CONFIGURED" { "USERNS" } else { "ROOTLESS" };
            all.push((format!("_CONTAINERS_{whose}_{name}"), value));
        }
    }
    Ok(all)
}

/// The directory of a user for what need not outlive the machine's running, as the program chooses it when it is not told of
/// one for temporary files: else it would choose another one each time.
fn run_directory(uid: &str) -> io::Result<String> {
    let usual = format!("/run/user/{uid}");
    if Path::new(&usual).is_dir() {
        return Ok(usual);
    }
    let own = format!("/tmp/containers-user-{uid}");
    match fs::DirBuilder::new().mode(0o700).create(&own) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let about = fs::symlink_metadata(&own)?;
    if !about.is_dir() || about.uid() != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other(format!("{own} is somebody else's: set {RUN} to a directory of your own")));
    }
    Ok(own)
}

/// Who root is outside of a user namespace, by its map of ids.
fn outside(map: &str) -> String {
    let root =
        map.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find(|line| line.first() == Some(&"0"));
    root.and_then(|line| line.get(1).map(|id| (*id).to_owned())).unwrap_or_else(|| "0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_the_environment_is_passed_but_what_builds_need() {
        let environment =
            [("HOME", "/h"), ("SECRET", "s"), ("http_proxy", "p"), ("PATH", "/own")].into_iter().collect();
        let all = variables(&environment).expect("variables");
        let of = |name: &str| all.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str());
        assert_eq!(of("HOME"), Some("/h"));
        assert!(of("PATH").is_some_and(|path| path.starts_with("/own:") && path.contains("/usr/sbin")));
        assert!(of("SECRET").is_none() && of("http_proxy").is_none());
    }

    #[test]
    fn the_owner_of_a_namespace_is_in_its_map() {
        assert_eq!(outside("         0       1000          1\n         1     100000      65536\n"), "1000");
        assert_eq!(outside(""), "0");
    }
}
