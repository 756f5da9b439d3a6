//! Stages whose records are in a real etcd, written as a coordinator writes them: in its term, many in a proposal.

use std::sync::Arc;

use slipway_kv::{Batched, Counted, Do, EtcdKv, EtcdOptions, Kv, Outcome, Txn, When, once};
use slipway_oci::Repo;
use slipway_process::{Clock, Tasks, random_id};
use slipway_storage::{
    MemoryStorage, Publisher, StageStorage,
    kv::{Attempts, Fences, KvLedger, SharedPublisher, SharedStages, StagePlace},
};

/// The records, and what they cost.
pub(crate) struct Stored {
    pub(crate) stages: Arc<dyn StageStorage>,
    pub(crate) publisher: Publisher,
    pub(crate) counted: Counted,
}

impl Stored {
    /// Records in the etcd at an address of `--synchronization`, under the fence of a leader; the images are in `storage`.
    pub(crate) async fn open(
        address: &str,
        repo: &Repo,
        storage: &MemoryStorage,
        clock: Arc<dyn Clock>,
        tasks: &Tasks,
    ) -> Self {
        let address = address.parse().unwrap_or_else(|error| panic!("{address}: {error}"));
        let kv = EtcdKv::open(&address, &EtcdOptions::default()).await.expect("etcd answers");
        let counted = Counted::new(kv);
        let kv: Arc<dyn Kv> = Arc::new(Batched::new(Arc::new(counted.clone()), tasks));
        let leader = format!("bench/{}", random_id());
        let when = vec![When::Absent(leader.clone())];
        let led = once(&*kv, Txn { when, then: vec![Do::put(leader.clone(), "bench")] }).await;
        let Ok(Outcome::Done(term)) = led else { panic!("nobody leads: {led:?}") };
        let fences = Fences::closed();
        fences.set(vec![When::CreatedAt(leader, term)]);
        let place: Arc<dyn StagePlace> = Arc::new(storage.clone());
        let ledger = Arc::new(KvLedger::new(kv, repo.clone(), place, clock, fences, Attempts::OfCoordinator));
        ledger.attach().await.expect("an empty repository is attached");
        let publisher = Publisher::shared(SharedPublisher::new(Arc::clone(&ledger), None));
        Self { stages: Arc::new(SharedStages(ledger)), publisher, counted }
    }
}
