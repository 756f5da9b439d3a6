//! One member of an etcd.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    time::Duration,
};

use slipway_process::{Environment, child::command};

use crate::Server;

/// A member, up or down.
pub(super) struct Member {
    pub(super) name: String,
    /// Where clients reach it, as `http://ADDRESS:PORT`.
    pub(super) client: String,
    /// Where other members reach it.
    pub(super) peer: String,
    /// Where it keeps its data.
    pub(super) data: PathBuf,
    log: PathBuf,
    /// `None`: it is down.
    pub(super) server: Option<Server>,
}

impl Member {
    pub(super) fn new(number: usize, client: String, peer: String, directory: &Path) -> Self {
        let name = format!("member-{number}");
        let (data, log) = (directory.join(&name), directory.join(format!("{name}.log")));
        Self { name, client, peer, data, log, server: None }
    }

    /// As in the list of a cluster.
    pub(super) fn in_cluster(&self) -> String {
        format!("{}={}", self.name, self.peer)
    }

    /// Starts it, and does not wait.
    pub(super) fn start(&mut self, common: &[String]) {
        let mut program = command("etcd");
        program.args(["--name", &self.name]).arg("--data-dir").arg(&self.data);
        program.args(["--listen-client-urls", &self.client, "--advertise-client-urls", &self.client]);
        program.args(["--listen-peer-urls", &self.peer, "--initial-advertise-peer-urls", &self.peer]);
        program.args(["--logger", "zap", "--log-outputs", "stderr"]).args(common);
        // Settings of the machine's own etcd are not ours.
        for (name, _) in Environment::from_process().with_prefix("ETCD_") {
            program.env_remove(name);
        }
        self.server = Some(Server::start(&mut program, &self.log));
    }

    /// Waits until it serves; all that it said, when it ends before that.
    pub(super) fn wait(&mut self) -> Result<(), String> {
        let client = self.client.clone();
        self.server.as_mut().expect("it was started").ready(|_| serves(&client).then_some(()))
    }
}

/// Whether the member at this URL says that it is healthy, which it is when the cluster has a leader.
fn serves(client: &str) -> bool {
    let ask = || {
        let host = client.trim_start_matches("http://");
        let mut stream = TcpStream::connect(host)?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(format!("GET /health HTTP/1.0\r\nHost: {host}\r\n\r\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        std::io::Result::Ok(answer)
    };
    ask().is_ok_and(|answer| answer.contains(r#""health":"true""#))
}
