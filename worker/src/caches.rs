//! The cache repositories that jobs name, each with what is known of its state.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use slipway_oci::Repo;
use slipway_process::Clock;
use slipway_registry::Client;
use slipway_storage::CacheRepo;

/// Caches that are remembered; beyond that all are forgotten, and with them only which ones are left alone.
const MANY: usize = 1000;

/// All caches that jobs of this worker have named.
pub(crate) struct Caches {
    client: Client,
    clock: Arc<dyn Clock>,
    /// A lock for look-ups, never held over an await.
    known: Mutex<HashMap<Repo, Arc<CacheRepo>>>,
}

impl Caches {
    pub(crate) fn new(client: Client, clock: Arc<dyn Clock>) -> Self {
        Self { client, clock, known: Mutex::default() }
    }

    /// How registries are spoken to.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// The caches of these names, in this order.
    pub(crate) fn named(&self, repos: &[Repo]) -> Vec<Arc<CacheRepo>> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() > MANY {
            known.clear();
        }
        let mut cache = |repo: &Repo| {
            let fresh = || Arc::new(CacheRepo::new(self.client.clone(), repo.clone(), Arc::clone(&self.clock)));
            Arc::clone(known.entry(repo.clone()).or_insert_with(fresh))
        };
        repos.iter().map(&mut cache).collect()
    }

    /// Which of them have failed since this was last asked, and how.
    pub(crate) fn failed(&self, repos: &[Repo]) -> Vec<(Repo, String)> {
        let caches = self.named(repos);
        caches.iter().filter_map(|cache| Some((cache.repo().clone(), cache.untold()?))).collect()
    }
}
