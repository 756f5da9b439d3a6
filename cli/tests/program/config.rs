//! Where the configuration is read from, and what is shown of it.

use super::harness::{Sandbox, project};

const WERF: &str = "project: shop
configVersion: 1
---
image: [app, web]
from: alpine:3
import:
- artifact: tools
  add: /a
  to: /a
  before: install
---
artifact: tools
from: alpine:3
---
image: draft
from: alpine:3
final: false
";

#[test]
fn render_list_and_graph_print_only_data() {
    let Some(project) = project(&[("werf.yaml", WERF)]) else { return };
    project.run(&["config", "render"]).prints(WERF);
    let one = project.run(&["config", "render", "draft"]).ends(0, &[]);
    assert_eq!(one.out, "image: draft\nfrom: alpine:3\nfinal: false\n");
    project.run(&["config", "list"]).prints("app\nweb\ntools\ndraft\n");
    project.run(&["config", "list", "--images-only"]).prints("app\nweb\n");
    let graph = project.run(&["config", "graph", "web"]).ends(0, &[]);
    assert!(graph.out.contains("- image: web\n  dependsOn:\n    import:\n"), "{}", graph.out);
    project.run(&["config", "render", "drat"]).ends(2, &["no image matches pattern `drat`", "draft"]);
}

#[test]
fn a_missing_configuration_says_what_was_looked_for() {
    let Some(project) = project(&[("README", "x")]) else { return };
    project.run(&["config", "list"]).ends(3, &["unable to read werf config: werf.yaml not found", "werf.yml"]);
    project.run(&["config", "list", "--config", "ci/w.yaml"]).ends(3, &["ci/w.yaml not found"]);
    project.run(&["config", "list", "--config", "../w.yaml"]).ends(2, &["leads outside"]);
    project.run(&["config", "list", "--dir", "nowhere"]).ends(2, &["nowhere does not exist"]);
    let commit = project.run(&["config", "list", "--dir", "."]);
    commit.ends(3, &["not found"]);
}

#[test]
fn without_a_repository_nothing_is_read() {
    let sandbox = Sandbox::new();
    sandbox.write("werf.yaml", WERF);
    sandbox.run(&["config", "list"]).ends(3, &["open the project"]);
}

#[test]
fn an_untracked_configuration_must_be_committed() {
    let Some(project) = project(&[("README", "x")]) else { return };
    project.write("werf.yaml", WERF);
    let message = "unable to read werf config: the untracked file \"werf.yaml\" must be committed";
    project.run(&["config", "list"]).ends(3, &[message, "--dev"]);
    project.write(".gitignore", "werf.yaml\n");
    project.run(&["config", "list"]).ends(3, &[message]);
}

#[test]
fn a_changed_configuration_must_be_committed() {
    let Some(project) = project(&[("sub/werf.yaml", WERF)]) else { return };
    project.run(&["config", "list", "--dir", "sub"]).prints("app\nweb\ntools\ndraft\n");
    project.write("sub/werf.yaml", &WERF.replace("draft", "sketch"));
    let message = "unable to read werf config: the file \"werf.yaml\" must be committed";
    project.run(&["config", "list", "--dir", "sub"]).ends(3, &[message]);
    project.git(&["add", "-A"]);
    project.run(&["config", "list", "--dir", "sub"]).ends(3, &[message]);
    let loose = project.run(&["config", "list", "--dir", "sub", "--loose-giterminism"]);
    loose.prints("app\nweb\ntools\nsketch\n");
    project.run(&["config", "list", "--dir", "sub", "--dev"]).prints("app\nweb\ntools\nsketch\n");
}

#[test]
fn variables_stand_for_flags() {
    let Some(project) = project(&[("ci/werf.yaml", WERF)]) else { return };
    let project = project.with("WERF_CONFIG", "nowhere.yaml").with("SLIPWAY_CONFIG", "ci/werf.yaml");
    let project = project.with("WERF_NAMESPACE", "prod").with("SLIPWAY_CONFG", "x");
    let run = project.run(&["config", "list", "--log-verbose"]);
    let run = run.prints("app\nweb\ntools\ndraft\n");
    run.ends(0, &["Did you mean SLIPWAY_CONFIG?", "belong to other tools are ignored: WERF_NAMESPACE"]);
}

#[test]
fn permissions_are_committed_and_obeyed() {
    let Some(project) = project(&[("README", "x")]) else { return };
    project.write("werf.yaml", WERF);
    project.write("werf-giterminism.yaml", "giterminismConfigVersion: 1\n");
    project.commit();
    project.run(&["config", "list"]).ends(0, &[]);
    project.write("werf-giterminism.yaml", "giterminismConfigVersion: 1\nconfig:\n  allowUncommitted: true\n");
    project
        .run(&["config", "list"])
        .ends(3, &["unable to read werf giterminism config: the file \"werf-giterminism.yaml\" must be committed"]);
    project.commit();
    project.write("werf.yaml", &format!("{WERF}# changed\n"));
    project.run(&["config", "list"]).ends(0, &[]);
    project.run(&["config", "list", "--loose-giterminism"]).ends(0, &[]);
}

#[test]
fn all_problems_are_shown_at_once() {
    let text =
        "project: shop\nconfigVersion: 1\n---\nimage: app\nfrm: alpine\n---\nimage: app\nfrom: alpine\nshel: {}\n";
    let Some(project) = project(&[("werf.yaml", text)]) else { return };
    project.run(&["config", "list"]).ends(3, &["werf.yaml:5", "frm", "werf.yaml:9", "shel"]);
}
