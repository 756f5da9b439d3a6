//! Branches and tags of `origin`: as it has them now, and as they are here.

use std::path::Path;

use slipway_git::{Ref, Repository};

use crate::fixture::{git_at, git_in};

/// Names with whether each is a tag, and the times.
fn said(refs: &[Ref]) -> Vec<(String, bool, i64)> {
    refs.iter().map(|found| (found.name.clone(), found.is_tag, found.time)).collect()
}

fn commit(directory: &Path, time: i64) -> String {
    git_at(directory, &format!("{time} +0000"), &["commit", "--quiet", "--allow-empty", "-m", "x"]);
    git_in(directory, &["rev-parse", "HEAD"])
}

#[test]
fn origin_is_asked_and_no_ref_is_written() {
    let place = tempfile::tempdir().unwrap();
    let (origin, clone) = (place.path().join("origin"), place.path().join("clone"));
    git_in(place.path(), &["init", "--quiet", "--initial-branch=main", "origin"]);
    commit(&origin, 1_600_000_000);
    git_in(&origin, &["branch", "gone"]);
    git_in(place.path(), &["clone", "--quiet", "origin", "clone"]);
    // A branch of the clone alone is none of origin's.
    git_in(&clone, &["branch", "own"]);
    let newer = commit(&origin, 1_600_000_100);
    git_in(&origin, &["branch", "feature/a"]);
    git_in(&origin, &["tag", "light"]);
    git_at(&origin, "1600000200 +0000", &["tag", "-a", "-m", "x", "heavy", "main"]);
    let blob = git_in(&origin, &["hash-object", "-w", ".git/HEAD"]);
    git_in(&origin, &["tag", "blob", &blob]);
    git_in(&origin, &["branch", "-D", "gone"]);

    let before = git_in(&clone, &["for-each-ref"]);
    let repository = Repository::open(&clone).unwrap();
    assert!(repository.has_origin());
    let known = repository.known_references().unwrap();
    let expected = [("gone".to_owned(), false, 1_600_000_000), ("main".to_owned(), false, 1_600_000_000)];
    assert_eq!(said(&known), expected);
    let now = repository.fetch_references().unwrap();
    let expected = [("feature/a", false, 100), ("main", false, 100), ("heavy", true, 200), ("light", true, 100)];
    let expected: Vec<_> = expected.map(|(name, tag, time)| (name.to_owned(), tag, 1_600_000_000 + time)).into();
    assert_eq!(said(&now), expected);
    assert!(now.iter().all(|found| found.head.to_string() == newer.trim()), "{now:?}");
    assert_eq!(git_in(&clone, &["for-each-ref"]), before);
    assert!(!clone.join(".git/FETCH_HEAD").exists());
    // What is here need not come again.
    assert_eq!(repository.fetch_references().unwrap(), now);
}

/// Between the question for names and the fetch of what they lead to, a branch goes: the others count.
#[test]
fn a_branch_that_goes_meanwhile_is_left_out() {
    let place = tempfile::tempdir().unwrap();
    let (origin, clone) = (place.path().join("origin"), place.path().join("clone"));
    git_in(place.path(), &["init", "--quiet", "--initial-branch=main", "origin"]);
    commit(&origin, 1_600_000_000);
    git_in(place.path(), &["clone", "--quiet", "origin", "clone"]);
    git_in(&origin, &["checkout", "--quiet", "-b", "short-lived"]);
    commit(&origin, 1_600_000_100);
    git_in(&origin, &["checkout", "--quiet", "--detach", "main"]);
    // What serves origin deletes the branch when it is asked for the second time.
    let (script, asked) = (place.path().join("serve"), place.path().join("asked"));
    let text = format!(
        "echo >>'{0}'\n[ $(wc -l <'{0}') != 2 ] || git --git-dir='{1}/.git' update-ref -d refs/heads/short-lived\n\
         exec git-upload-pack \"$@\"\n",
        asked.display(),
        origin.display()
    );
    std::fs::write(&script, text).unwrap();
    // Read by a shell: a file that was just written cannot be run while a process that is being started has it open.
    git_in(&clone, &["config", "remote.origin.uploadpack", &format!("sh {}", script.display())]);
    let found = Repository::open(&clone).unwrap().fetch_references().unwrap();
    assert_eq!(said(&found), [("main".to_owned(), false, 1_600_000_000)]);
    assert_eq!(std::fs::read_to_string(&asked).unwrap().lines().count(), 3, "names, a fetch in vain, names once more");
}

#[test]
fn without_origin_it_is_said() {
    let place = tempfile::tempdir().unwrap();
    git_in(place.path(), &["init", "--quiet"]);
    commit(place.path(), 1_600_000_000);
    let repository = Repository::open(place.path()).unwrap();
    assert!(!repository.has_origin());
    let error = repository.fetch_references().unwrap_err().to_string();
    assert!(error.starts_with("ask origin for its branches and tags: git failed"), "{error}");
    assert_eq!(repository.known_references().unwrap(), []);
}

/// An address that starts with dots leads from the top of the work tree, wherever the program was started; without a work tree,
/// from the repository.
#[test]
fn a_relative_address_of_origin_is_taken_as_git_takes_it() {
    let place = tempfile::tempdir().unwrap();
    git_in(place.path(), &["init", "--quiet", "--bare", "--initial-branch=main", "server.git"]);
    git_in(place.path(), &["init", "--quiet", "--initial-branch=main", "clone"]);
    let clone = place.path().join("clone");
    let newest = commit(&clone, 1_600_000_000);
    git_in(&clone, &["remote", "add", "origin", "../server.git"]);
    git_in(&clone, &["push", "--quiet", "origin", "main"]);
    // One that lies lower finds nothing there, and below itself another server.
    git_in(&clone, &["worktree", "add", "--quiet", "--detach", "../deep/linked"]);
    git_in(place.path(), &["clone", "--quiet", "--bare", "server.git", "deep/server.git"]);
    git_in(&place.path().join("deep/server.git"), &["branch", "deep"]);
    git_in(place.path(), &["clone", "--quiet", "--bare", "clone", "bare.git"]);
    git_in(&place.path().join("bare.git"), &["config", "remote.origin.url", "../server.git"]);
    std::fs::create_dir_all(clone.join("one/two")).unwrap();
    let branches = |directory: &str| {
        let found = Repository::open(&place.path().join(directory)).unwrap().fetch_references().unwrap();
        assert!(found.iter().all(|found| found.head.to_string() == newest), "{directory}: {found:?}");
        found.into_iter().map(|found| found.name).collect::<Vec<_>>()
    };
    for directory in ["clone", "clone/one/two", "clone/.git", "bare.git"] {
        assert_eq!(branches(directory), ["main"], "{directory}");
    }
    assert_eq!(branches("deep/linked"), ["deep", "main"]);
    git_in(&clone, &["config", "remote.origin.url", "./below.git"]);
    git_in(place.path(), &["clone", "--quiet", "--bare", "server.git", "clone/below.git"]);
    assert_eq!(branches("clone/one/two"), ["main"]);
}

/// What a shallow clone lacks comes from there, too.
#[test]
fn a_shallow_clone_is_made_whole_from_a_relative_address() {
    let place = tempfile::tempdir().unwrap();
    git_in(place.path(), &["init", "--quiet", "--initial-branch=main", "origin"]);
    let origin = place.path().join("origin");
    commit(&origin, 1_600_000_000);
    commit(&origin, 1_600_000_100);
    let address = format!("file://{}", origin.display());
    git_in(place.path(), &["clone", "--quiet", "--depth=1", &address, "clone"]);
    let clone = place.path().join("clone");
    git_in(&clone, &["config", "remote.origin.url", "../origin"]);
    let repository = Repository::open(&clone).unwrap();
    assert!(repository.is_shallow().unwrap());
    repository.unshallow().unwrap();
    assert_eq!(git_in(&clone, &["rev-list", "--count", "HEAD"]), "2");
}
