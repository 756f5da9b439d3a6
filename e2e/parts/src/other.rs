//! A registry that is not `docker-registry`: whatever the variable [`OTHER_REGISTRY`] names.

use std::net::{TcpListener, TcpStream};

use slipway_process::{Environment, child::command};
use tempfile::TempDir;

use crate::{Server, skip};

/// Names a program that serves a registry: it is started with a port of loopback and an empty directory.
pub const OTHER_REGISTRY: &str = "SLIPWAY_OTHER_REGISTRY";

/// A running registry of another make. It is killed, and its files are removed, when this is dropped.
pub struct OtherRegistry {
    _server: Server,
    host: String,
    _directory: TempDir,
}

impl OtherRegistry {
    /// Starts it; `None`, said aloud, when no program is named.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start() -> Option<Self> {
        let environment = Environment::from_process();
        let Some(program) = environment.non_empty(OTHER_REGISTRY) else {
            skip("another registry", &format!("{OTHER_REGISTRY} names none (see scripts/other-registry)"));
            return None;
        };
        let directory = tempfile::tempdir().expect("a temporary directory");
        // It must be told a port; should another process take it in between, the next start gets another.
        let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let host = free.expect("a free port").to_string();
        let port = host.rsplit(':').next().expect("a port");
        let mut serve = command(program);
        serve.arg(port).arg(directory.path());
        let mut server = Server::start(&mut serve, &directory.path().join("log"));
        let up = server.ready(|_| TcpStream::connect(&host).ok());
        up.unwrap_or_else(|log| panic!("{program} does not serve:\n{log}"));
        Some(Self { _server: server, host, _directory: directory })
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> &str {
        &self.host
    }
}
