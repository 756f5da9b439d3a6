//! The container backend without an engine: overlay mounts, namespaces, a filter of system calls; images in the store of
//! `slipway-layers`, to and from registries by our own client.
//!
//! Reading order: this file, `workspace` (a stage being built) on [`driver`], `overlay`, `fuse` and `stubs` (its root; files in it are changed by
//! [`slipway_rootfs`]), `run`, [`network`], `cgroup`, [`limits`], [`runtime`] and [`sandbox`] (commands), `commit` with `early`; `pull`, `push`,
//! `kept`, `allowance`, `files` (images), `storage` (stages), [`probe`], [`check`]; `dockerfile` (Dockerfiles).
//!
//! What is public beside the backend is what a program needs to choose it, to try it and to start itself again.
//!
//! Without root, a program first starts itself again by [`rootless`].

mod allowance;
mod cgroup;
pub mod check;
mod commit;
mod dockerfile;
pub mod driver;
mod early;
mod error;
mod files;
mod fuse;
mod kept;
pub mod limits;
pub mod network;
mod overlay;
pub mod probe;
mod pull;
mod push;
pub mod rootless;
mod run;
pub mod sandbox;
mod shell;
mod standby;
mod storage;
mod stubs;
mod workspace;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use slipway_backend::{
    BackendError, ByteStream, ContainerBackend, DockerfileBuild, ImageBuilder, ImageStore, InstructionBuild,
    LocalImage, Logs, Pushed, Root, Setup, Workspace, config,
};
use slipway_layers::{Layer, LayerError, Store, store::Options};
use slipway_oci::{BlobDigest, ImageAt, ImageConfig, Platform, Reference, Repo, Respec, respec};
use slipway_process::{Clock, Tasks};
use slipway_registry::Client;
use slipway_rootfs::{
    toolbox::{MOUNT, Toolbox},
    workspace::RootWorkspace,
};
use slipway_toolbox::Source;
use tokio::sync::OnceCell;

pub use crate::{cgroup::sweep as sweep_groups, storage::NativeStageStorage};
pub use slipway_backend::runtime;
pub use slipway_fetch::Addresses;
pub use slipway_layers::codec::Compression;

use crate::{
    driver::Driver,
    limits::Limits,
    network::{Commands, HelperFor, Networks},
    runtime::Runtime,
    standby::Standby,
    workspace::NativeWorkspace,
};

/// How the backend is set up.
pub struct NativeOptions {
    /// Directory of the store.
    pub store: PathBuf,
    /// Bytes that the store may take; `None` = 70 % of the volume.
    pub limit: Option<u64>,
    /// How registries are spoken to.
    pub client: Client,
    /// What is mounted as the toolbox.
    pub toolbox: Source,
    /// How layers are compressed on their way to a registry.
    pub compression: Compression,
    /// The program that is started as a sandbox: this one, or another whose `main` begins with [`sandbox::enter`].
    pub program: PathBuf,
    /// Whose commands run.
    pub commands: Commands,
    /// What the commands of one stage may use.
    pub limits: Limits,
    /// How layers lie on each other.
    pub driver: Driver,
    /// What runs sandboxes; `None` = this crate's own.
    pub runtime: Option<Runtime>,
    /// What `ADD` may fetch from.
    pub addresses: Addresses,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

/// The native backend.
pub struct NativeBackend {
    shared: Arc<Shared>,
}

/// What everything here works with.
pub(crate) struct Shared {
    store: Store,
    client: Client,
    toolbox: Toolbox,
    compression: Compression,
    program: PathBuf,
    networks: Networks,
    limits: Limits,
    driver: Driver,
    runtime: Option<Runtime>,
    addresses: Addresses,
    /// What connects sandboxes without root, once one was tried.
    helper: OnceCell<Result<HelperFor, String>>,
    /// Set when sandboxes turned out to have no network of their own here.
    no_network: std::sync::OnceLock<()>,
    /// For the next command.
    standby: Standby,
    /// Instructions of Dockerfiles that are being done.
    turns: dockerfile::Turns,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
}

impl NativeBackend {
    /// Opens the store.
    ///
    /// # Errors
    /// When the store cannot be used.
    pub async fn open(options: NativeOptions) -> Result<Self, BackendError> {
        let NativeOptions {
            store,
            limit,
            client,
            toolbox,
            compression,
            program,
            commands,
            limits,
            driver,
            runtime,
            addresses,
            clock,
        } = options;
        let networks = Networks::new(commands, &program);
        let tasks = Tasks::new();
        let opened = tasks.blocking(move || Store::open(&store, &Options { limit })).await;
        let store = opened.map_err(|error| error::layers("set up the native backend", error))?;
        let toolbox = Toolbox::new(toolbox, store.clone(), client.clone(), tasks.clone());
        let no_network = std::sync::OnceLock::new();
        let helper = OnceCell::new();
        let shared = Shared {
            store,
            client,
            toolbox,
            compression,
            program,
            networks,
            limits,
            driver,
            runtime,
            addresses,
            helper,
            no_network,
            standby: Standby::default(),
            turns: dockerfile::Turns::default(),
            clock,
            tasks,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The stages of a project that lie in this host's store.
    pub fn stage_storage(&self, project: &str) -> NativeStageStorage {
        NativeStageStorage::new(Arc::clone(&self.shared), project)
    }

    /// Stores an image in a repository that is gone soon: where its layers are there is not remembered.
    ///
    /// # Errors
    /// Those of a push.
    pub async fn push_away(&self, image: &LocalImage, to: &Repo, attempt: &str) -> Result<Pushed, BackendError> {
        push::push(&self.shared, image, to, attempt, push::Notes::None).await
    }

    /// Waits until everything that was given up is gone, and the disk has what was made more than a minute ago.
    ///
    /// # Errors
    /// When the disk fails.
    pub async fn shut_down(&self) -> Result<(), BackendError> {
        self.shared.standby.close();
        // What serves a network is a task too.
        self.shared.networks.release();
        self.shared.tasks.wait().await;
        let store = self.shared.store.clone();
        let settled = self.shared.tasks.blocking(move || store.settle_in_time()).await;
        settled.map_err(|error| error::layers("end the native backend", error))
    }
}

impl Shared {
    /// The toolbox's directory.
    async fn toolbox(self: &Arc<Self>) -> Result<PathBuf, BackendError> {
        let files = |at: ImageAt| async move {
            let image = pull::pull(self, &at).await?;
            files::files(self, &image, MOUNT).await.map(|(_, tar)| tar)
        };
        self.toolbox.directory(files).await
    }

    /// An image with all of its layers, in use as long as they live.
    async fn image(&self, image: &LocalImage) -> Result<(ImageConfig, Vec<Layer>), BackendError> {
        let (_, config, layers) = self.whole(image, Store::stack).await?;
        Ok((config, layers))
    }

    /// The same with the config as it is.
    async fn image_bytes(&self, image: &LocalImage) -> Result<(Vec<u8>, Vec<Layer>), BackendError> {
        let (bytes, _, layers) = self.whole(image, Store::stack).await?;
        Ok((bytes, layers))
    }

    /// The config of an image all of whose layers are there, and how many bytes they take.
    async fn image_size(&self, image: &LocalImage) -> Result<(ImageConfig, u64), BackendError> {
        let (_, config, size) = self.whole(image, Store::stack_size).await?;
        Ok((config, size))
    }

    /// The config of an image, as it is and as it reads, and what there is of its layers.
    async fn whole<T: Send + 'static>(
        &self,
        image: &LocalImage,
        layers: fn(&Store, &[BlobDigest]) -> Result<Option<T>, LayerError>,
    ) -> Result<(Vec<u8>, ImageConfig, T), BackendError> {
        let (store, id) = (self.store.clone(), image.id.clone());
        let find = move || {
            let Some(bytes) = store.image_bytes(&id)? else { return Ok(None) };
            // What cannot be read is as good as gone.
            let Ok(config) = ImageConfig::parse(&bytes) else { return Ok(None) };
            let ids: Vec<BlobDigest> = config.rootfs.diff_ids.iter().filter_map(|id| id.parse().ok()).collect();
            Ok(layers(&store, &ids)?.map(|layers| (bytes, config, layers)))
        };
        let found = self.tasks.blocking(find).await;
        let found = found.map_err(|error| error::layers("look for an image", error))?;
        found.ok_or_else(|| BackendError::Gone(image.id.to_string()))
    }

    /// Now, as configs have it.
    fn now(&self) -> String {
        config::moment(self.clock.unix_millis())
    }
}

#[async_trait]
impl ImageStore for NativeBackend {
    async fn pull(&self, image: &ImageAt) -> Result<LocalImage, BackendError> {
        pull::pull(&self.shared, image).await
    }

    async fn has(&self, image: &ImageAt) -> bool {
        pull::is_here(&self.shared, image).await
    }

    async fn local(&self, _reference: &Reference, _platform: &Platform) -> Result<Option<LocalImage>, BackendError> {
        // Images here have no names that a user gives.
        Ok(None)
    }

    async fn push(&self, image: &LocalImage, to: &Repo, attempt: &str) -> Result<Pushed, BackendError> {
        push::push(&self.shared, image, to, attempt, push::Notes::Kept).await
    }

    async fn files(&self, image: &LocalImage, path: &str) -> Result<(Root, ByteStream), BackendError> {
        files::files(&self.shared, image, path).await
    }

    async fn config(&self, image: &LocalImage) -> Result<ImageConfig, BackendError> {
        self.shared.image_size(image).await.map(|(config, _)| config)
    }

    async fn remove(&self, image: &LocalImage) -> Result<(), BackendError> {
        let (store, id) = (self.shared.store.clone(), image.id.clone());
        let forget = move || if store.is_named(&id)? { Ok(()) } else { store.forget(&id) };
        let forgotten = self.shared.tasks.blocking(forget).await;
        forgotten.map_err(|error| error::layers(&format!("remove the image {}", image.id), error))
    }
}

#[async_trait]
impl ImageBuilder for NativeBackend {
    async fn open(&self, base: Option<&LocalImage>, setup: Setup) -> Result<Box<dyn Workspace>, BackendError> {
        let (base, layers) = match base {
            Some(base) => self.shared.image(base).await?,
            None => (config::empty(&setup.platform), Vec::new()),
        };
        let shared = Arc::clone(&self.shared);
        let workspace = NativeWorkspace { shared, base, layers, setup, room: None, opening: None };
        Ok(Box::new(RootWorkspace::new(workspace)))
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
        let (config, _size) = self.shared.image_size(base).await?;
        let bytes = respec::apply(&config, respec, labels).to_bytes();
        let store = self.shared.store.clone();
        let put = self.shared.tasks.blocking(move || store.put_image(&bytes)).await;
        Ok(LocalImage { id: put.map_err(|error| error::layers("rewrite the config of an image", error))? })
    }
}

#[async_trait]
impl ContainerBackend for NativeBackend {
    async fn sweep(&self) -> Result<u32, BackendError> {
        let store = self.shared.store.clone();
        let swept = self.shared.tasks.blocking(move || store.sweep()).await;
        let swept = swept.map_err(|error| error::layers("sweep", error))?;
        let cables = self.shared.tasks.blocking(Networks::sweep).await;
        let groups = self.shared.tasks.blocking(cgroup::sweep).await;
        Ok(swept + groups + cables.map_err(|error| error::system("sweep the sandboxes' networks", error))?)
    }
}
