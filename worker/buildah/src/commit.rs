//! Container to image, with exactly the config that is wanted.

use serde_json::{Value, json};
use slipway_backend::{BackendError, LocalImage};
use slipway_oci::{ImageConfig, config::RunConfig};

use crate::{
    container::Container,
    document::{self, Kept, of_id},
    program::Program,
};

/// Who made a layer, in the history of its image.
const MADE_BY: &str = "slipway";

/// Makes an image of a container that stands on an image with the config `base`.
pub(crate) async fn commit(
    container: &Container,
    base: &ImageConfig,
    wanted: RunConfig,
    now: String,
) -> Result<LocalImage, BackendError> {
    let kept = layers(container).await?;
    let wanted = next(base, &kept.config, wanted, now);
    let stored = document::store(container.program(), &wanted, &kept.manifest).await?;
    if stored != kept.image {
        forget(container.program(), kept.image);
    }
    Ok(stored)
}

/// An image with the files of a container, whose config is the program's own.
pub(crate) async fn layers(container: &Container) -> Result<Kept, BackendError> {
    let (program, doing) = (container.program(), "commit a stage");
    let policy = program.policy.to_string_lossy();
    let arguments =
        ["commit", "--quiet", "--format", "docker", "--omit-history", "--signature-policy", &policy, container.name()];
    let said = program.ask(doing, &arguments).await?;
    let made = of_id(said.lines().last().unwrap_or_default());
    let made = made.map_err(|why| BackendError::Engine(format!("{doing}: {why}")))?;
    document::expect(program, &made).await
}

/// The config of the image on top of `base`, with the layers of what was made.
fn next(base: &ImageConfig, made: &ImageConfig, config: RunConfig, now: String) -> ImageConfig {
    let mut document = ImageConfig { config, rootfs: made.rootfs.clone(), ..base.clone() };
    let mut history: Vec<Value> = match document.other.get("history") {
        Some(Value::Array(earlier)) => earlier.clone(),
        _ => Vec::new(),
    };
    history.push(json!({ "created": now, "created_by": MADE_BY }));
    document.other.insert("history".to_owned(), Value::from(history));
    document.created = Some(now);
    document
}

/// Removes an image that was only on the way to another, in the background: its layers stay with that one.
pub(crate) fn forget(program: &std::sync::Arc<Program>, image: LocalImage) {
    let owned = std::sync::Arc::clone(program);
    program.in_background(async move {
        let removed = owned.answer("remove an image", &["rmi", image.id.as_str()]).await;
        if let Ok(Some(why)) = removed.map(|answer| answer.complaint) {
            tracing::debug!(image = %image.id, why, "an image that is of no more use stays");
        }
    });
}
