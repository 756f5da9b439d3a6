//! One pull per image at a time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use slipway_oci::BlobDigest;

/// The pulls that are under way in a process.
#[derive(Debug, Default)]
pub struct Pulls(Mutex<HashMap<BlobDigest, Weak<tokio::sync::Mutex<()>>>>);

impl Pulls {
    /// What is locked while the image with this manifest is pulled.
    pub fn of(&self, digest: &BlobDigest) -> Arc<tokio::sync::Mutex<()>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, pull| pull.strong_count() > 0);
        if let Some(pull) = all.get(digest).and_then(Weak::upgrade) {
            return pull;
        }
        let pull = Arc::new(tokio::sync::Mutex::new(()));
        all.insert(digest.clone(), Arc::downgrade(&pull));
        pull
    }
}
