//! Copies of other repositories: over files, http and ssh, kept up to date, taken over from whoever was killed.

use std::{fs, sync::atomic::Ordering, thread, time::Duration};

use slipway_digest::CommitId;
use slipway_git::{Address, GitError, GitView as _, Repository, Speech, Upstream, Wanted};
use tempfile::TempDir;

use crate::{
    fixture::{Project, all, path, project},
    http::Server,
};

/// A project with a file on `main`, and a directory of ours.
fn scene() -> Option<(Project, TempDir, CommitId)> {
    let project = project()?;
    let first = project.write("file", "first").commit();
    Some((project, TempDir::new().expect("a directory"), first))
}

fn upstream(home: &TempDir, url: &str) -> Upstream {
    Upstream::new(home.path(), Address::new(url, false).expect(url), Speech::default())
}

fn file_url(project: &Project) -> String {
    format!("file://{}", project.root().display())
}

fn content(repository: &Repository, at: CommitId) -> String {
    let content = repository.read(at, &path("file")).expect("readable").expect("a file");
    String::from_utf8(content).expect("text")
}

#[test]
fn branches_tags_and_commits_are_fetched_and_kept_up_to_date() {
    let Some((project, home, first)) = scene() else { return };
    project.git(&["tag", "--annotate", "--message", "x", "v1"]);
    let copy = upstream(&home, &file_url(&project));
    let fetch = |wanted: Wanted| copy.fetch(&wanted).expect("fetched");
    assert_eq!(fetch(Wanted::Branch("main".to_owned())), first);
    assert_eq!(fetch(Wanted::Tag("v1".to_owned())), first);
    assert_eq!(fetch(Wanted::Default), first);
    assert_eq!(content(&copy.repository().expect("a copy"), first), "first");
    let second = project.write("file", "second").commit();
    assert_eq!(fetch(Wanted::Branch("main".to_owned())), second);
    assert_eq!(fetch(Wanted::Default), second);
    assert_eq!(fetch(Wanted::Tag("v1".to_owned())), first);
    let repository = copy.repository().expect("a copy");
    assert_eq!((content(&repository, first), content(&repository, second)), ("first".to_owned(), "second".to_owned()));
    assert!(repository.is_ancestor(first, second).expect("the whole history is there"));
    // A branch that was written anew is as it is there.
    project.git(&["reset", "--quiet", "--hard", &first.to_string()]);
    let other = project.write("file", "other").commit();
    assert_eq!(fetch(Wanted::Branch("main".to_owned())), other);
}

#[test]
fn a_commit_that_was_fetched_costs_nothing_and_one_that_is_on_no_branch_is_found() {
    let Some((project, home, first)) = scene() else { return };
    let url = file_url(&project);
    assert_eq!(upstream(&home, &url).fetch(&Wanted::Commit(first)).expect("fetched"), first);
    let lost = project.write("file", "lost").commit();
    project.git(&["reset", "--quiet", "--hard", &first.to_string()]);
    let copy = upstream(&home, &url);
    copy.fetch(&Wanted::Commit(lost)).expect("by its name");
    assert_eq!(content(&copy.repository().expect("a copy"), lost), "lost");
    // The other repository is gone: what was fetched stays.
    fs::rename(project.root().join(".git"), project.root().join("gone")).expect("moved");
    copy.fetch(&Wanted::Commit(lost)).expect("it is here");
    copy.fetch(&Wanted::Commit(first)).expect("it is here");
    let error = copy.fetch(&Wanted::Branch("main".to_owned())).expect_err("gone").to_string();
    assert!(error.contains("fetch branch `main` of file://") && error.contains("check the address"), "{error}");
}

#[test]
fn what_is_not_there_is_named() {
    let Some((project, home, _)) = scene() else { return };
    let copy = upstream(&home, &file_url(&project));
    let nowhere: CommitId = "0123456789012345678901234567890123456789".parse().expect("an id");
    for (wanted, said) in [
        (Wanted::Branch("none".to_owned()), "branch `none` of file://"),
        (Wanted::Tag("none".to_owned()), "tag `none` of file://"),
        (Wanted::Commit(nowhere), "commit 0123456789012345678901234567890123456789 of file://"),
        (Wanted::Branch("*".to_owned()), "branch `*`"),
        (Wanted::Branch("a..b".to_owned()), "branch `a..b`"),
        (Wanted::Tag("x:refs/heads/y".to_owned()), "tag `x:refs/heads/y`"),
    ] {
        let error = copy.fetch(&wanted).expect_err("not there");
        assert!(matches!(error, GitError::Missing(_)) && error.to_string().contains(said), "{wanted}: {error}");
    }
}

#[test]
fn a_login_reaches_a_server_and_no_file_or_command_line() {
    let Some((project, home, first)) = scene() else { return };
    // "me:s3cret"
    let server = Server::start(project.root(), Some("Basic bWU6czNjcmV0"));
    let url = format!("http://me:s3cret@{}/.git", server.address);
    let copy = upstream(&home, &url);
    assert_eq!(copy.fetch(&Wanted::Branch("main".to_owned())).expect("fetched"), first);
    assert_eq!(content(&copy.repository().expect("a copy"), first), "first");
    assert!(!format!("{copy:?}").contains("s3cret"));
    let asked = server.requests.load(Ordering::SeqCst);
    copy.fetch(&Wanted::Commit(first)).expect("it is here");
    assert_eq!(server.requests.load(Ordering::SeqCst), asked);
    let mut pending = vec![home.path().to_owned()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).expect("a directory").flatten() {
            if entry.path().is_dir() {
                pending.push(entry.path());
            } else {
                let content = fs::read(entry.path()).expect("a file");
                let holds = content.windows(6).any(|window| window == b"s3cret");
                assert!(!holds, "{} holds the password", entry.path().display());
            }
        }
    }
    let wrong = upstream(&home, &format!("http://me:wrong@{}/.git", server.address));
    let error = wrong.fetch(&Wanted::Default).expect_err("refused").to_string();
    assert!(error.contains("credential helper") && !error.contains("wrong"), "{error}");
}

#[test]
fn a_commit_is_checked_out_alone() {
    let Some((project, home, first)) = scene() else { return };
    let second = project.write("run", "#!/bin/sh").write("sub/f", "second").commit();
    let server = Server::start(project.root(), None);
    let url = format!("http://{}/.git", server.address);
    // A name that leads nowhere but to where it is pinned.
    let named = url.replace("127.0.0.1", "pinned.invalid");
    let pinned = Speech { pinned: vec![server.address.ip()], ..Speech::default() };
    let checked = |url: &str, wanted: Option<&str>, to: &str, speech: &Speech| {
        let to = home.path().join(to);
        fs::create_dir(&to).expect("a directory");
        let address = Address::new(url, true).expect("an address");
        slipway_git::checkout(&address, wanted, &to, speech, &mut |_| Ok(())).map(|out| out.id)
    };
    assert_eq!(checked(&url, None, "default", &Speech::default()).expect("files"), second);
    assert_eq!(checked(&named, Some("main"), "branch", &pinned).expect("files"), second);
    assert_eq!(checked(&url, Some(&second.to_string()), "commit", &pinned).expect("files"), second);
    assert_eq!(checked(&url, Some(&first.to_string()), "old", &pinned).expect("files"), first);
    assert_eq!(fs::read_to_string(home.path().join("branch/sub/f")).expect("a file"), "second");
    assert!(home.path().join("branch/.git/HEAD").is_file() && !home.path().join("old/sub").exists());
    for wanted in ["none", "-x", "a..b", "x:y", "0000000000000000000000000000000000000000"] {
        let error = checked(&url, Some(wanted), wanted.trim_start_matches('-'), &pinned).expect_err(wanted);
        assert!(error.to_string().contains("is not in the git repository"), "{wanted}: {error}");
    }
    // Room is asked for before files are written.
    let (to, address) = (home.path().join("full"), Address::new(&url, true).expect("an address"));
    fs::create_dir(&to).expect("a directory");
    let mut asked = Vec::new();
    let mut admit = |bytes| {
        asked.push(bytes);
        if asked.len() < 2 { Ok(()) } else { Err(GitError::Unusable("full".to_owned())) }
    };
    let refused = slipway_git::checkout(&address, None, &to, &Speech::default(), &mut admit);
    assert_eq!(refused.expect_err("no room").to_string(), "full");
    assert!(asked[0] > 0 && asked[1] == "first#!/bin/shsecond".len() as u64, "{asked:?}");
    assert_eq!(fs::read_dir(&to).expect("a directory").count(), 1, "only its .git");
}

#[test]
fn ssh_is_spoken_by_the_command_that_is_given() {
    let Some((project, home, first)) = scene() else { return };
    // Takes HOST and the command that the other side would run. Read by a shell: a file that was just written cannot be run
    // while a process that is being started has it open.
    let command = home.path().join("ssh");
    fs::write(&command, "for last; do :; done\necho \"$@\" >> \"$0.calls\"\nexec sh -c \"$last\"\n").expect("a script");
    let speech = Speech { ssh_command: Some(format!("sh {}", command.display())), ..Speech::default() };
    let url = format!("someone@host.invalid:{}/.git", project.root().display());
    let copy = Upstream::new(home.path(), Address::new(&url, false).expect("an address"), speech);
    assert_eq!(copy.fetch(&Wanted::Default).expect("fetched"), first);
    let calls = fs::read_to_string(command.with_extension("calls")).expect("calls");
    assert!(calls.contains("someone@host.invalid git-upload-pack"), "{calls}");
}

#[test]
fn what_a_killed_process_left_is_taken_over() {
    let Some((project, home, first)) = scene() else { return };
    let url = file_url(&project);
    let copy = upstream(&home, &url);
    copy.fetch(&Wanted::Branch("main".to_owned())).expect("fetched");
    let directory = copy.repository().expect("a copy").git_dir().to_owned();
    // Git was killed while it wrote refs.
    for lock in ["refs/heads/main.lock", "packed-refs.lock", "config.lock"] {
        fs::write(directory.join(lock), "").expect("a lock");
    }
    let second = project.write("file", "second").commit();
    assert_eq!(copy.fetch(&Wanted::Branch("main".to_owned())).expect("fetched"), second);
    // The making of the copy was cut short, or it was damaged.
    for damage in ["HEAD", "objects"] {
        let path = directory.join(damage);
        if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }.expect("removed");
        fs::create_dir_all(directory.with_extension("new").join("rest")).expect("a rest");
        assert_eq!(upstream(&home, &url).fetch(&Wanted::Commit(first)).expect("fetched"), first, "{damage}");
    }
}

#[test]
fn one_process_fetches_at_a_time_and_others_give_up_when_they_have_waited_enough() {
    let Some((project, home, first)) = scene() else { return };
    let url = file_url(&project);
    let fetched: Vec<CommitId> = thread::scope(|scope| {
        let running: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| upstream(&home, &url).fetch(&Wanted::Branch("main".to_owned())).expect("fetched")))
            .collect();
        running.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    });
    assert_eq!(fetched, [first; 4]);
    let lock = fs::read_dir(home.path().join("git"))
        .expect("a directory")
        .flatten()
        .find(|entry| entry.path().extension().is_some_and(|extension| extension == "lock"))
        .expect("a lock");
    let held = fs::File::open(lock.path()).expect("a lock");
    held.lock().expect("held");
    let speech = Speech { longest: Duration::from_millis(200), ..Speech::default() };
    let copy = Upstream::new(home.path(), Address::new(&url, false).expect("an address"), speech);
    let error = copy.fetch(&Wanted::Default).expect_err("held").to_string();
    assert!(error.contains("another process has been fetching it"), "{error}");
}

#[test]
fn a_git_that_does_not_end_is_stopped_with_what_it_started() {
    let Some((_, home, _)) = scene() else { return };
    let command = home.path().join("ssh");
    fs::write(&command, "sleep 600\n").expect("a script");
    let speech = Speech {
        ssh_command: Some(format!("sh {}", command.display())),
        longest: Duration::from_millis(300),
        ..Speech::default()
    };
    let address = Address::new("someone@host.invalid:x", false).expect("an address");
    let copy = Upstream::new(home.path(), address, speech.clone());
    let error = copy.fetch(&Wanted::Default).expect_err("stopped").to_string();
    assert!(error.contains("did not end within"), "{error}");
    // Nobody holds the lock any more.
    let again = copy.fetch(&Wanted::Default).expect_err("stopped").to_string();
    assert!(again.contains("did not end within"), "{again}");
}

#[test]
fn files_of_another_repository_are_part_of_a_commit_of_ours() {
    let Some((own, home, base)) = scene() else { return };
    let Some((other, _, _)) = scene() else { return };
    other.write("dir/tool.sh", "run").mode("dir/tool.sh", 0o755);
    let theirs = other.write("dir/file", "theirs").link("dir/link", "file").commit();
    let copy = upstream(&home, &file_url(&other));
    copy.fetch(&Wanted::Commit(theirs)).expect("fetched");
    let copied = copy.repository().expect("a copy");
    let mut files = copied.files(theirs, &all("dir")).expect("listed");
    assert_eq!(files.iter().map(|file| file.path.to_string()).collect::<Vec<_>>(), ["file", "link", "tool.sh"]);
    files.iter_mut().for_each(|file| file.path = path("included").join(file.path.as_bytes()));
    let store = home.path().join("store");
    let (together, commit) = own.open().with_included(&store, base, &files, &[&copied]).expect("put together");
    let read = |name: &str| {
        together.read(commit, &path(name)).expect("readable").map(|bytes| String::from_utf8(bytes).expect("text"))
    };
    assert_eq!((read("included/file").as_deref(), read("included/link").as_deref()), (Some("theirs"), Some("theirs")));
    assert_eq!((read("file").as_deref(), read("dir/file")), (Some("first"), None));
    let listed = together.files(commit, &all("included")).expect("listed");
    assert_eq!(listed[2].mode, slipway_git::FileMode::Executable);
    let (_, again) = own.open().with_included(&store, base, &files, &[&copied]).expect("put together");
    assert_eq!(again, commit);
    assert_eq!(own.open().with_included(&store, base, &[], &[]).expect("nothing").1, base);
    // Files from disk go on top.
    own.write("extra", "disk");
    let more = together.with_files(&store, commit, &[(path("extra"), own.at("extra"))]).expect("put together");
    let content = more.0.read(more.1, &path("included/file")).expect("readable").expect("a file");
    assert_eq!(content, b"theirs");
}

#[test]
fn submodules_of_another_repository_are_fetched_where_files_are_taken_of_them() {
    let Some((project, home, _)) = scene() else { return };
    let (Some(inner), Some(innermost)) = (crate::fixture::project(), crate::fixture::project()) else { return };
    innermost.write("deep", "deep").commit();
    let add = |outer: &Project, inner: &Project, path: &str| {
        outer.git(&["submodule", "--quiet", "add", &inner.root().display().to_string(), path]);
    };
    inner.write("lib", "lib");
    add(&inner, &innermost, "below");
    inner.commit();
    add(&project, &inner, "libs/sub");
    let commit = project.commit();
    let copy = upstream(&home, &file_url(&project));
    copy.fetch(&Wanted::Commit(commit)).expect("fetched");
    assert_eq!(copy.fetch_submodules(commit, &all("file")).expect("none is needed").len(), 0);
    let fetched = copy.fetch_submodules(commit, &all("")).expect("fetched");
    assert_eq!(fetched.len(), 2);
    let others: Vec<&Repository> = fetched.iter().collect();
    let together = copy.repository().expect("a copy").with_commits_of(&home.path().join("store"), &others);
    let together = together.expect("together");
    let listed = together.list(commit, &all("libs")).expect("listed");
    let listed: Vec<String> = listed.iter().map(ToString::to_string).collect();
    assert_eq!(listed, ["sub/.gitmodules", "sub/below/deep", "sub/lib"]);
    // What was fetched is fetched no more.
    fs::rename(inner.at(".git"), inner.at("gone")).expect("renamed");
    assert_eq!(copy.fetch_submodules(commit, &all("")).expect("all is here").len(), 2);
    // One that cannot be fetched is named.
    let cold = TempDir::new().expect("a directory");
    let copy = upstream(&cold, &file_url(&project));
    copy.fetch(&Wanted::Commit(commit)).expect("fetched");
    let error = copy.fetch_submodules(commit, &all("libs/sub")).expect_err("it is gone").to_string();
    assert!(error.contains("submodule `libs/sub`"), "{error}");
}
