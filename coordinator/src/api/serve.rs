//! Connections, with TLS or without.

use std::{convert::Infallible, io, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use axum::body::Body;
use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use slipway_process::Tasks;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::Api;

/// Most bytes of a request's line and headers.
const HEADERS_LIMIT: usize = 64 * 1024;
/// How long they may take to come; also how long a connection may rest between two requests.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Pause after the system refused a connection (no descriptors left, for one).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("read {what} from {path}: {why}")]
    File {
        /// Certificate or key.
        what: &'static str,
        /// Which file.
        path: String,
        /// What went wrong.
        why: String,
    },
    /// They do not fit together.
    #[error("use the certificate: {0}")]
    Unusable(String),
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Tls(TlsAcceptor);

impl Tls {
    /// The certificate chain and the key in two PEM files.
    ///
    /// # Errors
    /// When they cannot be read, or do not fit together.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let failed = |what, path: &Path, why: String| TlsError::File { what, path: path.display().to_string(), why };
        let chain: Result<Vec<CertificateDer<'static>>, _> =
            CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect);
        let chain = chain.map_err(|error| failed("the certificate", certificate, error.to_string()))?;
        if chain.is_empty() {
            return Err(failed("the certificate", certificate, "there is none in it".to_owned()));
        }
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| failed("the key", key, error.to_string()))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let unusable = |error: rustls::Error| TlsError::Unusable(error.to_string());
        let versions = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = versions.map_err(unusable)?.with_no_client_auth().with_single_cert(chain, key);
        Ok(Self(TlsAcceptor::from(Arc::new(config.map_err(unusable)?))))
    }
}

/// What a connection needs.
#[derive(Clone)]
pub(crate) struct Server {
    /// Answers.
    pub(crate) api: Arc<Api>,
    /// The certificate, if there is one.
    pub(crate) tls: Option<Tls>,
    /// How many connections there may be.
    pub(crate) connections: Arc<Semaphore>,
    /// Where connections are served.
    pub(crate) tasks: Tasks,
    /// No more connections, and none for long.
    pub(crate) stop: CancellationToken,
}

impl Server {
    /// Takes connections until told to stop.
    pub(crate) async fn serve(self, listener: TcpListener) {
        loop {
            let permit = self.stop.run_until_cancelled(Arc::clone(&self.connections).acquire_owned()).await;
            let Some(Ok(permit)) = permit else { return };
            let Some((stream, peer)) = self.stop.run_until_cancelled(accept(&listener)).await else { return };
            let server = self.clone();
            drop(self.tasks.spawn(async move { server.connection(stream, peer, permit).await }));
        }
    }

    async fn connection(self, stream: TcpStream, peer: SocketAddr, permit: OwnedSemaphorePermit) {
        // Small answers are sent at once.
        let _ = stream.set_nodelay(true);
        match &self.tls {
            None => self.requests(stream).await,
            Some(Tls(acceptor)) => match timeout(HANDSHAKE, acceptor.accept(stream)).await {
                Ok(Ok(stream)) => self.requests(stream).await,
                Ok(Err(error)) => tracing::debug!(%peer, %error, "a TLS handshake failed"),
                Err(_) => tracing::debug!(%peer, "a TLS handshake took too long"),
            },
        }
        drop(permit);
    }

    async fn requests(&self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let service = service_fn(|request: Request<Incoming>| async {
            let (parts, body) = request.into_parts();
            Ok::<_, Infallible>(self.api.respond(parts, Body::new(body)).await)
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS_TIMEOUT)
            .max_buf_size(HEADERS_LIMIT)
            .serve_connection(TokioIo::new(stream), service);
        tokio::pin!(served);
        let ended = tokio::select! {
            ended = served.as_mut() => ended,
            () = self.stop.cancelled() => {
                served.as_mut().graceful_shutdown();
                served.await
            }
        };
        if let Err(error) = ended {
            tracing::trace!(%error, "a connection broke");
        }
    }
}

async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    loop {
        match listener.accept().await {
            Ok(accepted) => return accepted,
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
