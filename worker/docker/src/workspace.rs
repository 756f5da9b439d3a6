//! A workspace: what goes in is remembered until something needs the container.
//!
//! A stage without commands and deletions never starts its container: it is created, filled and committed.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use async_trait::async_trait;
use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount, MountType};
use slipway_backend::{
    BackendError, ByteStream, HostMount, LocalImage, Logs, SECRETS, Script, Setup, Terminal, Workspace,
    output::Output,
    script::{Deletion, Marker, TOOLBOX_BIN, compose, postpone},
    scrub::Masks,
};
use slipway_oci::{ConfigChange, change, config::RunConfig};
use slipway_paths::TreePath;
use slipway_process::random_id;
use tokio::sync::mpsc;

use crate::{
    commit::commit,
    container::Container,
    place::Pending,
    run::{arguments, run},
    shell,
    toolbox::Toolbox,
};

/// A workspace on a Docker engine.
pub(crate) struct DockerWorkspace {
    pub(crate) toolbox: Arc<Toolbox>,
    pub(crate) base: LocalImage,
    pub(crate) base_config: RunConfig,
    pub(crate) setup: Setup,
    pub(crate) container: Option<Container>,
    pub(crate) pending: Vec<Pending>,
    pub(crate) deletions: Vec<Deletion>,
    pub(crate) ran: bool,
}

impl DockerWorkspace {
    /// Makes the container, for a script or to be filled only, and puts in what waits.
    async fn prepare(&mut self, runs: Option<&Script>) -> Result<(), BackendError> {
        if self.container.is_none() {
            self.container = Some(self.create(runs).await?);
        }
        let container = self.container.as_ref().expect("it was just made");
        for pending in std::mem::take(&mut self.pending) {
            pending.put(container).await?;
        }
        Ok(())
    }

    async fn create(&mut self, runs: Option<&Script>) -> Result<Container, BackendError> {
        let engine = self.toolbox.engine();
        let Some(script) = runs else {
            let body = ContainerCreateBody { image: Some(self.image()), ..self.resting_body() };
            return Container::create(engine, &self.setup.attempt, body).await;
        };
        let tools = script.tools.as_ref();
        let toolbox = self.toolbox.container(tools).await?;
        match Container::create(engine, &self.setup.attempt, self.running_body(&toolbox)).await {
            // Somebody removed the toolbox's container since it was looked up.
            Err(BackendError::Gone(message)) if message.contains(&toolbox) => {
                self.toolbox.forget().await;
                let toolbox = self.toolbox.container(tools).await?;
                Container::create(engine, &self.setup.attempt, self.running_body(&toolbox)).await
            }
            other => other,
        }
    }

    fn put_later(&mut self, pending: Pending) -> Result<(), BackendError> {
        if self.ran {
            return Err(BackendError::Refused("files cannot go in after the commands ran".to_owned()));
        }
        self.pending.push(pending);
        Ok(())
    }

    fn image(&self) -> String {
        self.base.id.to_string()
    }

    /// A container that is only filled. Whatever it were given here, the engine would put into the image.
    fn resting_body(&self) -> ContainerCreateBody {
        let config = &self.base_config;
        let words = |list: &Option<Vec<String>>| list.iter().flatten().any(|word| !word.is_empty());
        let has_command = words(&config.cmd) || words(&config.entrypoint);
        // The engine makes no container without a command, though this one is never started.
        let cmd = (!has_command).then(|| vec![format!("{TOOLBOX_BIN}/true")]);
        ContainerCreateBody { cmd, host_config: Some(self.host_config(None)), ..ContainerCreateBody::default() }
    }

    /// A container that runs the toolbox's shell as 0:0 in `/`.
    fn running_body(&self, toolbox: &str) -> ContainerCreateBody {
        let config = &self.base_config;
        ContainerCreateBody {
            image: Some(self.image()),
            entrypoint: Some(vec![format!("{TOOLBOX_BIN}/bash")]),
            cmd: Some(arguments()),
            // Only where the base says otherwise: an image that names no user would get this one.
            user: (!config.user.is_empty()).then(|| "0:0".to_owned()),
            working_dir: Some("/".to_owned()),
            attach_stdin: Some(true),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            open_stdin: Some(true),
            stdin_once: Some(true),
            host_config: Some(self.host_config(Some(toolbox))),
            ..ContainerCreateBody::default()
        }
    }

    /// With a toolbox: for a container that runs.
    fn host_config(&self, toolbox: Option<&str>) -> HostConfig {
        HostConfig {
            network_mode: self.setup.network.clone(),
            mounts: toolbox.map(|_| self.setup.mounts.iter().map(bind).collect()),
            volumes_from: toolbox.map(|name| vec![format!("{name}:ro")]),
            tmpfs: toolbox.and_then(|_| self.memory()),
            log_config: toolbox.map(|_| no_log()),
            ..HostConfig::default()
        }
    }

    /// Where secrets are written to; it is the engine's host that they never leave memory of.
    fn memory(&self) -> Option<HashMap<String, String>> {
        let secrets = &self.setup.secrets;
        let options = format!("rw,noexec,nosuid,nodev,mode=0755,size={}", secrets.room());
        (!secrets.is_empty()).then(|| HashMap::from([(SECRETS.to_owned(), options)]))
    }

    /// Makes everything that waits.
    async fn settle(&mut self) -> Result<(), BackendError> {
        if !self.deletions.is_empty() {
            // Nothing is said by deletions that succeed, and what fails is in the error.
            let (logs, _) = mpsc::channel(1);
            self.run_script(&Script::default(), logs).await?;
        }
        self.prepare(None).await
    }

    async fn run_script(&mut self, script: &Script, logs: Logs) -> Result<(), BackendError> {
        let marker = Marker::new(&random_id());
        let text = compose(&self.deletions, script, &self.setup.secrets, &marker)?;
        self.prepare(Some(script)).await?;
        self.deletions.clear();
        self.ran = true;
        let container = self.container.as_ref().expect("it was just prepared");
        let output = Output::new(logs, Some(marker), &Masks::of(&self.setup.secrets));
        run(container, &text, output).await
    }
}

/// The engine would keep what commands say on its disk, as it was said.
fn no_log() -> HostConfigLogConfig {
    HostConfigLogConfig { typ: Some("none".to_owned()), config: None }
}

fn bind(mount: &HostMount) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(mount.source.to_string_lossy().into_owned()),
        target: Some(mount.target.clone()),
        read_only: Some(mount.read_only),
        ..Mount::default()
    }
}

#[async_trait]
impl Workspace for DockerWorkspace {
    async fn extract(
        &mut self,
        tar: ByteStream,
        to: &str,
        owner: Option<&str>,
        group: Option<&str>,
    ) -> Result<(), BackendError> {
        let (owner, group) = (owner.map(str::to_owned), group.map(str::to_owned));
        self.put_later(Pending { tar, to: to.to_owned(), single: false, owner, group })
    }

    async fn extract_file(
        &mut self,
        tar: ByteStream,
        to: &str,
        owner: Option<&str>,
        group: Option<&str>,
    ) -> Result<(), BackendError> {
        let (owner, group) = (owner.map(str::to_owned), group.map(str::to_owned));
        self.put_later(Pending { tar, to: to.to_owned(), single: true, owner, group })
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
        self.run_script(&script, logs).await
    }

    async fn shell(&mut self, variables: &BTreeMap<String, String>, terminal: Terminal) -> Result<(), BackendError> {
        self.settle().await?;
        let toolbox = self.toolbox.container(None).await?;
        let container = self.container.take().expect("it was just prepared");
        let image = commit(&container, &self.base_config, self.base_config.clone()).await?;
        drop(container);
        let body = self.running_body(&toolbox);
        shell::open(self.toolbox.engine(), &self.setup, (image, body), (variables, terminal)).await
    }

    async fn commit(mut self: Box<Self>, config: ConfigChange) -> Result<LocalImage, BackendError> {
        self.settle().await?;
        let container = self.container.take().expect("it was just prepared");
        let wanted = change::apply(&self.base_config, &config);
        commit(&container, &self.base_config, wanted).await
    }
}
