//! The connection to an engine, and what must be done even when nobody waits for it any more.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bollard::{API_DEFAULT_VERSION, ClientVersion, Docker};
use slipway_backend::{BackendError, uses::Uses};
use slipway_oci::Platform;
use slipway_process::Tasks;
use tokio::{runtime::Handle, time::timeout};

use crate::error::failed;

/// Where an engine listens when nobody says otherwise.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
/// Answers may take as long as a commit of many gigabytes; a dead engine closes its connections sooner.
const REQUEST_SECONDS: u64 = 4 * 3600;
/// How long an engine may take to say that it is there.
const PROBE: Duration = Duration::from_secs(1);
/// How long connecting may take.
pub(crate) const CONNECT: Duration = Duration::from_secs(20);

/// A connected engine. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    pub(crate) docker: Docker,
    /// Removals that go on when the build that wanted them is gone.
    pub(crate) cleanups: Tasks,
    /// Where drops, which may happen on any thread, start their removals.
    pub(crate) runtime: Handle,
    /// What the engine runs by itself.
    pub(crate) platform: Platform,
    /// Lock files of running attempts.
    pub(crate) attempts: PathBuf,
    /// When images were used.
    pub(crate) uses: Uses,
    /// Where it listens.
    pub(crate) address: Address,
}

/// Where an engine listens.
#[derive(Clone, Debug)]
pub(crate) struct Address {
    /// `unix://PATH` or `tcp://HOST:PORT`.
    pub(crate) host: String,
    /// Directory with the keys and certificates of TLS.
    pub(crate) certificates: Option<PathBuf>,
}

impl Address {
    fn new(host: Option<&str>, certificates: Option<&Path>) -> Self {
        let host = host.filter(|host| !host.is_empty()).unwrap_or(DEFAULT_HOST).to_owned();
        Self { host, certificates: certificates.map(Path::to_owned) }
    }
}

impl Engine {
    /// Connects and agrees on a version.
    pub(crate) async fn connect(
        host: Option<&str>,
        certificates: Option<&Path>,
        (attempts, uses): (PathBuf, PathBuf),
    ) -> Result<Self, BackendError> {
        let doing = format!("connect to the Docker engine at {}", host.unwrap_or(DEFAULT_HOST));
        let agree = async {
            let docker = open(host, certificates)?.negotiate_version().await.map_err(|error| failed(&doing, error))?;
            let version = docker.version().await.map_err(|error| failed(&doing, error))?;
            Ok((docker, version))
        };
        let late = || BackendError::Engine(format!("{doing}: no answer within {} seconds", CONNECT.as_secs()));
        let (docker, version) = timeout(CONNECT, agree).await.map_err(|_| late())??;
        let own = Platform::host();
        let platform =
            Platform { os: version.os.unwrap_or(own.os), arch: version.arch.unwrap_or(own.arch), variant: None };
        let address = Address::new(host, certificates);
        let (cleanups, uses) = (Tasks::new(), Uses::new(uses));
        Ok(Self { docker, cleanups, runtime: Handle::current(), platform, attempts, uses, address })
    }

    /// Starts work that goes on when its starter is dropped.
    pub(crate) fn in_background(&self, work: impl Future<Output = ()> + Send + 'static) {
        let _entered = self.runtime.enter();
        drop(self.cleanups.spawn(work));
    }

    /// Whether the engine has BuildKit in a form that is no experiment any more: from engine 18.09 on.
    pub(crate) fn has_buildkit(&self) -> bool {
        let ClientVersion { major_version, minor_version } = self.docker.client_version();
        (major_version, minor_version) >= (1, 39)
    }

    /// The platform to name to the engine: none when it is the engine's own.
    pub(crate) fn foreign(&self, platform: &Platform) -> String {
        let own = platform.os == self.platform.os && platform.arch == self.platform.arch;
        if own { String::new() } else { platform.to_string() }
    }
}

/// Whether an engine answers within a second.
///
/// # Errors
/// Why it does not.
pub async fn probe(host: Option<&str>, certificates: Option<&Path>) -> Result<(), BackendError> {
    let doing = format!("ask the Docker engine at {}", host.unwrap_or(DEFAULT_HOST));
    let docker = open(host, certificates)?;
    match timeout(PROBE, docker.ping()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(failed(&doing, error)),
        Err(_) => Err(BackendError::Engine(format!("{doing}: no answer within a second"))),
    }
}

pub(crate) fn open(host: Option<&str>, certificates: Option<&Path>) -> Result<Docker, BackendError> {
    let Address { host, .. } = Address::new(host, None);
    let host = host.as_str();
    let doing = format!("connect to the Docker engine at {host}");
    let scheme = host.split_once("://").map_or("", |(scheme, _)| scheme);
    let opened = match (scheme, certificates) {
        ("unix", _) => Docker::connect_with_unix(host, REQUEST_SECONDS, API_DEFAULT_VERSION),
        ("tcp" | "https", Some(directory)) => {
            let [key, cert, ca] = ["key.pem", "cert.pem", "ca.pem"].map(|name| directory.join(name));
            Docker::connect_with_ssl(host, &key, &cert, &ca, REQUEST_SECONDS, API_DEFAULT_VERSION)
        }
        ("tcp" | "http", None) => Docker::connect_with_http(host, REQUEST_SECONDS, API_DEFAULT_VERSION),
        _ => {
            return Err(BackendError::Refused(format!(
                "{doing}: this address is not supported; write unix://PATH or tcp://HOST:PORT in DOCKER_HOST"
            )));
        }
    };
    opened.map_err(|error| failed(&doing, error))
}
