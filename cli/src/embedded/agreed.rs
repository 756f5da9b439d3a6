//! What many hosts share with a build: the records of a repository's stages, in etcd or at a coordinator.

use std::sync::Arc;

use anyhow::{Result, bail};
use slipway_client::{Addresses, Client};
use slipway_oci::Repo;
use slipway_process::Tasks;
use slipway_stages::build::BuiltImage;
use slipway_storage::{
    LedgerRecords, Publisher, Records, RepoStorage, StageStorage,
    asked::{AskedLedger, AskedPublisher, AskedStages},
    kv::LiveBuild,
};

use super::{
    BuildRequest,
    asked::{Asking, Running},
    shared::{Shared, holder},
};
use crate::{host::Host, synchronization::Synchronization};

/// The records, and where the images are.
pub(super) struct Agreed {
    storage: Arc<RepoStorage>,
    way: Way,
}

enum Way {
    /// In etcd, which this process speaks to itself.
    Etcd(Box<Shared>),
    /// At a coordinator, which writes them.
    Coordinator { client: Client, ledger: Arc<dyn AskedLedger>, tasks: Tasks },
}

/// A build that the others know of.
pub(super) enum Live {
    Etcd(LiveBuild),
    Coordinator(Running),
}

impl Agreed {
    /// What many hosts share with a build, if they do.
    ///
    /// # Errors
    /// When etcd does not answer, or refuses; when an address cannot be used.
    pub(super) async fn open(request: &BuildRequest, host: &Host) -> Result<Option<Self>> {
        let Some(repo) = &request.repo else { return Ok(None) };
        let storage = Arc::new(RepoStorage::of_ledger(host.client.clone(), repo.clone()));
        let way = match &request.synchronization {
            Synchronization::Local => return Ok(None),
            Synchronization::Etcd(address, options) => {
                let shared = Shared::open(address, options, Arc::clone(&storage), Arc::clone(&request.clock)).await?;
                Way::Etcd(Box::new(shared))
            }
            Synchronization::Coordinator(urls) => {
                let client = Client::new(Addresses::new(urls)?, request.token.clone(), Arc::clone(&request.clock))?;
                let ledger = Arc::new(Asking::new(client.clone(), repo.clone()));
                Way::Coordinator { client, ledger, tasks: Tasks::new() }
            }
        };
        Ok(Some(Self { storage, way }))
    }

    /// What publishes.
    pub(super) fn publisher(&self) -> Publisher {
        match &self.way {
            Way::Etcd(shared) => shared.publisher(),
            Way::Coordinator { ledger, .. } => Publisher::asked(AskedPublisher(Arc::clone(ledger))),
        }
    }

    /// The stages, as the records have them.
    pub(super) fn stages(&self) -> Arc<dyn StageStorage> {
        match &self.way {
            Way::Etcd(shared) => shared.stages(),
            Way::Coordinator { ledger, .. } => {
                let place = Arc::clone(&self.storage) as Arc<dyn StageStorage>;
                Arc::new(AskedStages { ledger: Arc::clone(ledger), place })
            }
        }
    }

    /// What is kept beside the stages.
    pub(super) fn records(&self, project: &str) -> Arc<dyn Records> {
        match &self.way {
            Way::Etcd(shared) => shared.records(&self.storage, project),
            Way::Coordinator { ledger, .. } => {
                let records = Arc::new(self.storage.records(project).unlisted());
                Arc::new(LedgerRecords { records, ledger: AskedPublisher(Arc::clone(ledger)) })
            }
        }
    }

    /// A build begins.
    ///
    /// # Errors
    /// When etcd or coordinators do not answer.
    pub(super) async fn begin(&self, project: &str) -> Result<Live> {
        match &self.way {
            Way::Etcd(shared) => shared.begin(project).await.map(Live::Etcd),
            Way::Coordinator { client, tasks, .. } => {
                let note = format!("{project} on {}", holder());
                Running::begin(client, self.repo(), note, tasks).await.map(Live::Coordinator)
            }
        }
    }

    /// A build ends well, if its stages are still there.
    ///
    /// # Errors
    /// When a stage was cleaned up because this build was taken for dead, or nobody answers.
    pub(super) async fn end(&self, build: &Live, images: &[BuiltImage]) -> Result<()> {
        let known = match (&self.way, build) {
            (Way::Etcd(shared), Live::Etcd(build)) => shared.end(build).await?,
            (_, Live::Coordinator(running)) => running.end().await?,
            (Way::Coordinator { .. }, Live::Etcd(_)) => false,
        };
        if known {
            return Ok(());
        }
        tracing::warn!("this build was taken for dead for a while: its stages are verified again");
        for stage in images.iter().flat_map(BuiltImage::stages) {
            if let Err(error) = self.storage.verify(&stage.record.at).await {
                bail!("stage {} was removed while this build ran: {error}; build again", stage.record.id);
            }
        }
        Ok(())
    }

    /// Lets go of all that other processes may wait for.
    pub(super) async fn close(&self) {
        match &self.way {
            Way::Etcd(shared) => shared.close().await,
            Way::Coordinator { tasks, .. } => tasks.shut_down().await,
        }
    }

    fn repo(&self) -> &Repo {
        self.storage.repo()
    }
}
