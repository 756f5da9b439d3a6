//! Stored stages that are lost: they are built again, with what stands on them, and nothing else is.

use slipway_stages::{
    BuildOptions, Place,
    build::{BuildFailure, Source},
};

use crate::world::World;

fn app(setup: &str) -> String {
    format!("image: app\nfrom: base:1\nshell: {{install: [one], setup: [{setup}]}}\n")
}

#[test]
fn a_lost_stage_below_is_built_again() {
    let mut world = World::new().with_empty_commit();
    world.build(&app("a"), 1);
    world.lost.push(world.stored[1].at.clone());
    let outcome = world.build(&app("b"), 1);
    assert_eq!(outcome.reused, ["app/from", "app/install"]);
    assert_eq!(outcome.built, ["app/setup", "app/install", "app/setup"]);
    let stages = &outcome.result.expect("the build succeeded")[0].platforms[0].stages;
    assert_eq!(stages.len(), 3);
    assert!(stages.windows(2).all(|pair| pair[1].record.parent == Some(pair[0].record.id)));
    assert!(stages.iter().all(|stage| !world.lost.contains(&stage.record.at)));
}

#[test]
fn a_whole_lost_chain_is_built_again() {
    let mut world = World::new().with_empty_commit();
    world.build(&app("a"), 1);
    world.lost = world.stored[..2].iter().map(|record| record.at.clone()).collect();
    let outcome = world.build(&app("b"), 1);
    assert_eq!(outcome.built, ["app/setup", "app/install", "app/from", "app/install", "app/setup"]);
    assert!(outcome.result.is_ok());
}

#[test]
fn what_other_images_stand_on_or_import_is_built_again_with_them() {
    let config = |word: &str| {
        format!(
            "image: base\nfrom: base:1\nshell: {{setup: [x]}}\n---\nartifact: source\nfrom: base:2\nshell: {{setup: [y]}}\n\
             ---\nimage: child\nfromImage: base\nshell: {{setup: [{word}]}}\n---\nimage: user\nfrom: base:1\n\
             import: [{{artifact: source, add: /out, to: /{word}, after: setup}}]\n"
        )
    };
    let mut world = World::new().with_empty_commit();
    let first = world.build(&config("a"), 1);
    let child = world.stored.iter().find(|record| record.parent == Some(first.last("base").id)).expect("child/from");
    world.lost = vec![first.last("base").at, first.last("source").at, child.at.clone()];
    let second = world.build(&config("b"), 1);
    for stage in ["base/setup", "child/from", "child/setup", "source/setup", "user/dependenciesAfterSetup"] {
        assert!(second.built.iter().any(|built| built == stage), "`{stage}` is not in {:?}", second.built);
    }
    assert_eq!(second.last("child").parent.map(|parent| parent.stamp > second.last("base").id.stamp), Some(true));
    assert_eq!(second.result.expect("the build succeeded").len(), 4);
    assert_eq!(world.build(&config("b"), 1).built, [""; 0]);
}

#[test]
fn a_storage_that_loses_too_much_ends_the_build_and_the_next_gets_further() {
    let config = |word: &str| {
        let image =
            |name: &str| format!("image: {name}\nfrom: base:1\nshell: {{install: [{name}], setup: [{word}]}}\n");
        ["a", "b", "c", "d", "e"].map(image).join("---\n")
    };
    let mut world = World::new().with_empty_commit();
    let first = world.build(&config("x"), 1).result.expect("the build succeeded");
    world.lost = first.iter().map(|image| image.platforms[0].stages[1].record.at.clone()).collect();
    let second = world.build(&config("y"), 1);
    assert!(matches!(second.result, Err(BuildFailure::Stage { .. })), "{:?}", second.result);
    assert!(world.build(&config("y"), 1).result.is_ok());
}

/// However many: what cannot be copied is built, and nothing is rejected.
#[test]
fn what_cannot_be_copied_is_built() {
    let config = (0..6).map(|n| format!("image: i{n}\nfrom: base:{n}\n")).collect::<Vec<_>>().join("---\n");
    let mut world = World::new().with_empty_commit();
    world.build(&config, 1);
    world.empty = vec![Place::Primary];
    let stored = world.stored.clone();
    world.lost = stored[1..].iter().map(|record| record.at.clone()).collect();
    let outcome = world.build_with(&config, 1, BuildOptions::default(), &[Place::Local]);
    let sources: Vec<Source> =
        outcome.result.expect("the build succeeded").iter().map(|image| image.platforms[0].stages[0].source).collect();
    assert_eq!(sources.iter().filter(|source| **source == Source::Built).count(), 5, "{sources:?}");
    assert!(stored.iter().all(|record| world.stored.contains(record)), "nothing is taken away");
}
