//! Stages that are built upon before others see them.

use slipway_stages::build::{BuildFailure, Fall, StageFailure};

use crate::world::World;

const CHAIN: &str = "image: base\nfrom: base:1\nshell: {setup: [x]}\n---\nimage: child\nfromImage: base\nshell: {setup: [y]}\n\
                     ---\nimage: user\nfrom: base:2\nimport: [{image: base, add: /out, to: /in, after: setup}]\n";
const ALL: [&str; 6] =
    ["base/from", "base/setup", "child/from", "child/setup", "user/from", "user/dependenciesAfterSetup"];

fn ahead(falls: Vec<Option<Fall>>) -> World {
    let mut world = World::new().with_empty_commit();
    world.ahead = Some(falls);
    world
}

fn again() -> Option<Fall> {
    Some(Fall::Again("an older one stands".to_owned()))
}

fn sorted(mut built: Vec<String>) -> Vec<String> {
    built.sort();
    built
}

/// The world asserts that no build ends before its stages stand.
#[test]
fn a_build_ends_when_its_stages_stand() {
    let mut world = ahead(Vec::new());
    let outcome = world.build(CHAIN, 1);
    assert!(outcome.result.is_ok());
    let mut expected = ALL.map(str::to_owned).to_vec();
    expected.sort();
    assert_eq!(sorted(outcome.built), expected);
    assert_eq!(world.build(CHAIN, 1).built, [""; 0]);
}

#[test]
fn what_stands_on_a_stage_that_fell_is_built_again_and_nothing_else() {
    for position in 0..ALL.len() {
        let falls: Vec<Option<Fall>> = (0..ALL.len()).map(|n| again().filter(|_| n == position)).collect();
        let mut world = ahead(falls);
        let outcome = world.build(CHAIN, 1);
        let images = outcome.result.expect("the build succeeded");
        let used: Vec<_> = images.iter().flat_map(|image| image.stages()).map(|stage| stage.record.clone()).collect();
        assert!(used.iter().all(|record| world.stored.iter().any(|stored| stored.at == record.at)), "{position}");
        for record in &used {
            let below = record.parent.is_none_or(|parent| used.iter().any(|other| other.id == parent));
            assert!(below, "{position}: {} stands on what fell", record.id);
        }
        assert_eq!(used.len(), ALL.len());
        // The one that fell, once more, and at most what was being built of it.
        assert!((7..=9).contains(&outcome.built.len()), "{position}: {:?}", outcome.built);
    }
}

#[test]
fn a_stage_that_cannot_be_made_visible_ends_the_build() {
    let failure = StageFailure { why: "the registry is gone".to_owned(), exit: None, line: None, tail: Vec::new() };
    let outcome = ahead(vec![Some(Fall::Failed(failure.clone()))]).build(CHAIN, 1);
    match outcome.result {
        Err(BuildFailure::Stage { failure: why, .. }) => assert_eq!(why, failure),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_storage_in_which_nothing_stands_ends_the_build() {
    let outcome = ahead((0..50).map(|_| again()).collect()).build(CHAIN, 1);
    assert!(matches!(outcome.result, Err(BuildFailure::Stage { .. })), "{:?}", outcome.result);
}
