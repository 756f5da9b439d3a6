//! Questions about imported content: a record of an earlier build, else a worker reads the files.

use slipway_digest::Checksum;
use slipway_stages::{Answer, ImportInput};
use slipway_storage::ImportKey;

use crate::outside::Outside;

/// The checksum that an earlier build recorded.
pub(super) async fn recorded(
    outside: &Outside,
    content: Option<&Checksum>,
    input: &ImportInput,
) -> Result<Option<Answer>, String> {
    let Some(content) = content else { return Ok(None) };
    let found = outside.records.import(ImportKey::new(*content, input)).await;
    let found = found.map_err(|error| format!("look for a record of the import of `{}`: {error}", input.add))?;
    Ok(found.map(Answer::Imported))
}
