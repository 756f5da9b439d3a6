//! Plans.

use super::harness::project;

const WERF: &str = "project: shop
configVersion: 1
---
image: base
from: alpine:3
---
artifact: tools
from: alpine:3
---
image: app
fromImage: base
import:
- artifact: tools
  add: /a
  to: /a
  before: install
---
image: last
from: alpine:3
";

const PLAN: &str = "\
┌ Concurrent builds plan (no more than 5 images at the same time)
│ Set #0:
│ - ⛵ image base
│ - 🛸 artifact tools
│ - ⛵ image last
│
│ Set #1:
│ - ⛵ image app
└ Concurrent builds plan (no more than 5 images at the same time)
";

#[test]
fn a_plan_is_data() {
    let Some(project) = project(&[("werf.yaml", WERF)]) else { return };
    let text = project.run(&["plan"]).prints(PLAN);
    assert!(!text.err.contains('│'), "{}", text.err);
    project.run(&["plan", "--output", "json"]).prints("{\"sets\":[[\"base\",\"tools\",\"last\"],[\"app\"]]}\n");
    project.run(&["plan", "app", "-o", "json"]).prints("{\"sets\":[[\"base\",\"tools\"],[\"app\"]]}\n");
    project.run(&["plan", "base", "--output=json"]).prints("{\"sets\":[[\"base\"]]}\n");
}

#[test]
fn icons_and_limits_follow_the_flags() {
    let Some(project) = project(&[("werf.yaml", WERF)]) else { return };
    let plain = PLAN.replace("⛵ ", "").replace("🛸 ", "").replace(" (no more than 5 images at the same time)", "");
    project.run(&["plan", "--log-pretty=false", "--parallel-tasks-limit", "-1"]).prints(&plain);
    let project = project.with("WERF_PARALLEL_TASKS_LIMIT", "2").with("WERF_LOG_TIME", "1");
    project.run(&["plan"]).prints(&PLAN.replace("than 5", "than 2"));
    project.run(&["plan", "--parallel-tasks-limit=7"]).prints(&PLAN.replace("than 5", "than 7"));
}

#[test]
fn the_nameless_image_is_a_tilde() {
    let Some(project) = project(&[("werf.yaml", "project: shop\nconfigVersion: 1\n---\nimage: ~\nfrom: alpine:3\n")])
    else {
        return;
    };
    let plan = "┌ Concurrent builds plan\n│ Set #0:\n│ - image ~\n└ Concurrent builds plan\n";
    project.run(&["plan", "--log-pretty=false", "--parallel-tasks-limit=0"]).prints(plan);
    project.run(&["config", "list"]).prints("~\n");
}

#[test]
fn unknown_images_are_answered_with_near_ones() {
    let Some(project) = project(&[("werf.yaml", WERF)]) else { return };
    project.run(&["plan", "bse"]).ends(2, &["no image matches pattern `bse`", "base"]);
}
