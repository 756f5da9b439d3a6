//! Mounts and networks: which stages have them, and what of them counts.

use slipway_stages::{MountedFrom, PlanMount, StageKind, StagePlan};

use crate::world::{Outcome, World};

fn plan(outcome: &Outcome, kind: StageKind, number: usize) -> &StagePlan {
    outcome.plans.iter().filter(|plan| plan.kind == kind).nth(number).expect("a plan")
}

fn places(plan: &StagePlan) -> Vec<(&MountedFrom, &str)> {
    plan.mounts.iter().map(|PlanMount { from, to, .. }| (from, to.as_str())).collect()
}

#[test]
fn mounts_come_down_from_the_image_below() {
    let mut world = World::new().with_empty_commit();
    let config = |more: &str| {
        format!(
            "image: base\nfrom: base:1\nmount: [{{from: build_dir, to: /b}}, {{from: tmp_dir, to: /t}}]\nshell: {{setup: one}}\n---\n\
             image: app\nfromImage: base\nmount: [{{fromPath: ./x/, to: /t}}{more}]\nshell: {{setup: two}}\n"
        )
    };
    let first = world.build(&config(""), 1);
    let tmp = MountedFrom::Temporary { run: "run".to_owned(), image: "base".to_owned() };
    let path = MountedFrom::Path("./x/".to_owned());
    let own = [(&MountedFrom::Shared, "/b"), (&tmp, "/t")];
    assert_eq!(places(plan(&first, StageKind::From, 0)), own);
    assert_eq!(places(plan(&first, StageKind::Setup, 0)), own);
    // Their places are made once.
    assert_eq!(places(plan(&first, StageKind::From, 1)), [(&path, "/t")]);
    assert_eq!(places(plan(&first, StageKind::Setup, 1)), [(&path, "/t"), (&MountedFrom::Shared, "/b")]);
    let labels = &plan(&first, StageKind::From, 1).change.labels;
    let label = |name: &str| labels.get(&format!("werf-mount-type-{name}")).map(String::as_str);
    assert_eq!((label("custom-dir-x"), label("build-dir"), label("tmp-dir")), (Some("/t"), Some("/b"), None));
    assert_eq!(world.build(&config(""), 1).built, [""; 0]);
    let changed = world.build(&config(", {from: tmp_dir, to: /more}"), 1);
    assert_eq!(changed.built, ["app/from", "app/setup"]);
    assert_eq!(world.build(&config("").replace("/b}", "/c}"), 1).built.len(), 4);
}

#[test]
fn a_network_is_the_commands_and_counts_nowhere() {
    let mut world = World::new().with_empty_commit();
    let config = |network: &str| format!("image: app\nfrom: base:1\n{network}shell: {{setup: one}}\n");
    let first = world.build(&config("network: none\n"), 1);
    assert_eq!(plan(&first, StageKind::Setup, 0).network.as_deref(), Some("none"));
    assert_eq!(world.build(&config(""), 1).built, [""; 0]);
}

#[test]
fn exact_values_count() {
    let mut world = World::new().with_empty_commit();
    let config = |exact: &str| format!("image: app\nfrom: base:1\ndocker: {{CMD: [a]{exact}}}\n");
    world.build(&config(""), 1);
    assert_eq!(world.build(&config(", exactValues: true"), 1).built, ["app/dockerInstructions"]);
    assert_eq!(world.build(&config(", exactValues: false"), 1).built, [""; 0]);
}
