//! Real etcd, one cluster a test, and a link to a member that can be cut.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::Arc,
    time::Duration,
};

use slipway_kv::{EtcdAddress, EtcdKv, EtcdOptions, Kv, KvError, Range};
use slipway_process::{Environment, Tasks, child};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, tcp},
    sync::watch,
    time::{sleep, timeout},
};

/// Whether a program is on this machine; said aloud, and a failure when `SLIPWAY_TEST_REQUIRE` names the part.
pub(crate) fn has(program: &str, part: &str) -> bool {
    if child::command(program).arg("version").output().is_ok() {
        return true;
    }
    let environment = Environment::from_process();
    let required = environment.get("SLIPWAY_TEST_REQUIRE").unwrap_or_default();
    assert!(!required.split(',').any(|wanted| wanted == part), "`{part}` is required, but not on this machine");
    drop(std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("skipped: `{part}` is not on this machine\n")));
    false
}

/// A cluster; stopped and removed when dropped.
pub(crate) struct Etcd {
    pub(crate) directory: TempDir,
    members: Vec<Running>,
    more: Vec<String>,
    tls: bool,
}

struct Running {
    client: u16,
    peer: u16,
    process: Child,
}

impl Etcd {
    /// Starts `number` members; `None` when there is no etcd here.
    pub(crate) async fn start(number: usize) -> Option<Self> {
        Self::start_with(number, tempfile::tempdir().unwrap(), &[], false).await
    }

    /// As [`start`](Self::start), with more flags, on files that are in `directory` already.
    pub(crate) async fn start_with(number: usize, directory: TempDir, more: &[&str], tls: bool) -> Option<Self> {
        if !has("etcd", "etcd") {
            return None;
        }
        let ports: Vec<(u16, u16)> = free_ports(number * 2).chunks(2).map(|pair| (pair[0], pair[1])).collect();
        let more: Vec<String> = more.iter().map(|flag| (*flag).to_owned()).collect();
        let mut etcd = Self { directory, members: Vec::new(), more, tls };
        let peers: Vec<u16> = ports.iter().map(|(_, peer)| *peer).collect();
        for (client, peer) in ports {
            let process = etcd.spawn(client, peer, &peers);
            etcd.members.push(Running { client, peer, process });
        }
        Some(etcd)
    }

    fn spawn(&self, client: u16, peer: u16, peers: &[u16]) -> Child {
        let scheme = if self.tls { "https" } else { "http" };
        let (client, own) = (format!("{scheme}://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
        let cluster: Vec<String> = peers.iter().map(|peer| format!("m{peer}=http://127.0.0.1:{peer}")).collect();
        let log = std::fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        child::command("etcd")
            .args(["--name", &format!("m{peer}"), "--initial-cluster", &cluster.join(",")])
            .args(["--data-dir", self.path(&format!("m{peer}")).to_str().unwrap(), "--logger", "zap"])
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &own, "--initial-advertise-peer-urls", &own])
            .args(&self.more)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null())
            .spawn()
            .unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn members(&self) -> Vec<String> {
        self.members.iter().map(|member| format!("127.0.0.1:{}", member.client)).collect()
    }

    pub(crate) fn address(&self) -> EtcdAddress {
        format!("etcd://{}", self.members().join(",")).parse().unwrap()
    }

    /// A handle of a new process, when the cluster answers.
    pub(crate) async fn open(&self) -> Arc<dyn Kv> {
        open(&self.address(), &EtcdOptions::default()).await
    }

    pub(crate) fn kill(&mut self, number: usize) {
        self.members[number].process.kill().unwrap();
        self.members[number].process.wait().unwrap();
    }

    pub(crate) fn restart(&mut self, number: usize) {
        let peers: Vec<u16> = self.members.iter().map(|member| member.peer).collect();
        let process = self.spawn(self.members[number].client, self.members[number].peer, &peers);
        self.members[number].process = process;
    }

    /// Sends `STOP` or `CONT`.
    pub(crate) fn signal(&self, number: usize, signal: &str) {
        let pid = self.members[number].process.id().to_string();
        assert!(child::command("kill").args([&format!("-{signal}"), &pid]).status().unwrap().success());
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for member in &mut self.members {
            let _ = member.process.kill();
            let _ = member.process.wait();
        }
    }
}

pub(crate) fn free_ports(number: usize) -> Vec<u16> {
    let open: Vec<TcpListener> = (0..number).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
    open.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
}

/// Opens a store, waiting until it has a leader.
pub(crate) async fn open(address: &EtcdAddress, options: &EtcdOptions) -> Arc<dyn Kv> {
    let kv: Arc<dyn Kv> = Arc::new(EtcdKv::new(address, options).unwrap());
    answers(&*kv).await;
    kv
}

/// Waits until the store answers.
pub(crate) async fn answers(kv: &dyn Kv) {
    let mut last = None;
    for _ in 0..300 {
        match kv.range(&Range::key("up")).await {
            Ok(_) => return,
            Err(error @ KvError::Denied(_)) => panic!("{error}"),
            Err(error) => last = Some(error),
        }
        sleep(Duration::from_millis(100)).await;
    }
    panic!("the store does not answer: {last:?}");
}

/// Reads a file of the cluster's directory.
pub(crate) fn read(directory: &Path, name: &str) -> Vec<u8> {
    std::fs::read(directory.join(name)).unwrap()
}

/// A TCP link whose answers can be held back; ended when dropped.
pub(crate) struct Link {
    pub(crate) member: String,
    held: watch::Sender<bool>,
    tasks: Tasks,
}

impl Link {
    pub(crate) async fn to(upstream: &str) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let member = listener.local_addr().unwrap().to_string();
        let (held, tasks) = (watch::Sender::new(false), Tasks::new());
        let (upstream, rule, inner) = (upstream.to_owned(), held.subscribe(), tasks.clone());
        drop(tasks.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let Ok(server) = TcpStream::connect(&upstream).await else { continue };
                let ((from, to), (back, forth)) = (client.into_split(), server.into_split());
                drop(inner.spawn(pump(from, forth, None)));
                drop(inner.spawn(pump(back, to, Some(rule.clone()))));
            }
        }));
        Self { member, held, tasks }
    }

    /// From now on requests pass and answers are held back, or neither.
    pub(crate) fn hold(&self, held: bool) {
        self.held.send_replace(held);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.tasks.token().cancel();
    }
}

async fn pump(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf, rule: Option<watch::Receiver<bool>>) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(read) = from.read(&mut buffer).await {
        if let Some(rule) = &rule
            && rule.clone().wait_for(|held| !*held).await.is_err()
        {
            return;
        }
        if read == 0 || to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
    }
}

/// Waits for what must come, and fails when it does not within a minute.
pub(crate) async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), work).await.unwrap_or_else(|_| panic!("{what}"))
}
