//! Sources that a worker brings to itself.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use slipway_digest::CommitId;
use slipway_git::Remote;
use slipway_parts::{Part, require};
use slipway_paths::TreePath;
use slipway_process::{Tasks, child};
use slipway_stages::SourceId;
use slipway_worker::{Mirrors, SourceError, Sources as _};

fn git(directory: &Path, arguments: &[&str]) -> String {
    let identity = ["-c", "user.name=Test", "-c", "user.email=test@localhost"];
    let output =
        child::command("git").arg("-C").arg(directory).args(identity).args(arguments).output().expect("git runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[tokio::test]
async fn a_commit_is_fetched_once_however_many_jobs_ask() {
    if !require(&[Part::Git]) {
        return;
    }
    let (origin, home) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    git(origin.path(), &["init", "--quiet"]);
    std::fs::write(origin.path().join("a"), "1").expect("a file");
    git(origin.path(), &["add", "a"]);
    git(origin.path(), &["commit", "--quiet", "--message", "first"]);
    let commit: CommitId = git(origin.path(), &["rev-parse", "HEAD"]).parse().expect("a commit");
    let (asked, url) = (Arc::new(AtomicUsize::new(0)), origin.path().to_str().expect("a UTF-8 path").to_owned());
    let counted = Arc::clone(&asked);
    let place = move |project: &str| {
        assert_eq!(project, "shop");
        counted.fetch_add(1, Ordering::SeqCst);
        Remote { url: url.clone(), authorization: None, is_here: true }
    };
    let mirrors = Mirrors::new(home.path().to_owned(), Box::new(place), Tasks::new());
    let own = SourceId::own();
    let views = futures::future::join_all((0..8).map(|_| mirrors.at("shop", &own, commit))).await;
    for view in views {
        let view = view.expect("the commit is here");
        let path = TreePath::new(b"a").expect("a path");
        assert_eq!(view.read(commit, &path).expect("a file"), Some(b"1".to_vec()));
    }
    // What is here needs its origin no more.
    drop(origin);
    assert!(mirrors.at("shop", &own, commit).await.is_ok());
    let absent = mirrors.at("shop", &own, CommitId([7; 20])).await;
    assert!(matches!(absent, Err(SourceError::NotBrought(_))), "another try may help");
    for name in ["", "../shop", "a/b", ".git"] {
        assert!(matches!(mirrors.at(name, &own, commit).await, Err(SourceError::Here(_))), "{name}");
    }
}
