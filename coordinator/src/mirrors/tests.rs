use slipway_process::Environment;

use super::*;

fn mirrors(root: &Path) -> Mirrors {
    let limits = Limits { push: 1 << 20, mirrors: 4, mirrors_of_one: 2, ..Limits::default() };
    Mirrors::open(root.join("git"), &Environment::from_process(), limits).expect("mirrors")
}

/// A repository with a commit; answers the commit.
async fn project(mirrors: &Mirrors, directory: &Path) -> CommitId {
    fs::create_dir_all(directory).expect("a directory");
    let git = |arguments: &'static [&'static str]| {
        let git = Git::new(mirrors, directory, "prepare a test").args(arguments);
        let git = ["AUTHOR", "COMMITTER"].iter().fold(git, |git, who| {
            git.env(&format!("GIT_{who}_NAME"), "t").env(&format!("GIT_{who}_EMAIL"), "t@localhost")
        });
        git.run()
    };
    git(&["init", "--quiet"]).await.expect("a repository");
    git(&["commit", "--quiet", "--allow-empty", "--message=one"]).await.expect("a commit");
    git(&["rev-parse", "HEAD"]).await.expect("its id").trim().parse().expect("an id")
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for good in ["shop", "a", "Shop_2.x-y"] {
        assert!(Mirrors::check_name(good).is_ok(), "{good}");
    }
    for bad in ["", ".", "..", "a/b", "-a", ".git", "a..b", "a.lock", "ä", "a b", &"x".repeat(101)] {
        assert!(Mirrors::check_name(bad).is_err(), "{bad}");
    }
}

#[tokio::test]
async fn a_commit_is_missing_until_it_is_pushed_and_kept_then() {
    let directory = tempfile::tempdir().expect("a directory");
    let mirrors = mirrors(directory.path());
    let source = directory.path().join("source");
    let commit = project(&mirrors, &source).await;
    assert_eq!(mirrors.missing("shop", &[commit]).await.expect("an answer"), [commit]);
    assert!(!mirrors.has("shop"), "a question makes no mirror");
    mirrors.ensure("shop", "ci").await.expect("a mirror");
    assert_eq!(mirrors.missing("shop", &[commit]).await.expect("an answer"), [commit]);
    let push = |target: &'static str| {
        let target = format!("{commit}:refs/{target}");
        let mirror = mirrors.directory("shop");
        Git::new(&mirrors, &source, "push").arg("push").arg(mirror).arg(target).run()
    };
    let refused = push("heads/main").await.expect_err("only refs/slipway is written");
    assert!(refused.to_string().contains("deny updating a hidden ref"), "{refused}");
    push("slipway/x").await.expect("it is taken");
    assert!(mirrors.missing("shop", &[commit]).await.expect("an answer").is_empty());
    let kept = fs::read_to_string(mirrors.directory("shop").join(format!("refs/slipway/{commit}")));
    assert_eq!(kept.expect("a ref of its own").trim(), commit.to_string());
    mirrors.tidy_up().await;
    assert!(mirrors.missing("shop", &[commit]).await.expect("an answer").is_empty());
}

/// An object that no ref holds may vanish any time.
#[tokio::test]
async fn a_commit_that_no_ref_holds_is_missing() {
    let directory = tempfile::tempdir().expect("a directory");
    let mirrors = mirrors(directory.path());
    mirrors.ensure("shop", "ci").await.expect("a mirror");
    let mirror = mirrors.directory("shop");
    let tree = Git::new(&mirrors, &mirror, "make a tree").args(["hash-object", "-t", "tree", "-w", "/dev/null"]);
    let tree = tree.run().await.expect("a tree");
    let commit = Git::new(&mirrors, &mirror, "make a commit").args(["commit-tree", "-m", "x", tree.trim()]);
    let commit = ["AUTHOR", "COMMITTER"].iter().fold(commit, |git, who| {
        git.env(&format!("GIT_{who}_NAME"), "t").env(&format!("GIT_{who}_EMAIL"), "t@localhost")
    });
    let commit: CommitId = commit.run().await.expect("a commit").trim().parse().expect("an id");
    assert_eq!(mirrors.missing("shop", &[commit]).await.expect("an answer"), [commit]);
}

#[tokio::test]
async fn there_are_only_so_many_mirrors_and_only_so_many_of_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let mirrors = mirrors(directory.path());
    for project in ["a", "b", "a"] {
        mirrors.ensure(project, "ci").await.expect("a mirror");
    }
    let refused = mirrors.ensure("c", "ci").await.expect_err("it has two").to_string();
    assert!(refused.contains("`ci` has brought 2 projects here"), "{refused}");
    assert!(!mirrors.has("c"));
    for project in ["c", "d"] {
        mirrors.ensure(project, "other").await.expect("a mirror");
    }
    let refused = mirrors.ensure("e", "third").await.expect_err("there are four").to_string();
    assert!(refused.contains("4 projects are here already"), "{refused}");
    mirrors.ensure("a", "ci").await.expect("it is there");
}
