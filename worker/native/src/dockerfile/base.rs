//! What a stage stands on.

use slipway_backend::{
    BackendError, LocalImage,
    dockerfile::{Draft, Postponed, at, platform_of, scratch, wrong},
};
use slipway_digest::StageId;
use slipway_dockerfile::{Head, Origin};
use slipway_layers::Layer;
use slipway_oci::{ImageConfig, Platform, Reference};

use super::{Build, cursor::Cursor};
use crate::{error, pull};

/// The beginning of a stage, and what its base has postponed for it.
pub(super) async fn begin(build: &Build, at_stage: usize, head: &Head) -> Result<(Cursor, Vec<String>), BackendError> {
    let told = |error| at(head.line, "FROM", error);
    let mut cursor = match &head.base {
        Origin::Stage(below) => {
            let below = build.stages.get(*below).await;
            let mut cursor = Cursor::clone(&below);
            cursor.has_command = false;
            cursor
        }
        Origin::Scratch => {
            let platform = platform_of(head, &build.order.platform).map_err(told)?;
            on(build, scratch(&platform), (Vec::new(), platform))
        }
        Origin::Image(name) => {
            let platform = platform_of(head, &build.order.platform).map_err(told)?;
            let (mut config, layers) = image(build, name, &platform).await.map_err(told)?;
            Postponed::forget(&mut config);
            build.sending.send(at_stage, &layers);
            on(build, config, (layers, platform))
        }
    };
    let postponed = cursor.begin().map_err(told)?;
    // The variables of a stage below, its arguments among them, go on.
    if !matches!(head.base, Origin::Stage(_)) {
        cursor.variables = build.program.variables(cursor.config.config.env.as_deref().unwrap_or_default());
    }
    Ok((cursor, postponed))
}

/// The image of a platform that a `FROM` or a `from` names, with its layers.
async fn image(build: &Build, name: &str, platform: &Platform) -> Result<(ImageConfig, Vec<Layer>), BackendError> {
    let shared = &build.shared;
    let known = build.order.bases.iter().find(|(own, _)| own == name && *platform == build.order.platform);
    let found = match known {
        Some((_, found)) => found.clone(),
        // What a base has postponed may name images that the file does not; and what is built for is not what all stages are of.
        None => {
            let bad = |error| BackendError::Refused(format!("the image `{name}`: {error}"));
            let reference: Reference = name.parse().map_err(bad)?;
            let found = shared.client.resolve(&reference, platform).await;
            found.map_err(|error| error::registry(&format!("look for the image `{name}`"), error))?
        }
    };
    let local = match found {
        Some(at) => pull::pull(shared, &at).await.map_err(|error| match error {
            // Whatever part of it is missing: it is by this name that a stage of ours is built again.
            BackendError::Gone(_) => BackendError::Gone(at.to_string()),
            other => other,
        })?,
        None => stored(build, name).await?.ok_or_else(|| {
            BackendError::Refused(format!("the image `{name}` is not in its registry for {platform}: check its name; images that only a Docker engine has are seen with --backend docker"))
        })?,
    };
    shared.image(&local).await
}

/// The stage of the local storage that a name is of: `PROJECT:DIGEST-STAMP`.
async fn stored(build: &Build, name: &str) -> Result<Option<LocalImage>, BackendError> {
    let Some((project, tag)) = name.rsplit_once(':') else { return Ok(None) };
    let Ok(id) = tag.parse::<StageId>() else { return Ok(None) };
    if project.contains('/') {
        return Ok(None);
    }
    let (store, project) = (build.shared.store.clone(), project.to_owned());
    let list = move || store.stages(&project, &id.digest.to_string());
    let listed = build.shared.tasks.blocking(list).await;
    let listed = listed.map_err(|error| error::layers("look for a stage of the local storage", error))?;
    let stamp = id.stamp.to_string();
    Ok(listed.into_iter().find(|found| found.stamp == stamp).map(|found| LocalImage { id: found.image }))
}

/// A stage that has come as far as an image.
pub(super) fn on(build: &Build, config: ImageConfig, (layers, platform): (Vec<Layer>, Platform)) -> Cursor {
    Cursor { draft: Draft::on(config, build.program.variables(&[])), layers, platform }
}

/// The files that a `from` leads to: those of a stage or of an image.
pub(super) async fn layers(build: &Build, position: usize, line: u32, from: &str) -> Result<Vec<Layer>, BackendError> {
    match build.program.origin(from, position, line).map_err(wrong)? {
        Origin::Stage(stage) => Ok(build.stages.get(stage).await.layers.clone()),
        Origin::Scratch => Ok(Vec::new()),
        Origin::Image(name) => image(build, &name, &build.order.platform).await.map(|(_, layers)| layers),
    }
}
