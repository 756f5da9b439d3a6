use bytes::Bytes;
use futures::StreamExt as _;
use tar::{EntryType, Header};

use super::*;

/// An archive of `(name, type, content or target)`.
fn archive(entries: &[(&str, EntryType, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, text) in entries {
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o640);
        header.set_uid(7);
        header.set_gid(8);
        header.set_mtime(5);
        header.set_username("someone").expect("a short name");
        let link = matches!(kind, EntryType::Link | EntryType::Symlink);
        header.set_size(if link { 0 } else { text.len() as u64 });
        if link {
            builder.append_link(&mut header, name, text).expect("a link");
        } else if name.len() < 100 {
            // Set by hand: the builder refuses the hostile names that are wanted here.
            header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            builder.append(&header, text.as_bytes()).expect("an entry");
        } else {
            builder.append_data(&mut header, name, text.as_bytes()).expect("an entry");
        }
    }
    builder.into_inner().expect("an archive")
}

/// `name uid:gid content` of every entry.
fn listing(bytes: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(bytes);
    let entries = archive.entries().expect("an archive").map(|entry| {
        let mut entry = entry.expect("an entry");
        let mut text = String::new();
        entry.read_to_string(&mut text).expect("text");
        let link = entry.link_name_bytes().map(|link| format!("-> {}", String::from_utf8_lossy(&link)));
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let header = entry.header();
        assert_eq!(header.username_bytes().unwrap_or_default(), b"");
        format!("{name} {}:{} {}", header.uid().expect("uid"), header.gid().expect("gid"), link.unwrap_or(text))
    });
    entries.collect()
}

fn rewritten(entries: &[(&str, EntryType, &str)], how: Rewrite) -> Result<Vec<String>, RetarError> {
    let mut output = Vec::new();
    rewrite(archive(entries).as_slice(), &mut output, how)?;
    Ok(listing(&output))
}

fn path(text: &str) -> TreePath {
    TreePath::new(text).expect("a path")
}

const TREE: &[(&str, EntryType, &str)] = &[
    ("./", EntryType::Directory, ""),
    ("./a/", EntryType::Directory, ""),
    ("a/one", EntryType::Regular, "1"),
    ("a/", EntryType::Directory, ""),
    ("a/same", EntryType::Link, "a/one"),
    ("a/to", EntryType::Symlink, "/etc/../passwd"),
];

#[test]
fn paths_and_owners_are_replaced_and_directories_come_once() {
    let how = Rewrite { prefix: path("srv/app"), uid: Some(1), gid: Some(2), ..Rewrite::default() };
    let expected = [
        "srv/app/ 1:2 ",
        "srv/app/a/ 1:2 ",
        "srv/app/a/one 1:2 1",
        "srv/app/a/same 1:2 -> srv/app/a/one",
        "srv/app/a/to 1:2 -> /etc/../passwd",
    ];
    assert_eq!(rewritten(TREE, how).expect("an archive"), expected);
}

#[test]
fn parents_come_first_and_a_missing_root_is_made() {
    let how = || Rewrite {
        prefix: path("srv/app"),
        parents: vec![path("srv")],
        root: RootEntry::Make,
        uid: Some(3),
        ..Rewrite::default()
    };
    let file = [("f", EntryType::Regular, "x")];
    assert_eq!(rewritten(&file, how()).expect("an archive"), ["srv/ 0:0 ", "srv/app/ 3:0 ", "srv/app/f 3:8 x"]);
    assert_eq!(rewritten(&[], how()).expect("an archive"), ["srv/ 0:0 ", "srv/app/ 3:0 "]);
    let with_root = rewritten(&TREE[..1], how()).expect("an archive");
    assert_eq!(with_root, ["srv/ 0:0 ", "srv/app/ 3:8 "]);
    let dropped = Rewrite { root: RootEntry::Drop, ..Rewrite::default() };
    assert_eq!(rewritten(&TREE[..2], dropped).expect("an archive"), ["a/ 7:8 "]);
}

#[test]
fn a_predicate_selects_and_segments_are_stripped() {
    let keep: Predicate = Box::new(|path, kind| kind == Kind::Directory || path.name() != b"one");
    let how = Rewrite { keep: Some(keep), strip: 1, ..Rewrite::default() };
    let entries = [
        ("etc/", EntryType::Directory, ""),
        ("etc/one", EntryType::Regular, "1"),
        ("etc/two", EntryType::Regular, "2"),
        ("etc/link", EntryType::Link, "etc/two"),
    ];
    assert_eq!(rewritten(&entries, how).expect("an archive"), ["./ 7:8 ", "two 7:8 2", "link 7:8 -> two"]);
}

#[test]
fn a_hard_link_to_a_file_left_out_is_refused() {
    let keep: Predicate = Box::new(|path, _| path.name() != b"one");
    let failure = rewritten(TREE, Rewrite { keep: Some(keep), ..Rewrite::default() }).expect_err("no content");
    assert!(failure.to_string().contains("`a/same` is a hard link to `a/one`"), "{failure}");
}

#[test]
fn a_single_file_is_renamed() {
    let how = || Rewrite { single: Some(b"new".to_vec()), prefix: path("d"), ..Rewrite::default() };
    assert_eq!(rewritten(&[("old", EntryType::Regular, "x")], how()).expect("an archive"), ["d/new 7:8 x"]);
    let two = [("old", EntryType::Regular, "x"), ("other", EntryType::Regular, "y")];
    assert!(matches!(rewritten(&two, how()), Err(RetarError::NotSingle(name)) if name == "other"));
}

#[test]
fn hostile_entries_are_refused() {
    for name in ["../x", "a/../../x", "/etc/passwd", "a/.."] {
        let failure = rewritten(&[(name, EntryType::Regular, "x")], Rewrite::default());
        assert!(matches!(failure, Err(RetarError::Escapes(_))), "{name}");
    }
    let link = [("x", EntryType::Link, "../y")];
    assert!(matches!(rewritten(&link, Rewrite::default()), Err(RetarError::Escapes(_))));
}

#[test]
fn limits_hold() {
    let few = Limits { entries: 1, ..Limits::default() };
    let failure = rewritten(TREE, Rewrite { limits: few, ..Rewrite::default() });
    assert!(matches!(failure, Err(RetarError::TooMuch { what: "entries", .. })));
    let small = Limits { bytes: 0, ..Limits::default() };
    let failure = rewritten(TREE, Rewrite { limits: small, ..Rewrite::default() });
    assert!(matches!(failure, Err(RetarError::TooMuch { what: "bytes", .. })));
}

#[test]
fn long_names_large_numbers_and_attributes_survive() {
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(180));
    let mut builder = tar::Builder::new(Vec::new());
    builder.append_pax_extensions([("SCHILY.xattr.user.note", b"kept".as_slice())]).expect("a record");
    let mut header = Header::new_gnu();
    header.set_size(2);
    header.set_uid(5_000_000);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_mode(0o755);
    builder.append_data(&mut header, &long, b"ok".as_slice()).expect("an entry");
    let mut output = Vec::new();
    let how = Rewrite { prefix: path("p"), ..Rewrite::default() };
    rewrite(builder.into_inner().expect("an archive").as_slice(), &mut output, how).expect("an archive");
    assert_eq!(listing(&output), [format!("p/{long} 5000000:0 ok")]);
    let mut archive = tar::Archive::new(output.as_slice());
    let mut entry = archive.entries().expect("an archive").next().expect("one").expect("an entry");
    let records: Vec<String> = entry
        .pax_extensions()
        .expect("records")
        .expect("some")
        .map(|r| r.expect("one").key().expect("utf-8").to_owned())
        .collect();
    assert!(records.contains(&"SCHILY.xattr.user.note".to_owned()), "{records:?}");
}

#[tokio::test]
async fn a_stream_ends_with_the_error() {
    let good = Bytes::from(archive(TREE));
    let bad = Bytes::from(archive(&[("../x", EntryType::Regular, "x")]));
    let run = |bytes: Bytes| stream(futures::stream::iter([Ok(bytes)]).boxed(), Rewrite::default()).collect::<Vec<_>>();
    let parts = run(good).await;
    let bytes: Vec<u8> = parts.into_iter().flat_map(|part| part.expect("a chunk").to_vec()).collect();
    assert_eq!(listing(&bytes).len(), 5);
    let last = run(bad).await.pop().expect("an item").expect_err("an error");
    assert!(last.to_string().contains("leads outside"), "{last}");
}

#[test]
fn directories_wait_for_what_stays_in_them() {
    let tree = [
        ("./", EntryType::Directory, ""),
        ("a/", EntryType::Directory, ""),
        ("a/b/", EntryType::Directory, ""),
        ("a/b/no", EntryType::Regular, ""),
        ("a/c/", EntryType::Directory, ""),
        ("a/c/yes", EntryType::Regular, "1"),
        ("a/c/yes-too", EntryType::Regular, "2"),
        ("d/", EntryType::Directory, ""),
    ];
    let keep: Predicate = Box::new(|path, _| path.name().starts_with(b"yes"));
    let how = Rewrite { keep: Some(keep), directories_wait: true, prefix: path("to"), ..Rewrite::default() };
    let expected = ["to/ 7:8 ", "to/a/ 7:8 ", "to/a/c/ 7:8 ", "to/a/c/yes 7:8 1", "to/a/c/yes-too 7:8 2"];
    assert_eq!(rewritten(&tree, how).expect("an archive"), expected);
}
