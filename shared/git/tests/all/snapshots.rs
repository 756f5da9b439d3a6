//! Commits of work trees.

use slipway_digest::CommitId;
use slipway_git::{GitView as _, Repository};
use tempfile::TempDir;

use crate::fixture::{Project, all, fingerprint, path, project};

fn snapshot(project: &Project, store: &TempDir, ignore: &[&str]) -> (Repository, CommitId) {
    let ignore: Vec<String> = ignore.iter().map(ToString::to_string).collect();
    project.open().with_work_tree_snapshot(store.path(), &ignore).expect("a snapshot")
}

fn names(repository: &Repository, at: CommitId) -> Vec<String> {
    repository.list(at, &all("")).expect("list").iter().map(ToString::to_string).collect()
}

fn read(repository: &Repository, at: CommitId, name: &str) -> Option<String> {
    repository.read(at, &path(name)).expect("read").map(|content| String::from_utf8_lossy(&content).into_owned())
}

#[test]
fn a_clean_work_tree_is_its_head() {
    let Some(project) = project() else { return };
    let head = project.write("a", "x").write(".gitignore", "*.log").commit();
    project.write("x.log", "ignored");
    let store = TempDir::new().expect("a directory");
    let (repository, commit) = snapshot(&project, &store, &[]);
    assert_eq!((commit, repository.resolve("HEAD").expect("head")), (head, head));
    // A change that only the ignored globs cover is none.
    project.write("tmp/new", "x");
    assert_eq!(snapshot(&project, &store, &["tmp"]).1, head);
}

#[test]
fn a_snapshot_holds_the_work_tree_and_writes_nothing_of_the_users() {
    let Some(project) = project() else { return };
    let head = project
        .write(".gitignore", "*.log")
        .write("keep", "k")
        .write("modify", "1")
        .write("delete", "d")
        .write("cached", "c")
        .write("file", "f")
        .write("dir/a", "a")
        .commit();
    project.write("modify", "2").remove("delete").write("new dir/new file", "n").write("x.log", "ignored");
    project.write(b"odd \xff\nname", "odd").mode("keep", 0o755).link("link", "keep").write("tmp/skip", "s");
    project.git(&["rm", "--quiet", "--cached", "cached"]);
    project.write("staged", "1");
    project.git(&["add", "staged"]);
    project.write("staged", "2").remove("file").write("file/inside", "i");
    std::fs::remove_dir_all(project.at("dir")).expect("remove");
    project.write("dir", "now a file");

    let store = TempDir::new().expect("a directory");
    let before = fingerprint(&project.at(".git"));
    let (repository, commit) = snapshot(&project, &store, &["tmp/**"]);
    assert!(fingerprint(&project.at(".git")) == before, "the user's repository was written");
    assert_eq!(repository.resolve("HEAD").expect("head"), commit);
    assert_eq!(repository.resolve("main").expect("main"), head);
    assert_eq!(repository.resolve(&commit.to_string()).expect("by id"), commit);
    assert_eq!(repository.resolve("HEAD~1").expect("its parent"), head);
    let info = repository.commit(commit).expect("commit");
    assert_eq!((info.parents.as_slice(), info.time), ([head].as_slice(), 981_173_106));
    let expected = [
        ".gitignore",
        "cached",
        "dir",
        "file/inside",
        "keep",
        "link",
        "modify",
        "new dir/new file",
        "odd \u{fffd}\nname",
        "staged",
    ];
    assert_eq!(names(&repository, commit), expected);
    for (name, content) in [("modify", "2"), ("staged", "2"), ("dir", "now a file"), ("link", "k"), ("cached", "c")] {
        assert_eq!(read(&repository, commit, name).as_deref(), Some(content), "{name}");
    }
    assert_eq!(read(&repository, head, "modify").as_deref(), Some("1"));
    assert!(repository.is_ancestor(head, commit).expect("ancestry"));
    assert!(!repository.is_ancestor(commit, head).expect("ancestry"));
    assert_eq!(repository.changes(head, commit, &all("keep")).expect("changes").len(), 1);
    let mut bytes = Vec::new();
    repository.archive(commit, &all(""), &Default::default(), &mut bytes).expect("archive");
    let left: Vec<_> = std::fs::read_dir(store.path()).expect("list").map(|e| e.expect("entry").file_name()).collect();
    assert_eq!(left.len(), 7, "{left:?}");
}

#[test]
fn an_unchanged_work_tree_keeps_its_commit_and_a_changed_one_descends_from_it() {
    let Some(project) = project() else { return };
    project.write("a", "1").commit();
    let store = TempDir::new().expect("a directory");
    let (_, first) = snapshot(project.write("a", "2"), &store, &[]);
    project.git(&["add", "a"]);
    assert_eq!(snapshot(&project, &store, &[]).1, first, "staging changes nothing");
    let (repository, second) = snapshot(project.write("a", "3"), &store, &[]);
    assert_ne!(first, second);
    assert!(repository.is_ancestor(first, second).expect("ancestry"));
    assert_eq!(read(&repository, first, "a").as_deref(), Some("2"));

    let head = project.commit();
    let (repository, third) = snapshot(project.write("a", "4"), &store, &[]);
    for older in [first, second, head] {
        assert!(repository.is_ancestor(older, third).expect("ancestry"));
    }
    assert_eq!(repository.commit(third).expect("a commit").parents[0], head);
}

#[test]
fn two_repositories_share_a_store() {
    let (Some(one), Some(two)) = (project(), project()) else { return };
    one.write("a", "1").commit();
    two.write("b", "1").commit();
    let store = TempDir::new().expect("a directory");
    let (first, first_commit) = snapshot(one.write("a", "2"), &store, &[]);
    let (second, second_commit) = snapshot(two.write("b", "2"), &store, &[]);
    assert_eq!(names(&first, first_commit), ["a"]);
    assert_eq!(names(&second, second_commit), ["b"]);
    drop(two);
    let (third, third_commit) = snapshot(one.write("c", "3"), &store, &[]);
    assert_eq!(names(&third, third_commit), ["a", "c"]);
}

#[test]
fn shallow_clones_and_linked_work_trees_have_snapshots() {
    let Some(project) = project() else { return };
    let commits: Vec<CommitId> = (0..3).map(|n| project.write("a", n.to_string()).commit()).collect();
    let url = format!("file://{}", project.root().display());
    project.git(&["clone", "--quiet", "--depth=1", &url, "shallow"]);
    project.git(&["worktree", "add", "--quiet", "--detach", "linked"]);
    let store = TempDir::new().expect("a directory");
    for name in ["shallow", "linked"] {
        project.write(format!("{name}/new"), "n");
        let opened = Repository::open(&project.at(name)).expect("open");
        let (repository, commit) = opened.with_work_tree_snapshot(store.path(), &[]).expect("a snapshot");
        assert_eq!(names(&repository, commit), ["a", "new"]);
        assert!(repository.is_ancestor(commits[2], commit).expect("ancestry"));
        assert_eq!(repository.is_ancestor(commits[0], commit).is_err(), name == "shallow");
    }
}

#[test]
fn a_store_that_cannot_be_written_is_explained() {
    let Some(project) = project() else { return };
    project.write("a", "1").commit();
    let file = project.write("a", "2").at("a");
    let error = project.open().with_work_tree_snapshot(&file.join("store"), &[]).expect_err("no directory");
    assert!(error.to_string().contains("make a commit of the work tree"), "{error}");
}

#[test]
fn modes_are_snapped_even_where_the_content_stays() {
    let Some(project) = project() else { return };
    let head = project.write("run", "x").write("stop", "x").mode("stop", 0o755).commit();
    project.mode("run", 0o755).mode("stop", 0o644);
    let store = TempDir::new().expect("a directory");
    let (repository, commit) = snapshot(&project, &store, &[]);
    let changes = repository.changes(head, commit, &all("")).expect("changes");
    let modes: Vec<_> = changes.iter().map(|change| change.new.expect("still there").0.bits()).collect();
    assert_eq!(modes, [0o100_755, 0o100_644]);
}
