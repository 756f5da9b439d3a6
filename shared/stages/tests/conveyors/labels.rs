//! What the labels of a plan say, and which of them are the stage's own.

use slipway_stages::{StagePlan, labels, labels::StageLabels};

use crate::world::{Outcome, World};

const CONFIG: &str = "
artifact: made
from: base:1
---
image: dep
from: base:1
fromCacheVersion: '2'
---
image: user
from: base:1
git: [{add: /src, to: /src}, {add: /one.txt, to: /one.txt}]
import:
- {artifact: made, add: /out, to: /in, before: install}
- {artifact: made, add: /out, to: /in/more, before: install}
- {artifact: made, add: /out, to: /late, after: setup}
dependencies:
- {image: dep, after: setup, imports: [{type: ImageTag, targetEnv: TAG}]}
---
image: top
fromImage: user
shell: {setup: [x]}
---
image: file
dockerfile: Dockerfile
dependencies:
- {image: dep, imports: [{type: ImageName, targetBuildArg: BASE}]}
";

fn built() -> Outcome {
    let mut world = World::new();
    let files = [("src/a", "a", 1), ("one.txt", "1", 1), ("Dockerfile", "ARG BASE\nFROM ${BASE}\n", 1)];
    world.commit(1, None, &files);
    world.build(CONFIG, 1)
}

/// The plan of `IMAGE/STAGE`.
fn plan<'a>(built: &'a Outcome, stage: &str) -> &'a StagePlan {
    let (image, kind) = stage.split_once('/').expect("an image and a stage");
    let images = built.result.as_ref().expect("the build succeeded");
    let image = images.iter().find(|built| built.names[0].0 == image).expect("the image");
    let of_kind = image.stages().find(|stage| stage.kind.name() == kind).expect("the stage");
    built.plans.iter().find(|plan| plan.digest == of_kind.record.id.digest).expect("a plan")
}

fn said(built: &Outcome, stage: &str) -> StageLabels {
    labels::read(&plan(built, stage).change.labels).expect("the labels of a stage")
}

#[test]
fn sources_of_imports_and_dependencies_are_named() {
    let built = built();
    let (made, dep) = (built.last("made").id, built.last("dep").id);
    let before = said(&built, "user/dependenciesBeforeInstall").uses;
    assert_eq!(before.imports.values().copied().collect::<Vec<_>>(), [made, made], "one for each import");
    assert!(before.dependencies.is_empty());
    let after = said(&built, "user/dependenciesAfterSetup").uses;
    assert_eq!(after.imports.values().copied().collect::<Vec<_>>(), [made]);
    assert_eq!(after.dependencies, [dep].into());
    let file = said(&built, "file/dockerfile").uses;
    assert_eq!((file.imports.len(), file.dependencies), (0, [dep].into()));
    for stage in ["user/gitArchive", "user/from", "top/from", "top/setup"] {
        assert_eq!(said(&built, stage).uses, labels::Uses::default(), "{stage}");
    }
}

/// SHA-256 of `ImageName:::made:::ArtifactName::::::Stage::::::After:::setup:::Before::::::Add:::/out:::To:::/late` and
/// `:::Group::::::Owner::::::IncludePaths::::::ExcludePaths:::`, made by another program.
#[test]
fn an_import_has_werfs_id() {
    let built = built();
    let uses = said(&built, "user/dependenciesAfterSetup").uses;
    let id = "9d7ae29a10c14da3fd7014996544411aee5a6b6eba3c0bce7826f14f3ed31c8c";
    assert_eq!(uses.imports.keys().collect::<Vec<_>>(), [id]);
    let labels = &plan(&built, "user/dependenciesAfterSetup").change.labels;
    assert_eq!(labels[&format!("werf-import-source-stage-id-{id}")], built.last("made").id.to_string());
}

#[test]
fn the_stage_below_is_named_by_both_of_its_names() {
    let built = built();
    let user = built.last("user");
    let from = said(&built, "top/from");
    assert_eq!((from.parent, from.base_image), (Some(user.id), Some(user.image_id)));
    let lowest = said(&built, "user/from");
    assert_eq!((lowest.parent, lowest.base_image), (None, None));
}

#[test]
fn a_mapping_is_a_directory_or_a_file() {
    let archive = said(&built(), "user/gitArchive");
    let mut kinds: Vec<bool> = archive.single_files.values().copied().collect();
    kinds.sort_unstable();
    assert_eq!(kinds, [false, true]);
    assert!(archive.single_files.keys().eq(archive.commits.keys()));
}
