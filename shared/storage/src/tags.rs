//! The tags of a repository, listed once and kept up by what this process adds.
//!
//! A listing is the dearest request there is: a repository may have 100,000 tags. So it happens on first need, and
//! after that only for who asks for fresh news; all who ask while one listing runs share the next one.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use slipway_digest::{Millis, StageDigest, StageId};
use slipway_oci::Repo;
use slipway_registry::{Client, RegistryError};
use tokio::sync::Mutex;

use crate::names;

/// The tags of one repository as far as this process knows them.
#[derive(Debug)]
pub struct TagIndex {
    client: Client,
    repo: Repo,
    /// Held while a listing runs.
    listing: Mutex<()>,
    /// How many listings were started.
    started: AtomicU64,
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Number of the newest listing that is in here; 0 = there was none.
    listing: u64,
    tags: Tags,
    /// What this process added. A registry may list a tag later than it serves it, so these are kept until they are listed.
    own: HashSet<String>,
}

/// Tags that mean something, sorted into what they mean.
#[derive(Debug, Default)]
struct Tags {
    stages: HashMap<StageDigest, BTreeSet<Millis>>,
    rejected: HashSet<StageId>,
    records: HashSet<String>,
}

impl TagIndex {
    /// An index that knows nothing yet.
    pub fn new(client: Client, repo: Repo) -> Self {
        Self { client, repo, listing: Mutex::new(()), started: AtomicU64::new(0), known: RwLock::default() }
    }

    /// Lists the tags if that never happened; with `fresh`, whenever no listing was started after this call was.
    ///
    /// # Errors
    /// As the registry has them.
    pub async fn refresh(&self, fresh: bool) -> Result<(), RegistryError> {
        let enough = if fresh { self.started.load(Ordering::SeqCst) } else { 0 };
        if self.newest_listing() > enough {
            return Ok(());
        }
        let _turn = self.listing.lock().await;
        if self.newest_listing() > enough {
            return Ok(());
        }
        let number = self.started.fetch_add(1, Ordering::SeqCst) + 1;
        let listed: HashSet<String> = self.client.tags(&self.repo).await?.into_iter().collect();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.listing = number;
        known.tags = Tags::default();
        let Known { tags, own, .. } = &mut *known;
        own.retain(|tag| !listed.contains(tag));
        listed.iter().chain(own.iter()).for_each(|tag| tags.add(tag));
        Ok(())
    }

    /// The stages of a digest, oldest first, without the rejected ones.
    pub fn stages(&self, digest: StageDigest) -> Vec<StageId> {
        let known = self.read();
        let stamps = known.tags.stages.get(&digest).into_iter().flatten();
        let ids = stamps.map(|stamp| StageId { digest, stamp: *stamp });
        ids.filter(|id| !known.tags.rejected.contains(id)).collect()
    }

    /// The latest timestamp of a digest, rejected stages included.
    pub fn latest(&self, digest: StageDigest) -> Option<Millis> {
        self.read().tags.stages.get(&digest)?.last().copied()
    }

    /// Whether a stage is marked as rejected.
    pub fn is_rejected(&self, id: StageId) -> bool {
        self.read().tags.rejected.contains(&id)
    }

    /// Whether there is a record (not a stage) with this tag.
    pub fn has_record(&self, tag: &str) -> bool {
        self.read().tags.records.contains(tag)
    }

    /// A tag was added by this process.
    pub fn added(&self, tag: &str) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.tags.add(tag);
        known.own.insert(tag.to_owned());
    }

    /// A tag is not there any more.
    pub fn vanished(&self, id: &StageId) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.own.remove(&id.to_string());
        if let Some(stamps) = known.tags.stages.get_mut(&id.digest) {
            stamps.remove(&id.stamp);
        }
    }

    fn newest_listing(&self) -> u64 {
        self.read().listing
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tags {
    /// Sorts a tag in; one that means nothing to us is left out.
    fn add(&mut self, tag: &str) {
        if let Ok(id) = tag.parse::<StageId>() {
            self.stages.entry(id.digest).or_default().insert(id.stamp);
        } else if let Some(id) = tag.strip_suffix(names::REJECTED_SUFFIX).and_then(|rest| rest.parse().ok()) {
            self.rejected.insert(id);
        } else if names::is_record(tag) {
            self.records.insert(tag.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "9f3a82975136d66d04ebcb9ce90b14428077099417b6c170e2ef2fef";

    #[test]
    fn tags_are_sorted_into_what_they_mean() {
        let mut tags = Tags::default();
        let stage = format!("{DIGEST}-1589786063772");
        let rejected = format!("{DIGEST}-1589786063773-rejected");
        let odd = format!("{DIGEST}-1589786063774-rejected-too");
        let all = [&stage, &rejected, &odd, "latest", DIGEST, "managed-image-app", "meta-1_2_3", "import-metadata-x"];
        all.into_iter().for_each(|tag| tags.add(tag));
        assert_eq!(tags.stages[&DIGEST.parse().unwrap()], BTreeSet::from([Millis(1_589_786_063_772)]));
        assert_eq!(tags.rejected, HashSet::from([format!("{DIGEST}-1589786063773").parse().unwrap()]));
        let records = ["managed-image-app", "meta-1_2_3", "import-metadata-x"].map(str::to_owned);
        assert_eq!(tags.records, HashSet::from(records));
    }
}
