//! Repositories of stages: one view for all builds that keep their stages in the same one.
//!
//! What one build has just stored, the other sees at once, without listing the repository again. When the last build of
//! a repository has ended, the view is forgotten: the next one lists anew.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use slipway_oci::Repo;
use slipway_process::Clock;
use slipway_registry::Client;
use slipway_storage::{Ledger, Publisher, RepoStorage};
use tokio::sync::OnceCell;

use crate::{locks::NoLocks, outside::Bases};

/// Opens the ledger of a repository.
pub(crate) type Ledgers = Arc<dyn Fn(&Repo) -> Arc<dyn Ledger> + Send + Sync>;

/// All repositories that builds use right now.
pub(crate) struct Places {
    client: Client,
    clock: Arc<dyn Clock>,
    ledgers: Ledgers,
    /// External images.
    pub(crate) bases: Arc<dyn Bases>,
    /// A lock for look-ups, never held over an await.
    known: Mutex<HashMap<Repo, Weak<Place>>>,
}

/// One repository of stages.
pub(crate) struct Place {
    pub(crate) storage: Arc<RepoStorage>,
    pub(crate) publisher: Arc<Publisher>,
    recovered: OnceCell<()>,
}

impl Places {
    pub(crate) fn new(client: Client, clock: Arc<dyn Clock>, ledgers: Ledgers, bases: Arc<dyn Bases>) -> Self {
        Self { client, clock, ledgers, bases, known: Mutex::default() }
    }

    /// A repository, once what others began in it is finished.
    ///
    /// # Errors
    /// What was being done and what went wrong.
    pub(crate) async fn open(&self, repo: &Repo) -> Result<Arc<Place>, String> {
        let place = self.place(repo);
        let recover = async {
            let recovered = place.publisher.recover().await;
            recovered.map(drop).map_err(|error| format!("finish what interrupted builds left in {repo}: {error}"))
        };
        place.recovered.get_or_try_init(|| recover).await?;
        Ok(place)
    }

    fn place(&self, repo: &Repo) -> Arc<Place> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = known.get(repo).and_then(Weak::upgrade) {
            return place;
        }
        known.retain(|_, place| place.strong_count() > 0);
        let storage = Arc::new(RepoStorage::new(self.client.clone(), repo.clone()));
        let publisher = Publisher::new(
            Arc::clone(&storage) as Arc<dyn slipway_storage::StageStorage>,
            (self.ledgers)(repo),
            Arc::new(NoLocks),
            Arc::clone(&self.clock),
        );
        let place = Arc::new(Place { storage, publisher: Arc::new(publisher), recovered: OnceCell::new() });
        known.insert(repo.clone(), Arc::downgrade(&place));
        place
    }
}
