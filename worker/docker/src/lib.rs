//! The container backend on a Docker engine.
//!
//! Reading order: this file, `engine` (the connection), `container` (what is made, and gone with its owner),
//! `workspace` (a stage being built) with `place`, `run`, `shell` and `commit`, `toolbox` (what build containers run with),
//! `images` (pull, push, names), `respec` (another config over the same layers), `files`, `dockerfile`, `sweep`, `holdings` (all that is ours in an engine),
//! `storage` (stages in the engine itself).
//!
//! Nothing that is asked of the engine outlives its asker: containers, temporary names and running builds are given up
//! when the future or value that owns them is dropped, in the background; [`DockerBackend::shut_down`] waits for that.

mod accounts;
mod commit;
mod container;
mod context;
mod dockerfile;
mod engine;
mod error;
mod files;
mod holdings;
mod images;
mod place;
mod respec;
mod run;
mod shell;
mod storage;
mod sweep;
mod toolbox;
mod wire;
mod workspace;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use bollard::query_parameters::ImportImageOptions;
use futures::TryStreamExt as _;
use slipway_backend::{
    BackendError, ByteStream, ContainerBackend, DockerfileBuild, ImageBuilder, ImageLink, ImageStore, LocalImage, Logs,
    Pushed, Root, Setup, SpoolDir, Workspace, pulls::Pulls,
};
use slipway_oci::{ImageAt, ImageConfig, Platform, Reference, Repo, Respec, config::RunConfig};
use slipway_toolbox::Source;

use crate::{
    dockerfile::Builder,
    engine::Engine,
    error::{failed, is_missing},
    workspace::DockerWorkspace,
};

pub use crate::{
    engine::probe,
    holdings::{Gone, HeldImage, Holdings, What},
    storage::DockerStageStorage,
};

/// Repository of the empty images that workspaces without a base stand on; one tag per platform.
const SCRATCH: &str = "slipway-scratch";

/// Which builder of the engine builds Dockerfiles.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum BuilderChoice {
    /// BuildKit where the engine has it, the classic builder else.
    #[default]
    Auto,
    /// The classic builder (`DOCKER_BUILDKIT=0`).
    Classic,
    /// BuildKit (`DOCKER_BUILDKIT=1`).
    BuildKit,
}

/// How the backend is set up.
pub struct DockerOptions {
    /// `DOCKER_HOST`; the socket in `/var/run` when `None` or empty.
    pub host: Option<String>,
    /// Directory with `ca.pem`, `cert.pem` and `key.pem` for an engine behind TLS (`DOCKER_CERT_PATH` when
    /// `DOCKER_TLS_VERIFY` is set).
    pub certificates: Option<PathBuf>,
    /// How images come from and go to repositories.
    pub link: Arc<dyn ImageLink>,
    /// Where build contexts are spooled.
    pub spool: SpoolDir,
    /// Directory of the lock files of running attempts, the same for all processes of a home directory.
    pub attempts: PathBuf,
    /// Directory of notes about when images were used, the same for all processes of a home directory.
    pub uses: PathBuf,
    /// What build containers run with.
    pub toolbox: Source,
    /// What builds Dockerfiles.
    pub builder: BuilderChoice,
}

/// A Docker engine as a container backend.
pub struct DockerBackend {
    engine: Engine,
    link: Arc<dyn ImageLink>,
    spool: SpoolDir,
    toolbox: Arc<toolbox::Toolbox>,
    pulls: Pulls,
    builder: BuilderChoice,
}

impl DockerBackend {
    /// Connects to an engine.
    ///
    /// # Errors
    /// When the engine does not answer, or the address is malformed.
    pub async fn connect(options: DockerOptions) -> Result<Self, BackendError> {
        let DockerOptions { host, certificates, link, spool, attempts, uses, toolbox, builder } = options;
        let engine = Engine::connect(host.as_deref(), certificates.as_deref(), (attempts, uses)).await?;
        let toolbox = Arc::new(toolbox::Toolbox::new(engine.clone(), toolbox, spool.clone()));
        Ok(Self { engine, link, spool, toolbox, pulls: Pulls::default(), builder })
    }

    /// What the engine runs by itself.
    pub fn platform(&self) -> &Platform {
        &self.engine.platform
    }

    /// The stages of a project that lie in the engine itself.
    pub fn stage_storage(&self, project: &str) -> DockerStageStorage {
        DockerStageStorage::new(self.engine.clone(), project)
    }

    /// Waits until everything that was given up is removed from the engine.
    pub async fn shut_down(&self) {
        self.engine.cleanups.wait().await;
    }

    /// The empty image of a platform.
    async fn scratch(&self, platform: &Platform) -> Result<LocalImage, BackendError> {
        let tag = platform.to_string().replace('/', "-");
        let name = format!("{SCRATCH}:{tag}");
        if let Some(found) = images::inspect(&self.engine, &name).await? {
            return images::local(&found);
        }
        let archive = scratch_archive(platform, &name);
        let archive = archive.map_err(|error| BackendError::Engine(format!("pack an empty image: {error}")))?;
        let options = ImportImageOptions { quiet: true, platform: None };
        let loaded = self.engine.docker.import_image(options, bollard::body_full(archive.into()), None);
        loaded.try_for_each(|_| async { Ok(()) }).await.map_err(|error| failed("make an empty image", error))?;
        let found = images::inspect(&self.engine, &name).await?;
        images::local(&found.ok_or(BackendError::Gone(name))?)
    }
}

/// Loads the images of an archive into the engine at `host`.
///
/// # Errors
/// When the engine does not answer, or takes the archive for none.
pub async fn load(host: Option<&str>, certificates: Option<&Path>, archive: ByteStream) -> Result<(), BackendError> {
    let doing = "load an image into the Docker engine";
    let docker = engine::open(host, certificates)?.negotiate_version().await.map_err(|error| failed(doing, error))?;
    let options = ImportImageOptions { quiet: true, platform: None };
    let loaded = docker.import_image(options, bollard::body_try_stream(archive), None);
    let told: Vec<_> = loaded.try_collect().await.map_err(|error| failed(doing, error))?;
    match told.into_iter().find_map(|line| line.error_detail) {
        Some(error) => Err(BackendError::Engine(format!("{doing}: {}", error.message.unwrap_or_default()))),
        None => Ok(()),
    }
}

/// The image that the engine at `host` has under a name.
///
/// # Errors
/// When the engine does not answer.
pub async fn named(
    host: Option<&str>,
    certificates: Option<&Path>,
    name: &str,
) -> Result<Option<LocalImage>, BackendError> {
    let doing = format!("look for {name} in the Docker engine");
    let docker = engine::open(host, certificates)?.negotiate_version().await.map_err(|error| failed(&doing, error))?;
    match docker.inspect_image(name).await {
        Ok(found) => images::local(&found).map(Some),
        Err(error) if is_missing(&error) => Ok(None),
        Err(error) => Err(failed(&doing, error)),
    }
}

/// An image without layers, as `docker load` takes it.
fn scratch_archive(platform: &Platform, name: &str) -> std::io::Result<Vec<u8>> {
    let config = serde_json::json!({
        "architecture": platform.arch,
        "os": platform.os,
        "variant": platform.variant.as_deref().unwrap_or_default(),
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": [] },
    });
    let manifest = serde_json::json!([{ "Config": "config.json", "RepoTags": [name], "Layers": [] }]);
    let mut builder = tar::Builder::new(Vec::new());
    for (name, document) in [("config.json", config), ("manifest.json", manifest)] {
        let bytes = document.to_string().into_bytes();
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        builder.append_data(&mut header, name, bytes.as_slice())?;
    }
    builder.into_inner()
}

#[async_trait]
impl ImageStore for DockerBackend {
    async fn pull(&self, image: &ImageAt) -> Result<LocalImage, BackendError> {
        images::pull(&self.engine, &self.pulls, self.link.as_ref(), image).await
    }

    async fn has(&self, image: &ImageAt) -> bool {
        images::is_here(&self.engine, image).await
    }

    async fn local(&self, reference: &Reference, platform: &Platform) -> Result<Option<LocalImage>, BackendError> {
        images::find(&self.engine, reference, platform).await
    }

    async fn push(&self, image: &LocalImage, to: &Repo, attempt: &str) -> Result<Pushed, BackendError> {
        images::push(&self.engine, self.link.as_ref(), image, to, attempt).await
    }

    async fn files(&self, image: &LocalImage, path: &str) -> Result<(Root, ByteStream), BackendError> {
        files::files(&self.engine, image, path).await
    }

    async fn config(&self, image: &LocalImage) -> Result<ImageConfig, BackendError> {
        images::config(&self.engine, image).await
    }

    async fn remove(&self, image: &LocalImage) -> Result<(), BackendError> {
        images::remove(&self.engine, image).await
    }
}

#[async_trait]
impl ImageBuilder for DockerBackend {
    async fn open(&self, base: Option<&LocalImage>, setup: Setup) -> Result<Box<dyn Workspace>, BackendError> {
        let (base, base_config) = match base {
            Some(base) => {
                self.engine.uses.note(&base.id);
                (base.clone(), images::config(&self.engine, base).await?.config)
            }
            None => (self.scratch(&setup.platform).await?, RunConfig::default()),
        };
        Ok(Box::new(DockerWorkspace {
            toolbox: Arc::clone(&self.toolbox),
            base,
            base_config,
            setup,
            container: None,
            pending: Vec::new(),
            deletions: Vec::new(),
            ran: false,
        }))
    }

    async fn dockerfile(
        &self,
        build: DockerfileBuild,
        context: ByteStream,
        logs: Logs,
    ) -> Result<LocalImage, BackendError> {
        let builder = Builder {
            engine: &self.engine,
            pulls: &self.pulls,
            link: &self.link,
            spool: &self.spool.0,
            choice: self.builder,
        };
        builder.build(build, context, logs).await
    }

    async fn respec(
        &self,
        base: &LocalImage,
        respec: &Respec,
        labels: &BTreeMap<String, String>,
    ) -> Result<LocalImage, BackendError> {
        respec::make(&self.engine, base, respec, labels).await
    }
}

#[async_trait]
impl ContainerBackend for DockerBackend {
    async fn sweep(&self) -> Result<u32, BackendError> {
        sweep::sweep(&self.engine).await
    }
}
