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

#[test]
fn dev_mode_leaves_out_what_is_to_be_ignored() {
    let Some(project) = project(&[("werf.yaml", WERF)]) else { return };
    project.write("werf.yaml", &WERF.replace("draft", "sketch"));
    let (committed, changed) = ("app\nweb\ntools\ndraft\n", "app\nweb\ntools\nsketch\n");
    let list = |more: &[&str]| project.run(&[&["config", "list", "--dev"], more].concat());
    list(&[]).prints(changed);
    list(&["--dev-ignore", "werf.yaml"]).prints(committed);
    list(&["--dev-ignore=notes", "--dev-ignore=*.yaml"]).prints(committed);
    list(&["--dev-ignore", "other.yaml"]).prints(changed);
    let project = project.with("WERF_DEV_IGNORE_1", "notes").with("WERF_DEV_IGNORE_OF_MINE", "werf.yaml");
    project.run(&["config", "list", "--dev"]).prints(committed);
    project.run(&["config", "list", "--dev", "--dev-ignore", "more"]).prints(committed);
}

#[test]
fn the_name_of_the_project_may_come_from_outside() {
    let Some(project) = project(&[("werf.yaml", WERF)]) else { return };
    let long = "a".repeat(51);
    for wrong in ["Shop", "a_b", "-a", long.as_str()] {
        let run = project.run(&["config", "list", &format!("--project-name={wrong}")]);
        run.ends(2, &["--project-name: bad project name", "names are up to 50 lower-case letters"]);
    }
    let project = project.with("WERF_PROJECT_NAME", "Other_");
    for command in [&["build"][..], &["plan"], &["config", "list"]] {
        project.run(command).ends(2, &["WERF_PROJECT_NAME: bad project name `Other_`"]);
    }
    let project = project.with("SLIPWAY_PROJECT_NAME", "other-1");
    let run = project.run(&["config", "list", "--log-verbose"]).prints("app\nweb\ntools\ndraft\n");
    assert!(!run.err.contains("PROJECT_NAME"), "it is no variable of another tool: {}", run.err);
    // The text stays what it is, and must be right by itself.
    project.run(&["config", "render"]).prints(WERF);
    project.write("werf.yaml", &WERF.replace("project: shop", "project: Shop"));
    project.commit();
    project.run(&["config", "list"]).ends(3, &["werf.yaml:1:", "bad project name `Shop`"]);
}
