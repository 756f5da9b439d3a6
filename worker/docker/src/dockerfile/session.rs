//! A session with BuildKit: a connection on which the engine asks us, by gRPC, for what a build may see and no image may
//! hold.

mod agent;
mod files;

use bollard::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
    health_check_response::ServingStatus,
    health_server::{Health, HealthServer},
};
use bollard::moby::{
    buildkit::secrets::v1::{
        GetSecretRequest, GetSecretResponse,
        secrets_server::{Secrets as SecretsService, SecretsServer},
    },
    filesync::packet::file_sync_server::FileSyncServer,
    sshforward::v1::ssh_server::SshServer,
};
use futures::stream::BoxStream;
use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use slipway_backend::{BackendError, Secrets, SshAgent};
use slipway_process::random_id;
use tonic::{Request, Response, Status, async_trait, service::Routes};

use crate::{
    engine::Address,
    wire::{self, Wire},
};
use agent::Forwarder;
pub(super) use files::{Directories, Files};

const PATH: &str = "/session";
/// Names the session to the engine.
const ID: &str = "X-Docker-Expose-Session-Uuid";
/// Says what may be asked for.
const METHOD: &str = "X-Docker-Expose-Session-Grpc-Method";
/// Says whose files are alike, so that only changes are fetched: nobody's, for times tell nothing here.
const SHARED: &str = "X-Docker-Expose-Session-Sharedkey";
const DIRECTORIES: &str = "/moby.filesync.v1.FileSync/DiffCopy";
const SECRET: &str = "/moby.buildkit.secrets.v1.Secrets/GetSecret";
const AGENT: [&str; 2] = ["/moby.sshforward.v1.SSH/CheckAgent", "/moby.sshforward.v1.SSH/ForwardAgent"];

/// Bytes that may be on their way to us. The engine asks for files by thousands of small messages, and the library takes so many as
/// an attack, unless the window is large: one stream's own window holds at most 7,000 of them, and this allows for 30,000.
const WINDOW: u32 = 16 << 20;

/// An open session, which nothing answers until it is served.
pub(super) struct Session {
    id: String,
    wire: Box<dyn Wire>,
    routes: Routes,
}

impl Session {
    /// Opens a session in which these can be asked for. `directories` are the context and the Dockerfile, when the build
    /// does not send them.
    ///
    /// # Errors
    /// When the engine does not answer, or has none.
    pub(super) async fn open(
        address: &Address,
        secrets: &Secrets,
        agent: Option<&SshAgent>,
        directories: Option<Directories>,
    ) -> Result<Self, BackendError> {
        let id = random_id();
        let mut headers = vec![(ID, id.as_str()), (METHOD, SECRET)];
        let mut routes = Routes::new(HealthServer::new(Alive)).add_service(SecretsServer::new(Handed(secrets.clone())));
        if let Some(agent) = agent {
            headers.extend(AGENT.map(|method| (METHOD, method)));
            routes = routes.add_service(SshServer::new(Forwarder::new(agent.clone())));
        }
        if let Some(directories) = directories {
            headers.extend([(METHOD, DIRECTORIES), (SHARED, id.as_str())]);
            routes = routes.add_service(FileSyncServer::new(directories));
        }
        let wire = wire::take_over(address, PATH, &headers).await?;
        Ok(Self { id, wire, routes })
    }

    /// How builds name it.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Answers until the engine ends it. Dropping this ends it.
    pub(super) async fn serve(self) {
        let service = TowerToHyperService::new(self.routes);
        let mut server = http2::Builder::new(TokioExecutor::new());
        server.initial_connection_window_size(WINDOW);
        let serving = server.serve_connection(TokioIo::new(self.wire), service);
        if let Err(error) = serving.await {
            // The build says what comes of it.
            tracing::debug!("the session with the Docker engine has ended: {error}");
        }
    }
}

/// The engine asks again and again whether we are still there.
struct Alive;

#[async_trait]
impl Health for Alive {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() }))
    }

    async fn list(&self, _: Request<HealthListRequest>) -> Result<Response<HealthListResponse>, Status> {
        Err(Status::unimplemented("only `check` is answered"))
    }

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("only `check` is answered"))
    }
}

/// Hands out secrets by their ids.
struct Handed(Secrets);

#[async_trait]
impl SecretsService for Handed {
    async fn get_secret(&self, request: Request<GetSecretRequest>) -> Result<Response<GetSecretResponse>, Status> {
        let id = &request.get_ref().id;
        match self.0.files().find(|(own, _)| own == id) {
            Some((_, content)) => Ok(Response::new(GetSecretResponse { data: content.to_vec() })),
            None => Err(Status::not_found(format!("the image has no secret `{id}`"))),
        }
    }
}
