//! Handles on real etcd, and a link to a member that can be cut.

use std::{path::Path, sync::Arc, time::Duration};

use slipway_kv::{EtcdAddress, EtcdKv, EtcdOptions, Kv, KvError, Range};
use slipway_parts::Etcd;
use slipway_process::Tasks;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, tcp},
    sync::watch,
    time::{sleep, timeout},
};

/// Where the members of a cluster are.
pub(crate) fn address(etcd: &Etcd) -> EtcdAddress {
    EtcdAddress::of_members(etcd.endpoints().iter().map(String::as_str)).unwrap()
}

/// The first member, as `HOST:PORT`.
pub(crate) fn first(etcd: &Etcd) -> String {
    address(etcd).members()[0].clone()
}

/// A handle of a new process.
pub(crate) async fn handle(etcd: &Etcd) -> Arc<dyn Kv> {
    open(&address(etcd), &EtcdOptions::default()).await
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
