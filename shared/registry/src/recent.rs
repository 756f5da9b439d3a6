//! What was stored or seen a moment ago.
//!
//! Some registries answer 404 for a while after a `PUT`, as their parts agree late. A 404 for something in here is worth
//! a few more tries; for all else it is the answer. And what a registry has just taken need not be asked for.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use slipway_oci::{BlobDigest, Repo};
use slipway_process::Clock;

use crate::RawManifest;

/// How long a registry may take to see what it stored.
const MEMORY: Duration = Duration::from_secs(60);
/// Things that are remembered; more are forgotten all at once, which costs nothing but the benefit of the doubt.
const CAPACITY: usize = 4096;
/// The same for whole manifests, each of some kilobytes.
const MANIFESTS: usize = 64;

pub(crate) struct Recent {
    clock: Arc<dyn Clock>,
    /// By repository and name (a tag or a digest): the digest, and until when.
    stored: Mutex<HashMap<(Repo, String), (BlobDigest, Duration)>>,
    /// Manifests that were stored under their digests, and until when.
    manifests: Mutex<HashMap<(Repo, BlobDigest), (RawManifest, Duration)>>,
}

impl Recent {
    pub(crate) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, stored: Mutex::default(), manifests: Mutex::default() }
    }

    /// A manifest was stored under its digest.
    pub(crate) fn add_manifest(&self, repo: &Repo, manifest: RawManifest) {
        let now = self.clock.monotonic();
        let mut manifests = self.manifests.lock().unwrap_or_else(PoisonError::into_inner);
        if manifests.len() >= MANIFESTS {
            manifests.retain(|_, (_, until)| now < *until);
        }
        if manifests.len() >= MANIFESTS {
            manifests.clear();
        }
        manifests.insert((repo.clone(), manifest.digest.clone()), (manifest, now + MEMORY));
    }

    /// A manifest that was stored under its digest lately.
    pub(crate) fn manifest(&self, repo: &Repo, digest: &BlobDigest) -> Option<RawManifest> {
        let now = self.clock.monotonic();
        let manifests = self.manifests.lock().unwrap_or_else(PoisonError::into_inner);
        let (manifest, until) = manifests.get(&(repo.clone(), digest.clone()))?;
        (now < *until).then(|| manifest.clone())
    }

    /// Something was stored under `name`, and under its digest.
    pub(crate) fn add(&self, repo: &Repo, name: &str, digest: &BlobDigest) {
        let now = self.clock.monotonic();
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        if stored.len() >= CAPACITY {
            stored.retain(|_, (_, until)| now < *until);
        }
        if stored.len() >= CAPACITY {
            stored.clear();
        }
        for key in [name, digest.as_str()] {
            stored.insert((repo.clone(), key.to_owned()), (digest.clone(), now + MEMORY));
        }
    }

    /// Whether something was stored under `name` lately.
    pub(crate) fn has(&self, repo: &Repo, name: &str) -> bool {
        let now = self.clock.monotonic();
        let stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        stored.get(&(repo.clone(), name.to_owned())).is_some_and(|(_, until)| now < *until)
    }

    /// A name was taken off something.
    pub(crate) fn remove_name(&self, repo: &Repo, name: &str) {
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        stored.remove(&(repo.clone(), name.to_owned()));
    }

    /// Something was deleted, with all its names.
    pub(crate) fn remove(&self, repo: &Repo, digest: &BlobDigest) {
        let mut stored = self.stored.lock().unwrap_or_else(PoisonError::into_inner);
        stored.retain(|(place, _), (held, _)| !(place == repo && held == digest));
        drop(stored);
        self.manifests.lock().unwrap_or_else(PoisonError::into_inner).remove(&(repo.clone(), digest.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hand::Hand;

    #[test]
    fn remembers_for_a_while() {
        let clock = Arc::new(Hand::default());
        let recent = Recent::new(Arc::clone(&clock) as Arc<dyn Clock>);
        let repo = |path: &str| Repo { host: "r.example".to_owned(), path: path.to_owned() };
        let (one, two) = (BlobDigest::of(b"1"), BlobDigest::of(b"2"));
        recent.add(&repo("a"), "v1", &one);
        recent.add(&repo("a"), "v2", &two);
        assert!(recent.has(&repo("a"), "v1") && recent.has(&repo("a"), one.as_str()));
        assert!(!recent.has(&repo("b"), "v1") && !recent.has(&repo("a"), "v3"));
        recent.remove(&repo("a"), &one);
        assert!(!recent.has(&repo("a"), "v1") && recent.has(&repo("a"), "v2"));
        let manifest = RawManifest { digest: two.clone(), media_type: String::new(), bytes: "2".into() };
        recent.add_manifest(&repo("a"), manifest.clone());
        assert_eq!(recent.manifest(&repo("a"), &two), Some(manifest.clone()));
        assert_eq!((recent.manifest(&repo("b"), &two), recent.manifest(&repo("a"), &one)), (None, None));
        clock.set(60);
        assert!(!recent.has(&repo("a"), "v2") && recent.manifest(&repo("a"), &two).is_none());
        recent.add_manifest(&repo("a"), manifest);
        recent.remove(&repo("a"), &two);
        assert_eq!(recent.manifest(&repo("a"), &two), None, "it was deleted");
        for number in 0..CAPACITY * 2 {
            recent.add(&repo("a"), &number.to_string(), &one);
        }
        assert!(recent.stored.lock().unwrap().len() <= CAPACITY + 2);
    }
}
