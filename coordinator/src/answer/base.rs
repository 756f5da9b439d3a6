//! Questions about external images.

use slipway_oci::Platform;
use slipway_stages::Answer;

use crate::outside::Outside;

/// The image that a reference names.
pub(super) async fn answer(outside: &Outside, reference: &str, platform: &Platform) -> Result<Answer, String> {
    outside.bases.find(reference, platform).await.map(Answer::Base)
}
