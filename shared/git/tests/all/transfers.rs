//! Commits on their way between repositories.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

use slipway_digest::CommitId;
use slipway_git::{GitError, GitView as _, Mirror, Remote};

use crate::fixture::{fingerprint, git_in, path, project};

fn remote(url: &std::path::Path) -> Remote {
    Remote { url: url.to_str().expect("a UTF-8 path").to_owned(), authorization: None, is_here: true }
}

#[test]
fn what_was_pushed_is_fetched_with_all_that_it_needs() {
    let Some(project) = project() else { return };
    project.write("a", "1");
    let first = project.commit();
    project.write("a", "2");
    let second = project.commit();
    let (middle, home) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    git_in(middle.path(), &["init", "--quiet", "--bare"]);
    let before = fingerprint(project.root());
    project.open().push(&remote(middle.path()), &[second]).expect("a push");
    // Lost answers are repeated.
    project.open().push(&remote(middle.path()), &[second]).expect("a push");
    assert_eq!(fingerprint(project.root()), before, "the user's repository is not written");

    let mirror = Mirror::open(&home.path().join("shop.git")).expect("a mirror");
    assert!(!mirror.has(second));
    mirror.fetch(&remote(middle.path()), second).expect("a fetch");
    assert!(mirror.has(second));
    let read = |at| mirror.repository().read(at, &path("a")).expect("a file");
    assert_eq!((read(first), read(second)), (Some(b"1".to_vec()), Some(b"2".to_vec())));
    assert!(mirror.repository().is_ancestor(first, second).expect("an answer"));
    // A commit that only a descendant's ref leads to.
    mirror.fetch(&remote(middle.path()), first).expect("a fetch");
    // What is here needs nobody.
    drop(middle);
    let again = Mirror::open(&home.path().join("shop.git")).expect("the same mirror");
    again.fetch(&remote(home.path()), first).expect("nothing to do");
}

#[test]
fn commits_of_uncommitted_work_are_pushed_from_where_they_lie() {
    let Some(project) = project() else { return };
    project.write("a", "1");
    let base = project.commit();
    let (store, middle) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
    git_in(middle.path(), &["init", "--quiet", "--bare"]);
    project.write("a", "dev").write("only-on-disk", "x");
    let (dev, snapshot) = project.open().with_work_tree_snapshot(store.path(), &[]).expect("a snapshot");
    let files = [(path("ctx/only-on-disk"), project.at("only-on-disk"))];
    let (both, overlay) = dev.with_files(store.path(), base, &files).expect("an overlay");
    both.push(&remote(middle.path()), &[snapshot, overlay]).expect("a push");
    assert_eq!(git_in(middle.path(), &["show", &format!("refs/slipway/{snapshot}:a")]), "dev");
    assert_eq!(git_in(middle.path(), &["show", &format!("{overlay}:ctx/only-on-disk")]), "x");
}

#[test]
fn what_cannot_be_had_is_an_error_that_says_so() {
    let Some(project) = project() else { return };
    project.write("a", "1");
    let first = project.commit();
    project.write("a", "2");
    let second = project.commit();
    let home = tempfile::tempdir().expect("a directory");
    let absent = CommitId([7; 20]);
    assert!(matches!(project.open().push(&remote(home.path()), &[absent]), Err(GitError::Missing(_))));
    let mirror = Mirror::open(&home.path().join("m")).expect("a mirror");
    let error = mirror.fetch(&remote(project.root()), absent).expect_err("no such commit").to_string();
    assert!(error.starts_with("fetch the commit from the coordinator: git failed"), "{error}");
    assert!(!mirror.has(absent));
    let shallow = home.path().join("shallow");
    let url = format!("file://{}", project.root().display());
    git_in(home.path(), &["clone", "--quiet", "--depth=1", &url, "shallow"]);
    let cut_off = slipway_git::Repository::open(&shallow).expect("a clone");
    assert!(matches!(cut_off.push(&remote(home.path()), &[second]), Err(GitError::Shallow(_))));
    assert!(matches!(cut_off.push(&remote(home.path()), &[first]), Err(GitError::Missing(_) | GitError::Shallow(_))));
}

#[test]
fn many_at_once_find_what_one_fetched() {
    let Some(project) = project() else { return };
    project.write("a", "1");
    let commit = project.commit();
    let home = tempfile::tempdir().expect("a directory");
    let mirror = Mirror::open(&home.path().join("m")).expect("a mirror");
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| mirror.fetch(&remote(project.root()), commit).expect("a fetch"));
        }
    });
    assert_eq!(mirror.repository().read(commit, &path("a")).expect("a file"), Some(b"1".to_vec()));
}

#[test]
fn the_token_goes_in_a_header_and_comes_back_in_no_error() {
    let Some(_) = project() else { return };
    let home = tempfile::tempdir().expect("a directory");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/v1/projects/shop/git", listener.local_addr().expect("an address"));
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let mut head = vec![0; 8192];
        let length = stream.read(&mut head).expect("a request");
        stream
            .write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .expect("an answer");
        String::from_utf8_lossy(&head[..length]).into_owned()
    });
    let mirror = Mirror::open(&home.path().join("m")).expect("a mirror");
    let remote = Remote { url, authorization: Some("Bearer hush-hush".to_owned()), is_here: true };
    let error = mirror.fetch(&remote, CommitId([7; 20])).expect_err("refused").to_string();
    let head = server.join().expect("a request");
    assert!(head.starts_with("GET /v1/projects/shop/git/info/refs?service=git-upload-pack"), "{head}");
    assert!(head.contains("Authorization: Bearer hush-hush"), "{head}");
    assert!(error.contains("403") && !error.contains("hush") && !format!("{remote:?}").contains("hush"), "{error}");
}
