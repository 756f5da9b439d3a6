//! One rule per stage kind: what the stage depends on, and what is done in it.
//!
//! `dependencies` answers `None` for an empty stage, which is skipped. `body` is asked only when the stage must be
//! built, so what it needs to know (base images, file lists) is not looked up for a stage that is found.

mod dependencies;
mod dockerfile;
mod from;
mod git;
mod handed;
mod image_spec;
mod instructions;
mod mounts;
mod staged;
mod user;
mod uses;

use std::collections::BTreeMap;

use slipway_config::{Base, Image, ImageKind, ImportMoment, UserStage};
use slipway_digest::Checksum;
use slipway_oci::ConfigChange;

pub(crate) use mounts::{labels as mount_labels, of as mounts};

use crate::{
    facts::Asked,
    kind::StageKind,
    labels::Uses,
    plan::{Commits, SecretUse, StageBody, StageRecord},
    scene::Scene,
    settings::VirtualMerge,
};

/// The steps of a Stapel image or artifact, in order.
const STAPEL: [StageKind; 14] = [
    StageKind::From,
    StageKind::BeforeInstall,
    StageKind::DependenciesBeforeInstall,
    StageKind::GitArchive,
    StageKind::Install,
    StageKind::DependenciesAfterInstall,
    StageKind::BeforeSetup,
    StageKind::DependenciesBeforeSetup,
    StageKind::Setup,
    StageKind::DependenciesAfterSetup,
    StageKind::GitCache,
    StageKind::GitLatestPatch,
    StageKind::DockerInstructions,
    StageKind::ImageSpec,
];

/// The steps of an image's conveyor, in order.
pub(crate) fn order(kind: &ImageKind) -> Vec<StageKind> {
    match kind {
        ImageKind::Dockerfile(image) => match &image.part {
            Some(part) => staged::order(part).chain([StageKind::ImageSpec]).collect(),
            None => vec![StageKind::Dockerfile, StageKind::ImageSpec],
        },
        ImageKind::Stapel(_) => STAPEL.to_vec(),
    }
}

/// The steps that an image is expected to have, in order, as far as its configuration alone tells. Changes of sources are
/// not among them: most builds have none.
pub(crate) fn expected(image: &Image) -> Vec<StageKind> {
    let spec = |kind: StageKind| kind == StageKind::ImageSpec && image.spec.is_some();
    let expected = |kind: &StageKind| match &image.kind {
        ImageKind::Dockerfile(_) => kind.is_of_dockerfile() || spec(*kind),
        ImageKind::Stapel(stapel) => match kind {
            StageKind::From => true,
            StageKind::GitArchive => !stapel.git.is_empty(),
            StageKind::BeforeInstall | StageKind::Install | StageKind::BeforeSetup | StageKind::Setup => {
                stapel.instructions_of(user_stage(*kind)).is_some_and(|given| !given.is_empty())
            }
            StageKind::DependenciesBeforeInstall
            | StageKind::DependenciesAfterInstall
            | StageKind::DependenciesBeforeSetup
            | StageKind::DependenciesAfterSetup => {
                stapel.imports.iter().any(|import| import.moment == moment(*kind))
                    || image.dependencies.iter().any(|dependency| dependency.moment == Some(moment(*kind)))
            }
            StageKind::DockerInstructions => stapel.docker.is_some(),
            StageKind::GitCache | StageKind::GitLatestPatch | StageKind::Dockerfile | StageKind::Instruction(..) => {
                false
            }
            StageKind::ImageSpec => spec(*kind),
        },
    };
    order(&image.kind).into_iter().filter(expected).collect()
}

/// What is done in a stage that must be built.
pub(crate) struct Recipe {
    pub body: StageBody,
    pub change: ConfigChange,
}

impl From<StageBody> for Recipe {
    fn from(body: StageBody) -> Self {
        Self { body, change: ConfigChange::default() }
    }
}

/// What a stage depends on; `None` when it is empty.
pub(crate) fn dependencies(kind: StageKind, scene: Scene<'_>) -> Asked<Option<Checksum>> {
    if kind == StageKind::ImageSpec {
        return Ok(image_spec::dependencies(scene));
    }
    let stapel = match &scene.image.kind {
        ImageKind::Dockerfile(image) => {
            let dependencies = match kind {
                StageKind::Instruction(number, _) => staged::dependencies(scene, image, number),
                _ => dockerfile::dependencies(scene, image),
            };
            return dependencies.map(Some);
        }
        ImageKind::Stapel(stapel) => stapel.as_ref(),
    };
    match kind {
        StageKind::From => from::dependencies(scene, stapel).map(Some),
        StageKind::GitArchive => git::archive_dependencies(scene, stapel),
        StageKind::GitCache => git::cache_dependencies(scene, stapel),
        StageKind::GitLatestPatch => git::patch_dependencies(scene, stapel),
        StageKind::DockerInstructions => Ok(instructions::dependencies(scene, stapel)),
        StageKind::Dockerfile | StageKind::Instruction(..) | StageKind::ImageSpec => Ok(None),
        StageKind::BeforeInstall | StageKind::Install | StageKind::BeforeSetup | StageKind::Setup => {
            user::dependencies(scene, stapel, user_stage(kind))
        }
        StageKind::DependenciesBeforeInstall
        | StageKind::DependenciesAfterInstall
        | StageKind::DependenciesBeforeSetup
        | StageKind::DependenciesAfterSetup => dependencies::dependencies(scene, stapel, moment(kind)),
    }
}

/// What is done in a stage.
pub(crate) fn recipe(kind: StageKind, scene: Scene<'_>) -> Asked<Recipe> {
    if kind == StageKind::ImageSpec {
        return Ok(image_spec::body(scene).into());
    }
    let stapel = match &scene.image.kind {
        ImageKind::Dockerfile(image) => {
            let body = match kind {
                StageKind::Instruction(number, _) => staged::body(scene, image, number),
                _ => dockerfile::body(scene, image),
            };
            return body.map(Recipe::from);
        }
        ImageKind::Stapel(stapel) => stapel.as_ref(),
    };
    match kind {
        StageKind::From | StageKind::Dockerfile | StageKind::Instruction(..) | StageKind::ImageSpec => {
            Ok(StageBody::Nothing.into())
        }
        StageKind::GitArchive => git::archive(scene, stapel).map(Recipe::from),
        StageKind::GitCache | StageKind::GitLatestPatch => {
            git::patches(scene, stapel).map(|patch| StageBody::Git(patch).into())
        }
        StageKind::DockerInstructions => Ok(instructions::recipe(stapel)),
        StageKind::BeforeInstall | StageKind::Install | StageKind::BeforeSetup | StageKind::Setup => {
            user::body(scene, stapel, user_stage(kind)).map(Recipe::from)
        }
        StageKind::DependenciesBeforeInstall
        | StageKind::DependenciesAfterInstall
        | StageKind::DependenciesBeforeSetup
        | StageKind::DependenciesAfterSetup => dependencies::recipe(scene, stapel, moment(kind)),
    }
}

/// The secrets that commands of a stage may read: those of its image.
pub(crate) fn secrets(image: &Image, body: &StageBody) -> Vec<SecretUse> {
    let used = |secret: &slipway_config::Secret| SecretUse { id: secret.id.clone(), key: secret.key(image) };
    if body.has_commands() { image.secrets.iter().map(used).collect() } else { Vec::new() }
}

/// The last stage of the image of this file that an image is built on.
pub(crate) fn base<'a>(scene: Scene<'a>) -> Asked<Option<&'a StageRecord>> {
    match &scene.image.kind {
        ImageKind::Dockerfile(image) if image.part.is_some() => staged::base(scene, image),
        ImageKind::Dockerfile(_) => Ok(None),
        ImageKind::Stapel(stapel) => match &stapel.base {
            Base::Reference(_) => Ok(None),
            Base::Image(name) => scene.needed(name).map(Some),
        },
    }
}

/// The commits that a stage holds once it is built: the current one for every mapping, if it holds sources at all.
pub(crate) fn commits(kind: StageKind, scene: Scene<'_>) -> Asked<Commits> {
    match &scene.image.kind {
        ImageKind::Stapel(stapel) if kind.is_git() => {
            let mappings = crate::scene::mappings(scene, stapel)?;
            Ok(mappings.into_iter().map(|mapping| (mapping.key, mapping.commit)).collect())
        }
        ImageKind::Stapel(_) | ImageKind::Dockerfile(_) => Ok(Commits::new()),
    }
}

/// What the commits of the project's own mappings merge, in a build of a virtual merge.
pub(crate) fn virtual_merges(kind: StageKind, scene: Scene<'_>) -> Asked<BTreeMap<String, VirtualMerge>> {
    let Some(merge) = scene.settings.virtual_merge.filter(|_| kind.is_git()) else { return Ok(BTreeMap::new()) };
    let ImageKind::Stapel(stapel) = &scene.image.kind else { return Ok(BTreeMap::new()) };
    let own = crate::scene::mappings(scene, stapel)?.into_iter().filter(|mapping| mapping.mapping.remote.is_none());
    Ok(own.map(|mapping| (mapping.key, merge)).collect())
}

/// The stages of other images that a stage is made of, beside the one below it.
pub(crate) fn uses(kind: StageKind, scene: Scene<'_>) -> Asked<Uses> {
    match (&scene.image.kind, kind) {
        (ImageKind::Dockerfile(_), StageKind::Dockerfile) => uses::dockerfile(scene),
        (ImageKind::Dockerfile(image), StageKind::Instruction(number, _)) => staged::uses(scene, image, number),
        (
            ImageKind::Stapel(stapel),
            StageKind::DependenciesBeforeInstall
            | StageKind::DependenciesAfterInstall
            | StageKind::DependenciesBeforeSetup
            | StageKind::DependenciesAfterSetup,
        ) => uses::stapel(scene, stapel, moment(kind)),
        (ImageKind::Dockerfile(_) | ImageKind::Stapel(_), _) => Ok(Uses::default()),
    }
}

/// Whether each mapping that a stage brings is a single file, by mapping key.
pub(crate) fn single_files(scene: Scene<'_>, body: &StageBody) -> Asked<BTreeMap<String, bool>> {
    match &scene.image.kind {
        ImageKind::Dockerfile(_) => Ok(BTreeMap::new()),
        ImageKind::Stapel(stapel) => uses::single_files(scene, stapel, body),
    }
}

fn user_stage(kind: StageKind) -> UserStage {
    match kind {
        StageKind::BeforeInstall => UserStage::BeforeInstall,
        StageKind::Install => UserStage::Install,
        StageKind::BeforeSetup => UserStage::BeforeSetup,
        _ => UserStage::Setup,
    }
}

fn moment(kind: StageKind) -> ImportMoment {
    match kind {
        StageKind::DependenciesBeforeInstall => ImportMoment::BeforeInstall,
        StageKind::DependenciesAfterInstall => ImportMoment::AfterInstall,
        StageKind::DependenciesBeforeSetup => ImportMoment::BeforeSetup,
        _ => ImportMoment::AfterSetup,
    }
}
