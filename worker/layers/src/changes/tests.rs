use std::{fs, os::unix::fs::PermissionsExt as _};

use super::*;
use crate::{
    copy::{Names, lay_over},
    pack::{View, pack},
    tar::{Limits, TarReader},
};

struct Place(tempfile::TempDir);

impl Place {
    fn new(directories: &[&str]) -> Self {
        let place = Self(tempfile::tempdir().expect("a directory"));
        directories.iter().for_each(|name| fs::create_dir_all(place.at(name)).expect("a directory"));
        place
    }

    fn at(&self, name: &str) -> std::path::PathBuf {
        self.0.path().join(name)
    }

    fn open(&self, name: &str) -> Dir {
        Root::open(&self.at(name)).expect("a root").directory(b"").expect("a directory")
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.at(name), text).expect("a file");
    }

    /// Whether the marks of overlay can be made here; said aloud when not.
    fn can(&self) -> bool {
        let open = self.open("");
        let made = open.make(b"mark", &Kind::Char(0, 0)).and_then(|()| open.make(b"hides", &Kind::Directory));
        let can = made.and_then(|()| open.set_xattr(b"hides", opaque_xattr(), b"y")).is_ok();
        if !can {
            use std::io::Write as _;
            let _ = writeln!(io::stderr(), "skipped: marks of overlay cannot be made here");
        }
        can
    }

    /// Names in the layer of a directory, as its archive has them.
    fn layer(&self, name: &str) -> Vec<String> {
        let view = View::Upper { never: Vec::new() };
        let bytes = pack(&self.open(name), &view, Vec::new()).expect("an archive").0;
        let mut reader = TarReader::new(bytes.as_slice(), Limits::default());
        let mut found = Vec::new();
        while let Some(entry) = reader.next().expect("an archive") {
            found.push(String::from_utf8_lossy(&entry.path).into_owned());
        }
        found
    }
}

#[test]
fn only_what_was_touched_is_parted_with_the_directories_above_it() {
    let place =
        Place::new(&["low/a/b/c", "low/a/quiet", "low/gone/deep", "low/replaced", "low/moved", "tree", "upper"]);
    if !place.can() {
        return;
    }
    for file in ["a/b/c/touched", "a/b/c/same", "a/quiet/f", "gone/deep/f", "replaced/old", "moved/f", "file", "one"] {
        place.write(&format!("low/{file}"), "text");
    }
    fs::hard_link(place.at("low/one"), place.at("low/two")).expect("a link");
    lay_over(&place.open("low"), &place.open("tree"), Names::Parted).expect("a copy");
    let before = note(&place.open("tree"), &place.at("probe")).expect("a note");
    let tree = |name: &str| place.at("tree").join(name);
    // The size and the times are those of before.
    let old = fs::metadata(tree("a/b/c/touched")).expect("a file");
    fs::write(tree("a/b/c/touched"), "TEXT").expect("a file");
    let file = fs::File::options().write(true).open(tree("a/b/c/touched")).expect("a file");
    file.set_modified(old.modified().expect("a time")).expect("a time");
    fs::remove_dir_all(tree("gone")).expect("a removal");
    fs::remove_dir_all(tree("replaced")).expect("a removal");
    fs::create_dir(tree("replaced")).expect("a directory");
    fs::write(tree("replaced/new"), "x").expect("a file");
    fs::rename(tree("moved"), tree("there")).expect("a move");
    fs::remove_file(tree("file")).expect("a removal");
    fs::create_dir(tree("file")).expect("a directory");
    fs::write(tree("one"), "changed").expect("a file");
    fs::create_dir(tree("fresh")).expect("a directory");
    fs::set_permissions(tree("a/b"), fs::Permissions::from_mode(0o700)).expect("a mode");
    let above = fs::metadata(tree("a")).expect("a directory").modified().expect("a time");
    part(&place.open("tree"), &before, &place.open("upper")).expect("parts");
    let expected = [
        "a/",
        "a/b/",
        "a/b/c/",
        "a/b/c/touched",
        "file/",
        "file/.wh..wh..opq",
        "fresh/",
        ".wh.gone",
        ".wh.moved",
        "one",
        "replaced/",
        "replaced/.wh..wh..opq",
        "replaced/new",
        "there/",
        "there/f",
    ];
    let mut expected: Vec<String> = expected.map(str::to_owned).to_vec();
    let mut found = place.layer("upper");
    expected.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, expected);
    let upper = fs::metadata(place.at("upper/a")).expect("a directory");
    assert_eq!(upper.modified().expect("a time"), above);
    assert_eq!(fs::metadata(place.at("upper/a/b")).expect("a directory").permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::read_to_string(tree("two")).expect("a file"), "text");
}

#[test]
fn a_tree_that_nobody_touched_has_no_parts() {
    let place = Place::new(&["low/a/b", "tree", "upper"]);
    place.write("low/a/b/f", "text");
    lay_over(&place.open("low"), &place.open("tree"), Names::Parted).expect("a copy");
    let before = note(&place.open("tree"), &place.at("probe")).expect("a note");
    let read = fs::read(place.at("tree/a/b/f")).expect("a file");
    assert_eq!(read, b"text");
    part(&place.open("tree"), &before, &place.open("upper")).expect("parts");
    assert_eq!(place.layer("upper"), [] as [&str; 0]);
}

/// What fuse-overlayfs writes, and what it is in the layer.
#[test]
fn marks_of_fuse_overlayfs_become_those_of_the_kernel() {
    let place = Place::new(&["low/replaced", "low/d", "upper/replaced", "upper/fresh/in", "upper/d"]);
    if !place.can() {
        return;
    }
    place.write("low/replaced/old", "x");
    place.write("low/d/gone", "x");
    for directory in ["upper/replaced", "upper/fresh", "upper/fresh/in"] {
        place.write(&format!("{directory}/.wh..wh..opq"), "");
        place.open(directory).make(FUSE_OPAQUE, &Kind::Char(0, 0)).expect("a mark");
    }
    place.write("upper/d/.wh.gone", "");
    let time = fs::metadata(place.at("upper/fresh")).expect("a directory").modified().expect("a time");
    settle(&place.open("upper"), &[Root::open(&place.at("low")).expect("a root")]).expect("marks");
    let found = place.layer("upper");
    assert_eq!(found, ["d/", "d/.wh.gone", "fresh/", "fresh/in/", "replaced/", "replaced/.wh..wh..opq"]);
    assert!(fs::read_dir(place.at("upper/replaced")).expect("a listing").next().is_none());
    assert_eq!(fs::metadata(place.at("upper/fresh")).expect("a directory").modified().expect("a time"), time);
}
