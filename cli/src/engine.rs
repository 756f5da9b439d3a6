//! What builds: a Docker engine with its gateway, or this host itself.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use slipway_backend::{ContainerBackend, ImageStore, LocalImage, Pushed, SpoolDir};
use slipway_buildah::{BuildahBackend, mode::Mode};
use slipway_docker::{DockerBackend, DockerOptions};
use slipway_gateway::Gateway;
use slipway_native::{
    Addresses, Compression, NativeBackend, NativeOptions,
    driver::{self, Driver},
    limits::Limits,
    network::Commands,
    rootless,
    runtime::Runtime,
};
use slipway_oci::{Platform, Repo};
use slipway_process::{Clock, SystemClock, Tasks};
use slipway_registry::Client;
use slipway_storage::StageStorage;
use slipway_toolbox::{Places, Source};
use slipway_worker::{HostPaths, Mounts};

use crate::{
    buildah,
    choose::{self, Backend},
    host::HostOptions,
};

/// This program, to be started again as a sandbox.
pub(crate) const OWN_PROGRAM: &str = "/proc/self/exe";

/// Directory of notes about when images of the Docker engine were used, below that of the program's own things.
pub(crate) const USED: &str = "used/docker";

/// What manifests of exported images are annotated with: the same for all, so that a second export adds nothing.
const EXPORT: &str = "export";

/// The backend of a build.
pub(crate) enum Engine {
    /// A Docker engine, and the gateway that it reaches registries through.
    Docker(Arc<DockerBackend>, Arc<Gateway>),
    /// This host.
    Native(Arc<NativeBackend>),
    /// The program buildah, and the gateway that it reaches registries through.
    Buildah(Arc<BuildahBackend>, Arc<Gateway>),
}

impl Engine {
    /// Connects to an engine, or opens this host's own store.
    pub(crate) async fn open(options: &HostOptions, client: &Client, tasks: &Tasks) -> Result<Self> {
        match options.backend {
            Backend::Docker => {
                let gateway = gateway(options, client, tasks).await?;
                Ok(Self::Docker(docker(options, Arc::clone(&gateway)).await?, gateway))
            }
            Backend::Buildah => {
                let gateway = gateway(options, client, tasks).await?;
                let driver = driver(options.driver.clone(), store(&options.home), tasks).await?;
                let buildah = buildah::open(options, (client, Arc::clone(&gateway)), driver).await?;
                Ok(Self::Buildah(Arc::new(buildah), gateway))
            }
            Backend::Native => {
                let store = store(&options.home);
                let native = NativeOptions {
                    driver: driver(options.driver.clone(), store.clone(), tasks).await?,
                    runtime: choose::native_runtime(options.backend, options.runtime.as_deref())?,
                    store,
                    limit: Some(options.limit.bytes(&options.home)),
                    client: client.clone(),
                    toolbox: toolbox(options),
                    compression: options.compression,
                    program: PathBuf::from(OWN_PROGRAM),
                    commands: if options.strangers { Commands::Strangers } else { Commands::Own },
                    limits: options.native_limits()?,
                    addresses: options.addresses,
                    clock: Arc::new(SystemClock::new(None)),
                };
                Ok(Self::Native(Arc::new(NativeBackend::open(native).await?)))
            }
        }
    }

    /// What runs jobs.
    pub(crate) fn backend(&self) -> Arc<dyn ContainerBackend> {
        match self {
            Self::Docker(docker, _) => Arc::clone(docker) as Arc<dyn ContainerBackend>,
            Self::Native(native) => Arc::clone(native) as Arc<dyn ContainerBackend>,
            Self::Buildah(buildah, _) => Arc::clone(buildah) as Arc<dyn ContainerBackend>,
        }
    }

    /// The images of the backend.
    pub(crate) fn images(&self) -> Arc<dyn ImageStore> {
        match self {
            Self::Docker(docker, _) => Arc::clone(docker) as Arc<dyn ImageStore>,
            Self::Native(native) => Arc::clone(native) as Arc<dyn ImageStore>,
            Self::Buildah(buildah, _) => Arc::clone(buildah) as Arc<dyn ImageStore>,
        }
    }

    /// Stores an image in a repository that is gone soon.
    ///
    /// # Errors
    /// When the image or the repository is not there.
    pub(crate) async fn push_away(&self, image: &LocalImage, to: &Repo) -> Result<Pushed> {
        Ok(match self {
            Self::Docker(docker, _) => docker.push(image, to, EXPORT).await?,
            Self::Native(native) => native.push_away(image, to, EXPORT).await?,
            Self::Buildah(buildah, _) => buildah.push(image, to, EXPORT).await?,
        })
    }

    /// What is built here without being asked for another platform.
    pub(crate) fn platform(&self) -> Platform {
        match self {
            Self::Docker(docker, _) => docker.platform().clone(),
            Self::Native(_) | Self::Buildah(..) => Platform::host(),
        }
    }

    /// The networks that commands of strangers can have, and what is missing of them, in words.
    pub(crate) async fn networks(&self, tasks: &Tasks) -> (Vec<String>, Option<String>) {
        let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        match self {
            // What the engine knows is the engine's to say.
            Self::Docker(..) => (Vec::new(), None),
            Self::Buildah(buildah, _) => match buildah.mode() {
                Mode::Rootless(_) => (all(&["default", "none"]), None),
                Mode::Chroot => {
                    let why = "by native-chroot, commands have the network of the host; use --backend native";
                    (all(&["none"]), Some(why.to_owned()))
                }
            },
            Self::Native(_) => match tasks.blocking(|| slipway_native::network::probe(Path::new(OWN_PROGRAM))).await {
                Ok(()) => (all(&["default", "none"]), None),
                Err(why) => (all(&["none"]), Some(why)),
            },
        }
    }

    /// The backend's own storage.
    pub(crate) fn stage_storage(&self, project: &str) -> Arc<dyn StageStorage> {
        match self {
            Self::Docker(docker, _) => Arc::new(docker.stage_storage(project)),
            Self::Native(native) => Arc::new(native.stage_storage(project)),
            Self::Buildah(buildah, _) => Arc::new(buildah.stage_storage(project)),
        }
    }

    /// Waits until nothing of the build is left at work.
    pub(crate) async fn shut_down(&self) {
        match self {
            Self::Docker(docker, gateway) => {
                docker.shut_down().await;
                gateway.shut_down().await;
            }
            Self::Buildah(buildah, gateway) => {
                buildah.shut_down().await;
                gateway.shut_down().await;
            }
            Self::Native(native) => {
                if let Err(error) = native.shut_down().await {
                    tracing::warn!("{error}");
                }
            }
        }
    }
}

/// Begins the program anew in a user namespace, as another one; answers only why that failed. For a time when nothing was
/// done or said yet.
pub(crate) fn start_again() -> anyhow::Error {
    let failed = rootless::start_again(Path::new(OWN_PROGRAM), std::env::args_os().skip(1));
    anyhow::Error::new(failed).context("start again in a user namespace")
}

/// Where the native backend keeps layers and images, below the home directory.
pub(crate) fn store(home: &Path) -> PathBuf {
    home.join("native")
}

/// How layers lie on each other here; what is not the usual way is said.
async fn driver(asked: Option<String>, store: PathBuf, tasks: &Tasks) -> Result<Driver> {
    let wanted = asked.clone();
    let found = tasks.blocking(move || driver::find(wanted.as_deref(), &store)).await;
    let found = found.map_err(|why| anyhow::anyhow!("lay layers on each other: {why}"))?;
    if asked.is_none() && found != Driver::Overlay {
        tracing::warn!("layers lie on each other by {found}, for the kernel makes no overlays here");
    }
    Ok(found)
}

/// What a trial runs a command by.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Trial {
    /// `--native-runtime`
    pub(crate) runtime: Option<String>,
    /// `--native-storage-driver`
    pub(crate) driver: Option<String>,
}

/// The directories of this host that commands may see.
///
/// # Errors
/// When the current directory is gone.
pub(crate) fn mounts(options: &HostOptions, clock: Arc<dyn Clock>) -> Result<Mounts> {
    let paths = if options.strangers {
        HostPaths::Strangers
    } else {
        let current = std::env::current_dir().context("find the current directory")?;
        HostPaths::Own { current, home: options.user_home.clone() }
    };
    Ok(Mounts::new(store(&options.home), options.limit.bytes(&options.home), paths, clock))
}

/// Runs a command in a sandbox of the native backend.
///
/// # Errors
/// The line that failed.
pub(crate) async fn trial(home: &Path, by: Trial) -> Result<(), String> {
    let place = store(home);
    let driver = Tasks::new().blocking(move || driver::find(by.driver.as_deref(), &place)).await?;
    let runtime = by.runtime.as_deref().map(Runtime::find).transpose()?;
    let client = Client::new(slipway_registry::Options::default()).map_err(|error| error.to_string())?;
    let options = NativeOptions {
        store: store(home),
        limit: None,
        client,
        toolbox: Source::Own(places()),
        compression: Compression::default(),
        program: PathBuf::from(OWN_PROGRAM),
        commands: Commands::Own,
        limits: Limits::default(),
        driver,
        runtime,
        addresses: Addresses::Far,
        clock: Arc::new(SystemClock::new(None)),
    };
    let native = NativeBackend::open(options).await.map_err(|error| error.to_string())?;
    let tried = slipway_native::check::trial(&native).await;
    native.shut_down().await.map_err(|error| error.to_string())?;
    tried
}

/// Where the programs of build containers are: beside the program, in it, or on the system.
pub(crate) fn places() -> Places {
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join("toolbox")));
    Places::new(beside.into_iter().collect())
}

async fn docker(options: &HostOptions, gateway: Arc<Gateway>) -> Result<Arc<DockerBackend>> {
    let service = options.service();
    let docker = DockerOptions {
        host: options.engine.host.clone(),
        certificates: options.engine.certificates.clone(),
        link: gateway,
        spool: SpoolDir(options.tmp.clone().unwrap_or_else(|| service.join("tmp/context"))),
        attempts: service.join("attempts"),
        uses: service.join(USED),
        toolbox: toolbox(options),
        builder: options.builder,
    };
    let connected = DockerBackend::connect(docker).await;
    Ok(Arc::new(connected.with_context(|| format!("connect to the Docker engine at {}", options.engine))?))
}

async fn gateway(options: &HostOptions, client: &Client, tasks: &Tasks) -> Result<Arc<Gateway>> {
    let cache = options.home.join("local_cache/blobs");
    let gateway = Gateway::start(client.clone(), tasks.clone(), cache, slipway_gateway::Options::default());
    Ok(Arc::new(gateway.await.context("open the gateway for the container engine")?))
}

/// The image of tools that the user names, or our own: from beside the program, the program's own, or the system's.
pub(crate) fn toolbox(options: &HostOptions) -> Source {
    match &options.toolbox {
        Some(image) => {
            let (name, version) = match image.rsplit_once(':') {
                // A port is no tag.
                Some((name, version)) if !version.contains('/') => (name, version),
                Some(_) | None => (image.as_str(), "latest"),
            };
            Source::Image { name: name.to_owned(), version: version.to_owned() }
        }
        None => Source::Own(places()),
    }
}
