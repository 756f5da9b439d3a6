//! `dependencies`, `imageSpec`, `fromLatest`: what of other images, of the finished image and of the registry counts.

use slipway_oci::{BlobDigest, Repo};
use slipway_stages::{PlanBase, Question, StageBody, build::BuildFailure};

use crate::world::World;

const USER: &str = "
image: user
from: base:1
dependencies:
- image: dep
  after: setup
  imports:
  - {type: ImageName, targetEnv: NAME}
  - {type: ImageTag, targetEnv: TAG}
  - {type: ImageRepo, targetEnv: REPO}
  - {type: ImageID, targetEnv: ID}
";

fn dep(version: u8) -> String {
    format!("---\nimage: dep\nfrom: base:1\nfromCacheVersion: '{version}'\nfinal: false\n")
}

#[test]
fn variables_tell_what_was_built() {
    let mut world = World::new().with_empty_commit();
    let built = world.build(&format!("{USER}{}", dep(1)), 1);
    assert_eq!(built.built, ["dep/from", "user/from", "user/dependenciesAfterSetup"]);
    let dep_record = built.last("dep");
    let plan = built.plans.last().expect("a plan");
    let (tag, id) = (dep_record.id.to_string(), dep_record.image_id.to_string());
    let expected = [("ID", id), ("NAME", format!("p:{tag}")), ("REPO", "p".to_owned()), ("TAG", tag)];
    assert_eq!(plan.change.env, expected.map(|(name, value)| (name.to_owned(), value)).into());
    assert!(matches!(&plan.body, StageBody::Imports(imports) if imports.is_empty()));
    assert_eq!(world.build(&format!("{USER}{}", dep(1)), 1).built, [""; 0]);
    let changed = world.build(&format!("{USER}{}", dep(2)), 1);
    assert_eq!(changed.built, ["dep/from", "user/dependenciesAfterSetup"]);
}

#[test]
fn a_dependency_without_imports_counts_too() {
    let config = |version| {
        format!("image: user\nfrom: base:1\ndependencies: [{{image: dep, before: install}}]\n{}", dep(version))
    };
    let mut world = World::new().with_empty_commit();
    assert!(world.build(&config(1), 1).built.contains(&"user/dependenciesBeforeInstall".to_owned()));
    assert_eq!(world.build(&config(2), 1).built, ["dep/from", "user/dependenciesBeforeInstall"]);
}

#[test]
fn without_a_repository_there_is_no_manifest_digest() {
    let config = USER.replace("ImageID", "ImageDigest") + &dep(1);
    let Err(BuildFailure::Invalid { invalid, .. }) = World::new().with_empty_commit().build(&config, 1).result else {
        panic!("it was built")
    };
    assert!(invalid.message.contains("--repo") && invalid.line == Some(14), "{invalid:?}");
}

/// Build arguments count where they are used, and `FROM` finds the image without a look-up.
#[test]
fn a_dockerfile_stands_on_what_was_built() {
    let mut world = World::new();
    let dockerfile = "ARG BASE=none\nFROM ${BASE}\nARG UNUSED\nRUN x\n";
    world.commit(1, None, &[("Dockerfile", dockerfile, 1)]);
    let config = |version, target| {
        format!(
            "image: user\ndockerfile: Dockerfile\nargs: {{UNUSED: '{version}'}}\ndependencies:\n\
             - {{image: dep, imports: [{{type: ImageName, targetBuildArg: {target}}}]}}\n{}",
            dep(version)
        )
    };
    let built = world.build(&config(1, "BASE"), 1);
    let record = built.last("dep");
    let StageBody::Dockerfile(input) = &built.plans.last().expect("a plan").body else { panic!("a Dockerfile") };
    assert_eq!(input.args["BASE"], format!("p:{}", record.id));
    assert_eq!(input.bases.len(), 1);
    assert_eq!((input.bases[0].reference.as_str(), &input.bases[0].at), (input.args["BASE"].as_str(), &None));
    let asked = built.questions.iter().any(|question| format!("{question:?}").contains(&format!("p:{}", record.id)));
    assert!(!asked, "{:?}", built.questions);
    assert_eq!(world.build(&config(2, "BASE"), 1).built, ["dep/from", "user/dockerfile"]);
    let mut world = World::new();
    world.commit(1, None, &[("Dockerfile", "FROM base:1\nARG GIVEN\n", 1)]);
    world.build(&config(1, "OTHER"), 1);
    assert_eq!(world.build(&config(2, "OTHER"), 1).built, ["dep/from"], "what is not used does not count");
}

#[test]
fn an_image_spec_is_the_last_stage() {
    let config = |spec: &str| format!("image: app\nfrom: base:1\nshell: {{setup: [x]}}\nimageSpec: {spec}\n");
    let mut world = World::new().with_empty_commit();
    let one = "{config: {env: {A: '1', B: '2'}, removeLabels: [x, y], clearCmd: true}}";
    let built = world.build(&config(one), 1);
    assert_eq!(built.built, ["app/from", "app/setup", "app/imageSpec"]);
    let plan = built.plans.last().expect("a plan");
    let StageBody::Respec(respec) = &plan.body else { panic!("a new config") };
    assert!(respec.clear_cmd && respec.env.len() == 2);
    assert!(plan.change.labels.contains_key("werf-stage-digest"));
    // The order of what has none does not count; every value does.
    let reordered = "{config: {removeLabels: [y, x], clearCmd: true, env: {B: '2', A: '1'}}}";
    assert_eq!(world.build(&config(reordered), 1).built, [""; 0]);
    for changed in [
        one.replace("A: '1'", "A: '3'"),
        one.replace("x, y", "x"),
        one.replace("clearCmd", "clearUser"),
        one.replace("removeLabels", "removeEnv"),
        one.replace("{config", "{author: x, config"),
        one.replace("{config", "{clearHistory: true, config"),
        "{config: {cmd: []}}".to_owned(),
        "{config: {entrypoint: []}}".to_owned(),
        "{config: {expose: []}}".to_owned(),
        "{}".to_owned(),
    ] {
        assert_eq!(world.build(&config(&changed), 1).built, ["app/imageSpec"], "{changed}");
    }
}

#[test]
fn a_dockerfile_image_has_an_image_spec_too() {
    let mut world = World::new();
    world.commit(1, None, &[("Dockerfile", "FROM base:1\n", 1)]);
    let built = world.build("image: app\ndockerfile: Dockerfile\nimageSpec: {config: {user: x}}\n", 1);
    assert_eq!(built.built, ["app/dockerfile", "app/imageSpec"]);
}

#[test]
fn a_cache_version_without_commands_counts_in_the_image_spec() {
    let config =
        |version| format!("image: a\nfrom: b\nshell: {{setupCacheVersion: {version}}}\nimageSpec: {{author: x}}\n");
    let mut world = World::new().with_empty_commit();
    world.build(&config(1), 1);
    assert_eq!(world.build(&config(2), 1).built, ["a/imageSpec"]);
}

#[test]
fn from_latest_counts_what_the_registry_has() {
    let at = |content: &[u8]| {
        let repo = Repo { host: "r.example".to_owned(), path: "base".to_owned() };
        Some(repo.at(BlobDigest::of(content)))
    };
    let config = "image: a\nfrom: base:1\nfromLatest: true\n";
    let mut world = World::new().with_empty_commit();
    world.registry = at(b"one");
    assert_eq!(world.build(config, 1).built, ["a/from"]);
    assert_eq!(world.build(config, 1).built, [""; 0]);
    world.registry = at(b"two");
    assert_eq!(world.build("image: a\nfrom: base:1\n", 1).built, ["a/from"]);
    assert_eq!(world.build(config, 1).built, ["a/from"]);
    assert_eq!(world.build("image: a\nfrom: base:1\n", 1).built, [""; 0], "the name alone counts without");
    world.registry = None;
    let Err(BuildFailure::Invalid { invalid, .. }) = world.build(config, 1).result else { panic!("it was built") };
    assert!(invalid.message.contains("can not get base image id from registry"), "{invalid:?}");
    assert_eq!(invalid.line, Some(6));
}

#[test]
fn of_an_archive_the_manifest_counts_and_not_its_path() {
    let at = |content: &[u8]| Some(Repo::passing("127.0.0.1:1".to_owned(), "x").at(BlobDigest::of(content)));
    let mut world = World::new().with_empty_commit();
    world.registry = at(b"one");
    assert_eq!(world.build("image: a\nfrom: oci-layout://base:v1\n", 1).built, ["a/from"]);
    assert_eq!(world.build("image: a\nfrom: docker-archive://moved/base.tar\n", 1).built, [""; 0]);
    world.registry = at(b"two");
    assert_eq!(world.build("image: a\nfrom: oci-layout://base:v1\n", 1).built, ["a/from"]);
}

#[test]
fn scratch_is_no_question() {
    let mut world = World::new().with_empty_commit();
    let built = world.build("image: a\nfrom: scratch\n", 1);
    assert_eq!(built.built, ["a/from"]);
    assert!(matches!(built.plans[0].base, PlanBase::None), "{:?}", built.plans[0].base);
    assert!(built.questions.iter().all(|asked| !matches!(asked, Question::Base { .. })), "{:?}", built.questions);
}

#[test]
fn archives_are_no_bases_of_dockerfiles_yet() {
    let mut world = World::new();
    world.commit(1, None, &[("Dockerfile", "FROM oci-layout://base\n", 1)]);
    let built = world.build("image: app\ndockerfile: Dockerfile\n", 1);
    let Err(BuildFailure::Invalid { invalid, .. }) = built.result else { panic!("it was built") };
    assert!(invalid.message.starts_with("not supported yet: archives as bases of Dockerfiles"), "{invalid:?}");
}
