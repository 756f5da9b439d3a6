//! Whether what a build takes from the repository can be pulled: its success says so.

use slipway_config::ImageName;
use slipway_oci::ImageAt;
use slipway_stages::{
    StageRecord,
    build::{BuildFailure, BuiltImage, Source},
};

use super::reject;
use crate::outside::Outside;

/// Looks for the layers of the images that were found and not built. A stage that has lost one is marked as not to be
/// used, so that the next build makes it anew; this build fails.
pub(super) async fn check(outside: &Outside, images: &[BuiltImage]) -> Result<(), BuildFailure> {
    let found = found(images);
    let Some((first, _)) = found.first() else { return Ok(()) };
    let fail = |image: &ImageName, why: String| BuildFailure::Unanswered { image: image.clone(), why };
    let mut places: Vec<ImageAt> = found.iter().map(|(_, record)| record.at.clone()).collect();
    places.sort();
    places.dedup();
    let lost = outside.primary.not_whole(&places).await;
    let lost = lost.map_err(|error| fail(first, format!("look for the layers of the images: {error}")))?;
    let mut failure = Ok(());
    for (at, why) in lost {
        let Some((image, record)) = found.iter().find(|(_, record)| record.at == at) else { continue };
        let what = format!("the stage {}:{} stands, but is not whole: {why}", at.repo, record.id);
        let told = match reject(outside, record, &why).await {
            Ok(()) => format!("{what}; it is marked as not to be used: build again, and it is built anew"),
            Err(error) => format!("{what}; {error}"),
        };
        tracing::warn!("{told}");
        failure = failure.and(Err(fail(image, told)));
    }
    failure
}

/// The last stage of every image that is not built now, with a name of the image. What artifacts and parts of
/// Dockerfiles are made of is no longer needed.
fn found(images: &[BuiltImage]) -> Vec<(&ImageName, &StageRecord)> {
    let named =
        images.iter().filter(|image| !image.is_within()).filter_map(|image| Some((image, image.names.first()?)));
    let lasts = named.flat_map(|(image, name)| image.lasts().map(move |last| (name, last)));
    let reused = lasts.filter(|(_, last)| last.source == Source::Reused);
    reused.map(|(name, last)| (name, last.record.as_ref())).collect()
}
