//! Marking a stored stage as not to be used, because its image is lost.

use slipway_stages::StageRecord;
use slipway_storage::StorageError;

use crate::outside::Outside;

/// Rejects a stage, once the storage itself has said that its image is not whole. The error says what was being done.
pub(crate) async fn reject(outside: &Outside, record: &StageRecord, why: &str) -> Result<(), String> {
    let name = format!("{}:{}", record.at.repo, record.id);
    let whole = match outside.primary.verify(&record.at).await {
        Ok(()) => Err(format!("{why}; yet the stage {name} is stored as a whole; build again")),
        Err(StorageError::Gone(_) | StorageError::Broken { .. }) => Ok(()),
        Err(error @ (StorageError::Denied(_) | StorageError::Fenced(_) | StorageError::Unavailable(_))) => {
            Err(format!("look for what is left of the stage {name}: {error}"))
        }
    };
    whole?;
    let rejected = outside.records.reject(record.id, why).await;
    rejected.map(drop).map_err(|error| format!("mark the lost stage {name} as not to be used: {error}"))
}
