//! A workspace: a working container, made on first use, whose files are changed in place.

use std::{collections::BTreeMap, io, sync::Arc};

use async_trait::async_trait;
use slipway_backend::{
    BackendError, LocalImage, Logs, Script, Setup, Terminal,
    script::{Marker, compose},
};
use slipway_layers::root::Root;
use slipway_oci::{ConfigChange, ImageConfig, change};
use slipway_process::{Tasks, random_id};
use slipway_rootfs::workspace::Rooted;

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

/// A workspace of this backend, but for what is done in its directory alone.
pub(crate) struct BuildahWorkspace {
    pub(crate) shared: Arc<Shared>,
    /// What it stands on; `None` = nothing.
    pub(crate) image: Option<LocalImage>,
    /// The config of that.
    pub(crate) base: ImageConfig,
    pub(crate) setup: Setup,
    pub(crate) container: Option<Container>,
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

    /// What runs in the container, and the places that are made for it.
    async fn stage(&mut self, script: &Script) -> Result<(Run<'_>, Traces), BackendError> {
        let toolbox = self.shared.toolbox(script.tools.as_ref()).await?;
        let root = self.hold().await?;
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
impl Rooted for BuildahWorkspace {
    type Held = Root;

    async fn hold(&mut self) -> Result<Root, BackendError> {
        self.container().await?.root()
    }

    fn root(held: &Root) -> &Root {
        held
    }

    fn tasks(&self) -> &Tasks {
        &self.shared.program.tasks
    }

    fn check(&self) -> Result<(), BackendError> {
        self.shared.check_network(Network::parse(self.setup.network.as_deref())?)
    }

    async fn run(&mut self, script: Script, logs: Logs) -> Result<(), BackendError> {
        let marker = Marker::new(&random_id());
        let text = compose(&[], &script, &self.setup.secrets, &marker)?;
        let (run, traces) = self.stage(&script).await?;
        run.script(&text, &marker, logs).await?;
        let root = self.hold().await?;
        let cleared = self.shared.program.tasks.blocking(move || traces.remove(&root)).await;
        cleared.map_err(|error| system("clear the places of mounts in a build container", error))
    }

    async fn shell(
        &mut self,
        _ran: bool,
        variables: &BTreeMap<String, String>,
        terminal: Terminal,
    ) -> Result<(), BackendError> {
        let (run, _) = self.stage(&Script::default()).await?;
        shell::open(run, variables, terminal).await
    }

    async fn commit(mut self, change: ConfigChange) -> Result<LocalImage, BackendError> {
        self.container().await?;
        let container = self.container.take().expect("it was just made");
        let wanted = change::apply(&self.base.config, &change);
        commit::commit(&container, &self.base, wanted, self.shared.now()).await
    }
}
