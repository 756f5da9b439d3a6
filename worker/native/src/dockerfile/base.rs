//! What a stage stands on.

use slipway_backend::{BackendError, LocalImage};
use slipway_digest::StageId;
use slipway_dockerfile::{Head, Origin};
use slipway_layers::Layer;
use slipway_oci::{ImageConfig, Platform, Reference, RunConfig};

use super::{
    Build, at,
    config::{ON_BUILD, set_variable},
    cursor::Cursor,
    platforms,
    postponed::Postponed,
    wrong,
};
use crate::{error, pull, run::PATH};

/// Fields that an engine notes of the container that it has committed: nothing of what is made here.
const FOREIGN: [&str; 5] = ["container", "container_config", "docker_version", "id", "parent"];

/// The beginning of a stage, and what its base has postponed for it.
pub(super) async fn begin(build: &Build, at_stage: usize, head: &Head) -> Result<(Cursor, Vec<String>), BackendError> {
    let told = |error| at(head.line, "FROM", error);
    let mut cursor = match &head.base {
        Origin::Stage(below) => {
            let below = build.stages.get(*below).await;
            Cursor { has_command: false, ..Cursor::clone(&below) }
        }
        Origin::Scratch => {
            let platform = platforms::of(head, &build.order.platform).map_err(told)?;
            on(build, empty(&platform), (Vec::new(), platform))
        }
        Origin::Image(name) => {
            let platform = platforms::of(head, &build.order.platform).map_err(told)?;
            let (mut config, layers) = image(build, name, &platform).await.map_err(told)?;
            Postponed::forget(&mut config);
            build.sending.send(at_stage, &layers);
            on(build, config, (layers, platform))
        }
    };
    let config = &mut cursor.config.config;
    let postponed = config.other.remove(ON_BUILD).map(serde_json::from_value::<Option<Vec<String>>>);
    let postponed = match postponed {
        None => Vec::new(),
        Some(Ok(list)) => list.unwrap_or_default(),
        Some(Err(error)) => {
            let why = format!("what the base image has postponed by ONBUILD cannot be read: {error}");
            return Err(told(BackendError::Refused(why)));
        }
    };
    if config.env("PATH").is_none() {
        set_variable(config, "PATH", PATH);
    }
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
pub(super) fn on(build: &Build, mut config: ImageConfig, (layers, platform): (Vec<Layer>, Platform)) -> Cursor {
    FOREIGN.iter().for_each(|field| drop(config.other.remove(*field)));
    let history = config.other.remove("history").and_then(|list| list.as_array().cloned()).unwrap_or_default();
    let created = config.created.clone().filter(|_| !layers.is_empty());
    let variables = build.program.variables(&[]);
    Cursor { config, layers, platform, variables, created, has_command: false, history }
}

/// An image with nothing in it.
fn empty(platform: &Platform) -> ImageConfig {
    ImageConfig {
        architecture: platform.arch.clone(),
        os: platform.os.clone(),
        variant: platform.variant.clone(),
        config: RunConfig { working_dir: "/".to_owned(), ..RunConfig::default() },
        ..ImageConfig::default()
    }
}

/// The files that a `from` leads to: those of a stage or of an image.
pub(super) async fn layers(build: &Build, position: usize, line: u32, from: &str) -> Result<Vec<Layer>, BackendError> {
    match build.program.origin(from, position, line).map_err(wrong)? {
        Origin::Stage(stage) => Ok(build.stages.get(stage).await.layers.clone()),
        Origin::Scratch => Ok(Vec::new()),
        Origin::Image(name) => image(build, &name, &build.order.platform).await.map(|(_, layers)| layers),
    }
}
