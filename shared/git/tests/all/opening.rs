//! Opening a repository and naming commits.

use std::fs;

use slipway_digest::CommitId;
use slipway_git::{GitError, GitView as _, Repository};

use crate::fixture::{git_in, path, project};

#[test]
fn a_repository_is_found_from_below() {
    let Some(project) = project() else { return };
    let head = project.write("a/b/c", "x").commit();
    let repository = Repository::open(&project.at("a/b")).expect("open");
    assert_eq!(repository.resolve("HEAD").expect("head"), head);
    assert_eq!(repository.prefix(&project.at("a/b")).expect("prefix"), path("a/b"));
    assert_eq!(repository.prefix(project.root()).expect("prefix"), path(""));
    assert!(matches!(repository.prefix("/".as_ref()), Err(GitError::Unusable(_))));
}

#[test]
fn bare_repositories_and_linked_work_trees_open() {
    let Some(project) = project() else { return };
    let head = project.write("a", "x").commit();
    project.git(&["clone", "--quiet", "--bare", ".", "bare.git"]);
    let bare = Repository::open(&project.at("bare.git")).expect("open a bare repository");
    assert_eq!(bare.resolve("main").expect("main"), head);
    assert_eq!(bare.work_tree(), None);

    project.git(&["worktree", "add", "--quiet", "--detach", "linked"]);
    project.write("linked/new", "y");
    git_in(&project.at("linked"), &["add", "new"]);
    git_in(&project.at("linked"), &["commit", "--quiet", "--message", "linked"]);
    let linked = Repository::open(&project.at("linked")).expect("open a linked work tree");
    let tip = linked.resolve("HEAD").expect("head");
    assert_ne!(tip, head);
    assert_eq!(linked.commit(tip).expect("commit").parents, [head]);
    assert_eq!(linked.read(tip, &path("new")).expect("read"), Some(b"y".to_vec()));
    assert_eq!(linked.prefix(&project.at("linked")).expect("prefix"), path(""));
}

#[test]
fn names_stand_for_commits() {
    let Some(project) = project() else { return };
    let first = project.write("a", "1").commit();
    project.git(&["tag", "--annotate", "v1", "--message", "tag"]);
    let second = project.write("a", "2").commit();
    project.git(&["checkout", "--quiet", "--detach"]);
    let repository = project.open();
    let hex = second.to_string();
    for (name, commit) in [
        ("HEAD", second),
        ("main", second),
        ("refs/heads/main", second),
        ("v1", first),
        ("HEAD~1", first),
        (&hex, second),
        (&hex[..10], second),
    ] {
        assert_eq!(repository.resolve(name).expect(name), commit, "{name}");
    }
    let absent = CommitId([7; 20]).to_string();
    for name in ["nothing", "", "--all", &absent, "HEAD:a"] {
        assert!(matches!(repository.resolve(name), Err(GitError::Missing(_))), "{name}");
    }
    let info = repository.commit(second).expect("commit");
    assert_eq!((info.id, info.time, info.parents), (second, 981_173_106, vec![first]));
}

#[test]
fn what_cannot_be_used_is_explained() {
    let Some(project) = project() else { return };
    let repository = project.open();
    let message = repository.resolve("HEAD").expect_err("no commits").to_string();
    assert!(message.contains("no commits yet") && message.contains("git commit"), "{message}");

    let outside = tempfile::TempDir::new().expect("a temporary directory");
    let message = Repository::open(outside.path()).expect_err("no repository").to_string();
    assert!(message.contains("is not in a git repository"), "{message}");
    let message = Repository::open(&outside.path().join("absent")).expect_err("no directory").to_string();
    assert!(message.contains("absent"), "{message}");
}

#[test]
fn a_repository_of_another_user_is_explained() {
    let Some(project) = project() else { return };
    project.write("a", "x").commit();
    let foreign = |path: &std::path::Path| std::os::unix::fs::chown(path, Some(12345), Some(12345));
    if foreign(&project.at(".git")).and_then(|()| foreign(project.root())).is_err() {
        drop(std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("skipped: only root can give files away\n"),
        ));
        return;
    }
    match Repository::open(project.root()) {
        Ok(_) => drop(std::io::Write::write_fmt(
            &mut std::io::stderr(),
            format_args!("skipped: this machine's git trusts every directory\n"),
        )),
        Err(error) => assert!(error.to_string().contains("safe.directory"), "{error}"),
    }
    fs::remove_dir_all(project.at(".git")).expect("clean up");
}
