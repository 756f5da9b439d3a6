//! A connection to an engine that is taken over from HTTP: what the client library keeps to itself.

use std::{
    io::{self, ErrorKind},
    path::Path,
    sync::Arc,
};

use slipway_backend::BackendError;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpStream, UnixStream},
    time::timeout,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    },
};

use crate::engine::{Address, CONNECT};

/// The longest answer before a connection is ours, in bytes.
const LONGEST_ANSWER: usize = 16 << 10;

/// Bytes both ways.
pub(crate) trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

/// Asks the engine for `path` with these headers, and takes the connection over as h2c.
///
/// # Errors
/// When the engine does not answer, or keeps the connection.
pub(crate) async fn take_over(
    address: &Address,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<Box<dyn Wire>, BackendError> {
    let taking = async {
        let mut wire = connect(address).await?;
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: docker\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 0\r\n{headers}\r\n"
        );
        wire.write_all(request.as_bytes()).await?;
        wire.flush().await?;
        let answer = answer(&mut wire).await?;
        let first = answer.lines().next().unwrap_or_default().to_owned();
        match first.split(' ').nth(1) {
            Some("101") => Ok(wire),
            _ => Err(io::Error::other(format!("the engine answered `{first}`"))),
        }
    };
    let taken = timeout(CONNECT, taking).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()));
    taken
        .map_err(|error| BackendError::Engine(format!("open {path} of the Docker engine at {}: {error}", address.host)))
}

/// The head of an answer. What follows it is not touched.
async fn answer(wire: &mut Box<dyn Wire>) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == LONGEST_ANSWER {
            return Err(io::Error::other("the engine's answer has no end"));
        }
        head.push(wire.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

async fn connect(address: &Address) -> io::Result<Box<dyn Wire>> {
    let (scheme, rest) = address.host.split_once("://").unwrap_or(("unix", &address.host));
    if scheme == "unix" {
        return Ok(Box::new(UnixStream::connect(rest).await?));
    }
    let place = rest.split('/').next().unwrap_or_default();
    let name = place.rsplit_once(':').map_or(place, |(name, _)| name).trim_matches(['[', ']']).to_owned();
    let stream = TcpStream::connect(place).await?;
    // What travels are small messages that wait for each other.
    stream.set_nodelay(true)?;
    let Some(directory) = &address.certificates else { return Ok(Box::new(stream)) };
    let name = ServerName::try_from(name).map_err(io::Error::other)?;
    let connector = TlsConnector::from(Arc::new(tls(directory).await?));
    Ok(Box::new(connector.connect(name, stream).await?))
}

/// TLS with the keys and certificates of a directory.
async fn tls(directory: &Path) -> io::Result<ClientConfig> {
    let read = async |name: &str| tokio::fs::read(directory.join(name)).await;
    let (authority, certificates, key) = (read("ca.pem").await?, read("cert.pem").await?, read("key.pem").await?);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&authority) {
        roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&certificates).collect();
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(io::Error::other)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    let config = config.with_root_certificates(roots);
    config.with_client_auth_cert(certificates.map_err(io::Error::other)?, key).map_err(io::Error::other)
}
