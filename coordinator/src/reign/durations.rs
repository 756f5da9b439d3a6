//! How long jobs take, from one term to the next: a file, whose loss costs only some order.

use std::path::Path;

use crate::scheduler::estimates::{Estimates, Kept};

/// Longest file that is read, in bytes.
const LONGEST: u64 = 64 << 20;

/// What was learned before; nothing when there is no file, or none that can be read.
pub(super) async fn read(path: &Path) -> Estimates {
    match tokio::fs::metadata(path).await {
        Ok(metadata) if metadata.len() <= LONGEST => {}
        Ok(_) | Err(_) => return Estimates::default(),
    }
    let Ok(text) = tokio::fs::read(path).await else { return Estimates::default() };
    match serde_json::from_slice::<Vec<Kept>>(&text) {
        Ok(kept) => Estimates::from_kept(kept),
        Err(error) => {
            tracing::warn!("what was learned of how long jobs take cannot be read from {}: {error}", path.display());
            Estimates::default()
        }
    }
}

/// Writes down what was learned.
pub(super) async fn write(path: &Path, estimates: &Estimates) {
    if estimates.is_empty() {
        return;
    }
    let written = async {
        let fresh = path.with_extension("new");
        tokio::fs::write(&fresh, serde_json::to_vec(&estimates.keep())?).await?;
        tokio::fs::rename(&fresh, path).await
    };
    if let Err(error) = written.await {
        tracing::warn!("write what was learned of how long jobs take to {}: {error}", path.display());
    }
}
