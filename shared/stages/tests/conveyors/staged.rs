//! Staged Dockerfiles: a stage for every instruction.

use std::collections::BTreeSet;

use slipway_stages::{InstructionInput, StageBody, StagePlan};

use crate::world::{Outcome, World};

const APP: &str = "image: app\ndockerfile: Dockerfile\nstaged: true\n";

const DOCKERFILE: &str = "\
ARG TAG=1
FROM base:$TAG AS tools
RUN make tools
FROM base:$TAG AS unused
RUN never
FROM tools AS build
ARG FLAGS=-O2
WORKDIR /src
COPY src/ ./
RUN make $FLAGS
FROM scratch
ENV A=b
COPY --from=build /src/out /out
CMD [\"/out\"]
";

fn world(dockerfile: &str) -> World {
    let mut world = World::new();
    world.commit(1, None, &[("Dockerfile", dockerfile, 1), ("src/a.c", "a", 1), ("doc", "d", 1)]);
    world
}

/// Builds the same with another Dockerfile, or other files.
fn then(world: &mut World, changes: &[(&str, &str)]) -> Vec<String> {
    let changes: Vec<(&str, &str, u64)> = changes.iter().map(|(path, text)| (*path, *text, 1)).collect();
    world.commit(2, Some(1), &changes);
    world.build(APP, 2).built
}

fn input<'o>(outcome: &'o Outcome, kind: &str) -> &'o InstructionInput {
    match &plan(outcome, kind).body {
        StageBody::Instruction(input) => input,
        other => panic!("{other:?}"),
    }
}

fn plan<'o>(outcome: &'o Outcome, kind: &str) -> &'o StagePlan {
    let at = outcome.built.iter().position(|built| built == kind);
    &outcome.plans[at.unwrap_or_else(|| panic!("{kind} is not among {:?}", outcome.built))]
}

#[test]
fn every_instruction_is_a_stage() {
    let mut world = world(DOCKERFILE);
    let outcome = world.build(APP, 1);
    assert_eq!(
        outcome.built,
        [
            "app/stage/tools/FROM",
            "app/stage/tools/RUN1",
            "app/stage/build/FROM",
            "app/stage/build/WORKDIR2",
            "app/stage/build/COPY3",
            "app/stage/build/RUN4",
            "app/FROM",
            "app/ENV1",
            "app/COPY2",
            "app/CMD3",
        ],
        "what the target does not need is left out, and ARG is no stage"
    );
    let images = outcome.result.as_ref().expect("the build succeeded");
    let told: Vec<_> = images.iter().map(|image| (image.names[0].0.as_str(), image.inner, image.is_final)).collect();
    assert_eq!(told, [("app/stage/tools", true, false), ("app/stage/build", true, false), ("app", false, true)]);
    assert!(world.build(APP, 1).built.is_empty(), "all of it is found again");
}

#[test]
fn an_instruction_is_told_what_it_stands_on_and_reads() {
    let outcome = world(DOCKERFILE).build(APP, 1);
    let from = input(&outcome, "app/stage/tools/FROM");
    assert_eq!((from.position, from.number, from.line, from.has_commands), (0, 0, 2, true));
    assert_eq!(from.file.bases[0].reference, "base:1");
    let begins = input(&outcome, "app/stage/build/FROM");
    assert_eq!((begins.parts.len(), begins.parts[0].0, begins.has_commands), (1, 0, false));
    assert_eq!(plan(&outcome, "app/stage/build/FROM").parent, Some(begins.parts[0].1.id));
    let run = input(&outcome, "app/stage/build/RUN4");
    assert_eq!((run.position, run.number, run.line, run.parts.len(), run.has_commands), (2, 4, 10, 0, true));
    let beginning = run.beginning.as_ref().expect("there are arguments").id.digest;
    assert_eq!(beginning, plan(&outcome, "app/stage/tools/FROM").digest, "where the variables begin");
    let copy = input(&outcome, "app/COPY2");
    assert_eq!((copy.parts[0].0, copy.beginning.is_none(), copy.has_commands), (2, true, false));
    let labels = &plan(&outcome, "app/COPY2").change.labels;
    let source = labels.iter().find(|(name, _)| name.starts_with("werf-import-source-stage-id-"));
    assert_eq!(source.map(|(_, value)| value.clone()), Some(copy.parts[0].1.id.to_string()), "what cleanup must keep");
}

#[test]
fn only_what_changes_is_built_anew() {
    let again = |changes: &[(&str, &str)]| {
        let mut world = world(DOCKERFILE);
        world.build(APP, 1);
        then(&mut world, changes)
    };
    assert!(again(&[("doc", "other")]).is_empty(), "no instruction reads it");
    let from_copy = ["app/stage/build/COPY3", "app/stage/build/RUN4", "app/COPY2", "app/CMD3"];
    assert_eq!(again(&[("src/a.c", "b")]), from_copy);
    let edited = |from: &str, to: &str| again(&[("Dockerfile", &DOCKERFILE.replace(from, to))]);
    assert_eq!(edited("CMD [\"/out\"]", "CMD [\"/other\"]"), ["app/CMD3"]);
    // An argument counts where a command sees it: nowhere before.
    assert_eq!(edited("FLAGS=-O2", "FLAGS=-O3"), ["app/stage/build/RUN4", "app/COPY2", "app/CMD3"]);
    assert!(edited("RUN never", "RUN another").is_empty());
    // What parts are called tells nothing.
    assert!(again(&[("Dockerfile", &DOCKERFILE.replace("build", "other"))]).is_empty());
}

#[test]
fn equal_instructions_of_different_images_are_one_stage() {
    let mut world = World::new();
    let second = "FROM scratch AS first\nADD x /\nFROM base:1\nARG UNUSED=1\nRUN make tools\nRUN more\n";
    world.commit(1, None, &[("Dockerfile", DOCKERFILE, 1), ("Second", second, 1), ("src/a.c", "a", 1)]);
    let both = format!("{APP}---\nimage: second\ndockerfile: Second\nstaged: true\n");
    let outcome = world.build(&both, 1);
    let built: BTreeSet<&str> = outcome.built.iter().map(String::as_str).collect();
    let tools = built.iter().filter(|name| name.ends_with("tools/FROM") || **name == "second/FROM").count();
    assert_eq!(tools, 1, "{built:?}");
    assert!(built.contains("second/RUN3"));
    let shared = outcome.plans.iter().filter(|plan| plan.kind.name() == "RUN").count();
    // RUN of tools and of build, and that of the second image; the argument that is not seen makes the second one its own.
    assert_eq!(shared, 4, "{built:?}");
    assert!(!built.iter().any(|name| name.contains("first")), "{built:?}");
}

#[test]
fn arguments_that_no_command_sees_change_nothing() {
    let build = |args: &str| {
        let mut world = world("FROM base:1\nARG A\nENV A=2\nRUN x\nCOPY doc /\n");
        world.build(APP, 1);
        world.build(&format!("{APP}args: {{{args}}}\n"), 1).built
    };
    assert!(build("B: 1").is_empty());
    assert!(build("A: 1").is_empty(), "ENV stands before it");
    let mut world = world("FROM base:1\nARG A=1\nARG B=$A-$HOME\nRUN x\nLABEL l=$A\n");
    world.build(APP, 1);
    assert_eq!(world.build(&format!("{APP}args: {{A: 2}}\n"), 1).built, ["app/RUN3", "app/LABEL4"]);
}

#[test]
fn hosts_count_for_commands_and_a_cache_version_for_all() {
    let mut world = world("FROM base:1\nENV A=b\nRUN x\n");
    world.build(APP, 1);
    assert_eq!(world.build(&format!("{APP}addHost: ['a:10.0.0.1']\n"), 1).built, ["app/RUN2"]);
    assert!(world.build(&format!("{APP}network: none\n"), 1).built.is_empty());
    assert_eq!(world.build(&format!("{APP}cacheVersion: 2\n"), 1).built.len(), 3);
}

#[test]
fn what_a_stage_postpones_is_done_with_the_from_of_the_next() {
    let text = "FROM base:1 AS a\nONBUILD COPY src/ /src\nONBUILD RUN make\nFROM a\nCMD x\n";
    let mut world = world(text);
    let outcome = world.build(APP, 1);
    assert_eq!(
        outcome.built,
        ["app/stage/a/FROM", "app/stage/a/ONBUILD1", "app/stage/a/ONBUILD2", "app/FROM", "app/CMD1"]
    );
    assert!(input(&outcome, "app/FROM").has_commands);
    assert_eq!(then(&mut world, &[("src/a.c", "b")]), ["app/FROM", "app/CMD1"]);
}

#[test]
fn a_target_and_a_spec_are_of_the_image() {
    let mut world = world(DOCKERFILE);
    let config = format!("{APP}target: tools\nimageSpec: {{config: {{labels: {{a: b}}}}}}\n");
    assert_eq!(world.build(&config, 1).built, ["app/FROM", "app/RUN1", "app/imageSpec"]);
    // Parts have none of it.
    let outcome = world.build(&format!("{APP}imageSpec: {{config: {{labels: {{a: b}}}}}}\n"), 1);
    assert_eq!(outcome.built.iter().filter(|name| name.ends_with("imageSpec")).count(), 1, "{:?}", outcome.built);
}

#[test]
fn a_dependency_hands_over_an_image_to_stand_on() {
    let text = "ARG BASE\nFROM $BASE AS deps\nRUN x\nFROM deps\nCOPY --from=deps /a /b\n";
    let mut world = world(text);
    let config = format!(
        "image: base\nfrom: alpine\n---\n{APP}dependencies: [{{image: base, imports: [{{type: ImageName, targetBuildArg: BASE}}]}}]\n"
    );
    let outcome = world.build(&config, 1);
    assert_eq!(outcome.built, ["base/from", "app/stage/deps/FROM", "app/stage/deps/RUN1", "app/FROM", "app/COPY1"]);
    let from = input(&outcome, "app/stage/deps/FROM");
    assert_eq!(from.file.bases[0].reference, format!("p:{}", outcome.last("base").id));
}

#[test]
fn a_dependency_does_not_choose_between_stages() {
    let text = "ARG WHICH\nFROM base:1 AS one\nFROM ${WHICH:+one}\nRUN x\n";
    let mut world = world(text);
    let config = format!(
        "image: base\nfrom: alpine\n---\n{APP}dependencies: [{{image: base, imports: [{{type: ImageTag, targetBuildArg: WHICH}}]}}]\n"
    );
    // Whatever the value is, the same stage is meant.
    assert_eq!(world.build(&config, 1).built, ["base/from", "app/stage/one/FROM", "app/FROM", "app/RUN1"]);
}

#[test]
fn errors_say_where_they_are() {
    let mut world = world("FROM base:1\nCOPY a b\n");
    world.commit(2, Some(1), &[("Dockerfile", "FROM a:latest\nFOO x\n", 1)]);
    let failed = std::panic::catch_unwind(move || world.build(APP, 2)).expect_err("it is no Dockerfile");
    let text = failed.downcast_ref::<String>().cloned().unwrap_or_default();
    assert!(text.starts_with("image app: Dockerfile:2: "), "{text}");
}

#[test]
fn a_part_is_not_called_as_an_image_is() {
    let mut world = world(DOCKERFILE);
    let config = format!("{APP}---\nimage: app/stage/build\nfrom: a\n");
    let failed = std::panic::catch_unwind(move || world.build(&config, 1)).expect_err("the name is taken");
    let text = failed.downcast_ref::<String>().cloned().unwrap_or_default();
    assert!(text.contains("a stage that is called `app/stage/build` as another image is"), "{text}");
}

/// What a copy reads is lost: the part that it is of is built anew, and nothing else.
#[test]
fn a_lost_part_is_built_anew() {
    let mut world = world(DOCKERFILE);
    let outcome = world.build(APP, 1);
    world.lost.push(outcome.last("app/stage/build").at);
    let text = DOCKERFILE.replace("ENV A=b", "ENV A=c");
    world.commit(2, Some(1), &[("Dockerfile", &text, 1)]);
    let outcome = world.build(APP, 2);
    assert_eq!(outcome.built, ["app/ENV1", "app/COPY2", "app/stage/build/RUN4", "app/COPY2", "app/CMD3"]);
    outcome.result.expect("the build succeeded");
}
