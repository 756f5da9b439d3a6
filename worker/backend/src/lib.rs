//! The container backend: what a worker needs of an engine, and what all engines share.
//!
//! A backend knows images, containers and tar streams. It does not know stages, digests, git or the registry's
//! protocol: images come from and go to repositories through the [`ImageLink`] it was given.
//!
//! Reading order: this file (the traits), [`retar`] (rewriting tar streams on their way in) and [`pipe`] (streams of what is written), [`script`] (how commands
//! are wrapped for the toolbox), [`config`] (how one begins), [`dockerfile`] (what instructions make of it), [`output`] (what becomes of their output), [`scrub`] (secrets out of it), [`terminal`]
//! (shells for users), [`driver`], [`runtime`], [`limits`] and [`emulation`] (how layers lie, what runs commands, what they may use, and whether it runs here), [`attempt`], [`pulls`] and [`uses`] (whose containers are whose, one pull at a time, when images were used), [`conformance`] (what every backend must do).

pub mod attempt;
pub mod config;
pub mod conformance;
pub mod dockerfile;
pub mod driver;
pub mod emulation;
pub mod instructions;
pub mod limits;
mod mount;
pub mod output;
pub mod pipe;
pub mod pulls;
pub mod retar;
pub mod runtime;
pub mod script;
pub mod scrub;
mod secrets;
pub mod terminal;
pub mod uses;

use std::{collections::BTreeMap, io, path::PathBuf};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use slipway_oci::{BlobDigest, ConfigChange, ImageAt, ImageConfig, Platform, Reference, Repo, Respec};
use slipway_paths::TreePath;
use tokio::sync::mpsc;

pub use crate::{
    mount::HostMount,
    secrets::{SECRETS, Secrets},
    terminal::Terminal,
};

/// Bytes of a tar archive on their way.
pub type ByteStream = BoxStream<'static, io::Result<Bytes>>;

/// Where output lines of a build go, without their line ends. Bounded: a slow reader slows the build.
pub type Logs = mpsc::Sender<Vec<u8>>;

/// What went wrong in a backend.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// A command of the user ended with a status other than 0: his to mend, never retried.
    #[error("{} ended with exit code {exit}", .command.as_ref().map_or("the command".to_owned(), |text| format!("`{text}`")))]
    Command {
        /// The command as the user has written it, in one line, where its own line does not say it.
        command: Option<String>,
        /// Exit code; 137 and above 128 mean a signal.
        exit: i64,
        /// Line of `werf.yaml` (or the Dockerfile) that was running, when known.
        line: Option<u32>,
        /// The last lines of output.
        tail: Vec<String>,
    },
    /// The engine refuses what is asked: an unknown user, a missing path, a malformed Dockerfile.
    #[error("{0}")]
    Refused(String),
    /// An image is not there.
    #[error("image {0} is not there")]
    Gone(String),
    /// The disk is full.
    #[error("no space left where the container engine keeps its data: {0}")]
    NoSpace(String),
    /// The engine does not answer or is broken: another try may help.
    #[error("{0}")]
    Engine(String),
    /// Any of these but a failed command, of an instruction of a Dockerfile.
    #[error("the Dockerfile cannot be built (line {line}): {error}")]
    Instruction {
        /// Line of the Dockerfile where the instruction begins, from 1.
        line: u32,
        /// What went wrong with it.
        error: Box<BackendError>,
    },
}

impl BackendError {
    /// Whether the same job may succeed when it is tried again.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Command { .. } | Self::Refused(_) | Self::NoSpace(_) => false,
            Self::Gone(_) | Self::Engine(_) => true,
            Self::Instruction { error, .. } => error.is_retryable(),
        }
    }
}

/// An image in the backend's own storage.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct LocalImage {
    /// Digest of its config.
    pub id: BlobDigest,
}

/// How a workspace is set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Names the container, so that leftovers can be told from strangers: letters, digits, dashes.
    pub attempt: String,
    /// What it runs for.
    pub platform: Platform,
    /// Network mode; the engine's default when `None`.
    pub network: Option<String>,
    /// Where the image is pushed next, if anywhere. A backend may send what it has while it commits; the push is what
    /// brings the image there, or says why not.
    pub to: Option<Repo>,
    /// What its script sees of the host; no two have one target.
    pub mounts: Vec<HostMount>,
    /// What its script may read below [`SECRETS`], which is memory; its output is cleaned of them.
    pub secrets: Secrets,
}

impl Setup {
    /// A workspace on the engine's default network that sees nothing else.
    pub fn new(attempt: String, platform: Platform) -> Self {
        Self { attempt, platform, network: None, to: None, mounts: Vec::new(), secrets: Secrets::none() }
    }
}

/// A script to run in a workspace.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// Commands with the line of `werf.yaml` they stand on, run in one bash, stopping at the first that fails.
    pub commands: Vec<(u32, String)>,
    /// Variables that exist while it runs and in no image.
    pub variables: BTreeMap<String, String>,
    /// Tools beyond the toolbox's. Its commands tell themselves which line they are at, as [`script::MARKER`] says.
    pub tools: Option<Tools>,
}

/// Tools that are laid over the toolbox for a script.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tools {
    /// Names their content; letters, digits, dots and dashes.
    pub version: String,
    /// Directory of this host whose entries are seen beside the toolbox's, read-only; `None` = the toolbox that the user
    /// names is to have them.
    pub root: Option<PathBuf>,
}

/// A Dockerfile build.
#[derive(Clone, Debug)]
pub struct DockerfileBuild {
    /// Names the build, as in [`Setup`].
    pub attempt: String,
    /// The Dockerfile's text; the context need not hold it.
    pub text: String,
    /// What it is built for.
    pub platform: Platform,
    /// Stage to build; the last when `None`.
    pub target: Option<String>,
    /// Build arguments.
    pub args: BTreeMap<String, String>,
    /// `HOST:IP` entries.
    pub add_hosts: Vec<String>,
    /// Network mode of `RUN`; the engine's default when `None`.
    pub network: Option<String>,
    /// Labels of the result.
    pub labels: BTreeMap<String, String>,
    /// Where the image is to go: what is made of it may go there before it is done.
    pub to: Option<Repo>,
    /// External images it stands on, as the Dockerfile names them, with where they were found.
    pub bases: Vec<(String, Option<ImageAt>)>,
    /// What `RUN --mount=type=secret` may read; output is cleaned of them.
    pub secrets: Secrets,
    /// What `RUN --mount=type=ssh` reaches, if anything.
    pub agent: Option<SshAgent>,
}

/// One instruction of a Dockerfile, on what those before it have made.
#[derive(Clone, Debug)]
pub struct InstructionBuild {
    /// The whole Dockerfile, and what it is built with.
    pub file: DockerfileBuild,
    /// Position of the instruction's stage in the Dockerfile, from 0.
    pub stage: usize,
    /// Its number in that stage; 0 = `FROM`, with what the base has postponed by `ONBUILD`.
    pub number: usize,
    /// What the instructions before it have made; `None` for a `FROM`.
    pub base: Option<LocalImage>,
    /// What has become of other stages, by position: of all that it reads files of or stands on.
    pub stages: Vec<(usize, LocalImage)>,
    /// What the `FROM` of the lowest stage below has made: there the variables of arguments begin. `None` when the stages below
    /// declare none before the instruction.
    pub beginning: Option<LocalImage>,
}

/// An ssh agent of this host that a Dockerfile may mount.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SshAgent {
    /// Where it listens.
    pub socket: PathBuf,
    /// The ids by which mounts may name it.
    pub ids: Vec<String>,
}

/// What a pushed image is in its repository.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pushed {
    /// Digest of the manifest that was stored, untagged.
    pub manifest: BlobDigest,
    /// Size of config and layers as stored, in bytes.
    pub size: u64,
}

/// What the path of an image is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Root {
    /// A file or symbolic link: the stream has it as its only entry, under its own name.
    File,
    /// A directory: entries are relative to it, the first being the directory itself as `./`.
    Directory,
}

/// The images that an engine has, and their ways from and to repositories: what look-ups, imports and uploads need.
#[async_trait]
pub trait ImageStore: Send + Sync {
    /// Makes an image of a repository local. Does nothing when it is local already.
    async fn pull(&self, image: &ImageAt) -> Result<LocalImage, BackendError>;
    /// Whether an image of a repository is local already, as far as that can be told; else it will be pulled.
    async fn has(&self, image: &ImageAt) -> bool;
    /// The local image that a user's reference names, without asking any registry.
    async fn local(&self, reference: &Reference, platform: &Platform) -> Result<Option<LocalImage>, BackendError>;
    /// Stores an image in a repository, untagged, its manifest annotated with `attempt`.
    async fn push(&self, image: &LocalImage, to: &Repo, attempt: &str) -> Result<Pushed, BackendError>;
    /// Files of an image below the absolute path `path`.
    async fn files(&self, image: &LocalImage, path: &str) -> Result<(Root, ByteStream), BackendError>;
    /// The config of a local image.
    async fn config(&self, image: &LocalImage) -> Result<ImageConfig, BackendError>;
    /// Forgets an image that no stage names. Does nothing when it is not there.
    async fn remove(&self, image: &LocalImage) -> Result<(), BackendError>;
}

/// What makes images of others: what stage jobs need.
#[async_trait]
pub trait ImageBuilder: Send + Sync {
    /// Starts a workspace on top of `base` (an empty file system, when `None`).
    async fn open(&self, base: Option<&LocalImage>, setup: Setup) -> Result<Box<dyn Workspace>, BackendError>;
    /// Builds a Dockerfile over `context`, a tar of files relative to the context directory.
    async fn dockerfile(
        &self,
        build: DockerfileBuild,
        context: ByteStream,
        logs: Logs,
    ) -> Result<LocalImage, BackendError>;
    /// Does one instruction of a Dockerfile over `context`, as [`dockerfile`](Self::dockerfile) would do it within the whole. One that
    /// only changes the config runs nothing. Not every backend can: a job of it goes to workers that say so.
    async fn instruction(
        &self,
        build: InstructionBuild,
        context: ByteStream,
        logs: Logs,
    ) -> Result<LocalImage, BackendError> {
        let _ = (build, context, logs);
        Err(BackendError::Refused(
            "not supported yet: instructions of a Dockerfile as stages (`staged: true`) with this backend; use native or buildah"
                .to_owned(),
        ))
    }
    /// Makes an image with the layers of the local image `base` and the config that [`slipway_oci::respec::apply`] makes
    /// of `base`'s, `labels` being its `own`.
    async fn respec(
        &self,
        base: &LocalImage,
        respec: &Respec,
        labels: &BTreeMap<String, String>,
    ) -> Result<LocalImage, BackendError>;
}

/// A container engine as a whole. Live: `slipway-docker`; what each must do: [`conformance`].
#[async_trait]
pub trait ContainerBackend: ImageStore + ImageBuilder {
    /// Removes what dead processes left behind; answers how many things went.
    async fn sweep(&self) -> Result<u32, BackendError>;
}

/// A container being made. Dropping it discards it; `commit` consumes it.
///
/// What is extracted and deleted is there before `run` starts, in this order: extracts, deletes.
#[async_trait]
pub trait Workspace: Send {
    /// Unpacks a tar of paths relative to the absolute directory `to`, which is made when it is missing and keeps its
    /// symbolic links. `owner` and `group` (names of the image, or numbers) replace those of the entries.
    async fn extract(
        &mut self,
        tar: ByteStream,
        to: &str,
        owner: Option<&str>,
        group: Option<&str>,
    ) -> Result<(), BackendError>;
    /// Unpacks a tar whose only entry is no directory to the absolute path `to`; when a directory is there, or a link to
    /// one, into it under the entry's own name. Else as [`extract`](Self::extract).
    async fn extract_file(
        &mut self,
        tar: ByteStream,
        to: &str,
        owner: Option<&str>,
        group: Option<&str>,
    ) -> Result<(), BackendError>;
    /// Deletes files below the absolute directory `root`, and directories that this empties, `root` excepted.
    async fn delete(&mut self, root: &str, paths: Vec<TreePath>) -> Result<(), BackendError>;
    /// Runs a script as 0:0 in `/`, once.
    async fn run(&mut self, script: Script, logs: Logs) -> Result<(), BackendError>;
    /// Opens a shell on a terminal, in the state that the workspace is in and with what its script sees, and waits for its
    /// end, however that is. What comes of it is thrown away, so that nothing can follow but dropping the workspace.
    async fn shell(&mut self, variables: &BTreeMap<String, String>, terminal: Terminal) -> Result<(), BackendError>;
    /// Makes an image of it: the base's config with `change` applied by [`slipway_oci::change::apply`].
    async fn commit(self: Box<Self>, change: ConfigChange) -> Result<LocalImage, BackendError>;
}

/// The host of all doors for an engine that takes the address of one as its proxy. It is the same at any time, so that an engine
/// remembers what it has sent there; no name is ever found below `invalid`.
pub const STEADY_HOST: &str = "gateway.slipway.invalid";

/// How a backend that can only push and pull by tag, with credentials of its own, reaches repositories: the gateway.
#[async_trait]
pub trait ImageLink: Send + Sync {
    /// Opens a one-time door through which an engine may pull exactly `image`; the reference to pull is
    /// [`Door::reference`].
    async fn pull_door(&self, image: &ImageAt) -> Result<Box<dyn Door>, BackendError>;
    /// Opens a one-time door through which an engine may push one image to `repo`, under [`Door::reference`].
    async fn push_door(&self, repo: &Repo, attempt: &str) -> Result<Box<dyn Door>, BackendError>;
}

/// A one-time address on loopback. Closed when dropped.
#[async_trait]
pub trait Door: Send + Sync {
    /// What the engine is told to push or pull: `127.0.0.1:PORT/TOKEN/NAME:TAG` (or `@DIGEST`). With `http://TOKEN:x@127.0.0.1:PORT`
    /// as its proxy it may be told `STEADY_HOST/TOKEN/NAME:TAG` instead, and ask there for what it remembers of other tokens.
    fn reference(&self) -> String;
    /// After a push: stores the manifest that came through, and tells what was stored.
    async fn pushed(&self) -> Result<Pushed, BackendError>;
}

/// Directory for spooled files of this backend, below the home directory.
#[derive(Clone, Debug)]
pub struct SpoolDir(pub PathBuf);
