//! Cache versions that change nothing: a stage without commands is not built, its cache version counts in the next
//! stage, and there is none.

use crate::{Image, ImageKind, ImportMoment, StapelImage, UserStage, raw::Reader};

/// Warns of cache versions in `image` that no later stage takes over.
pub(super) fn check(reader: &mut Reader<'_>, image: &Image) {
    let ImageKind::Stapel(stapel) = &image.kind else { return };
    for (stage, content) in stapel.instructions() {
        if content.cache_version.is_some() && content.is_empty() && !has_later_stage(image, stapel, stage) {
            let message = format!(
                "image `{}`: `{}CacheVersion` has no effect: the stage has no {}, and no stage follows it",
                image.name(),
                stage.name(),
                what(stapel)
            );
            reader.warn(content.position, &message);
        }
    }
    if stapel.instructions_version().is_some() && stapel.instructions().all(|(_, content)| content.is_empty()) {
        let (name, what) = (image.name(), what(stapel));
        let section = if stapel.ansible.is_some() { "ansible" } else { "shell" };
        let message = format!("image `{name}`: `cacheVersion` of `{section}` has no effect: there are no {what}");
        reader.warn(image.position, &message);
    }
}

/// What user stages are made of.
fn what(stapel: &StapelImage) -> &'static str {
    if stapel.ansible.is_some() { "tasks" } else { "commands" }
}

/// Whether a stage that does not depend on changes of files comes after `stage`.
fn has_later_stage(image: &Image, stapel: &StapelImage, stage: UserStage) -> bool {
    let commands = stapel.instructions().any(|(other, content)| other > stage && !content.is_empty());
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
