//! Checksums and changes of scopes.

use slipway_digest::CommitId;
use slipway_git::{Change, FileMode, GitView as _, PathKind, changes_checksum, changes_size};
use slipway_paths::{ContextFilter, PathFilter, Scope, TreePath};

use crate::fixture::{Project, all, including, path, project};

fn changed(
    project: &Project,
    from: CommitId,
    to: CommitId,
    scope: &Scope,
) -> Vec<(String, Option<FileMode>, Option<FileMode>, u64)> {
    let changes = project.open().changes(from, to, scope).expect("changes");
    let mode = |side: Option<(FileMode, [u8; 20])>| side.map(|(mode, _)| mode);
    changes.into_iter().map(|c| (c.path.to_string(), mode(c.old), mode(c.new), c.size)).collect()
}

#[test]
fn names_modes_types_and_content_count_and_nothing_else() {
    let Some(project) = project() else { return };
    let checksum = |at| project.open().tree(at, &all("")).expect("tree").checksum;
    let first = project.write("a", "x").write("d/b", "y").commit();
    let empty = project.commit();
    assert_eq!(checksum(first), checksum(empty));
    let steps: [&dyn Fn(); 5] = [
        &|| {
            project.write("a", "z");
        },
        &|| {
            project.mode("a", 0o755);
        },
        &|| {
            project.git(&["mv", "a", "c"]);
        },
        &|| {
            project.remove("c").link("c", "z");
        },
        &|| {
            project.remove("d/b");
        },
    ];
    let mut seen = vec![checksum(first)];
    for step in steps {
        step();
        seen.push(checksum(project.commit()));
    }
    let distinct: std::collections::BTreeSet<_> = seen.iter().collect();
    assert_eq!(distinct.len(), seen.len());
}

#[test]
fn a_scope_is_what_its_base_and_globs_say() {
    let Some(project) = project() else { return };
    let head = project
        .write("app/src/a.rs", "a")
        .write("app/src/b.c", "b")
        .write("app/README.md", "r")
        .write("app.txt", "t")
        .write("other/src/a.rs", "a")
        .commit();
    let repository = project.open();
    let tree = |scope: &Scope| {
        let summary = repository.tree(head, scope).expect("tree");
        (summary.base, summary.files)
    };
    assert_eq!(tree(&all("")), (Some(PathKind::Directory), 5));
    assert_eq!(tree(&all("app")), (Some(PathKind::Directory), 3));
    assert_eq!(tree(&all("app/README.md")), (Some(PathKind::File), 1));
    assert_eq!(tree(&including("app/README.md", &["*.md"])), (Some(PathKind::File), 1));
    assert_eq!(tree(&including("app/README.md", &["*.rs"])), (Some(PathKind::File), 0));
    assert_eq!(tree(&including("app", &["src/*.rs"])), (Some(PathKind::Directory), 1));
    assert_eq!(tree(&all("nothing")), (None, 0));
    assert_eq!(tree(&all("app.txt/x")), (None, 0));
    let checksum = |scope: &Scope| repository.tree(head, scope).expect("tree").checksum;
    assert_eq!(checksum(&including("app", &["src/*.rs"])), checksum(&including("other", &["src"])));
    let context = ContextFilter { base: path("app"), ignore: vec!["**/*.c".into()], sources: Some(vec!["src".into()]) };
    assert_eq!(tree(&Scope::Context(context)), (Some(PathKind::Directory), 1));
    let names: Vec<String> = repository.list(head, &all("")).expect("list").iter().map(TreePath::to_string).collect();
    assert_eq!(names, ["app.txt", "app/README.md", "app/src/a.rs", "app/src/b.c", "other/src/a.rs"]);
    assert!(repository.tree(head, &including("", &["[a"])).is_err());
}

#[test]
fn sources_of_a_context_are_followed_over_links() {
    let Some(project) = project() else { return };
    let head = project
        .write("app/data/a.txt", "a")
        .write("app/data/sub/b.txt", "b")
        .write("app/other.md", "o")
        .write("app/we[i]rd", "w")
        .write("app/l/plain.txt", "p")
        .link("app/data/inner", "../other.md")
        .link("app/link", "data")
        .link("app/again", "link")
        .link("app/absolute", "/data/sub")
        .link("app/out", "../../app/other.md")
        .link("app/round", "round")
        .link("app/nowhere", "gone")
        .link("app/l/file.txt", "../data/a.txt")
        .link("app/l/weird", "../we[i]rd")
        .commit();
    let repository = project.open();
    let scope = |sources: &[&str], ignore: &[&str]| {
        let own = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        Scope::Context(ContextFilter { base: path("app"), ignore: own(ignore), sources: Some(own(sources)) })
    };
    let list = |sources: &[&str], ignore: &[&str]| {
        let files = repository.list(head, &scope(sources, ignore)).expect("a list");
        files.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    for (source, expected) in [
        ("data/sub", "data/sub/b.txt"),
        // A link in a directory that is copied is copied as one.
        ("data", "data/a.txt data/inner data/sub/b.txt"),
        ("link", "data/a.txt data/inner data/sub/b.txt link"),
        ("again", "again data/a.txt data/inner data/sub/b.txt link"),
        ("link/sub/b.txt", "data/sub/b.txt link"),
        ("again/*.txt", "again data/a.txt link"),
        ("link/inn*", "data/inner link other.md"),
        ("absolute", "absolute data/sub/b.txt"),
        // No link leads out of the context.
        ("out", "out"),
        ("round", "round"),
        ("nowhere/x", "nowhere"),
        ("l/*.txt", "data/a.txt l/file.txt l/plain.txt"),
        ("*/weird", "l/weird we[i]rd"),
        ("../link/a.txt", "data/a.txt link"),
        ("none*", ""),
    ] {
        assert_eq!(list(&[source], &[]), expected, "{source}");
    }
    assert!(repository.list(head, &scope(&["["], &[])).is_err());
    assert_eq!(list(&["link"], &["data/sub"]), "data/a.txt data/inner link");
    let checksum = |at| repository.tree(at, &scope(&["again/a.txt"], &[])).expect("a tree").checksum;
    let changed = project.write("app/data/a.txt", "changed").commit();
    let elsewhere = project.write("app/data/sub/b.txt", "changed").commit();
    assert_ne!(checksum(head), checksum(changed));
    assert_eq!(checksum(changed), checksum(elsewhere));
    // What is not there may come to be.
    let followed = repository.followed(head, &scope(&["nowhere/x"], &[])).expect("a scope");
    assert!(followed.keeps(&path("gone/x")) && !followed.keeps(&path("gone/y")));
}

#[test]
fn changes_are_of_files_modes_and_types() {
    let Some(project) = project() else { return };
    let from = project
        .write("keep", "k")
        .write("modify", "1")
        .write("mode", "m")
        .write("delete/me", "four")
        .write("rename", "r")
        .write("becomes-dir", "f")
        .write("becomes-link", "l")
        .write("was-dir/a", "a")
        .commit();
    project.write("modify", "22").mode("mode", 0o755).remove("delete/me").remove("becomes-dir");
    std::fs::remove_dir_all(project.at("was-dir")).expect("remove");
    project.write("becomes-dir/inner", "i").remove("becomes-link").link("becomes-link", "keep").write("was-dir", "ff");
    project.git(&["mv", "rename", "renamed"]);
    let to = project.write("sub dir/ad d", "333").commit();
    let regular = Some(FileMode::Regular);
    let expected: [(&str, _, _, u64); 11] = [
        ("becomes-dir", regular, None, 1),
        ("becomes-dir/inner", None, regular, 1),
        ("becomes-link", regular, Some(FileMode::Symlink), 4),
        ("delete/me", regular, None, 4),
        ("mode", regular, Some(FileMode::Executable), 1),
        ("modify", regular, regular, 2),
        ("rename", regular, None, 1),
        ("renamed", None, regular, 1),
        ("sub dir/ad d", None, regular, 3),
        ("was-dir", None, regular, 2),
        ("was-dir/a", regular, None, 1),
    ];
    let expected = expected.map(|(name, old, new, size)| (name.to_owned(), old, new, size));
    assert_eq!(changed(&project, from, to, &all("")), expected);
    assert_eq!(changed(&project, from, from, &all("")), []);
    let one = |name: &str, old, new, size| vec![(name.to_owned(), old, new, size)];
    assert_eq!(changed(&project, from, to, &all("delete")), one("me", regular, None, 4));
    assert_eq!(changed(&project, from, to, &all("modify")), one("", regular, regular, 2));
    assert_eq!(changed(&project, from, to, &including("", &["**/ad d"])), one("sub dir/ad d", None, regular, 3));
    let exclude = vec!["becomes-*".into(), "*e".into(), "modify".into(), "renamed".into(), "was-dir/a".into()];
    let filter = PathFilter { exclude, ..PathFilter::default() };
    assert_eq!(
        changed(&project, from, to, &Scope::Filter(filter)),
        [("sub dir/ad d".to_owned(), None, regular, 3), ("was-dir".to_owned(), None, regular, 2),]
    );
}

#[test]
fn checksums_of_changes_do_not_depend_on_their_order() {
    let change =
        |name: &str, size| Change { path: path(name), old: None, new: Some((FileMode::Regular, [1; 20])), size };
    let (a, b) = (change("a", 1), change("b", u64::MAX));
    let both = changes_checksum(&[a.clone(), b.clone()]);
    assert_eq!(both, changes_checksum(&[b.clone(), a.clone()]));
    assert_ne!(both, changes_checksum(std::slice::from_ref(&a)));
    let executable = Change { new: Some((FileMode::Executable, [1; 20])), ..a.clone() };
    assert_ne!(changes_checksum(std::slice::from_ref(&a)), changes_checksum(&[executable]));
    let deleted = Change { old: a.new, new: None, ..a.clone() };
    assert_ne!(changes_checksum(std::slice::from_ref(&a)), changes_checksum(&[deleted]));
    assert_eq!(changes_size(&[a, b]), u64::MAX);
    assert_eq!(changes_size(&[]), 0);
}

#[test]
fn a_large_tree_is_read() {
    let Some(project) = project() else { return };
    for directory in 0..100 {
        for file in 0..100 {
            project.write(format!("d{directory}/f{file}"), format!("{directory} {file}"));
        }
    }
    let first = project.commit();
    let second = project.write("d50/f50", "new").commit();
    let repository = project.open();
    assert_eq!(repository.tree(first, &all("")).expect("tree").files, 10_000);
    assert_eq!(repository.tree(first, &including("", &["d1?/f*7"])).expect("tree").files, 100);
    assert_eq!(changed(&project, first, second, &all("")).len(), 1);
}

/// Computed from `docs/reference/digest.md` by an independent program.
#[test]
fn checksums_are_what_the_specification_says() {
    let change = |name: &str, old, new| Change { path: path(name), old, new, size: 1 };
    let changes = [
        change("b", None, Some((FileMode::Symlink, [3; 20]))),
        change("a", Some((FileMode::Regular, [1; 20])), Some((FileMode::Executable, [2; 20]))),
    ];
    assert_eq!(changes_checksum(&changes).to_string(), "f3ec594f3851f42fddde539a9d51f2214f60b541df495cc89ec6d73d");

    let Some(project) = project() else { return };
    let files =
        project.write("a.txt", "one").write("dir/run.sh", "two").mode("dir/run.sh", 0o755).link("link", "a.txt");
    let tree = project.open().tree(files.commit(), &all("")).expect("a tree");
    assert_eq!(tree.checksum.to_string(), "bd0ad3c69cbe725d2192d9e714c45c2f3ef33d5370de9dc94cc87e27");
}
