//! Giving images that run the further tags that the user wants.

use slipway_config::ImageName;
use slipway_oci::ImageAt;
use slipway_stages::build::{BuildFailure, BuiltImage};
use slipway_storage::StorageError;

use crate::outside::Outside;

/// Tags the images of a finished build. Where nothing may be built, nothing is tagged: that the tags are there is checked.
pub(crate) async fn custom_tags(
    outside: &Outside,
    images: &[BuiltImage],
    only_check: bool,
) -> Result<(), BuildFailure> {
    let Some(tags) = &outside.custom_tags else { return Ok(()) };
    for (image, content, at) in images.iter().filter(|image| image.is_run()).flat_map(named) {
        let failed = |why: String| BuildFailure::Unanswered { image: image.clone(), why };
        for tag in tags.of(&image.0, &content) {
            let name = format!("{}:{tag}", tags.repo());
            let doing = |error: StorageError| failed(format!("tag the image as {name}: {error}"));
            if !only_check {
                tags.put(&tag, (&content, at)).await.map_err(doing)?;
            } else if !tags.leads_to(&tag, at).await.map_err(doing)? {
                let why = format!("the tag {name} does not lead to it, and only what is there already may be used");
                return Err(failed(why));
            }
        }
    }
    Ok(())
}

/// An image under each of its names, with its content-based tag.
fn named(image: &BuiltImage) -> Vec<(&ImageName, String, &ImageAt)> {
    let whole = image.whole();
    image.names.iter().filter_map(|name| whole.clone().map(|(content, at)| (name, content, at))).collect()
}
