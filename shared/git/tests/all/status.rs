//! What is not committed.

use slipway_git::{DirtyKind, Repository, StatusOptions};

use crate::fixture::{Project, fingerprint, path, project};

fn dirty(project: &Project, options: &StatusOptions) -> Vec<(String, DirtyKind)> {
    let found = project.open().uncommitted(options).expect("status");
    found.into_iter().map(|dirty| (dirty.path.to_string(), dirty.kind)).collect()
}

fn expected(list: &[(&str, DirtyKind)]) -> Vec<(String, DirtyKind)> {
    list.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect()
}

#[test]
fn every_difference_is_listed() {
    let Some(project) = project() else { return };
    project.write(".gitignore", "*.log\nbuild/\n");
    for name in ["clean", "modified", "mode", "type", "deleted", "removed", "untracked-again", "with space", "staged"] {
        project.write(name, name);
    }
    project.link("link", "clean").commit();
    assert_eq!(dirty(&project, &StatusOptions::default()), []);

    project.write("modified", "2").mode("mode", 0o755).remove("type").link("type", "clean").remove("deleted");
    project.git(&["rm", "--quiet", "removed"]);
    project.git(&["rm", "--quiet", "--cached", "untracked-again"]);
    project.write("staged", "2").write("new", "n").write("intended", "i");
    project.git(&["add", "staged", "new"]);
    project.git(&["add", "--intent-to-add", "intended"]);
    project.write("with space", "2").write("dir/deep/one", "1").write("dir/deep/two", "2");
    project.write("x.log", "ignored").write("build/out", "ignored").remove("link").link("link", "modified");
    let before = fingerprint(&project.at(".git"));
    assert_eq!(
        dirty(&project, &StatusOptions::default()),
        expected(&[
            ("deleted", DirtyKind::Deleted),
            ("dir/deep/one", DirtyKind::Untracked),
            ("dir/deep/two", DirtyKind::Untracked),
            ("intended", DirtyKind::Untracked),
            ("link", DirtyKind::Modified),
            ("mode", DirtyKind::Modified),
            ("modified", DirtyKind::Modified),
            ("new", DirtyKind::Staged),
            ("removed", DirtyKind::Deleted),
            ("staged", DirtyKind::Staged),
            ("type", DirtyKind::Modified),
            ("untracked-again", DirtyKind::Untracked),
            ("untracked-again", DirtyKind::Deleted),
            ("with space", DirtyKind::Modified),
        ])
    );
    assert!(fingerprint(&project.at(".git")) == before, "the user's repository was written");

    let below = StatusOptions { below: path("dir"), ignore: vec!["**/two".into()] };
    assert_eq!(dirty(&project, &below), expected(&[("dir/deep/one", DirtyKind::Untracked)]));
    let wildcard = StatusOptions { below: path("d*"), ignore: Vec::new() };
    assert_eq!(dirty(&project, &wildcard), []);
}

#[test]
fn a_bare_repository_has_nothing_uncommitted() {
    let Some(project) = project() else { return };
    project.write("a", "x").commit();
    project.git(&["clone", "--quiet", "--bare", ".", "bare.git"]);
    let bare = Repository::open(&project.at("bare.git")).expect("open");
    assert_eq!(bare.uncommitted(&StatusOptions::default()).expect("status"), []);
}

#[test]
fn names_that_are_not_text_are_listed() {
    let Some(project) = project() else { return };
    project.write("a", "x").commit();
    project.write(b"\xff new\nline", "x");
    let found = project.open().uncommitted(&StatusOptions::default()).expect("status");
    assert_eq!(found[0].path.as_bytes(), b"\xff new\nline");
}
