//! What `dependencies` hand over: names and digests of finished images.

use std::collections::BTreeMap;

use slipway_config::{Dependency, DependencyImport, DependencyKind, Image, ImportMoment};
use slipway_digest::StageId;
use slipway_oci::Reference;

use crate::{
    facts::Asked,
    plan::{BaseImage, StageRecord},
    scene::Scene,
};

/// A dependency whose image is finished.
pub(super) struct Handed<'a> {
    /// The last stage of its image.
    pub(super) stage: StageId,
    /// Target, type and value of each import, in the order of the file.
    pub(super) values: Vec<(&'a str, DependencyKind, String)>,
}

/// What the dependencies with a moment (`None` for a Dockerfile image) hand over.
pub(super) fn over<'a>(scene: Scene<'a>, moment: Option<ImportMoment>) -> Asked<Vec<Handed<'a>>> {
    let of_moment = scene.image.dependencies.iter().filter(|dependency| dependency.moment == moment);
    of_moment.map(|dependency| one(scene, dependency)).collect()
}

/// The values alone, by target. Of several for one target the last counts.
pub(super) fn values(scene: Scene<'_>, moment: Option<ImportMoment>) -> Asked<BTreeMap<String, String>> {
    let handed = over(scene, moment)?;
    let values = handed.into_iter().flat_map(|handed| handed.values);
    Ok(values.map(|(target, _, value)| (target.to_owned(), value)).collect())
}

/// The image that `reference` names, when it is one of those that `image` depends on: it lies where stages are kept,
/// so it need not be looked for.
pub(super) fn base(scene: Scene<'_>, image: &Image, reference: &str) -> Asked<Option<BaseImage>> {
    for dependency in &image.dependencies {
        let record = scene.needed(&dependency.image)?;
        if is_named(record, reference) {
            let at = Some(record.at.clone()).filter(|at| !at.repo.host.is_empty());
            return Ok(Some(BaseImage { reference: reference.to_owned(), at }));
        }
    }
    Ok(None)
}

fn one<'a>(scene: Scene<'a>, dependency: &'a Dependency) -> Asked<Handed<'a>> {
    let record = scene.needed(&dependency.image)?;
    let pair = |import: &'a DependencyImport| {
        Ok((import.target.as_str(), import.kind, value(scene, dependency, import, record)?))
    };
    let values = dependency.imports.iter().map(pair).collect::<Asked<Vec<_>>>()?;
    Ok(Handed { stage: record.id, values })
}

fn value(scene: Scene<'_>, dependency: &Dependency, import: &DependencyImport, record: &StageRecord) -> Asked<String> {
    match import.kind {
        DependencyKind::ImageName => Ok(name(record)),
        DependencyKind::ImageTag => Ok(record.id.to_string()),
        DependencyKind::ImageRepo => Ok(record.at.repo.to_string()),
        DependencyKind::ImageId => Ok(record.image_id.to_string()),
        DependencyKind::ImageDigest if record.at.repo.host.is_empty() => {
            let message = format!(
                "`ImageDigest` of image `{}` is not known: an image gets a manifest, and its digest, only in a repository; \
                 build with --repo, or hand over `ImageID`",
                dependency.image
            );
            scene.invalid(import.position.line, message)
        }
        DependencyKind::ImageDigest => Ok(record.at.digest.to_string()),
    }
}

/// The name under which a stage can be pulled, or run where it is local.
fn name(record: &StageRecord) -> String {
    format!("{}:{}", record.at.repo, record.id)
}

fn is_named(record: &StageRecord, reference: &str) -> bool {
    // The names of a local storage have no host and are not to be read as references of the default registry.
    reference == name(record)
        || reference.parse::<Reference>().is_ok_and(|reference| {
            let tag = record.id.to_string();
            let same = reference.digest.as_ref().map_or(reference.tag.as_deref() == Some(&*tag), |digest| {
                *digest == record.at.digest && reference.tag.as_deref().is_none_or(|given| given == tag)
            });
            same && reference.repo == record.at.repo
        })
}
