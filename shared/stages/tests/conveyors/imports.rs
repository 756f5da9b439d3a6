//! Imports: which stage or image they are from, and what counts.

use slipway_oci::{BlobDigest, ImageAt, Repo};
use slipway_stages::{ImportInput, ImportedImage, Question, StageBody, StageKind};

use crate::world::{Outcome, World};

fn at(text: &str) -> ImageAt {
    ImageAt {
        repo: Repo { host: "r.example".to_owned(), path: "tools".to_owned() },
        digest: BlobDigest::of(text.as_bytes()),
    }
}

fn imports(outcome: &Outcome, kind: StageKind) -> &[ImportInput] {
    let plan = outcome.plans.iter().find(|plan| plan.kind == kind).expect("a plan");
    let StageBody::Imports(inputs) = &plan.body else { panic!("{:?}", plan.body) };
    inputs
}

/// A stage that is named is the source, whatever comes after it.
#[test]
fn files_come_from_the_stage_that_is_named() {
    let mut world = World::new().with_empty_commit();
    let config = |setup: &str| {
        format!(
            "image: source\nfrom: base:1\nshell: {{install: one, setup: {setup}}}\n---\nimage: user\nfrom: base:1\n\
             import: [{{image: source, stage: install, add: /x, before: setup}}, {{image: source, add: /x, to: /y, after: setup}}]\n"
        )
    };
    let first = world.build(&config("two"), 1);
    let stages = &first.result.as_ref().expect("a build")[0].platforms[0].stages;
    let record = |kind: StageKind| &stages.iter().find(|stage| stage.kind == kind).expect("a stage").record.at;
    let of = |kind| imports(&first, kind)[0].image.at().expect("a stage").clone();
    assert_eq!(of(StageKind::DependenciesBeforeSetup), *record(StageKind::Install));
    assert_eq!(of(StageKind::DependenciesAfterSetup), *record(StageKind::Setup));
    let second = world.build(&config("three"), 1);
    assert_eq!(second.built, ["source/setup", "user/dependenciesAfterSetup"]);
}

/// An image of a registry is looked up once, and counts by what is imported.
#[test]
fn images_of_registries_count_by_what_is_imported() {
    let mut world = World::new().with_empty_commit();
    let config = "image: user\nfrom: base:1\nimport:\n- {from: 'r.example/tools:1', add: /a, before: install}\n\
                  - {from: 'r.example/tools:1', add: /b, before: install}\n";
    world.registry = Some(at("first"));
    let first = world.build(config, 1);
    for input in imports(&first, StageKind::DependenciesBeforeInstall) {
        let ImportedImage::External { image, platform } = &input.image else { panic!("{input:?}") };
        assert_eq!((image.at.as_ref(), platform.arch.as_str()), (Some(&at("first")), "amd64"));
    }
    let looked_up =
        |question: &&Question| matches!(question, Question::Base { reference, .. } if reference.contains("tools"));
    assert_eq!(first.questions.iter().filter(looked_up).count(), 1);
    assert_eq!(world.build(config, 1).built, [""; 0]);
    world.registry = Some(at("second"));
    assert_eq!(world.build(config, 1).built, ["user/dependenciesBeforeInstall"]);
    // Only the engine has it: there is nothing to remember it by.
    world.registry = None;
    let local = world.build(config, 1);
    let unnamed = |question: &&Question| matches!(question, Question::Imported { content: None, stage: None, .. });
    assert_eq!(local.questions.iter().filter(unnamed).count(), 2);
}
