//! Single files, over symbolic links.

use slipway_git::{GitError, GitView as _, Trail};

use crate::fixture::{path, project};

#[test]
fn links_are_followed_inside_the_commit() {
    let Some(project) = project() else { return };
    project
        .write("conf/real.yaml", "content")
        .link("conf/same", "real.yaml")
        .link("up", "conf/../conf/same")
        .link("dir", "conf")
        .link("deep/a/back", "../../dir/same")
        .link("absolute", "/etc/hostname")
        .link("outside", "../x")
        .link("loop", "loop")
        .link("broken", "nothing");
    let head = project.commit();
    project.remove("conf/real.yaml");
    for name in ["conf/real.yaml", "conf/same", "up", "dir/real.yaml", "dir/same", "deep/a/back"] {
        assert_eq!(project.read(head, name).as_deref(), Some("content"), "{name}");
    }
    for name in ["absolute", "outside", "broken", "nothing", "conf", "dir", "", "conf/real.yaml/x", "dir/nothing"] {
        assert_eq!(project.read(head, name), None, "{name}");
    }
    let repository = project.open();
    assert!(matches!(repository.read(head, &path("loop")), Err(GitError::Broken(_))));
    let trail = repository.trail(head, &path("deep/a/back")).expect("trail");
    let links = ["deep/a/back", "dir", "conf/same"].map(path).to_vec();
    assert_eq!(trail, Some(Trail { links, file: path("conf/real.yaml") }));
}
