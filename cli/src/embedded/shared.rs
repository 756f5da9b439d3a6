//! Stages that many hosts share, by etcd.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use slipway_kv::{Batched, EtcdAddress, EtcdKv, EtcdOptions, Kv, Sessions};
use slipway_locks::KvLocks;
use slipway_oci::Repo;
use slipway_process::{Clock, Tasks, random_id};
use slipway_storage::{
    LedgerRecords, Publisher, Records, RepoStorage, StageStorage,
    kv::{Attempts, Fences, KvLedger, LiveBuild, LiveBuilds, SharedPublisher, SharedStages},
};

use crate::host::{RegistryOptions, client};

/// How long a process may be silent before its locks and attempts are given up.
const TTL: Duration = Duration::from_secs(60);

/// The ledger of a repository in etcd, as this process uses it.
pub(crate) struct Shared {
    sessions: Sessions,
    publisher: SharedPublisher,
    builds: LiveBuilds,
    tasks: Tasks,
}

impl Shared {
    /// Connects to etcd; the repository is attached when it is first looked at.
    ///
    /// # Errors
    /// When etcd does not answer, or refuses.
    pub(crate) async fn open(
        address: &EtcdAddress,
        options: &EtcdOptions,
        storage: Arc<RepoStorage>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let kv = EtcdKv::open(address, options).await.with_context(|| format!("use {address} (--synchronization)"))?;
        // Stages that are ready at the same time are committed together.
        let tasks = Tasks::new();
        let kv: Arc<dyn Kv> = Arc::new(Batched::new(kv, &tasks));
        let sessions = Sessions::new(kv.clone(), TTL);
        let repo: Repo = storage.repo().clone();
        let attempts = Attempts::OfProcess(sessions.clone());
        let ledger = Arc::new(KvLedger::new(kv.clone(), repo, storage, clock, Fences::open(), attempts));
        let locks = KvLocks::new(kv, sessions.clone(), &holder());
        let publisher = SharedPublisher::new(ledger.clone(), Some(Arc::new(locks)));
        let builds = LiveBuilds::new(ledger, sessions.clone());
        Ok(Self { sessions, publisher, builds, tasks })
    }

    /// The ledger.
    pub(crate) fn ledger(&self) -> &Arc<KvLedger> {
        self.publisher.ledger()
    }

    /// What publishes, for commands.
    pub(crate) fn publishing(&self) -> &SharedPublisher {
        &self.publisher
    }

    /// What publishes.
    pub(crate) fn publisher(&self) -> Publisher {
        Publisher::shared(self.publisher.clone())
    }

    /// The stages, as the records have them.
    pub(crate) fn stages(&self) -> Arc<dyn StageStorage> {
        Arc::new(SharedStages(self.ledger().clone()))
    }

    /// What is kept beside the stages.
    pub(crate) fn records(&self, storage: &RepoStorage, project: &str) -> Arc<dyn Records> {
        let records = Arc::new(storage.records(project).unlisted());
        Arc::new(LedgerRecords { records, ledger: self.publisher.clone() })
    }

    /// A build begins.
    ///
    /// # Errors
    /// When etcd does not answer.
    pub(crate) async fn begin(&self, project: &str) -> Result<LiveBuild> {
        Ok(self.builds.begin(&random_id(), &format!("{project} on {}", holder())).await?)
    }

    /// A build ends. Whether it was known all the time.
    ///
    /// # Errors
    /// When etcd does not answer.
    pub(crate) async fn end(&self, build: &LiveBuild) -> Result<bool> {
        Ok(self.builds.end(build).await?)
    }

    /// Lets go of all that other processes may wait for.
    pub(crate) async fn close(&self) {
        if let Err(error) = self.sessions.close().await {
            tracing::debug!("leave etcd: {error}");
        }
        self.tasks.shut_down().await;
    }
}

/// The shared ledger of a repository, without a build.
///
/// # Errors
/// When registry or etcd cannot be spoken to.
pub(crate) async fn share(
    (address, options): (&EtcdAddress, &EtcdOptions),
    repo: Repo,
    registry: &RegistryOptions,
    clock: Arc<dyn Clock>,
) -> Result<Shared> {
    let storage = RepoStorage::of_ledger(client(registry)?, repo);
    Shared::open(address, options, Arc::new(storage), clock).await
}

/// This process, for messages of others.
pub(super) fn holder() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = if host.trim().is_empty() { "another host" } else { host.trim() };
    format!("{host}, process {}", std::process::id())
}
