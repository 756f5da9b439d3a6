//! Images whose stages are noted under their keys: they are found at once, and as they would be found one by one.

use slipway_stages::Question;

use crate::world::{Outcome, World};

/// Sources at two places, a stage that depends on some of them, an image on top, and one that imports.
const CONFIG: &str = "image: app\nfrom: base:1\ngit:\n\
    - {add: /a, to: /a, stageDependencies: {install: [deps]}}\n\
    - {add: /b, to: /b, excludePaths: [no]}\n\
    shell: {install: [one], setup: [two]}\n\
    ---\nimage: child\nfromImage: app\ngit: [{add: /a, to: /again}]\nshell: {setup: [three]}\n\
    ---\nimage: user\nfrom: base:2\nimport: [{image: app, add: /a, to: /in, after: setup}]\ndocker: {USER: x}\n";
const PATHS: [&str; 5] = ["a/deps", "a/file", "b/file", "b/no", "other"];

/// A generator that gives the same numbers for a seed everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// How many look-ups of stages were made one by one.
fn looked_up(outcome: &Outcome) -> usize {
    outcome.questions.iter().filter(|question| matches!(question, Question::Stored { .. })).count()
}

fn stages(outcome: &Outcome) -> Vec<Vec<String>> {
    let images = outcome.result.as_ref().expect("the build succeeded").iter();
    images.map(|image| image.stages().map(|stage| format!("{:?}", stage.record)).collect()).collect()
}

#[test]
fn a_built_image_is_found_by_one_look() {
    let mut world = World::new().foreseeing(true);
    world.commit(1, None, &[("a/file", "x", 1), ("b/file", "x", 1)]);
    world.commit(2, Some(1), &[("other", "y", 1)]);
    let first = world.build(CONFIG, 1);
    for commit in [1, 2] {
        // The second has the same content: ancestry is seen to, as ever.
        let again = world.build(CONFIG, commit);
        assert_eq!((again.built.as_slice(), looked_up(&again)), ([].as_slice(), 0), "{commit}");
        assert_eq!(stages(&again), stages(&first));
        let images = again.result.expect("the build succeeded");
        assert!(images.iter().all(|image| image.platforms[0].key.is_none()), "nothing is to be noted anew");
    }
    world.commit(3, Some(2), &[("a/file", "z", 1)]);
    let third = world.build(CONFIG, 3);
    assert!(third.built.contains(&"app/gitLatestPatch".to_owned()), "{:?}", third.built);
}

#[test]
fn what_is_foreseen_of_another_branch_is_not_taken() {
    let mut world = World::new().foreseeing(true);
    world.commit(1, None, &[("a/file", "x", 1), ("b/file", "x", 1)]);
    world.commit(2, None, &[("a/file", "x", 1), ("b/file", "x", 1)]);
    let first = world.build(CONFIG, 1);
    let other = world.build(CONFIG, 2);
    assert!(other.built.contains(&"app/gitArchive".to_owned()), "{:?}", other.built);
    assert_ne!(stages(&other), stages(&first));
    assert_eq!(stages(&world.build(CONFIG, 1)), stages(&first));
}

/// Histories with branches and merges, whose stages get lost and whose notes are old: whatever happens, a build with
/// notes does what a build without them does.
#[test]
fn a_build_with_notes_does_what_one_without_does() {
    for seed in 0..30 {
        let mut dice = Dice(seed);
        let mut world = World::new().foreseeing(true);
        world.commit(0, None, &[("a/file", "0", 1), ("b/file", "0", 1)]);
        let (mut commits, mut saved) = (1_u8, 0);
        for step in 0..40 {
            match dice.below(6) {
                0 | 1 => {
                    let parent = (dice.below(12) > 0).then(|| dice.below(commits.into()) as u8);
                    let (path, content) = (PATHS[dice.below(5) as usize], ["0", "1", "2"][dice.below(3) as usize]);
                    let size = [1, 2 << 20][dice.below(2) as usize];
                    world.commit(commits, parent, &[("a/file", "0", 1), ("b/file", "0", 1), (path, content, size)]);
                    commits += 1;
                }
                2 if !world.stored.is_empty() => {
                    let lost = dice.below(world.stored.len() as u64) as usize;
                    world.stored.remove(lost);
                }
                3 if dice.below(4) == 0 => {
                    // An old note under a new name: what is foreseen is wrong.
                    let notes: Vec<_> = world.noted.values().cloned().collect();
                    let any = (!notes.is_empty()).then(|| notes[dice.below(notes.len() as u64) as usize].clone());
                    any.into_iter().for_each(|any| world.noted.values_mut().for_each(|note| note.clone_from(&any)));
                }
                _ => {
                    let at = dice.below(commits.into()) as u8;
                    let mut plain = world.clone().foreseeing(false);
                    let (expected, seen) = (plain.build(CONFIG, at), world.build(CONFIG, at));
                    assert_eq!(seen.built, expected.built, "seed {seed}, step {step}");
                    assert_eq!(seen.reused, expected.reused, "seed {seed}, step {step}");
                    assert_eq!(stages(&seen), stages(&expected), "seed {seed}, step {step}");
                    assert_eq!(world.stored, plain.stored, "seed {seed}, step {step}");
                    saved += looked_up(&expected).saturating_sub(looked_up(&seen));
                }
            }
        }
        assert!(saved > 0, "seed {seed}: nothing was foreseen");
    }
}
