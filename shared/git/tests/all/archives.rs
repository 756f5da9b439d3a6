//! Archives of scopes.

use std::io::Read as _;

use slipway_digest::CommitId;
use slipway_git::{ArchiveOptions, GitError, GitView as _};
use slipway_paths::Scope;

use crate::fixture::{Project, all, including, path, project};

fn archive(project: &Project, at: CommitId, scope: &Scope, options: &ArchiveOptions) -> Vec<u8> {
    let mut bytes = Vec::new();
    project.open().archive(at, scope, options, &mut bytes).expect("archive");
    bytes
}

/// Name, type, mode and content (or target) of every entry.
fn entries(bytes: &[u8]) -> Vec<(Vec<u8>, u8, u32, Vec<u8>)> {
    let mut archive = tar::Archive::new(bytes);
    let entry = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.expect("an entry");
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("content");
        if let Some(target) = entry.link_name_bytes() {
            content = target.into_owned();
        }
        let header = entry.header();
        assert_eq!((header.uid().expect("uid"), header.gid().expect("gid")), (0, 0));
        assert_eq!(header.mtime().expect("mtime"), 1_000_000_007);
        (entry.path_bytes().into_owned(), header.entry_type().as_byte(), header.mode().expect("mode"), content)
    };
    archive.entries().expect("entries").map(entry).collect()
}

fn names(bytes: &[u8]) -> Vec<String> {
    entries(bytes).into_iter().map(|(name, ..)| String::from_utf8_lossy(&name).into_owned()).collect()
}

fn options() -> ArchiveOptions {
    ArchiveOptions { mtime: 1_000_000_007, ..ArchiveOptions::default() }
}

#[test]
fn entries_have_names_types_modes_and_content() {
    let Some(project) = project() else { return };
    let long = format!("long/{}/{}", "n".repeat(90), "m".repeat(200));
    let (target, odd) = (format!("{}//t/", "u/".repeat(80)), b"odd/\xff\xfe name\n".as_slice());
    let head = project
        .write("a.txt", "text")
        .write("a/b/run me", "#!/bin/sh\n")
        .mode("a/b/run me", 0o700)
        .write(&long, "long")
        .link("l", "../a//b/./")
        .link("far", &target)
        .write(odd, "odd")
        .write("empty", "")
        .commit();
    let found = entries(&archive(&project, head, &all(""), &options()));
    let directory = |name: &str| (name.as_bytes().to_vec(), b'5', 0o755, Vec::new());
    let file = |name: &[u8], mode, content: &str| (name.to_vec(), b'0', mode, content.as_bytes().to_vec());
    let link = |name: &str, target: &str| (name.as_bytes().to_vec(), b'2', 0o777, target.as_bytes().to_vec());
    let expected = [
        directory("./"),
        file(b"a.txt", 0o644, "text"),
        directory("a/"),
        directory("a/b/"),
        file(b"a/b/run me", 0o755, "#!/bin/sh\n"),
        file(b"empty", 0o644, ""),
        link("far", &target),
        link("l", "../a//b/./"),
        directory("long/"),
        directory(&format!("long/{}/", "n".repeat(90))),
        file(long.as_bytes(), 0o644, "long"),
        directory("odd/"),
        file(odd, 0o644, "odd"),
    ];
    assert_eq!(found, expected);
}

#[test]
fn equal_input_gives_equal_bytes() {
    let Some(project) = project() else { return };
    let first = project.write("a/b", "x").write("c", "y").commit();
    let second = project.write("elsewhere", "z").commit();
    let scope = including("", &["a", "c"]);
    assert_eq!(archive(&project, first, &scope, &options()), archive(&project, second, &scope, &options()));
}

#[test]
fn only_directories_with_selected_files_are_written() {
    let Some(project) = project() else { return };
    let head = project.write("app/x/1.c", "").write("app/y/z/2.rs", "").write("app/3.rs", "").commit();
    assert_eq!(
        names(&archive(&project, head, &including("app", &["**/*.rs"]), &options())),
        ["./", "3.rs", "y/", "y/z/", "y/z/2.rs"]
    );
    assert_eq!(names(&archive(&project, head, &including("app", &["none"]), &options())), ["./"]);
    let only = |names: &[&str]| ArchiveOptions { only: Some(names.iter().map(|n| path(n)).collect()), ..options() };
    assert_eq!(names(&archive(&project, head, &all("app"), &only(&["x/1.c", "gone"]))), ["./", "x/", "x/1.c"]);
    assert_eq!(names(&archive(&project, head, &including("app", &["y"]), &only(&["x/1.c"]))), ["./"]);
    assert_eq!(names(&archive(&project, head, &all("app"), &only(&[]))), ["./"]);
}

#[test]
fn a_single_file_may_be_renamed() {
    let Some(project) = project() else { return };
    let head = project.write("conf/app.yaml", "x").commit();
    let scope = all("conf/app.yaml");
    assert_eq!(names(&archive(&project, head, &scope, &options())), ["app.yaml"]);
    let renamed = ArchiveOptions { file_name: Some(b"new name".to_vec()), ..options() };
    assert_eq!(names(&archive(&project, head, &scope, &renamed)), ["new name"]);
    let only = ArchiveOptions { only: Some(vec![path("")]), ..options() };
    assert_eq!(names(&archive(&project, head, &scope, &only)), ["app.yaml"]);
    let missing = project.open().archive(head, &all("nothing"), &options(), &mut Vec::new());
    assert!(matches!(missing, Err(GitError::Missing(_))));
}

#[test]
fn a_full_disk_is_an_error() {
    let Some(project) = project() else { return };
    let head = project.write("a", "x").commit();
    let mut small = [0_u8; 700];
    let written = project.open().archive(head, &all(""), &options(), &mut small.as_mut_slice());
    assert!(matches!(written, Err(GitError::Write(_))));
}
