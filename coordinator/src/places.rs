//! Repositories of stages, by their records in the shared store: what one build has stored, every other one sees, on
//! whichever coordinator, and no tags are listed for it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use slipway_kv::Kv;
use slipway_oci::Repo;
use slipway_process::Clock;
use slipway_protocol::{OtherRepos, SubmitRequest};
use slipway_registry::Client;
use slipway_storage::{
    Beside, CacheRepo, CustomTags, FinalRepo, Indexes, LedgerRecords, Publisher, Records, RepoStorage, SecondaryRepo,
    StageStorage,
    kv::{Attempts, Fences, KvLedger, SharedPublisher, SharedStages, StagePlace},
};
use tokio::sync::OnceCell;

use crate::outside::Bases;

/// All repositories that builds use right now.
pub(crate) struct Places {
    client: Client,
    kv: Arc<dyn Kv>,
    clock: Arc<dyn Clock>,
    /// The conditions of the term.
    fences: Fences,
    /// External images.
    pub(crate) bases: Arc<dyn Bases>,
    /// A lock for look-ups, never held over an await.
    known: Mutex<HashMap<Repo, Weak<Place>>>,
}

/// One repository of stages.
pub(crate) struct Place {
    repo: Arc<RepoStorage>,
    shared: SharedPublisher,
    pub(crate) stages: Arc<dyn StageStorage>,
    pub(crate) publisher: Arc<Publisher>,
    opened: OnceCell<()>,
}

impl Places {
    /// Repositories whose records are in `kv` and written under `fences`.
    pub(crate) fn new(
        client: Client,
        kv: Arc<dyn Kv>,
        clock: Arc<dyn Clock>,
        fences: Fences,
        bases: Arc<dyn Bases>,
    ) -> Self {
        Self { client, kv, clock, fences, bases, known: Mutex::default() }
    }

    /// From now on nothing is written any more.
    pub(crate) fn close(&self) {
        self.fences.close();
    }

    /// A repository, once its stages are recorded and what others began in it is finished.
    ///
    /// # Errors
    /// What was being done and what went wrong.
    pub(crate) async fn open(&self, repo: &Repo) -> Result<Arc<Place>, String> {
        let place = self.place(repo);
        place.opened.get_or_try_init(|| place.begin(repo)).await?;
        Ok(place)
    }

    /// The repositories that a build uses beside its primary one.
    pub(crate) fn beside(&self, others: &OtherRepos) -> Beside {
        let cache = |repo: &Repo| CacheRepo::new(self.client.clone(), repo.clone(), Arc::clone(&self.clock));
        let secondary = |repo: &Repo| SecondaryRepo::new(self.client.clone(), repo.clone());
        Beside {
            caches: others.caches.iter().map(cache).map(Arc::new).collect(),
            secondaries: others.secondaries.iter().map(secondary).map(Arc::new).collect(),
            final_repo: others.final_repo.clone().map(|repo| FinalRepo::new(self.client.clone(), repo)),
            indexes: Some(Indexes::new(self.client.clone())),
        }
    }

    /// The further tags that a build gives its images.
    pub(crate) fn custom_tags(&self, request: &SubmitRequest) -> Option<CustomTags> {
        let wanted: Vec<(String, String)> =
            request.custom_tags.iter().map(|wanted| (wanted.image.0.clone(), wanted.tag.clone())).collect();
        let to = request.others.final_repo.as_ref().unwrap_or(&request.repo).clone();
        let repos = (request.repo.clone(), to);
        (!wanted.is_empty()).then(|| CustomTags::new(self.client.clone(), &request.project, repos, wanted))
    }

    fn place(&self, repo: &Repo) -> Arc<Place> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = known.get(repo).and_then(Weak::upgrade) {
            return place;
        }
        known.retain(|_, place| place.strong_count() > 0);
        let storage = Arc::new(RepoStorage::of_ledger(self.client.clone(), repo.clone()));
        let ledger = KvLedger::new(
            Arc::clone(&self.kv),
            repo.clone(),
            Arc::clone(&storage) as Arc<dyn StagePlace>,
            Arc::clone(&self.clock),
            self.fences.clone(),
            Attempts::OfCoordinator,
        );
        let ledger = Arc::new(ledger);
        // One process publishes for the whole cluster: locks would save nothing.
        let shared = SharedPublisher::new(Arc::clone(&ledger), None);
        let place = Arc::new(Place {
            repo: storage,
            stages: Arc::new(SharedStages(ledger)),
            publisher: Arc::new(Publisher::shared(shared.clone())),
            shared,
            opened: OnceCell::new(),
        });
        known.insert(repo.clone(), Arc::downgrade(&place));
        place
    }
}

impl Place {
    /// What publishes, for those who ask.
    pub(crate) fn shared(&self) -> &SharedPublisher {
        &self.shared
    }

    /// What is kept beside the stages of a project.
    pub(crate) fn records(&self, project: &str) -> Arc<dyn Records> {
        let records = Arc::new(self.repo.records(project).unlisted());
        Arc::new(LedgerRecords { records, ledger: self.shared.clone() })
    }

    async fn begin(&self, repo: &Repo) -> Result<(), String> {
        let ledger = self.shared.ledger();
        ledger.attach().await.map_err(|error| format!("record the stages of {repo}: {error}"))?;
        // Leave that an earlier leader gave: who still has a result is asked again, and gets it anew.
        let left = ledger.all_granted().await.map_err(|error| format!("read the attempts of {repo}: {error}"))?;
        for attempt in left {
            let cancelled = ledger.cancel(&attempt).await;
            cancelled.map_err(|error| format!("take back an attempt of an earlier leader in {repo}: {error}"))?;
        }
        let recovered = self.publisher.recover().await;
        recovered.map(drop).map_err(|error| format!("finish what interrupted builds left in {repo}: {error}"))
    }
}
