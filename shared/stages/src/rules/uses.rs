//! Which stages of other images a stage is made of, beside the one below it: what cleanup must keep with it. None of
//! this is in a digest.

use std::collections::{BTreeMap, BTreeSet};

use slipway_config::{Import, ImportMoment, StapelImage};
use slipway_digest::StageId;
use slipway_oci::BlobDigest;

use super::{dependencies::source_stage, user::kind};
use crate::{
    facts::Asked,
    labels::Uses,
    plan::{GitInput, StageBody},
    scene::{Scene, mappings},
};

/// The sources of the imports of a moment, and the images that `dependencies` name for it.
pub(super) fn stapel(scene: Scene<'_>, stapel: &StapelImage, moment: ImportMoment) -> Asked<Uses> {
    let mut imports = BTreeMap::new();
    for import in stapel.imports.iter().filter(|import| import.moment == moment) {
        if let Some(image) = import.image() {
            imports.insert(import_id(import), source_stage(scene, import, image)?.id);
        }
    }
    Ok(Uses { imports, dependencies: dependencies(scene, Some(moment))? })
}

/// The images that `dependencies` of a Dockerfile image name; its `FROM` finds those of this build through them alone.
pub(super) fn dockerfile(scene: Scene<'_>) -> Asked<Uses> {
    Ok(Uses { imports: BTreeMap::new(), dependencies: dependencies(scene, None)? })
}

pub(super) fn dependencies(scene: Scene<'_>, moment: Option<ImportMoment>) -> Asked<BTreeSet<StageId>> {
    let of_moment = scene.image.dependencies.iter().filter(|dependency| dependency.moment == moment);
    of_moment.map(|dependency| Ok(scene.needed(&dependency.image)?.id)).collect()
}

/// Which mappings bring a single file, and which a directory, of those that a stage brings or patches. The stages above
/// have it from the labels that they inherit: to know it again would be a look-up.
pub(super) fn single_files(scene: Scene<'_>, stapel: &StapelImage, body: &StageBody) -> Asked<BTreeMap<String, bool>> {
    let inputs: &[GitInput] = match body {
        StageBody::Git(inputs) => inputs,
        StageBody::Shell { patch, .. } => patch,
        StageBody::Nothing
        | StageBody::Imports(_)
        | StageBody::Respec(_)
        | StageBody::Dockerfile(_)
        | StageBody::Instruction(_)
        | StageBody::Copy(_) => return Ok(BTreeMap::new()),
    };
    let mappings = mappings(scene, stapel)?;
    let brought = mappings.into_iter().filter_map(|mapping| {
        let input = inputs.iter().find(|input| mapping.input(input.from, input.file) == **input)?;
        Some((mapping.key, input.file))
    });
    Ok(brought.collect())
}

/// What tells an import from others of the image, as werf makes it: SHA-256 of names and values.
fn import_id(import: &Import) -> String {
    let (after, before) = match import.moment {
        ImportMoment::BeforeInstall => ("", "install"),
        ImportMoment::AfterInstall => ("install", ""),
        ImportMoment::BeforeSetup => ("", "setup"),
        ImportMoment::AfterSetup => ("setup", ""),
    };
    let (include, exclude) = (import.include.join("///"), import.exclude.join("///"));
    let values = [
        ("ImageName", import.image().map_or("", |name| name.0.as_str())),
        // An artifact is an image with a name like any other: names are never shared by two.
        ("ArtifactName", ""),
        ("Stage", import.stage.map_or("", |stage| kind(stage).name())),
        ("After", after),
        ("Before", before),
        ("Add", &import.add),
        ("To", &import.to),
        ("Group", import.group.as_deref().unwrap_or_default()),
        ("Owner", import.owner.as_deref().unwrap_or_default()),
        ("IncludePaths", &include),
        ("ExcludePaths", &exclude),
    ];
    let text = values.map(|(name, value)| format!("{name}:::{value}")).join(":::");
    BlobDigest::of(text.as_bytes()).as_str().trim_start_matches("sha256:").to_owned()
}
