//! Cache versions that change nothing: a stage without commands is not built, its cache version counts in the next
//! stage, and there is none.

use crate::{Image, ImageKind, ImportMoment, StapelImage, UserStage, raw::Reader};

/// Warns of cache versions in `image` that no later stage takes over.
pub(super) fn check(reader: &mut Reader<'_>, image: &Image) {
    let ImageKind::Stapel(stapel) = &image.kind else { return };
    for (stage, content) in &stapel.shell.stages {
        if content.cache_version.is_some() && content.commands.is_empty() && !has_later_stage(image, stapel, *stage) {
            let message = format!(
                "image `{}`: `{}CacheVersion` has no effect: the stage has no commands, and no stage follows it",
                image.name(),
                key(*stage)
            );
            reader.warn(content.position, &message);
        }
    }
    let idle = stapel.shell.stages.values().all(|stage| stage.commands.is_empty());
    if stapel.shell.cache_version.is_some() && idle {
        let message =
            format!("image `{}`: `cacheVersion` of `shell` has no effect: there are no commands", image.name());
        reader.warn(image.position, &message);
    }
}

/// Whether a stage that does not depend on changes of files comes after `stage`.
fn has_later_stage(image: &Image, stapel: &StapelImage, stage: UserStage) -> bool {
    let commands = stapel.shell.stages.iter().any(|(other, content)| *other > stage && !content.commands.is_empty());
    let moments = stapel.imports.iter().map(|import| import.moment);
    let moments = moments.chain(image.dependencies.iter().filter_map(|dependency| dependency.moment));
    let imports = moments.into_iter().any(|moment| {
        stage
            < match moment {
                ImportMoment::BeforeInstall => UserStage::Install,
                // An import after a stage counts as one before the next.
                ImportMoment::AfterInstall => UserStage::BeforeSetup,
                ImportMoment::BeforeSetup => UserStage::Setup,
                ImportMoment::AfterSetup => return true,
            }
    });
    commands || imports || stapel.docker.is_some() || image.spec.is_some()
}

fn key(stage: UserStage) -> &'static str {
    match stage {
        UserStage::BeforeInstall => "beforeInstall",
        UserStage::Install => "install",
        UserStage::BeforeSetup => "beforeSetup",
        UserStage::Setup => "setup",
    }
}
