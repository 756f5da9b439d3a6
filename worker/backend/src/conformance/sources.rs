//! Files on their way in and out.

use slipway_oci::ConfigChange;

use super::harness::{Harness, Item, archive, directory, file, link, listing, paths};
use crate::{BackendError, Root};

fn found<'a>(items: &'a [Item], path: &str) -> &'a Item {
    items.iter().find(|item| item.path == path).unwrap_or_else(|| panic!("no {path} in {items:?}"))
}

/// Owners are names of the image or numbers; what is not named stays as in the archive.
pub(super) async fn owners_by_name_and_number(harness: &Harness<'_>) {
    let passwd = file("etc/passwd", "root:x:0:0::/:/x\napp:x:1234:99::/:/x\n");
    let group = file("usr/share/groups", "root:x:0:\ncrew:x:4321:app\n");
    let base = harness.filled(&[passwd, group, link("etc/group", "/usr/share/groups")]).await;
    let tree = [Item { owner: (7, 8), ..directory(".") }, Item { owner: (7, 8), ..file("f", "x") }];
    for (owner, group, expected) in [
        (Some("app"), Some("crew"), (1234, 4321)),
        (Some("5"), Some("6"), (5, 6)),
        (Some("app"), None, (1234, 8)),
        (None, None, (7, 8)),
    ] {
        let mut workspace = harness.open(Some(&base)).await;
        workspace.extract(archive(&tree), "/srv/app", owner, group).await.expect("files go in");
        let image = workspace.commit(ConfigChange::default()).await.expect("an image");
        let items = harness.items(&image, "/srv").await;
        assert_eq!(found(&items, "app/f").owner, expected);
        assert_eq!(found(&items, "app").owner, expected);
        assert_eq!(found(&items, ".").owner, (0, 0));
    }
    let mut workspace = harness.open(Some(&base)).await;
    let refused = match workspace.extract(archive(&tree), "/srv", Some("nobody-knows"), None).await {
        Err(refused) => refused,
        Ok(()) => workspace.commit(ConfigChange::default()).await.expect_err("an unknown user"),
    };
    assert!(matches!(&refused, BackendError::Refused(text) if text.contains("nobody-knows")), "{refused:?}");
}

/// A target that is a link to a directory stays a link, and files go through it.
pub(super) async fn target_is_a_link(harness: &Harness<'_>) {
    let real = Item { mode: 0o700, owner: (3, 4), ..directory("data/real") };
    let base = harness.filled(&[real, link("data/current", "real")]).await;
    let mut workspace = harness.open(Some(&base)).await;
    let tree = [directory("."), file("f", "x")];
    workspace.extract(archive(&tree), "/data/current", Some("9"), None).await.expect("files go in");
    workspace.extract(archive(&tree), "/data/current/deep", None, None).await.expect("files go in");
    let image = workspace.commit(ConfigChange::default()).await.expect("an image");
    let items = harness.items(&image, "/data").await;
    assert_eq!(found(&items, "current"), &link("current", "real"));
    // A directory that was there keeps its mode and owner.
    let real = found(&items, "real");
    assert_eq!((real.mode, real.owner), (0o700, (3, 4)));
    assert_eq!(found(&items, "real/f").owner, (9, 0));
    assert_eq!(found(&items, "real/deep/f").text, "x");
    let mut workspace = harness.open(Some(&image)).await;
    let into_file = match workspace.extract(archive(&tree), "/data/real/f/x", None, None).await {
        Err(refused) => refused,
        Ok(()) => workspace.commit(ConfigChange::default()).await.expect_err("a file is no directory"),
    };
    assert!(matches!(into_file, BackendError::Refused(_)), "{into_file:?}");
}

/// Missing directories above the target are 0755 of root; the target is as the archive says, once.
pub(super) async fn missing_parents_are_made(harness: &Harness<'_>) {
    let own = Item { mode: 0o750, ..directory(".") };
    let mut workspace = harness.open(Some(harness.base)).await;
    workspace.extract(archive(&[own, file("f", "x")]), "/new/a/b", Some("11"), None).await.expect("files go in");
    workspace.extract(archive(&[file("g", "y")]), "/new/c", Some("12"), None).await.expect("files go in");
    let image = workspace.commit(ConfigChange::default()).await.expect("an image");
    let items = harness.items(&image, "/new").await;
    let facts = |path: &str| (found(&items, path).mode, found(&items, path).owner.0);
    assert_eq!(facts("."), (0o755, 0));
    assert_eq!(facts("a"), (0o755, 0));
    assert_eq!(facts("a/b"), (0o750, 11));
    assert_eq!(facts("a/b/f"), (0o644, 11));
    assert_eq!(facts("c"), (0o755, 12));
}

/// What comes in wins over what is there, whatever it was.
pub(super) async fn files_and_directories_replace_each_other(harness: &Harness<'_>) {
    let base = harness.filled(&[file("x/one", "old"), directory("x/two"), file("x/two/in", "old")]).await;
    let mut workspace = harness.open(Some(&base)).await;
    let tree = [directory("one"), file("one/in", "new"), file("two", "new")];
    workspace.extract(archive(&tree), "/x", None, None).await.expect("files go in");
    workspace.delete("/x", paths(&["one", "two/in"])).await.expect("deletions are taken");
    let image = workspace.commit(ConfigChange::default()).await.expect("an image");
    let items = harness.items(&image, "/x").await;
    assert_eq!(items.iter().map(|item| item.path.as_str()).collect::<Vec<_>>(), [".", "one", "one/in", "two"]);
    assert_eq!(found(&items, "two").text, "new");
}

/// Deleted files are gone in the image, with the directories that this empties.
pub(super) async fn deletions_take_emptied_directories_along(harness: &Harness<'_>) {
    let tree = [file("d/a/b/one", "x"), file("d/keep/one", "x"), file("d/keep/two", "x"), file("d/it's", "x")];
    let base = harness.filled(&tree).await;
    let mut workspace = harness.open(Some(&base)).await;
    let all = paths(&["a/b/one", "keep/one", "it's", "never/was"]);
    workspace.delete("/d", all).await.expect("deletions are taken");
    workspace.delete("/not/there", paths(&["x"])).await.expect("deletions are taken");
    let image = workspace.commit(ConfigChange::default()).await.expect("an image");
    assert_eq!(harness.paths(&image, "/d").await, [".", "keep", "keep/two"]);

    let mut workspace = harness.open(Some(&image)).await;
    workspace.delete("/d", paths(&["keep/two"])).await.expect("deletions are taken");
    let seen = [(1, "shopt -s nullglob; echo left: /d/*")];
    let (ended, said) = harness.run(workspace.as_mut(), &seen, &[]).await;
    ended.expect("the command runs");
    assert_eq!(said, ["left:"]);
    let image = workspace.commit(ConfigChange::default()).await.expect("an image");
    assert_eq!(harness.paths(&image, "/d").await, ["."]);
}

/// Where a symbolic link leads is its own matter.
pub(super) async fn links_may_lead_anywhere(harness: &Harness<'_>) {
    let tree = [
        directory("."),
        link("up", ".."),
        directory("d"),
        link("d/high", "../../../../x"),
        link("etc", "/etc"),
        link("none", "../none"),
    ];
    let mut image = harness.base.clone();
    // Into a directory that is made, and into one that is there.
    for _ in 0..2 {
        let mut workspace = harness.open(Some(&image)).await;
        workspace.extract(archive(&tree), "/srv/links", None, None).await.expect("files go in");
        image = workspace.commit(ConfigChange::default()).await.expect("an image");
        let items = harness.items(&image, "/srv/links").await;
        let expected: Vec<&Item> = tree.iter().filter(|item| item.kind == 'l').collect();
        for link in expected {
            assert_eq!(found(&items, &link.path).text, link.text, "{}", link.path);
        }
    }
}

/// A single file is put to its path; where a directory is, or a link to one, it goes into it.
pub(super) async fn single_files_find_their_place(harness: &Harness<'_>) {
    let tree = [directory("d"), link("to-d", "/d"), file("old", "old"), link("to-old", "old"), file("d/kept", "x")];
    let base = harness.filled(&tree).await;
    let mut workspace = harness.open(Some(&base)).await;
    for to in ["/d", "/to-d/", "/", "/old", "/to-old", "/new/deep/name", "/d/named"] {
        let single = Item { mode: 0o4750, owner: (5, 6), ..file("f", to) };
        let owner = (to == "/d/named").then_some("77");
        workspace.extract_file(archive(&[single]), to, owner, owner).await.expect("a file goes in");
    }
    let broken = archive(&[file("f", "x"), file("g", "x")]);
    workspace.extract_file(archive(&[link("f", "/none")]), "/a-link", None, None).await.expect("a link goes in");
    let image = workspace.commit(ConfigChange::default()).await.expect("an image");
    assert_eq!(harness.paths(&image, "/d").await, [".", "f", "kept", "named"]);
    for (path, text) in [
        ("/d/f", "/to-d/"),
        ("/d/kept", "x"),
        ("/d/named", "/d/named"),
        ("/f", "/"),
        ("/old", "/old"),
        ("/to-old", "/to-old"),
        ("/new/deep/name", "/new/deep/name"),
    ] {
        assert_eq!(harness.text(&image, path).await, text, "{path}");
    }
    let all = harness.items(&image, "/").await;
    assert_eq!((found(&all, "f").mode, found(&all, "f").owner), (0o4750, (5, 6)));
    assert_eq!(found(&all, "d/named").owner, (77, 77));
    assert_eq!((found(&all, "a-link").kind, found(&all, "a-link").text.as_str()), ('l', "/none"));
    let mut workspace = harness.open(Some(&base)).await;
    let refused = match workspace.extract_file(broken, "/two", None, None).await {
        Err(refused) => refused,
        Ok(()) => workspace.commit(ConfigChange::default()).await.expect_err("two files are not one"),
    };
    assert!(refused.to_string().contains("single file"), "{refused}");
}

/// An archive cannot reach out of its target.
pub(super) async fn hostile_archives_are_refused(harness: &Harness<'_>) {
    for name in ["../up", "a/../../up", "/etc/absolute"] {
        let mut workspace = harness.open(Some(harness.base)).await;
        let refused = match workspace.extract(archive(&[file(name, "x")]), "/srv", None, None).await {
            Err(refused) => refused,
            Ok(()) => workspace.commit(ConfigChange::default()).await.expect_err("a hostile archive"),
        };
        assert!(matches!(&refused, BackendError::Refused(text) if text.contains(name)), "{refused:?}");
    }
}

/// A directory in an archive does not replace the links that systems have at their root.
pub(super) async fn links_of_the_system_stay(harness: &Harness<'_>) {
    let base = harness.filled(&[directory("opt/sys"), file("opt/sys/old", "x"), link("lib64", "opt/sys")]).await;
    let mut workspace = harness.open(Some(&base)).await;
    let tree = [directory("lib64"), file("lib64/new", "x")];
    workspace.extract(archive(&tree), "/", None, None).await.expect("files go in");
    let image = workspace.commit(ConfigChange::default()).await.expect("an image");
    assert_eq!(harness.paths(&image, "/opt/sys").await, [".", "new", "old"]);
    assert_eq!(harness.text(&image, "/lib64/new").await, "x");
}

/// Files of an image: directories, single files, links of both kinds, and paths that are not there.
pub(super) async fn files_of_an_image(harness: &Harness<'_>) {
    let hard = Item { kind: 'h', text: "out/dir/f".to_owned(), ..file("out/dir/same", "") };
    let tree = [
        directory("out"),
        directory("out/dir"),
        file("out/dir/f", "text"),
        hard,
        link("out/to-dir", "dir"),
        link("out/to-file", "dir/f"),
        link("out/to-nothing", "/none"),
    ];
    let image = harness.filled(&tree).await;
    let direct = harness.items(&image, "/out/dir").await;
    assert_eq!(direct.iter().map(|item| item.path.as_str()).collect::<Vec<_>>(), [".", "f", "same"]);
    assert_eq!((found(&direct, "same").kind, found(&direct, "same").text.as_str()), ('h', "f"));
    assert_eq!(harness.items(&image, "/out/to-dir/").await, direct);
    let (root, stream) = harness.backend.files(&image, "/out/dir/f").await.expect("a file");
    assert_eq!((root, listing(stream).await), (Root::File, vec![file("f", "text")]));
    for (name, target) in [("to-file", "dir/f"), ("to-nothing", "/none")] {
        let (root, stream) = harness.backend.files(&image, &format!("/out/{name}")).await.expect("a link");
        assert_eq!((root, listing(stream).await), (Root::File, vec![link(name, target)]));
    }
    let all = harness.paths(&image, "/").await;
    assert_eq!(all[0], ".");
    assert!(all.contains(&"out/dir/f".to_owned()), "{all:?}");
    let missing = harness.root(&image, "/not/there").await.expect_err("nothing there");
    assert!(matches!(&missing, BackendError::Refused(text) if text.contains("/not/there")), "{missing:?}");
}
