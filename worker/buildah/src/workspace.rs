//! A workspace: a working container, made on first use, whose files are changed in place.

use std::{collections::BTreeMap, io, sync::Arc};

use async_trait::async_trait;
use futures::TryStreamExt as _;
use slipway_backend::{
    BackendError, ByteStream, LocalImage, Logs, Script, Setup, Terminal, Workspace,
    retar::{self, Rewrite},
    script::{Deletion, Marker, compose, postpone},
};
use slipway_layers::root::Root;
use slipway_oci::{ConfigChange, ImageConfig, change};
use slipway_paths::TreePath;
use slipway_process::random_id;
use slipway_rootfs::{delete, place};
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::{
    Shared, commit,
    container::Container,
    error::system,
    run::{Network, Run, Targets},
    shell,
    traces::Traces,
};

/// Mode of the root of an image that stands on nothing.
const ROOT_MODE: u32 = 0o755;

/// A workspace of this backend.
pub(crate) struct BuildahWorkspace {
    pub(crate) shared: Arc<Shared>,
    /// What it stands on; `None` = nothing.
    pub(crate) image: Option<LocalImage>,
    /// The config of that.
    pub(crate) base: ImageConfig,
    pub(crate) setup: Setup,
    pub(crate) container: Option<Container>,
    pub(crate) deletions: Vec<Deletion>,
    pub(crate) ran: bool,
}

impl BuildahWorkspace {
    /// The container, made on first use.
    async fn container(&mut self) -> Result<&Container, BackendError> {
        if self.container.is_none() {
            let (program, limits) = (&self.shared.program, &self.shared.limits);
            let made = Container::create(program, &self.setup.attempt, self.image.as_ref(), limits).await?;
            if self.image.is_none() {
                let root = made.root()?;
                let open = move || root.directory(b"")?.dress(b".", (0, 0), Some(ROOT_MODE), &[]);
                let opened = program.tasks.blocking(open).await;
                opened.map_err(|error| system("make a build container", error))?;
            }
            self.container = Some(made);
        }
        Ok(self.container.as_ref().expect("it was just made"))
    }

    async fn root(&mut self) -> Result<Root, BackendError> {
        self.container().await?.root()
    }

    /// Makes the deletions that wait.
    async fn delete_now(&mut self) -> Result<(), BackendError> {
        let deletions = std::mem::take(&mut self.deletions);
        if deletions.is_empty() {
            return Ok(());
        }
        let root = self.root().await?;
        self.shared.program.tasks.blocking(move || delete::delete(&root, &deletions)).await
    }

    async fn put(
        &mut self,
        tar: ByteStream,
        to: &str,
        owner: Option<&str>,
        group: Option<&str>,
    ) -> Result<(), BackendError> {
        if self.ran {
            return Err(BackendError::Refused("files cannot go in after the commands ran".to_owned()));
        }
        let root = self.root().await?;
        let (to, owner, group) = (to.to_owned(), owner.map(str::to_owned), group.map(str::to_owned));
        let input = SyncIoBridge::new(StreamReader::new(tar.map_err(io::Error::other)));
        let put = move || place::put(&root, input, &to, owner.as_deref(), group.as_deref());
        self.shared.program.tasks.blocking(put).await
    }

    /// What runs in the container, and the places that are made for it.
    async fn stage(&mut self, script: &Script) -> Result<(Run<'_>, Traces), BackendError> {
        let toolbox = self.shared.toolbox(script.tools.as_ref()).await?;
        let root = self.root().await?;
        let mounts = self.setup.mounts.clone();
        let look = move || -> io::Result<(Targets, Traces)> {
            let targets = Targets::find(&root, &mounts)?;
            let traces = Traces::note(&root, targets.all())?;
            Ok((targets, traces))
        };
        let looked = self.shared.program.tasks.blocking(look).await;
        let (targets, traces) = looked.map_err(|error| system("look at the files of a build container", error))?;
        let container = self.container.as_ref().expect("its root was just opened");
        Ok((Run { container, setup: &self.setup, toolbox, targets }, traces))
    }
}

#[async_trait]
impl Workspace for BuildahWorkspace {
    async fn extract(
        &mut self,
        tar: ByteStream,
        to: &str,
        owner: Option<&str>,
        group: Option<&str>,
    ) -> Result<(), BackendError> {
        self.put(tar, to, owner, group).await
    }

    async fn extract_file(
        &mut self,
        tar: ByteStream,
        to: &str,
        owner: Option<&str>,
        group: Option<&str>,
    ) -> Result<(), BackendError> {
        let (root, path) = (self.root().await?, to.to_owned());
        let (directory, name) = self.shared.program.tasks.blocking(move || place::of_file(&root, &path)).await?;
        let single = Rewrite { single: name, ..Rewrite::default() };
        self.put(retar::stream(tar, single), &directory, owner, group).await
    }

    async fn delete(&mut self, root: &str, paths: Vec<TreePath>) -> Result<(), BackendError> {
        postpone(&mut self.deletions, root, paths, self.ran)
    }

    async fn run(&mut self, script: Script, logs: Logs) -> Result<(), BackendError> {
        if self.ran {
            return Err(BackendError::Refused("the commands of a stage run once".to_owned()));
        }
        if script.commands.is_empty() {
            return Ok(());
        }
        self.shared.check_network(Network::parse(self.setup.network.as_deref())?)?;
        self.delete_now().await?;
        self.ran = true;
        let marker = Marker::new(&random_id());
        let text = compose(&[], &script, &self.setup.secrets, &marker)?;
        let (run, traces) = self.stage(&script).await?;
        run.script(&text, &marker, logs).await?;
        let root = self.root().await?;
        let cleared = self.shared.program.tasks.blocking(move || traces.remove(&root)).await;
        cleared.map_err(|error| system("clear the places of mounts in a build container", error))
    }

    async fn shell(&mut self, variables: &BTreeMap<String, String>, terminal: Terminal) -> Result<(), BackendError> {
        self.shared.check_network(Network::parse(self.setup.network.as_deref())?)?;
        self.delete_now().await?;
        let (run, _) = self.stage(&Script::default()).await?;
        shell::open(run, variables, terminal).await
    }

    async fn commit(mut self: Box<Self>, change: ConfigChange) -> Result<LocalImage, BackendError> {
        self.delete_now().await?;
        self.container().await?;
        let container = self.container.take().expect("it was just made");
        let wanted = change::apply(&self.base.config, &change);
        commit::commit(&container, &self.base, wanted, self.shared.now()).await
    }
}
