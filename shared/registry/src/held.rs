//! Manifests that this process keeps until it knows under which tag to store them: so an image is stored by one request,
//! where a manifest under its digest and then again under a tag would be two.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use slipway_oci::{BlobDigest, Repo};

use crate::RawManifest;

/// Manifests that are kept at once; those of results that nobody wanted stay until the process ends.
const CAPACITY: usize = 512;
/// Longest manifest that is kept, in bytes: an image of some 300 layers.
const LONGEST: usize = 64 * 1024;

#[derive(Default)]
pub(crate) struct Held(Mutex<Manifests>);

#[derive(Default)]
struct Manifests {
    /// Repositories whose manifests somebody will store.
    served: HashSet<Repo>,
    kept: HashMap<(Repo, BlobDigest), RawManifest>,
}

impl Held {
    /// Somebody will store the manifests of a repository.
    pub(crate) fn serve(&self, repo: &Repo) {
        self.held().served.insert(repo.clone());
    }

    /// Keeps a manifest; `false` when nobody will store it, or there is no room for it.
    pub(crate) fn keep(&self, repo: &Repo, manifest: RawManifest) -> bool {
        let mut held = self.held();
        let keeps = held.served.contains(repo) && held.kept.len() < CAPACITY && manifest.bytes.len() <= LONGEST;
        if keeps {
            held.kept.insert((repo.clone(), manifest.digest.clone()), manifest);
        }
        keeps
    }

    pub(crate) fn get(&self, repo: &Repo, digest: &BlobDigest) -> Option<RawManifest> {
        self.held().kept.get(&(repo.clone(), digest.clone())).cloned()
    }

    pub(crate) fn remove(&self, repo: &Repo, digest: &BlobDigest) {
        self.held().kept.remove(&(repo.clone(), digest.clone()));
    }

    fn held(&self) -> MutexGuard<'_, Manifests> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_so_many_and_no_long_ones() {
        let held = Held::default();
        let repo = Repo { host: "r.example".to_owned(), path: "a".to_owned() };
        let manifest = |bytes: Vec<u8>| RawManifest {
            digest: BlobDigest::of(&bytes),
            media_type: String::new(),
            bytes: bytes.into(),
        };
        let first = manifest(b"0".to_vec());
        assert!(!held.keep(&repo, first.clone()), "nobody stores it");
        held.serve(&repo);
        assert!(!held.keep(&repo, manifest(vec![b' '; LONGEST + 1])));
        let kept = (0..CAPACITY + 1).filter(|number| held.keep(&repo, manifest(number.to_string().into_bytes())));
        assert_eq!(kept.count(), CAPACITY);
        assert_eq!(held.get(&repo, &first.digest), Some(first.clone()));
        held.remove(&repo, &first.digest);
        assert_eq!(held.get(&repo, &first.digest), None);
        assert!(held.keep(&repo, first));
    }
}
