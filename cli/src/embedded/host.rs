//! Everything on this host that a build needs: engine, storages, locks, gateway.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use slipway_backend::{ContainerBackend, ImageStore, SpoolDir};
use slipway_coordinator::Outside;
use slipway_docker::{BuilderChoice, DockerBackend, DockerOptions, ToolboxSource};
use slipway_gateway::Gateway;
use slipway_git::GitView;
use slipway_locks::FileLocks;
use slipway_process::Tasks;
use slipway_registry::Client;
use slipway_storage::{JournalLedger, MemoryRecords, Publisher, Records, RepoStorage, StageStorage};
use slipway_toolbox::Places;

use super::{BuildRequest, bases::FoundBases};
use crate::choose::Backend;

/// What a build runs on. To be shut down when it is over.
pub(super) struct Host {
    docker: Arc<DockerBackend>,
    gateway: Arc<Gateway>,
    pub(super) git: Arc<dyn GitView>,
    pub(super) outside: Outside,
}

impl Host {
    /// Connects to everything, and finishes what killed builds have left.
    ///
    /// # Errors
    /// When a part cannot be reached; the message says which.
    pub(super) async fn open(request: &BuildRequest, tasks: &Tasks) -> Result<Self> {
        let service = request.home.join("service");
        let client = client(request)?;
        let cache = request.home.join("local_cache/blobs");
        let gateway = Gateway::start(client.clone(), tasks.clone(), cache, slipway_gateway::Options::default());
        let gateway = Arc::new(gateway.await.context("open the gateway for the container engine")?);
        let docker = match request.backend {
            Backend::Docker => docker(request, &service, Arc::clone(&gateway)).await?,
        };
        let git: Arc<dyn GitView> = Arc::new(request.repository.clone());
        let outside = outside(request, &service, client, &docker, &git);
        let recovered = outside.publisher.recover().await;
        recovered.with_context(|| format!("finish what interrupted builds left in {}", outside.primary.name()))?;
        if request.repo.is_some() {
            tracing::info!("{}", slipway_storage::journal::NOTICE);
        }
        let host = Self { docker, gateway, git, outside };
        host.sweep(tasks);
        Ok(host)
    }

    /// What runs the jobs.
    pub(super) fn backend(&self) -> Arc<dyn ContainerBackend> {
        Arc::clone(&self.docker) as Arc<dyn ContainerBackend>
    }

    /// Waits until nothing of the build is left in the engine.
    pub(super) async fn shut_down(&self) {
        self.docker.shut_down().await;
        self.gateway.shut_down().await;
    }

    /// Removes what killed builds have left in the engine, beside the build.
    fn sweep(&self, tasks: &Tasks) {
        let docker = Arc::clone(&self.docker);
        tasks.spawn(async move {
            match docker.sweep().await {
                Ok(0) => {}
                Ok(swept) => tracing::info!("removed {swept} leftovers of interrupted builds"),
                Err(error) => tracing::debug!("look for leftovers of interrupted builds: {error}"),
            }
        });
    }
}

fn client(request: &BuildRequest) -> Result<Client> {
    let options = slipway_registry::Options {
        docker_config: request.registry.docker_config.clone(),
        insecure: request.registry.insecure,
        skip_tls_verify: request.registry.skip_tls_verify,
        user_agent: format!("slipway/{}", env!("CARGO_PKG_VERSION")),
    };
    Client::new(options).context("set up access to registries")
}

async fn docker(request: &BuildRequest, service: &Path, gateway: Arc<Gateway>) -> Result<Arc<DockerBackend>> {
    let spool = request.tmp.clone().unwrap_or_else(|| service.join("tmp/context"));
    let builder = match request.environment.non_empty("DOCKER_BUILDKIT") {
        None => BuilderChoice::Auto,
        Some("0" | "false") => BuilderChoice::Classic,
        Some(_) => BuilderChoice::BuildKit,
    };
    let options = DockerOptions {
        host: request.engine.host.clone(),
        certificates: request.engine.certificates.clone(),
        link: gateway,
        spool: SpoolDir(spool),
        attempts: service.join("attempts"),
        toolbox: toolbox(request),
        builder,
    };
    let connected = DockerBackend::connect(options).await;
    Ok(Arc::new(connected.with_context(|| format!("connect to the Docker engine at {}", request.engine))?))
}

/// The image of tools that the user names, or our own: from beside the program, the program's own, or the system's.
fn toolbox(request: &BuildRequest) -> ToolboxSource {
    match &request.toolbox {
        Some(image) => {
            let (name, version) = image.rsplit_once(':').unwrap_or((image, "latest"));
            ToolboxSource::Image { name: name.to_owned(), version: version.to_owned() }
        }
        None => {
            let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join("toolbox")));
            ToolboxSource::Own(Places::new(beside.into_iter().collect()))
        }
    }
}

fn outside(
    request: &BuildRequest,
    service: &Path,
    client: Client,
    docker: &Arc<DockerBackend>,
    git: &Arc<dyn GitView>,
) -> Outside {
    let project = &request.settings.project;
    let local: Arc<dyn StageStorage> = Arc::new(docker.stage_storage(project));
    let (primary, records, local): (Arc<dyn StageStorage>, Arc<dyn Records>, _) = match &request.repo {
        Some(repo) => {
            let storage = RepoStorage::new(client.clone(), repo.clone());
            let records = storage.records(project);
            (Arc::new(storage), Arc::new(records), Some(local))
        }
        None => (local, Arc::new(MemoryRecords::default()), None),
    };
    let publisher = Publisher::new(
        Arc::clone(&primary),
        Arc::new(JournalLedger::new(&service.join("ledger"), &primary.name())),
        Arc::new(FileLocks::new(service.join("locks"))),
        Arc::clone(&request.clock),
    );
    let images = Arc::clone(docker) as Arc<dyn ImageStore>;
    Outside {
        git: Arc::clone(git),
        primary,
        local,
        bases: Arc::new(FoundBases { client, images }),
        records,
        history: (request.repo.is_some() && !request.settings.dev).then_some(request.settings.commit),
        publisher: Arc::new(publisher),
        push_to: request.repo.clone(),
    }
}
