//! Giving images for several platforms one name.

use slipway_oci::Platform;
use slipway_stages::{
    StageRecord,
    build::{BuildFailure, BuiltImage},
};

use crate::outside::Outside;

/// The same images, those for several platforms with the index that leads to them. What has its name only within the build is run by nobody.
pub(crate) async fn indexed(outside: &Outside, mut images: Vec<BuiltImage>) -> Result<Vec<BuiltImage>, BuildFailure> {
    let (Some(indexes), Some(repo)) = (&outside.beside.indexes, &outside.push_to) else { return Ok(images) };
    for image in images.iter_mut().filter(|image| image.platforms.len() > 1 && !image.is_within()) {
        let each = image.platforms.iter().filter_map(|target| Some((&target.platform, &*target.last()?.record)));
        let each: Vec<(&Platform, &StageRecord)> = each.collect();
        let index = indexes.put(repo, &each).await;
        image.index = Some(index.map_err(|error| BuildFailure::Unanswered {
            why: format!("write the index of its platforms to {repo}: {error}"),
            image: image.names.first().cloned().unwrap_or_default(),
        })?);
    }
    Ok(images)
}
