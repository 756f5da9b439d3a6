//! Repositories inside of repositories.

use slipway_digest::CommitId;
use slipway_git::{DirtyKind, GitError, GitView as _, Repository, StatusOptions};
use tempfile::TempDir;

use crate::fixture::{Project, all, fingerprint, git_in, including, path, project};

/// A project with a submodule `libs/sub` that holds `lib.txt` and `deep/x`.
fn with_submodule() -> Option<(Project, Project)> {
    let (outer, inner) = (project()?, project()?);
    inner.write("lib.txt", "1").write("deep/x", "x").commit();
    outer.write("a", "a").write("libs/sub.txt", "sibling").link("into", "libs/sub/lib.txt");
    outer.git(&["submodule", "--quiet", "add", "--name", "named", &inner.root().display().to_string(), "libs/sub"]);
    outer.commit();
    Some((outer, inner))
}

fn names(repository: &Repository, at: CommitId) -> Vec<String> {
    repository.list(at, &all("libs")).expect("list").iter().map(ToString::to_string).collect()
}

#[test]
fn a_submodule_is_a_directory() {
    let Some((outer, _inner)) = with_submodule() else { return };
    let (repository, head) = (outer.open(), outer.head());
    assert_eq!(names(&repository, head), ["sub.txt", "sub/deep/x", "sub/lib.txt"]);
    assert_eq!(repository.tree(head, &all("libs/sub/deep")).expect("tree").files, 1);
    assert_eq!(outer.read(head, "libs/sub/lib.txt").as_deref(), Some("1"));
    assert_eq!(outer.read(head, "into").as_deref(), Some("1"));
    let mut bytes = Vec::new();
    repository.archive(head, &all("libs/sub"), &Default::default(), &mut bytes).expect("archive");
    assert!(bytes.len() > 2048);
}

#[test]
fn the_copy_among_the_repositorys_own_data_is_enough() {
    let Some((outer, _inner)) = with_submodule() else { return };
    std::fs::remove_dir_all(outer.at("libs/sub")).expect("remove");
    assert_eq!(names(&outer.open(), outer.head()), ["sub.txt", "sub/deep/x", "sub/lib.txt"]);
}

#[test]
fn a_missing_submodule_is_named_when_it_is_needed() {
    let Some((outer, _inner)) = with_submodule() else { return };
    outer.git(&["clone", "--quiet", ".", "clone"]);
    let clone = Repository::open(&outer.at("clone")).expect("open");
    let error = clone.tree(outer.head(), &all("")).expect_err("no submodule");
    let text = error.to_string();
    assert!(matches!(error, GitError::Submodule { .. }), "{text}");
    assert!(text.contains("`libs/sub`") && text.contains("git submodule update --init"), "{text}");
    assert_eq!(clone.tree(outer.head(), &including("", &["a", "libs/*.txt"])).expect("tree").files, 2);
}

#[test]
fn a_moved_submodule_is_compared_file_by_file() {
    let Some((outer, inner)) = with_submodule() else { return };
    let from = outer.head();
    inner.write("lib.txt", "22").write("new", "n").commit();
    git_in(&outer.at("libs/sub"), &["pull", "--quiet", "origin", "main"]);
    let to = outer.commit();
    let changes = outer.open().changes(from, to, &all("")).expect("changes");
    let names: Vec<(String, u64)> = changes.iter().map(|c| (c.path.to_string(), c.size)).collect();
    assert_eq!(names, [("libs/sub/lib.txt".to_owned(), 2), ("libs/sub/new".to_owned(), 1)]);
    assert_eq!(outer.open().changes(from, to, &all("libs/sub")).expect("changes").len(), 2);
    assert_eq!(outer.open().changes(from, to, &all("a")).expect("changes"), []);
}

#[test]
fn differences_in_a_submodule_are_seen_and_snapped() {
    let Some((outer, _inner)) = with_submodule() else { return };
    outer.write("libs/sub/lib.txt", "changed").write("libs/sub/untracked", "u").write("libs/sub/tmp/skip", "s");
    let status = outer.open().uncommitted(&StatusOptions::default()).expect("status");
    assert_eq!(status.len(), 1);
    assert_eq!(status[0].kind, DirtyKind::Submodule { commit: false, modified: true, untracked: true });

    let store = TempDir::new().expect("a directory");
    let before = fingerprint(&outer.at(".git"));
    let ignore = ["libs/sub/tmp".to_owned()];
    let (repository, commit) = outer.open().with_work_tree_snapshot(store.path(), &ignore).expect("a snapshot");
    assert!(fingerprint(&outer.at(".git")) == before, "the user's repository was written");
    assert_eq!(names(&repository, commit), ["sub.txt", "sub/deep/x", "sub/lib.txt", "sub/untracked"]);
    let content = repository.read(commit, &path("into")).expect("read");
    assert_eq!(content.as_deref(), Some(b"changed".as_slice()));
    assert_eq!(repository.changes(outer.head(), commit, &all("")).expect("changes").len(), 2);

    git_in(&outer.at("libs/sub"), &["checkout", "--quiet", "-b", "work"]);
    git_in(&outer.at("libs/sub"), &["commit", "--quiet", "--all", "--message", "work"]);
    let status = outer.open().uncommitted(&StatusOptions::default()).expect("status");
    assert_eq!(status[0].kind, DirtyKind::Submodule { commit: true, modified: false, untracked: true });
}

/// What a cluster has: one bare repository into which the commits of all go.
#[test]
fn a_submodule_whose_commit_lies_in_the_repository_itself_is_read_there() {
    let Some((outer, inner)) = with_submodule() else { return };
    let bare = TempDir::new().expect("a directory");
    git_in(bare.path(), &["init", "--quiet", "--bare"]);
    let push = |project: &Project| {
        let to = bare.path().display().to_string();
        project.git(&["push", "--quiet", &to, &format!("HEAD:refs/slipway/{}", project.head())]);
    };
    push(&outer);
    let repository = Repository::open(bare.path()).expect("open");
    let head = outer.head();
    let found = repository.submodules(head, &all("")).expect("submodules");
    assert_eq!((found.len(), found[0].commit, found[0].repository.is_none()), (1, inner.head(), true));
    assert!(matches!(repository.tree(head, &all("")), Err(GitError::Submodule { .. })));
    push(&inner);
    assert_eq!(names(&repository, head), ["sub.txt", "sub/deep/x", "sub/lib.txt"]);
    assert!(repository.submodules(head, &all("")).expect("submodules")[0].repository.is_some());
    // Those that no file is taken of are none.
    assert!(repository.submodules(head, &all("a")).expect("submodules").is_empty());
    assert_eq!(repository.submodules(head, &all("libs/sub/deep")).expect("submodules").len(), 1);
}

#[test]
fn a_commit_whose_submodule_is_gone_is_nothing_to_start_from() {
    let Some((outer, inner)) = with_submodule() else { return };
    let first = outer.head();
    inner.git(&["checkout", "--quiet", "--orphan", "rewritten"]);
    let rewritten = inner.write("lib.txt", "2").commit();
    outer.git(&["rm", "--quiet", "--cached", "libs/sub"]);
    outer.git(&["update-index", "--add", "--cacheinfo", &format!("160000,{rewritten},libs/sub")]);
    outer.git(&["commit", "--quiet", "--message", "rewritten"]);
    let second = outer.head();
    assert!(outer.open().is_ancestor(first, second).is_ok_and(|yes| yes), "the submodule is not used as it is now");
    std::fs::remove_dir_all(outer.at("libs/sub")).expect("remove");
    std::fs::remove_dir_all(outer.at(".git/modules")).expect("remove");
    git_in(outer.root(), &["clone", "--quiet", "--bare", &inner.root().display().to_string(), ".git/modules/named"]);
    git_in(&outer.at(".git/modules/named"), &["update-ref", "-d", "refs/heads/main"]);
    git_in(&outer.at(".git/modules/named"), &["reflog", "expire", "--expire=now", "--all"]);
    git_in(&outer.at(".git/modules/named"), &["gc", "--quiet", "--prune=now"]);
    let repository = outer.open();
    assert!(matches!(repository.is_ancestor(first, second), Err(GitError::Submodule { .. })));
    assert_eq!(repository.tree(second, &all("libs/sub")).expect("it is at hand").files, 2);
}
