//! Commits with files from disk.

use std::{fs, path::PathBuf};

use slipway_digest::CommitId;
use slipway_git::{ArchiveOptions, GitView as _, Repository};
use slipway_paths::TreePath;
use tempfile::TempDir;

use crate::fixture::{Project, all, fingerprint, git_in, path, project};

fn add(project: &Project, store: &TempDir, base: CommitId, names: &[&str]) -> Result<(Repository, CommitId), String> {
    let files: Vec<(TreePath, PathBuf)> = names.iter().map(|name| (path(name), project.at(name))).collect();
    project.open().with_files(store.path(), base, &files).map_err(|error| error.to_string())
}

/// Every file of a commit with its mode and content, from an archive: what a build would see.
fn files(repository: &Repository, at: CommitId) -> Vec<String> {
    let mut bytes = Vec::new();
    repository.archive(at, &all(""), &ArchiveOptions::default(), &mut bytes).expect("an archive");
    let mut archive = tar::Archive::new(bytes.as_slice());
    let mut found = Vec::new();
    for entry in archive.entries().expect("entries") {
        let mut entry = entry.expect("an entry");
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mode = entry.header().mode().expect("a mode");
        let content = match entry.header().entry_type() {
            tar::EntryType::Directory => continue,
            tar::EntryType::Symlink => {
                format!("-> {}", String::from_utf8_lossy(&entry.link_name_bytes().expect("a target")))
            }
            _ => {
                let mut content = String::new();
                std::io::Read::read_to_string(&mut entry, &mut content).expect("text");
                format!("{mode:o} {content}")
            }
        };
        found.push(format!("{name} {content}"));
    }
    found
}

#[test]
fn files_from_disk_win_and_nothing_of_the_users_is_written() {
    let Some(project) = project() else { return };
    let head = project
        .write(".gitignore", "*.out\nignored/\n")
        .write("app/kept", "committed")
        .write("app/changed", "committed")
        .write("app/dir/stays", "committed")
        .write("app/was-file", "committed")
        .write("app/was-dir/x", "committed")
        .commit();
    fs::remove_dir_all(project.at("app/was-dir")).expect("remove");
    project.write("app/changed", "disk").write("app/untaken", "disk").write("app/dir/new.out", "disk");
    project.write("app/dir/deep/ignored/run", "disk").mode("app/dir/deep/ignored/run", 0o744);
    project.write("app/was-dir", "now a file").remove("app/was-file").write("app/was-file/inside", "disk");
    project.link("app/dir/link", "../kept").link("app/dir/broken", "nowhere").link("app/dir/out", "/etc/passwd");
    project.write("app/dir/vendored/.git/HEAD", "ref: x").write("app/dir/vendored/a", "disk");
    fs::create_dir(project.at("app/dir/empty")).expect("make a directory");

    let store = TempDir::new().expect("a directory");
    let before = fingerprint(&project.at(".git"));
    let names = ["app/changed", "app/dir", "app/was-file", "app/was-dir"];
    let (repository, commit) = add(&project, &store, head, &names).expect("an overlay");
    assert!(fingerprint(&project.at(".git")) == before, "the user's repository was written");
    assert_eq!(
        files(&repository, commit),
        [
            ".gitignore 644 *.out\nignored/\n",
            "app/changed 644 disk",
            "app/dir/broken -> nowhere",
            "app/dir/deep/ignored/run 755 disk",
            "app/dir/link -> ../kept",
            "app/dir/new.out 644 disk",
            "app/dir/out -> /etc/passwd",
            "app/dir/stays 644 committed",
            "app/dir/vendored/a 644 disk",
            "app/kept 644 committed",
            "app/was-dir 644 now a file",
            "app/was-file/inside 644 disk",
        ]
    );
    let (info, of_head) = (repository.commit(commit).expect("info"), repository.commit(head).expect("info"));
    assert_eq!((info.time, info.parents), (of_head.time, vec![head]));
    assert_eq!(repository.resolve("HEAD").expect("head"), head);
    assert!(repository.is_ancestor(head, commit).expect("an answer"));
    // Git itself finds nothing wrong with what was written.
    git_in(store.path(), &["fsck", "--strict", &commit.to_string()]);
}

#[test]
fn equal_files_are_one_commit_and_no_difference_is_none() {
    let Some(project) = project() else { return };
    let head = project.write("a", "1").write("b", "1").commit();
    let (one, other) = (TempDir::new().expect("a directory"), TempDir::new().expect("a directory"));
    assert_eq!(add(&project, &one, head, &["a", "b"]).expect("an overlay").1, head);
    assert_eq!(add(&project, &one, head, &[]).expect("an overlay").1, head);
    project.write("a", "2").write("c", "3");
    let first = add(&project, &one, head, &["a", "c"]).expect("an overlay").1;
    assert_ne!(first, head);
    assert_eq!(add(&project, &one, head, &["c", "a"]).expect("an overlay").1, first);
    assert_eq!(add(&project, &other, head, &["a", "c"]).expect("an overlay").1, first);
    project.mode("a", 0o755);
    assert_ne!(add(&project, &one, head, &["a", "c"]).expect("an overlay").1, first);
}

#[test]
fn overlays_stand_beside_each_other_and_on_snapshots() {
    let Some(project) = project() else { return };
    project.write(".gitignore", "*.out").write("a", "1").commit();
    project.write("a", "2").write("x.out", "x").write("y.out", "y");
    let store = TempDir::new().expect("a directory");
    let (repository, snapshot) = project.open().with_work_tree_snapshot(store.path(), &[]).expect("a snapshot");
    let mut all = Vec::new();
    let mut repository = repository;
    for name in ["x.out", "y.out"] {
        let files = [(path(name), project.at(name))];
        let (next, commit) = repository.with_files(store.path(), snapshot, &files).expect("an overlay");
        (repository, _) = (next, all.push(commit));
    }
    assert_eq!(repository.resolve("HEAD").expect("head"), snapshot);
    for (commit, there, not_there) in [(all[0], "x.out", "y.out"), (all[1], "y.out", "x.out")] {
        let has = |name: &str| repository.read(commit, &path(name)).expect("read").is_some();
        assert!(has(there) && !has(not_there), "{there}");
        assert_eq!(repository.read(commit, &path("a")).expect("read").as_deref(), Some(b"2".as_slice()));
    }
    // Another store borrows those of the first.
    let other = TempDir::new().expect("a directory");
    let files = [(path("x.out"), project.at("x.out"))];
    let (elsewhere, commit) = repository.with_files(other.path(), snapshot, &files).expect("an overlay");
    assert_eq!(commit, all[0]);
    assert_eq!(elsewhere.read(commit, &path("a")).expect("read").as_deref(), Some(b"2".as_slice()));
}

#[test]
fn what_cannot_be_added_is_named() {
    let Some(project) = project() else { return };
    let head = project.write("a", "1").commit();
    let outside = TempDir::new().expect("a directory");
    fs::write(outside.path().join("secret"), "s").expect("write");
    project.link("link", outside.path().to_str().expect("text"));
    assert!(slipway_process::child::command("mkfifo").arg(project.at("pipe")).status().expect("mkfifo").success());
    let store = TempDir::new().expect("a directory");
    for (name, said) in [
        ("missing", "No such file"),
        ("link/secret", "`link/secret` lies behind `link`, which is a symbolic link"),
        ("pipe", "is neither a file nor a directory nor a link"),
        (".git/config", "`.git/config` cannot be a path of a commit"),
        ("a/.GIT/x", "cannot be a path of a commit"),
    ] {
        let error = add(&project, &store, head, &[name]).expect_err(name);
        assert!(error.starts_with("add files from disk to a commit: ") && error.contains(said), "{name}: {error}");
    }
    for (at, file) in [("..", "a"), ("x/../../y", "a"), ("x//y", "a")] {
        let files = [(TreePath::root().join(at.as_bytes()), project.at(file))];
        let error = project.open().with_files(store.path(), head, &files).expect_err(at).to_string();
        assert!(error.contains("cannot be a path of a commit"), "{at}: {error}");
    }
    let root = [(TreePath::root(), project.at("a"))];
    let error = project.open().with_files(store.path(), head, &root).expect_err("a file as root").to_string();
    assert!(error.contains("cannot be the whole commit"), "{error}");
}

#[test]
fn submodules_are_taken_as_a_whole_or_not_at_all() {
    let (Some(project), Some(library)) = (project(), project()) else { return };
    library.write("code", "1").commit();
    let from = library.root().to_str().expect("text");
    project.write("a", "1").git(&["submodule", "--quiet", "add", from, "lib"]);
    let head = project.commit();
    project.write("lib/code", "2").write("lib/new", "n");
    let store = TempDir::new().expect("a directory");
    let error = add(&project, &store, head, &["lib/new"]).expect_err("a file of a submodule");
    assert!(error.contains("`lib/new` lies in `lib`, which is a submodule"), "{error}");
    let (repository, commit) = add(&project, &store, head, &["lib"]).expect("an overlay");
    let lib: Vec<String> = files(&repository, commit).into_iter().filter(|file| file.starts_with("lib/")).collect();
    assert_eq!(lib, ["lib/code 644 2", "lib/new 644 n"]);
}

#[test]
fn large_files_are_added_piece_by_piece() {
    let Some(project) = project() else { return };
    let head = project.write("a", "1").commit();
    let file = fs::File::create(project.at("large")).expect("a file");
    file.set_len(9 << 20).expect("a length");
    let store = TempDir::new().expect("a directory");
    let first = add(&project, &store, head, &["large"]).expect("an overlay").1;
    let (repository, again) = add(&project, &store, head, &["large"]).expect("an overlay");
    assert_eq!(first, again);
    let content = repository.read(again, &path("large")).expect("read").expect("a file");
    assert!(content.len() == 9 << 20 && content.iter().all(|byte| *byte == 0));
}
