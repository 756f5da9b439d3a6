use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use super::*;
use crate::{
    root::Root,
    tar::{Limits, TarReader},
    unpack::{Purpose, unpack},
};

fn directory(path: &Path) -> Dir {
    Root::open(path).expect("a root").directory(b"").expect("a directory")
}

fn packed(path: &Path, view: &View) -> Vec<u8> {
    pack(&directory(path), view, Vec::new()).expect("an archive").0
}

fn listing(bytes: &[u8]) -> Vec<(String, Kind)> {
    let mut reader = TarReader::new(bytes, Limits::default());
    let mut found = Vec::new();
    while let Some(entry) = reader.next().expect("an archive") {
        found.push((String::from_utf8_lossy(&entry.path).into_owned(), entry.kind));
    }
    found
}

fn upper() -> View {
    View::Upper { never: Vec::new() }
}

#[test]
fn a_tree_survives_both_ways() {
    let from = tempfile::tempdir().expect("a directory");
    let at = |name: &str| from.path().join(name);
    fs::create_dir_all(at("b/deep")).expect("a directory");
    fs::write(at("b/deep/f"), "text").expect("a file");
    fs::hard_link(at("b/deep/f"), at("a")).expect("a link");
    std::os::unix::fs::symlink("/b/deep", at("link")).expect("a link");
    fs::set_permissions(at("b"), fs::Permissions::from_mode(0o1731)).expect("a mode");
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).expect("a socket");
    let first = packed(from.path(), &View::Tree);
    assert_eq!(
        listing(&first),
        [
            ("./".to_owned(), Kind::Directory),
            ("a".to_owned(), Kind::File { size: 4, spans: None }),
            ("b/".to_owned(), Kind::Directory),
            ("b/deep/".to_owned(), Kind::Directory),
            ("b/deep/f".to_owned(), Kind::HardLink(b"a".to_vec())),
            ("link".to_owned(), Kind::Symlink(b"/b/deep".to_vec())),
        ]
    );
    let to = tempfile::tempdir().expect("a directory");
    let root = Root::open(to.path()).expect("a root");
    unpack(&mut TarReader::new(first.as_slice(), Limits::default()), &root, &Purpose::Layer).expect("a tree");
    assert_eq!(packed(to.path(), &View::Tree), first);
}

#[test]
fn marks_of_overlay_become_deletions() {
    if !crate::unpack::tests::is_root() {
        return;
    }
    let from = tempfile::tempdir().expect("a directory");
    let root = directory(from.path());
    for name in ["gone", "stub"] {
        root.make(name.as_bytes(), &Kind::Char(0, 0)).expect("a mark");
    }
    root.make(b"null", &Kind::Char(1, 3)).expect("a device");
    fs::create_dir(from.path().join("opaque")).expect("a directory");
    fs::write(from.path().join("opaque/.a"), "x").expect("a file");
    let overlay = [(opaque_xattr().to_vec(), b"y".to_vec()), (b"trusted.overlay.origin".to_vec(), b"o".to_vec())];
    root.dress(b"opaque", (0, 0), None, &overlay).expect("attributes");
    let view = View::Upper { never: vec![b"stub".to_vec()] };
    let bytes = packed(from.path(), &view);
    let names: Vec<String> = listing(&bytes).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [".wh.gone", "null", "opaque/", "opaque/.wh..wh..opq", "opaque/.a"]);
    // And back.
    let to = tempfile::tempdir().expect("a directory");
    let unpacked = Root::open(to.path()).expect("a root");
    unpack(&mut TarReader::new(bytes.as_slice(), Limits::default()), &unpacked, &Purpose::Layer).expect("a layer");
    assert_eq!(packed(to.path(), &view), bytes);
}

#[test]
fn a_single_file_keeps_its_name() {
    let from = tempfile::tempdir().expect("a directory");
    fs::write(from.path().join("f"), "text").expect("a file");
    let bytes = pack_file(&directory(from.path()), b"f", Vec::new()).expect("an archive");
    assert_eq!(listing(&bytes), [("f".to_owned(), Kind::File { size: 4, spans: None })]);
}

#[test]
fn endless_paths_are_refused() {
    let from = tempfile::tempdir().expect("a directory");
    let mut inner = directory(from.path());
    let name = [b'd'; 250];
    for _ in 0..17 {
        inner.make(&name, &Kind::Directory).expect("a directory");
        inner = inner.enter(&name).expect("it opens");
    }
    let failure = pack(&directory(from.path()), &upper(), Vec::new()).expect_err("too deep");
    assert!(matches!(failure, LayerError::TooMuch(_)), "{failure}");
}
