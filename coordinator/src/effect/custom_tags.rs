//! Giving images that run the further tags that the user wants.

use slipway_config::ImageName;
use slipway_stages::{
    StageRecord,
    build::{BuildFailure, BuiltImage},
};
use slipway_storage::StorageError;

use crate::outside::Outside;

/// Tags the images of a finished build. Where nothing may be built, nothing is tagged: that the tags are there is checked.
pub(crate) async fn custom_tags(
    outside: &Outside,
    images: &[BuiltImage],
    only_check: bool,
) -> Result<(), BuildFailure> {
    let Some(tags) = &outside.custom_tags else { return Ok(()) };
    for (image, record) in images.iter().filter(|image| image.is_run()).flat_map(named) {
        let failed = |why: String| BuildFailure::Unanswered { image: image.clone(), why };
        for tag in tags.of(&image.0, record) {
            let name = format!("{}:{tag}", tags.repo());
            let doing = |error: StorageError| failed(format!("tag the image as {name}: {error}"));
            if !only_check {
                tags.put(&tag, record).await.map_err(doing)?;
            } else if !tags.leads_to(&tag, record).await.map_err(doing)? {
                let why = format!("the tag {name} does not lead to it, and only what is there already may be used");
                return Err(failed(why));
            }
        }
    }
    Ok(())
}

/// An image under each of its names.
fn named(image: &BuiltImage) -> Vec<(&ImageName, &StageRecord)> {
    let last = image.last();
    image.names.iter().filter_map(|name| Some((name, last?.record.as_ref()))).collect()
}
