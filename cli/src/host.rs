//! What runs jobs on this host: the backend and its way to registries. The same for a build in this
//! process and for a worker.

use std::{path::PathBuf, sync::Arc};

use anyhow::{Context as _, Result};
use slipway_ansible::{Controller, Source};
use slipway_backend::ContainerBackend;
use slipway_docker::BuilderChoice;
use slipway_native::{
    Addresses, Compression,
    limits::{Limits, ProcessLimit},
};
use slipway_process::{Environment, Tasks};
use slipway_registry::{AwsSource, Client, Mirror};

use crate::{
    aws,
    choose::{Backend, EngineAddress},
    engine::Engine,
    flags::{backend::BackendFlags, host::Limit, storage::StorageFlags},
};

/// How registries are spoken to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RegistryOptions {
    /// Docker's `config.json`; it need not exist.
    pub(crate) docker_config: Option<PathBuf>,
    /// Plain HTTP for every registry.
    pub(crate) insecure: bool,
    /// Certificates are not verified.
    pub(crate) skip_tls_verify: bool,
    /// Where else base images may be pulled from.
    pub(crate) mirrors: Vec<Mirror>,
    /// Where the keys come from that deleting from ECR takes.
    pub(crate) aws: AwsSource,
}

impl RegistryOptions {
    /// What the flags and the environment say.
    pub(crate) fn new(flags: &StorageFlags, environment: &Environment) -> Self {
        let home = || environment.non_empty("HOME").map(|home| PathBuf::from(home).join(".docker"));
        let docker = flags.docker_config.clone().map(PathBuf::from).or_else(home);
        Self {
            docker_config: docker.map(|directory| directory.join("config.json")),
            insecure: flags.insecure,
            skip_tls_verify: flags.skip_tls_verify,
            mirrors: flags.mirrors.clone(),
            aws: AwsSource::Nowhere,
        }
    }

    /// The same with the keys that deleting from ECR takes.
    pub(crate) fn deleting(self, environment: &Environment) -> Self {
        Self { aws: aws::source(environment), ..self }
    }

    /// The same as a client of registries takes it.
    pub(crate) fn into_client_options(self) -> slipway_registry::Options {
        slipway_registry::Options {
            docker_config: self.docker_config,
            insecure: self.insecure,
            skip_tls_verify: self.skip_tls_verify,
            user_agent: format!("slipway/{}", env!("CARGO_PKG_VERSION")),
            mirrors: self.mirrors,
            vendors: Vec::new(),
            interfaces: Vec::new(),
            aws: self.aws,
        }
    }
}

/// What a host is made of.
#[derive(Clone, Debug)]
pub(crate) struct HostOptions {
    /// What builds.
    pub(crate) backend: Backend,
    /// The engine of the backend.
    pub(crate) engine: EngineAddress,
    /// How registries are spoken to.
    pub(crate) registry: RegistryOptions,
    /// Image of the tools for build containers; `None` = the program's own.
    pub(crate) toolbox: Option<String>,
    /// Environment with Ansible's controller; `None` = made on first use, or in the image of the tools.
    pub(crate) ansible: Option<PathBuf>,
    /// Further arguments of `ansible-playbook`.
    pub(crate) ansible_arguments: Vec<String>,
    /// Where things are kept between runs; may not exist yet. What dead processes with the same directory left in the
    /// engine is removed; what those of other directories have there is not touched.
    pub(crate) home: PathBuf,
    /// Where temporary files go; `None` = below the home directory.
    pub(crate) tmp: Option<PathBuf>,
    /// Which builder of the engine builds Dockerfiles.
    pub(crate) builder: BuilderChoice,
    /// The user's home directory, for paths that begin with `~`.
    pub(crate) user_home: Option<PathBuf>,
    /// Whether the commands that run are of others than who started this process: they must not see the host's network.
    pub(crate) strangers: bool,
    /// What the layers of the native backend may take.
    pub(crate) limit: Limit,
    /// Bytes of memory and processes that the commands of one stage may use.
    pub(crate) together: (Option<u64>, Option<u64>),
    /// What one process of a command may use, as the variable says it.
    pub(crate) ulimits: Option<String>,
    /// How the native backend compresses layers.
    pub(crate) compression: Compression,
    /// What the native backend runs commands by; `None` = its own sandbox.
    pub(crate) runtime: Option<String>,
    /// How its layers lie on each other; `None` = by what works.
    pub(crate) driver: Option<String>,
    /// What `ADD` of a Dockerfile may fetch from, with the native backend.
    pub(crate) addresses: Addresses,
    /// What buildah is told of the user's settings.
    pub(crate) environment: Environment,
}

/// The variable with limits of the processes of commands.
const ULIMIT: &str = "WERF_BUILDAH_ULIMIT";

/// The variable with further arguments of `ansible-playbook`, such as `-vvv`.
const ANSIBLE_ARGUMENTS: &str = "WERF_DEBUG_ANSIBLE_ARGS";

impl HostOptions {
    /// A host for this backend and engine, as the flags and the environment want it.
    pub(crate) fn new(
        (backend, engine): (Backend, EngineAddress),
        (flags, storage): (&BackendFlags, &StorageFlags),
        environment: &Environment,
        (home, tmp): (PathBuf, Option<String>),
    ) -> Self {
        let builder = match environment.non_empty("DOCKER_BUILDKIT") {
            None => BuilderChoice::Auto,
            Some("0" | "false") => BuilderChoice::Classic,
            Some(_) => BuilderChoice::BuildKit,
        };
        Self {
            backend,
            engine,
            registry: RegistryOptions::new(storage, environment),
            toolbox: flags.toolbox.clone(),
            ansible: flags.ansible.clone(),
            ansible_arguments: environment
                .non_empty(ANSIBLE_ARGUMENTS)
                .map_or_else(Vec::new, |text| text.split_whitespace().map(str::to_owned).collect()),
            home,
            tmp: tmp.map(PathBuf::from),
            builder,
            user_home: environment.non_empty("HOME").map(PathBuf::from),
            strangers: false,
            limit: flags.limit,
            together: (flags.memory, flags.pids),
            ulimits: environment.non_empty(ULIMIT).map(str::to_owned),
            compression: flags.compression,
            runtime: flags.runtime.clone(),
            driver: flags.driver.clone(),
            addresses: flags.addresses,
            environment: environment.clone(),
        }
    }

    /// What the commands of one stage may use.
    pub(crate) fn native_limits(&self) -> Result<Limits> {
        let (memory, pids) = self.together;
        Ok(Limits { memory, pids, process: self.process_limits()? })
    }

    /// What one process of a command may use.
    pub(crate) fn process_limits(&self) -> Result<Vec<ProcessLimit>> {
        let limits = ProcessLimit::parse_all(self.ulimits.as_deref().unwrap_or_default());
        limits.map_err(|why| anyhow::anyhow!("{ULIMIT}: {why}"))
    }

    /// What runs tasks of Ansible; it works in `tasks`.
    pub(crate) fn ansible(&self, tasks: &Tasks) -> Controller {
        let source = match (&self.ansible, &self.toolbox) {
            (Some(path), _) => Source::Given(path.clone()),
            (None, Some(_)) => Source::Toolbox,
            (None, None) => Source::PyPi,
        };
        let (home, locks) = (self.home.join("ansible"), self.service().join("locks"));
        let options = slipway_ansible::Options { source, home, locks, arguments: self.ansible_arguments.clone() };
        Controller::new(options, tasks.clone())
    }

    /// Where the program keeps what users need not look at.
    pub(crate) fn service(&self) -> PathBuf {
        self.home.join("service")
    }
}

/// What runs jobs. To be shut down when it is no longer needed.
pub(crate) struct Host {
    /// What builds.
    pub(crate) engine: Engine,
    /// Registries.
    pub(crate) client: Client,
}

impl Host {
    /// Connects to everything, and removes what killed processes have left in the engine, beside what is done next.
    ///
    /// # Errors
    /// When a part cannot be reached; the message says which.
    pub(crate) async fn open(options: &HostOptions, tasks: &Tasks) -> Result<Self> {
        let client = client(&options.registry)?;
        let engine = Engine::open(options, &client, tasks).await?;
        let host = Self { engine, client };
        host.sweep(tasks);
        Ok(host)
    }

    /// What runs the jobs.
    pub(crate) fn backend(&self) -> Arc<dyn ContainerBackend> {
        self.engine.backend()
    }

    /// Waits until nothing of ours is left in the engine.
    pub(crate) async fn shut_down(&self) {
        self.engine.shut_down().await;
    }

    fn sweep(&self, tasks: &Tasks) {
        let backend = self.backend();
        tasks.spawn(async move {
            match backend.sweep().await {
                Ok(0) => {}
                Ok(swept) => tracing::info!("removed {swept} leftovers of interrupted builds"),
                Err(error) => tracing::debug!("look for leftovers of interrupted builds: {error}"),
            }
        });
    }
}

/// Speaks to registries.
///
/// # Errors
/// When connections cannot be set up.
pub(crate) fn client(registry: &RegistryOptions) -> Result<Client> {
    Client::new(registry.clone().into_client_options()).context("set up access to registries")
}
