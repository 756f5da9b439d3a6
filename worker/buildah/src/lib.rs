//! The container backend on the program `buildah`, without a Docker server.
//!
//! Images and working containers are the program's; files are changed in the directory where it mounts a container, by
//! [`slipway_rootfs`]; commands are run by the program, in a process namespace of ours. Without root, this program first
//! starts itself again in a user namespace, by `slipway_native::rootless`, and so the program below it.
//!
//! Reading order: this file, [`mode`] (how commands are kept from the host), `program` (how it is asked), `container` and
//! `enclosure` (what is made and runs, and ends with its owner), `workspace` (a stage being built) with `run`, `noise`, `traces`, `shell` and
//! `commit`; `document` and `images` (images, and their way from and to repositories), `files`, `sweep`, `holdings` (all that is ours), `storage`
//! (stages), `limits`; `dockerfile` (Dockerfiles).

mod commit;
mod container;
mod dockerfile;
mod document;
mod enclosure;
mod error;
mod files;
mod holdings;
mod images;
mod limits;
mod memory;
pub mod mode;
mod noise;
mod program;
mod run;
mod shell;
mod storage;
mod sweep;
mod traces;
mod workspace;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use slipway_backend::{
    BackendError, ByteStream, ContainerBackend, DockerfileBuild, ImageBuilder, ImageLink, ImageStore, InstructionBuild,
    LocalImage, Logs, Pushed, Root, Setup, SpoolDir, Tools, Workspace, config, driver::Driver, limits::ProcessLimit,
    pulls::Pulls,
};
use slipway_layers::{Store, codec::Compression, store::Options};
use slipway_oci::{ImageAt, ImageConfig, Platform, Reference, Repo, Respec, respec};
use slipway_process::{Clock, Environment};
use slipway_registry::Client;
use slipway_rootfs::{
    toolbox::{MOUNT, Toolbox},
    workspace::RootWorkspace,
};
use slipway_toolbox::Source;

pub use crate::{
    holdings::HeldImage,
    program::{Room, find},
    storage::BuildahStageStorage,
};

use crate::{
    mode::Mode,
    program::{Parts, Program},
    run::Network,
    workspace::BuildahWorkspace,
};

/// How the backend is set up.
pub struct BuildahOptions {
    /// The program.
    pub program: PathBuf,
    /// How commands are kept from the host.
    pub mode: Mode,
    /// How layers lie on each other.
    pub driver: Driver,
    /// Where images are kept; `None` = where the user's settings of the program say.
    pub room: Option<Room>,
    /// How images come from and go to repositories.
    pub link: Arc<dyn ImageLink>,
    /// How registries are asked for a toolbox that the user names, and for images that only a base of a Dockerfile names.
    pub client: Client,
    /// What is mounted as the toolbox.
    pub toolbox: Source,
    /// Directory of the store that the toolbox is unpacked in.
    pub store: PathBuf,
    /// Directory of temporary files and settings, for this backend alone.
    pub spool: SpoolDir,
    /// Directory of the lock files of running attempts, the same for all processes of a home directory.
    pub attempts: PathBuf,
    /// How layers are compressed on their way to a registry.
    pub compression: Compression,
    /// What one process of a command may use; what is not named is as in this process.
    pub limits: Vec<ProcessLimit>,
    /// Whether commands are of others than who started this process: they must not see the host's network.
    pub strangers: bool,
    /// What the program is told of the user's environment.
    pub environment: Environment,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

/// The backend.
pub struct BuildahBackend {
    shared: Arc<Shared>,
}

/// What everything here works with.
pub(crate) struct Shared {
    program: Arc<Program>,
    link: Arc<dyn ImageLink>,
    pulls: Pulls,
    client: Client,
    toolbox: Toolbox,
    compression: Compression,
    limits: Vec<String>,
    strangers: bool,
    clock: Arc<dyn Clock>,
}

impl BuildahBackend {
    /// Sets it up, and looks whether the program works.
    ///
    /// # Errors
    /// When it is not installed or does not work, or the store of the toolbox cannot be used.
    pub async fn open(options: BuildahOptions) -> Result<Self, BackendError> {
        let BuildahOptions { program, mode, driver, room, link, client, toolbox, store, spool, attempts, .. } = options;
        let parts = Parts {
            path: program,
            mode,
            driver: &driver,
            room: room.as_ref(),
            spool: spool.0,
            attempts,
            environment: &options.environment,
        };
        let program = Arc::new(Program::new(parts)?);
        program.ask("look whether buildah works", &["--version"]).await?;
        let opened = program.tasks.blocking(move || Store::open(&store, &Options { limit: None })).await;
        let store = opened.map_err(|error| slipway_rootfs::error::layers("set up the buildah backend", error))?;
        let tasks = program.tasks.clone();
        let shared = Shared {
            program,
            link,
            pulls: Pulls::default(),
            client: client.clone(),
            toolbox: Toolbox::new(toolbox, store, client, tasks),
            compression: options.compression,
            limits: limits::arguments(&options.limits)?,
            strangers: options.strangers,
            clock: options.clock,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// How commands are kept from the host.
    pub fn mode(&self) -> &Mode {
        &self.shared.program.mode
    }

    /// The stages of a project that lie in the program's storage.
    pub fn stage_storage(&self, project: &str) -> BuildahStageStorage {
        BuildahStageStorage::new(Arc::clone(&self.shared.program), project)
    }

    /// Waits until everything that was given up is gone.
    pub async fn shut_down(&self) {
        self.shared.program.tasks.wait().await;
    }
}

impl Shared {
    /// The toolbox's directory, with these tools beside it.
    async fn toolbox(&self, tools: Option<&Tools>) -> Result<PathBuf, BackendError> {
        let files = |at: ImageAt| async move {
            let image = images::pull(&self.program, &self.pulls, self.link.as_ref(), &at).await?;
            files::files(&self.program, &image, MOUNT).await.map(|(_, tar)| tar)
        };
        self.toolbox.with(tools, files).await
    }

    /// Refuses the host's network to strangers.
    fn check_network(&self, network: Network) -> Result<(), BackendError> {
        let sees_host = match (&self.program.mode, network) {
            (_, Network::None) | (Mode::Rootless(_), Network::Usual) => false,
            (Mode::Chroot, _) | (_, Network::Host) => true,
        };
        if !(self.strangers && sees_host) {
            return Ok(());
        }
        Err(BackendError::Refused(format!(
            "commands would have the network of this worker's host, by {}, and it builds for others: write `network: none`, \
             or have the worker build with --backend native",
            self.program.mode.name()
        )))
    }

    /// Now, as configs have it.
    fn now(&self) -> String {
        config::moment(self.clock.unix_millis())
    }
}

#[async_trait]
impl ImageStore for BuildahBackend {
    async fn pull(&self, image: &ImageAt) -> Result<LocalImage, BackendError> {
        let Shared { program, pulls, link, .. } = &*self.shared;
        images::pull(program, pulls, link.as_ref(), image).await
    }

    async fn has(&self, image: &ImageAt) -> bool {
        images::is_here(&self.shared.program, image).await
    }

    async fn local(&self, reference: &Reference, platform: &Platform) -> Result<Option<LocalImage>, BackendError> {
        images::find(&self.shared.program, reference, platform).await
    }

    async fn push(&self, image: &LocalImage, to: &Repo, attempt: &str) -> Result<Pushed, BackendError> {
        let Shared { program, link, compression, .. } = &*self.shared;
        images::push(program, link.as_ref(), *compression, (image, to, attempt)).await
    }

    async fn files(&self, image: &LocalImage, path: &str) -> Result<(Root, ByteStream), BackendError> {
        files::files(&self.shared.program, image, path).await
    }

    async fn config(&self, image: &LocalImage) -> Result<ImageConfig, BackendError> {
        document::expect(&self.shared.program, image).await.map(|kept| kept.config)
    }

    async fn remove(&self, image: &LocalImage) -> Result<(), BackendError> {
        images::remove(&self.shared.program, image).await
    }
}

#[async_trait]
impl ImageBuilder for BuildahBackend {
    async fn open(&self, base: Option<&LocalImage>, setup: Setup) -> Result<Box<dyn Workspace>, BackendError> {
        let (image, base) = match base {
            Some(image) => (Some(image.clone()), self.config(image).await?),
            None => (None, config::empty(&setup.platform)),
        };
        let shared = Arc::clone(&self.shared);
        Ok(Box::new(RootWorkspace::new(BuildahWorkspace { shared, image, base, setup, container: None })))
    }

    async fn dockerfile(
        &self,
        build: DockerfileBuild,
        context: ByteStream,
        logs: Logs,
    ) -> Result<LocalImage, BackendError> {
        dockerfile::build(&self.shared, build, context, logs).await
    }

    async fn instruction(
        &self,
        build: InstructionBuild,
        context: ByteStream,
        logs: Logs,
    ) -> Result<LocalImage, BackendError> {
        dockerfile::instruct(&self.shared, build, context, logs).await
    }

    async fn respec(
        &self,
        base: &LocalImage,
        respec: &Respec,
        labels: &BTreeMap<String, String>,
    ) -> Result<LocalImage, BackendError> {
        let kept = document::expect(&self.shared.program, base).await?;
        document::store(&self.shared.program, &respec::apply(&kept.config, respec, labels), &kept.manifest).await
    }
}

#[async_trait]
impl ContainerBackend for BuildahBackend {
    async fn sweep(&self) -> Result<u32, BackendError> {
        sweep::sweep(&self.shared.program).await
    }
}
