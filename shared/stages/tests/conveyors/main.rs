//! Which stages are built and which are found, as projects and their history change.

mod ahead;
mod foreseen;
mod handed_over;
mod imports;
mod labels;
mod lost;
mod mounts;
mod staged;
mod vectors;
mod world;

use slipway_config::ImageName;
use slipway_oci::Repo;
use slipway_paths::TreePath;
use slipway_stages::{
    BuildOptions, Place, Question, StageBody, StageKind,
    build::{BuildFailure, Origin, Source},
};
use world::{World, commands};

const APP: &str = "
image: app
from: base:1
git: [{add: /, to: /app, stageDependencies: {install: [deps.txt]}}]
shell:
  install: [install]
  setup: [setup]
";

fn history() -> World {
    let mut world = World::new();
    world.commit(1, None, &[("deps.txt", "a", 10), ("src.txt", "1", 10)]);
    world.commit(2, Some(1), &[("src.txt", "2", 10)]);
    world.commit(3, Some(2), &[("deps.txt", "b", 10)]);
    world.commit(4, Some(1), &[("src.txt", "sibling", 10)]);
    world.commit(5, Some(2), &[("big.bin", "x", 1 << 20)]);
    world.commit(6, Some(2), &[("big.bin", "y", (1 << 20) - 1)]);
    world.commit(7, None, &[("deps.txt", "a", 10), ("src.txt", "1", 10)]);
    world
}

#[test]
fn the_first_build_makes_every_stage_that_has_something_to_do() {
    let built = history().build(APP, 1);
    assert_eq!(built.built, ["app/from", "app/gitArchive", "app/install", "app/setup"]);
}

#[test]
fn the_second_build_makes_nothing() {
    let mut world = history();
    let first = world.build(APP, 1);
    let second = world.build(APP, 1);
    assert_eq!(second.built, [""; 0]);
    assert_eq!(second.reused, first.built);
    assert_eq!(second.last("app"), first.last("app"));
}

#[test]
fn a_change_outside_of_stage_dependencies_is_patched_in_on_top() {
    let mut world = history();
    world.build(APP, 1);
    let second = world.build(APP, 2);
    assert_eq!(second.built, ["app/gitLatestPatch"]);
    let StageBody::Git(inputs) = &second.plans[0].body else { panic!("sources go in") };
    assert_eq!(inputs[0].from, Some(world::commit(1)));
}

#[test]
fn a_change_inside_rebuilds_from_that_stage_on_over_patched_sources() {
    let mut world = history();
    world.build(APP, 1);
    let third = world.build(APP, 3);
    assert_eq!(third.reused, ["app/from", "app/gitArchive"]);
    assert_eq!(third.built, ["app/install", "app/setup"]);
    assert_eq!(commands(&third.plans[0]), ["install"]);
    let StageBody::Shell { patch, .. } = &third.plans[0].body else { panic!("commands run") };
    assert_eq!(patch[0].from, Some(world::commit(1)));
    let StageBody::Shell { patch, .. } = &third.plans[1].body else { panic!("commands run") };
    assert!(patch.is_empty(), "the sources are at the commit already");
}

#[test]
fn a_sibling_branch_reuses_only_what_the_common_ancestor_built() {
    let mut world = history();
    world.build(APP, 1);
    world.build(APP, 2);
    let sibling = world.build(APP, 4);
    assert_eq!(sibling.reused, ["app/from", "app/gitArchive", "app/install", "app/setup"]);
    assert_eq!(sibling.built, ["app/gitLatestPatch"]);
}

#[test]
fn unrelated_history_reuses_no_git_stage_even_with_equal_files() {
    let mut world = history();
    world.build(APP, 1);
    let other = world.build(APP, 7);
    assert_eq!(other.reused, ["app/from"]);
    assert_eq!(other.built, ["app/gitArchive", "app/install", "app/setup"]);
}

#[test]
fn changes_of_a_mebibyte_get_a_stage_of_their_own() {
    let mut world = history();
    world.build(APP, 2);
    assert_eq!(world.build(APP, 5).built, ["app/gitCache"]);
    assert_eq!(world.build(APP, 6).built, ["app/gitLatestPatch"]);
}

#[test]
fn the_oldest_suitable_stage_is_taken() {
    let mut world = history();
    let first = world.build(APP, 1).last("app");
    let mut younger = first.clone();
    younger.id.stamp.0 += 1_000;
    world.stored.insert(0, younger);
    assert_eq!(world.build(APP, 1).last("app"), first);
}

#[test]
fn an_image_with_only_a_base_has_one_stage() {
    assert_eq!(World::new().with_empty_commit().build("image: a\nfrom: base:1\n", 1).built, ["a/from"]);
}

#[test]
fn equal_stages_of_two_images_are_one_job() {
    let config = "image: a\nfrom: base:1\n---\nimage: b\nfrom: base:1\nshell: {setup: [x]}\n";
    let built = World::new().with_empty_commit().build(config, 1);
    assert_eq!(built.plans.len(), 2, "one `from` and one `setup`");
}

#[test]
fn two_names_are_one_build() {
    let built = World::new().with_empty_commit().build("image: [a, b]\nfrom: base:1\nshell: {setup: [x]}\n", 1);
    assert_eq!(built.plans.len(), 2);
    assert_eq!(built.last("a"), built.last("b"));
}

#[test]
fn a_changed_base_image_rebuilds_its_users() {
    let config = |version: &str| {
        format!("image: app\nfromImage: base\n---\nimage: base\nfrom: base:1\nfromCacheVersion: '{version}'\n")
    };
    let mut world = World::new().with_empty_commit();
    assert_eq!(world.build(&config("1"), 1).built, ["base/from", "app/from"]);
    assert_eq!(world.build(&config("1"), 1).built, [""; 0]);
    assert_eq!(world.build(&config("2"), 1).built, ["base/from", "app/from"]);
}

#[test]
fn a_cache_version_without_commands_makes_no_stage_but_counts_in_the_next() {
    let config = |version: &str| {
        format!("image: app\nfrom: base:1\nshell: {{beforeInstallCacheVersion: '{version}', setup: [x]}}\n")
    };
    let mut world = World::new().with_empty_commit();
    assert_eq!(world.build(&config("1"), 1).built, ["app/from", "app/setup"]);
    assert_eq!(world.build(&config("2"), 1).built, ["app/setup"]);
}

#[test]
fn the_cache_version_of_an_image_wins_over_that_of_all() {
    let stapel = "from: base:1\nshell: {setup: [x]}\n";
    for (document, stages) in
        [(stapel, &["app/from", "app/setup"][..]), ("dockerfile: Dockerfile\n", &["app/dockerfile"])]
    {
        let config = |all: &str, own: &str| {
            format!("project: p\nconfigVersion: 1\nbuild: {{{all}}}\n---\nimage: app\n{own}\n{document}")
        };
        let mut world = World::new();
        world.commit(1, None, &[("Dockerfile", "FROM base:1\nRUN x\n", 1)]);
        let mut built = |all: &str, own: &str| world.build(&config(all, own), 1).built;
        assert_eq!(built("", ""), stages);
        assert_eq!(built("cacheVersion: one", ""), stages);
        assert_eq!(built("cacheVersion: one", ""), [""; 0]);
        assert_eq!(built("cacheVersion: two", ""), stages);
        assert_eq!(built("cacheVersion: two", "cacheVersion: three"), stages);
        assert_eq!(built("cacheVersion: four", "cacheVersion: three"), [""; 0], "that of the image alone counts");
        assert_eq!(built("cacheVersion: four", "cacheVersion: one"), [""; 0], "it counts as that of all would");
    }
}

#[test]
fn without_patches_after_setup_a_later_commit_builds_nothing() {
    let config = "artifact: app\nfrom: base:1\ngit: [{add: /, to: /app}]\n---\nimage: user\nfrom: base:1\n\
                  import: [{artifact: app, add: /app, after: setup}]\n";
    let mut world = history();
    let first = world.build(config, 1);
    assert!(first.built.contains(&"user/dependenciesAfterSetup".to_owned()));
    assert_eq!(world.build(config, 2).built, [""; 0]);
}

#[test]
fn a_mapping_that_matches_nothing_is_the_users_error_at_its_line() {
    let mut world = history();
    let config = "image: app\nfrom: base:1\ngit: [{add: /missing, to: /app}]\n";
    let Err(BuildFailure::Invalid { invalid, .. }) = world.build(config, 1).result else { panic!("it was built") };
    assert!(invalid.message.contains("`/missing`"), "{}", invalid.message);
    assert_eq!(invalid.line, Some(6));
}

#[test]
fn a_missing_stage_that_must_be_there_ends_the_build() {
    let options = BuildOptions { require_built: true, ..BuildOptions::default() };
    let outcome = history().build_with(APP, 1, options, &[]);
    assert!(matches!(outcome.result, Err(BuildFailure::StageRequired { .. })));
    assert!(outcome.plans.is_empty());
}

#[test]
fn dockerfile_stages_depend_on_what_the_target_reads() {
    let mut world = World::new();
    let dockerfile = "FROM base:1 AS one\nCOPY a.txt /\nFROM base:1 AS two\nCOPY b.txt /\n";
    world.commit(1, None, &[("Dockerfile", dockerfile, 1), ("a.txt", "1", 1), ("b.txt", "1", 1)]);
    world.commit(2, Some(1), &[("b.txt", "2", 1)]);
    world.commit(3, Some(2), &[("a.txt", "2", 1)]);
    let config = "image: app\ndockerfile: Dockerfile\ntarget: one\n";
    assert_eq!(world.build(config, 1).built, ["app/dockerfile"]);
    assert_eq!(world.build(config, 2).built, [""; 0]);
    assert_eq!(world.build(config, 3).built, ["app/dockerfile"]);
}

#[test]
fn a_context_may_come_from_a_commit_of_its_own() {
    let mut world = World::new();
    let dockerfile = "FROM base:1\nCOPY . /\n";
    world.commit(1, None, &[("Dockerfile", dockerfile, 1), (".dockerignore", "*.out\n", 1), ("a.txt", "1", 1)]);
    world.commit(2, Some(1), &[("x.out", "added", 1)]);
    let plain = "image: app\ndockerfile: Dockerfile\n";
    let adding = "image: app\ndockerfile: Dockerfile\ncontextAddFiles: [x.out]\n";
    assert_eq!(world.build(plain, 1).built, ["app/dockerfile"]);
    let own = world::commit(2);
    world.contexts.insert(ImageName("app".to_owned()), own);
    // What the ignore rules leave out changes nothing, unless it is added.
    assert_eq!(world.build(plain, 1).built, [""; 0]);
    let outcome = world.build(adding, 1);
    assert_eq!(outcome.built, ["app/dockerfile"]);
    let StageBody::Dockerfile(input) = &outcome.plans[0].body else { panic!("{:?}", outcome.plans) };
    assert_eq!(input.commit, own);
    let takes = |name: &str| input.context.keeps(&TreePath::new(name).expect(name));
    assert!(takes("x.out") && takes("a.txt") && !takes("y.out"));
    // Images beside it stay with the commit of the build.
    let beside = world.build("image: other\ndockerfile: Dockerfile\n", 1);
    assert_eq!(beside.reused, ["other/dockerfile"]);
}

#[test]
fn a_stage_of_the_local_storage_is_copied_instead_of_built() {
    let mut world = World::new().with_empty_commit();
    let config = "image: a\nfrom: base:1\n";
    world.build(config, 1);
    // The scripted storage answers for every place: only the primary's answer is emptied.
    world.empty = vec![Place::Primary];
    let outcome = world.build_with(config, 1, BuildOptions::default(), &[Place::Local]);
    assert!(matches!(outcome.plans[0].body, StageBody::Copy(_)));
    let built = outcome.result.expect("the build succeeded");
    assert_eq!(built[0].platforms[0].stages[0].source, Source::Copied(Origin::Local));
    assert!(!built[0].rebuilt());
}

/// The places are looked through in the order of the settings, and only as far as something is found.
#[test]
fn places_are_looked_through_in_order() {
    let mut world = World::new().with_empty_commit();
    let config = "image: a\nfrom: base:1\n";
    world.build(config, 1);
    let repo = |path: &str| Repo { host: "r.example".to_owned(), path: path.to_owned() };
    let (cache, secondary) = (Place::Cache(repo("cache")), Place::Secondary(repo("secondary")));
    let sources = [Place::Local, cache.clone(), secondary.clone(), Place::Secondary(repo("other"))];
    world.empty = vec![Place::Primary, Place::Local, cache.clone()];
    let outcome = world.build_with(config, 1, BuildOptions::default(), &sources);
    let places = outcome.questions.iter().filter_map(|question| match question {
        Question::Stored { place, .. } => Some(place.clone()),
        _ => None,
    });
    assert_eq!(places.collect::<Vec<_>>(), [Place::Primary, Place::Local, cache, secondary.clone()]);
    let StageBody::Copy(original) = &outcome.plans[0].body else { panic!("{:?}", outcome.plans) };
    assert_eq!(original.place, secondary);
    assert_eq!(
        outcome.result.expect("the build succeeded")[0].platforms[0].stages[0].source,
        Source::Copied(Origin::Secondary)
    );
}

/// Eleven images in a chain and a star: never more at once than the limit, and all are done.
#[test]
fn the_limit_counts_images_under_way() {
    let mut config = "image: hub\nfrom: base:1\n".to_owned();
    for leaf in 0..10 {
        config.push_str(&format!("---\nimage: leaf{leaf}\nfromImage: hub\nshell: {{setup: [x{leaf}]}}\n"));
    }
    let options = BuildOptions { parallel: Some(3), ..BuildOptions::default() };
    let outcome = World::new().with_empty_commit().build_with(&config, 1, options, &[]);
    assert_eq!(outcome.result.expect("the build succeeded").len(), 11);
}

/// What is copied at a later commit is still of the commit that it was built at: what stands on it is found, too.
#[test]
fn a_copy_is_of_the_commits_of_its_original() {
    let mut world = history();
    world.build(APP, 1);
    world.build(APP, 2);
    let archive = world.stored[1].clone();
    world.empty = vec![Place::Primary];
    let outcome = world.build_with(APP, 2, BuildOptions::default(), &[Place::Local]);
    assert!(outcome.plans.iter().all(|plan| matches!(plan.body, StageBody::Copy(_))), "{:?}", outcome.built);
    let copied = &outcome.plans[1];
    assert_eq!(
        (copied.kind, &copied.commits, copied.content),
        (StageKind::GitArchive, &archive.commits, archive.content)
    );
    assert!(!outcome.result.expect("the build succeeded")[0].rebuilt());
}
