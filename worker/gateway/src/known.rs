//! Which blob is in which repository, as far as this process has seen.
//!
//! It spares questions and uploads; it is never the last word. What is *confirmed* (the registry said so itself) may be
//! answered without a round trip for a while; what was merely *seen* (a manifest names it) is worth the try of a mount.

use std::{
    collections::{HashMap, VecDeque},
    sync::Mutex,
    time::Duration,
};

use slipway_oci::{BlobDigest, Repo};
use tokio::time::Instant;

use crate::locked::locked;

/// How long a confirmed blob counts as there: registries collect garbage.
const TRUSTED_FOR: Duration = Duration::from_secs(15 * 60);
/// Most blobs that are remembered.
const BLOBS_LIMIT: usize = 50_000;
/// Most repositories that are remembered of one blob.
const PLACES_LIMIT: usize = 8;

/// The memory. Oldest blobs are forgotten first.
#[derive(Debug, Default)]
pub(crate) struct Known {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    blobs: HashMap<BlobDigest, Blob>,
    order: VecDeque<BlobDigest>,
}

#[derive(Debug)]
struct Blob {
    size: u64,
    places: VecDeque<Place>,
}

#[derive(Debug)]
struct Place {
    repo: Repo,
    confirmed: Option<Instant>,
}

impl Known {
    /// The registry said that `repo` has the blob.
    pub(crate) fn confirm(&self, repo: &Repo, digest: &BlobDigest, size: u64) {
        self.put(repo, digest, size, Some(Instant::now()));
    }

    /// A manifest in `repo` names the blob.
    pub(crate) fn see(&self, repo: &Repo, digest: &BlobDigest, size: u64) {
        self.put(repo, digest, size, None);
    }

    /// The size of a blob that `repo` was confirmed to have not long ago.
    pub(crate) fn confirmed(&self, repo: &Repo, digest: &BlobDigest) -> Option<u64> {
        self.confirmed_at(repo, digest, Instant::now())
    }

    fn confirmed_at(&self, repo: &Repo, digest: &BlobDigest, now: Instant) -> Option<u64> {
        let inner = locked(&self.inner);
        let blob = inner.blobs.get(digest)?;
        let place = blob.places.iter().find(|place| place.repo == *repo)?;
        place.confirmed.filter(|at| now.duration_since(*at) < TRUSTED_FOR).map(|_| blob.size)
    }

    /// Other repositories on the host of `repo` that should have the blob, with its size; the latest first.
    pub(crate) fn elsewhere(&self, repo: &Repo, digest: &BlobDigest) -> Vec<(Repo, u64)> {
        let inner = locked(&self.inner);
        let Some(blob) = inner.blobs.get(digest) else { return Vec::new() };
        let others = blob.places.iter().rev().map(|place| &place.repo);
        others
            .filter(|other| other.host == repo.host && *other != repo)
            .map(|other| (other.clone(), blob.size))
            .collect()
    }

    /// `repo` turned out not to have the blob.
    pub(crate) fn forget(&self, repo: &Repo, digest: &BlobDigest) {
        if let Some(blob) = locked(&self.inner).blobs.get_mut(digest) {
            blob.places.retain(|place| place.repo != *repo);
        }
    }

    fn put(&self, repo: &Repo, digest: &BlobDigest, size: u64, confirmed: Option<Instant>) {
        let mut guard = locked(&self.inner);
        let inner = &mut *guard;
        let blob = inner.blobs.entry(digest.clone()).or_insert_with(|| {
            inner.order.push_back(digest.clone());
            Blob { size, places: VecDeque::new() }
        });
        // A manifest may lie about the size; the registry does not.
        if confirmed.is_some() {
            blob.size = size;
        }
        let before = blob.places.iter().position(|place| place.repo == *repo);
        let before = before.and_then(|index| blob.places.remove(index)).and_then(|place| place.confirmed);
        blob.places.push_back(Place { repo: repo.clone(), confirmed: confirmed.or(before) });
        if blob.places.len() > PLACES_LIMIT {
            blob.places.pop_front();
        }
        while inner.order.len() > BLOBS_LIMIT {
            if let Some(oldest) = inner.order.pop_front() {
                inner.blobs.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repo(host: &str, path: &str) -> Repo {
        Repo { host: host.to_owned(), path: path.to_owned() }
    }

    #[test]
    fn confirmed_counts_for_a_while_and_seen_only_for_mounts() {
        let known = Known::default();
        let (here, there, abroad) = (repo("h", "here"), repo("h", "there"), repo("other", "there"));
        let digest = BlobDigest::of(b"x");
        known.see(&there, &digest, 1);
        known.see(&abroad, &digest, 1);
        assert_eq!(known.confirmed(&there, &digest), None, "a manifest's word is no confirmation");
        assert_eq!(known.elsewhere(&here, &digest), [(there.clone(), 1)]);
        assert_eq!(known.elsewhere(&there, &digest), []);

        known.confirm(&here, &digest, 7);
        assert_eq!(known.confirmed(&here, &digest), Some(7));
        known.see(&here, &digest, 9);
        assert_eq!(known.confirmed(&here, &digest), Some(7), "seeing it again changes nothing");
        assert_eq!(known.elsewhere(&there, &digest), [(here.clone(), 7)]);

        assert_eq!(known.confirmed_at(&here, &digest, Instant::now() + TRUSTED_FOR), None);
        known.confirm(&here, &digest, 7);
        known.forget(&here, &digest);
        assert_eq!(known.confirmed(&here, &digest), None);
        assert_eq!(known.elsewhere(&there, &digest), []);
    }

    #[test]
    fn memory_is_bounded() {
        let known = Known::default();
        for index in 0..BLOBS_LIMIT + 10 {
            known.confirm(&repo("h", "r"), &BlobDigest::of(index.to_string().as_bytes()), 1);
        }
        assert_eq!(locked(&known.inner).blobs.len(), BLOBS_LIMIT);
        assert_eq!(known.confirmed(&repo("h", "r"), &BlobDigest::of(b"0")), None, "the oldest went");
        let digest = BlobDigest::of(b"50000");
        for index in 0..PLACES_LIMIT + 3 {
            known.confirm(&repo("h", &format!("r{index}")), &digest, 1);
        }
        assert_eq!(known.elsewhere(&repo("h", "x"), &digest).len(), PLACES_LIMIT);
    }
}
