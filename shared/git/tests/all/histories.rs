//! Ancestry.

use slipway_digest::CommitId;
use slipway_git::{GitError, GitView as _, Repository};

use crate::fixture::{Project, git_at, project};

fn is_ancestor(project: &Project, old: CommitId, new: CommitId) -> bool {
    project.open().is_ancestor(old, new).expect("ancestry")
}

#[test]
fn ancestors_are_found_over_merges_and_not_across_branches() {
    let Some(project) = project() else { return };
    let root = project.write("a", "1").commit();
    project.git(&["checkout", "--quiet", "-b", "side"]);
    let side = project.write("b", "1").commit();
    project.git(&["checkout", "--quiet", "main"]);
    let main = project.write("c", "1").commit();
    assert!(!is_ancestor(&project, side, main));
    project.git(&["merge", "--quiet", "--no-ff", "--message", "merge", "side"]);
    let merge = project.head();
    project.git(&["checkout", "--quiet", "--orphan", "island"]);
    let island = project.write("d", "1").commit();
    for (old, new, expected) in [
        (root, root, true),
        (root, merge, true),
        (side, merge, true),
        (main, merge, true),
        (merge, root, false),
        (main, side, false),
        (root, island, false),
        (island, merge, false),
        (CommitId([9; 20]), merge, false),
    ] {
        assert_eq!(is_ancestor(&project, old, new), expected, "{old} {new}");
    }
    assert!(matches!(project.open().is_ancestor(root, CommitId([9; 20])), Err(GitError::Missing(_))));
    project.git(&["commit-graph", "write", "--reachable"]);
    assert!(is_ancestor(&project, root, merge));
    assert!(!is_ancestor(&project, side, main));
}

#[test]
fn clocks_that_run_backwards_do_not_matter() {
    let Some(project) = project() else { return };
    let mut commits = Vec::new();
    for (file, year) in [("a", 2020), ("b", 2005), ("c", 2019), ("d", 2001), ("e", 2018)] {
        project.write(file, "x");
        project.git(&["add", "--all"]);
        git_at(project.root(), &format!("{year}-01-01T00:00:00Z"), &["commit", "--quiet", "--message", file]);
        commits.push(project.head());
    }
    for (i, old) in commits.iter().enumerate() {
        for (j, new) in commits.iter().enumerate() {
            assert_eq!(is_ancestor(&project, *old, *new), i <= j, "{i} {j}");
        }
    }
}

#[test]
fn a_shallow_history_answers_what_it_can() {
    let Some(project) = project() else { return };
    let commits: Vec<CommitId> = (0..6).map(|n| project.write("a", n.to_string()).commit()).collect();
    project.git(&["checkout", "--quiet", "-b", "side", &commits[3].to_string()]);
    let side = project.write("b", "x").commit();
    project.git(&["checkout", "--quiet", "main"]);
    let url = format!("file://{}", project.root().display());
    project.git(&["clone", "--quiet", "--depth=3", "--no-single-branch", &url, "shallow"]);
    let shallow = Repository::open(&project.at("shallow")).expect("open");
    assert!(shallow.is_ancestor(commits[4], commits[5]).expect("before the cut"));
    assert!(shallow.is_ancestor(commits[3], commits[5]).expect("at the cut"));
    // Both branches reach the same cut: nothing behind it can lead from one to the other.
    assert!(!shallow.is_ancestor(side, commits[5]).expect("a sibling"));
    let behind = shallow.is_ancestor(commits[0], commits[5]).expect_err("behind the cut");
    assert!(matches!(behind, GitError::Shallow(_)), "{behind}");
    assert!(behind.to_string().contains("git fetch --unshallow"), "{behind}");
}

#[test]
fn a_cut_on_another_branch_leaves_the_answer_open() {
    let Some(project) = project() else { return };
    project.write("a", "0").commit();
    project.git(&["checkout", "--quiet", "-b", "side"]);
    let side = project.write("b", "x").commit();
    project.write("b", "y").commit();
    project.git(&["checkout", "--quiet", "main"]);
    let main: Vec<CommitId> = (1..5).map(|n| project.write("a", n.to_string()).commit()).collect();
    let url = format!("file://{}", project.root().display());
    project.git(&["clone", "--quiet", "--depth=2", "--no-single-branch", &url, "shallow"]);
    let shallow = Repository::open(&project.at("shallow")).expect("open");
    assert!(matches!(shallow.is_ancestor(side, main[3]), Err(GitError::Shallow(_))));
}
