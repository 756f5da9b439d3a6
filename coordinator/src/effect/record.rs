//! Which images a project has, and which stage each was at which commit: what cleanup decides by.

use futures::{StreamExt as _, TryStreamExt as _};
use slipway_config::ImageName;
use slipway_digest::StageId;
use slipway_stages::build::{BuildFailure, BuiltImage, BuiltTarget};
use slipway_storage::StorageError;

use crate::outside::Outside;

/// Records that are written at once.
const PARALLEL: usize = 8;

/// Records every image of a build under its commit, but for parts of Dockerfiles, which the labels of others name; what is recorded already costs nothing. What was found and is not
/// whole is not recorded, and fails.
pub(crate) async fn record(outside: &Outside, images: &[BuiltImage]) -> Result<(), BuildFailure> {
    super::whole::check(outside, images).await?;
    let named = |image: &BuiltImage| {
        let stages: Vec<StageId> = image.lasts().map(|last| last.record.id).collect();
        let each = |name: &ImageName| stages.iter().map(|stage| (name.clone(), *stage)).collect::<Vec<_>>();
        image.names.iter().flat_map(each).collect::<Vec<_>>()
    };
    let all: Vec<(ImageName, StageId)> = images.iter().filter(|image| !image.inner).flat_map(named).collect();
    let write = |(name, stage): (ImageName, StageId)| async move {
        let written = one(outside, &name, stage).await;
        let why = |error| format!("record image `{name}` in {}: {error}", outside.primary.name());
        written.map_err(|error| BuildFailure::Unanswered { why: why(error), image: name.clone() })
    };
    futures::stream::iter(all.into_iter().map(write)).buffer_unordered(PARALLEL).try_collect::<Vec<()>>().await?;
    note(outside, images).await;
    Ok(())
}

/// Notes which stages images have, where that is done. The next build can do without.
async fn note(outside: &Outside, images: &[BuiltImage]) {
    let Some(notes) = &outside.images else { return };
    let write = |image: &BuiltTarget| {
        let stages: Vec<StageId> = image.stages.iter().map(|stage| stage.record.id).collect();
        let key = image.key;
        async move {
            let Some(key) = key else { return };
            if let Err(error) = notes.note_image(&key, &stages).await {
                tracing::debug!("note the stages of image {key}: {error}");
            }
        }
    };
    let writes: Vec<_> = images.iter().flat_map(|image| &image.platforms).map(write).collect();
    futures::stream::iter(writes).buffer_unordered(PARALLEL).collect::<Vec<()>>().await;
}

async fn one(outside: &Outside, name: &ImageName, stage: StageId) -> Result<(), StorageError> {
    outside.records.add_image(&name.0).await?;
    for commit in &outside.history {
        outside.records.add_image_commit(&name.0, *commit, stage).await?;
    }
    Ok(())
}
