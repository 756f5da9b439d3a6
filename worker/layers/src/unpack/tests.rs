use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::Path,
};

use super::*;
use crate::tar::{Limits, TarWriter};

/// Whether tests may make devices and set owners; said aloud when not.
pub(crate) fn is_root() -> bool {
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        eprintln!("skipped: making devices and owners needs root");
    }
    is_root
}

pub(crate) fn archive(entries: &[(Entry, &[u8])]) -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new());
    for (entry, content) in entries {
        writer.append(entry, *content).expect("memory takes it");
    }
    writer.finish().expect("an end")
}

fn run(entries: &[(Entry, &[u8])], into: &Path, purpose: &Purpose) -> Result<Unpacked, LayerError> {
    let bytes = archive(entries);
    let root = Root::open(into).expect("a directory");
    unpack(&mut TarReader::new(bytes.as_slice(), Limits::default()), &root, purpose)
}

fn file(path: &str) -> Entry {
    Entry { mtime: Time { seconds: 1000, nanos: 0 }, ..Entry::file(path, 1) }
}

fn files(to: &str, new: bool) -> Purpose {
    Purpose::Files { to: TreePath::new(to).expect("a path"), new, uid: None, gid: None, strict: true }
}

fn of_kind(path: &str, kind: Kind) -> Entry {
    Entry { kind, ..Entry::file(path, 0) }
}

#[test]
fn a_layer_becomes_files_with_all_that_they_have() {
    if !is_root() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    let entries = [
        (
            Entry { mode: 0o2750, uid: 5, gid: 6, mtime: Time { seconds: 77, nanos: 0 }, ..Entry::directory("d/") },
            b"".as_slice(),
        ),
        (
            Entry {
                mode: 0o4711,
                uid: 7,
                gid: 8,
                xattrs: vec![(b"security.capability".to_vec(), capability.clone())],
                ..file("d/f")
            },
            b"x",
        ),
        (of_kind("d/same", Kind::HardLink(b"d/f".to_vec())), b""),
        (of_kind("d/link", Kind::Symlink(b"/etc/passwd".to_vec())), b""),
        (of_kind("d/pipe", Kind::Fifo), b""),
        (of_kind("d/null", Kind::Char(1, 3)), b""),
        (file("implied/f"), b"x"),
    ];
    let unpacked = run(&entries, directory.path(), &Purpose::Layer).expect("a layer");
    assert_eq!(unpacked.implied, BTreeSet::from([TreePath::new("implied").expect("a path")]));
    let look = |name: &str| fs::symlink_metadata(directory.path().join(name)).expect(name);
    let d = look("d");
    assert_eq!((d.mode() & 0o7777, d.uid(), d.gid(), d.mtime()), (0o2750, 5, 6, 77));
    let f = look("d/f");
    assert_eq!((f.mode() & 0o7777, f.uid(), f.gid(), f.mtime(), f.nlink()), (0o4711, 7, 8, 1000, 2));
    assert_eq!(look("d/null").rdev(), rustix::fs::makedev(1, 3));
    let parent = Root::open(directory.path()).expect("a root").directory(b"d").expect("a directory");
    assert_eq!(parent.xattr(b"f", b"security.capability").expect("a look"), Some(capability));
    assert_eq!(fs::read_link(directory.path().join("d/link")).expect("a link"), Path::new("/etc/passwd"));
}

/// What other programs have been broken with, and what becomes of it here.
#[test]
fn hostile_archives_stay_inside() {
    let outside = tempfile::tempdir().expect("a directory");
    let victim = outside.path().join("victim");
    fs::write(&victim, "untouched").expect("a file");
    let target = victim.to_str().expect("utf-8");
    let up = format!("../../../../../../../..{target}");
    let link = |text: &str| of_kind("l", Kind::Symlink(text.as_bytes().to_vec()));
    let cases: Vec<(&str, Vec<Entry>)> = vec![
        ("..", vec![file("../victim")]),
        (".. inside", vec![file("a/../../victim")]),
        ("through an absolute link", vec![link(outside.path().to_str().expect("utf-8")), file("l/victim")]),
        (
            "through a relative link",
            vec![link(&format!("../../../../../..{}", outside.path().display())), file("l/victim")],
        ),
        ("through a link of /proc", vec![link("/proc/self/root"), file(&format!("l{target}"))]),
        ("over a link", vec![link(target), file("l")]),
        ("hard link up", vec![of_kind("h", Kind::HardLink(up.into_bytes())), file("h")]),
        ("hard link by an absolute name", vec![of_kind("h", Kind::HardLink(target.as_bytes().to_vec()))]),
        ("hard link through a link", vec![link("/"), of_kind("h", Kind::HardLink(format!("l{target}").into_bytes()))]),
        ("hard link to a link", vec![link(target), of_kind("h", Kind::HardLink(b"l".to_vec())), file("h")]),
        ("an absolute name", vec![file(target)]),
        ("a deletion up", vec![file("../.wh.victim")]),
        ("a deletion of the parent", vec![file("a/.wh..")]),
    ];
    for purpose in [Purpose::Layer, files("", false)] {
        for (name, entries) in &cases {
            let inside = outside.path().join("inside/deep");
            fs::create_dir_all(&inside).expect("a directory");
            let entries: Vec<(Entry, &[u8])> = entries
                .iter()
                .map(|entry| (entry.clone(), if entry.stored() == 0 { b"".as_slice() } else { b"x" }))
                .collect();
            drop(run(&entries, &inside, &purpose));
            assert_eq!(fs::read(&victim).expect("it is there"), b"untouched", "{name}");
            assert_eq!(fs::metadata(&victim).expect("it is there").nlink(), 1, "{name}");
            assert_eq!(fs::read_dir(outside.path()).expect("a listing").count(), 2, "{name}");
            fs::remove_dir_all(outside.path().join("inside")).expect("it goes");
        }
    }
}

#[test]
fn links_without_a_file_are_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    for target in ["gone", "d", "../x", ""] {
        let entries = [(Entry::directory("d/"), b"".as_slice()), (of_kind("h", Kind::HardLink(target.into())), b"")];
        let failure = run(&entries, directory.path(), &Purpose::Layer).expect_err(target);
        assert!(matches!(failure, LayerError::Bad(_)), "{target}: {failure}");
    }
}

#[test]
fn deletions_become_those_of_overlay() {
    if !is_root() {
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let mark = |path: &str| (Entry::file(path, 0), b"".as_slice());
    let entries = [
        mark(".wh.gone"),
        (Entry::directory("opaque/"), b"".as_slice()),
        mark("opaque/.wh..wh..opq"),
        (file("opaque/f"), b"x"),
        mark(".wh.became-dir"),
        (Entry::directory("became-dir/"), b""),
        (Entry::directory("is-dir/"), b""),
        mark(".wh.is-dir"),
        (file("is-file"), b"x"),
        mark(".wh.is-file"),
        mark(".wh.became-file"),
        (file("became-file"), b"x"),
        mark("note/.wh..wh.plnk"),
    ];
    run(&entries, directory.path(), &Purpose::Layer).expect("a layer");
    let root = Root::open(directory.path()).expect("a root").directory(b"").expect("a directory");
    let opaque = |name: &str| root.xattr(name.as_bytes(), opaque_xattr()).expect("a look").is_some();
    let deleted = |name: &str| is_whiteout(&root.look(name.as_bytes()).expect("a look").expect(name));
    assert!(deleted("gone") && !deleted("is-file") && !deleted("became-file"));
    assert!(opaque("opaque") && opaque("became-dir") && opaque("is-dir"));
    assert_eq!(fs::read(directory.path().join("is-file")).expect("a file"), b"x");
    assert_eq!(root.names().expect("names").len(), 6);
}

#[test]
fn files_go_into_a_system_that_is_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let at = |name: &str| directory.path().join(name);
    fs::create_dir_all(at("usr/lib")).expect("a directory");
    fs::create_dir_all(at("srv/app/old")).expect("a directory");
    fs::set_permissions(at("srv/app"), fs::Permissions::from_mode(0o700)).expect("a mode");
    std::os::unix::fs::symlink("usr/lib", at("lib")).expect("a link");
    std::os::unix::fs::symlink("usr/lib", at("other")).expect("a link");
    let entries = [
        (Entry { mode: 0o777, ..Entry::directory("./") }, b"".as_slice()),
        (Entry::directory("lib/"), b""),
        (file("lib/f"), b"x"),
        (Entry::directory("other/"), b""),
        (file("other/f"), b"x"),
    ];
    run(&entries, directory.path(), &files("", false)).expect("files");
    assert!(at("lib").is_symlink() && at("usr/lib/f").exists());
    assert!(!at("other").is_symlink());
    run(&entries[..1], directory.path(), &files("srv/app", false)).expect("files");
    assert_eq!(fs::metadata(at("srv/app")).expect("it is there").mode() & 0o777, 0o700);
    run(&entries[..1], directory.path(), &files("srv/app", true)).expect("files");
    assert_eq!(fs::metadata(at("srv/app")).expect("it is there").mode() & 0o777, 0o777);
    let replaced = [(file("app"), b"x".as_slice())];
    run(&replaced, directory.path(), &files("srv", false)).expect("files");
    assert_eq!(fs::read(at("srv/app")).expect("a file"), b"x");
}
