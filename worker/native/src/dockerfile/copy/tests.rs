//! What a context, another stage or an archive must not do: reach what lies outside of its own root, or of the image.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use tempfile::TempDir;

use super::*;

/// A source, an image, and a directory beside both that nothing may come from or go to.
struct Scene {
    home: TempDir,
}

impl Scene {
    fn new() -> Option<Self> {
        let home = tempfile::tempdir().expect("a directory");
        for name in ["source", "image", "outside"] {
            fs::create_dir(home.path().join(name)).expect("a directory");
        }
        fs::write(home.path().join("outside/secret"), "secret").expect("a file");
        // Owners are set even where they stay.
        if home.path().metadata().expect("a directory").uid() != 0 {
            use std::io::Write as _;
            let _ = writeln!(io::stderr(), "skipped: files are given owners by root only");
            return None;
        }
        Some(Self { home })
    }

    fn at(&self, path: &str) -> std::path::PathBuf {
        self.home.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.at(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    }

    fn link(&self, target: impl AsRef<Path>, path: &str) {
        fs::create_dir_all(self.at(path).parent().expect("a parent")).expect("a directory");
        symlink(target, self.at(path)).expect("a link");
    }

    /// Copies, as `put` does in a room.
    fn copied(&self, files: &Files) -> Result<(), LayerError> {
        let (source, image) = (self.root("source"), self.root("image"));
        let target = Target::new("/", &files.to).expect("a target");
        let exclude = Choice::excluding(&files.exclude).expect("patterns");
        let mut copier = Copier::new(&image, None, None, exclude.as_ref());
        let words = files.sources.iter().map(|source| match source {
            slipway_dockerfile::Source::Path(path) => path.as_str(),
            slipway_dockerfile::Source::Content(_) => "",
        });
        let mut items = Vec::new();
        for word in words {
            items.extend(find::find(&source, word, files, false)?);
        }
        let places = Places { ground: Some(Opened::Context(self.root("source"))), made: None };
        sum::of(&places, &items, exclude.as_ref())?;
        for item in &items {
            copier.copy(&source, item, &target)?;
        }
        copier.finish()
    }

    fn root(&self, name: &str) -> Root {
        Root::open(&self.at(name)).expect("a root")
    }

    /// Checks that nothing came out, and nothing went there.
    fn is_untouched(&self) {
        let names: Vec<_> = fs::read_dir(self.at("outside")).expect("a listing").flatten().collect();
        assert_eq!(names.len(), 1, "{names:?}");
        assert_eq!(fs::read_to_string(self.at("outside/secret")).expect("a file"), "secret");
        let mut open = vec![self.at("image")];
        while let Some(directory) = open.pop() {
            for found in fs::read_dir(directory).expect("a listing").flatten() {
                match found.file_type().expect("a kind") {
                    kind if kind.is_dir() => open.push(found.path()),
                    kind if kind.is_file() => {
                        let text = fs::read(found.path()).expect("a file");
                        assert!(text != b"secret", "{}", found.path().display());
                    }
                    _ => {}
                }
            }
        }
    }
}

fn files(add: bool, source: &str, to: &str) -> Files {
    Files {
        add,
        from: None,
        chown: None,
        chmod: None,
        link: false,
        parents: false,
        exclude: Vec::new(),
        checksum: None,
        keep_git_dir: false,
        unpack: None,
        sources: vec![slipway_dockerfile::Source::Path(source.to_owned())],
        to: to.to_owned(),
    }
}

#[test]
fn sources_end_at_their_root() {
    let Some(scene) = Scene::new() else { return };
    scene.write("source/in/file", "in");
    scene.link(scene.at("outside"), "source/absolute");
    scene.link("../outside", "source/relative");
    scene.link("../../../../../../../../..", "source/up");
    scene.link("/proc/self/root", "source/magic");
    let inner = scene.at("outside/secret").display().to_string();
    for add in [false, true] {
        for word in [
            "../outside/secret",
            "in/../../outside/secret",
            "absolute/secret",
            "relative/secret",
            "absolute/*",
            "relative/s*",
            &format!("up{inner}"),
            &format!("magic{inner}"),
            &inner,
        ] {
            let copied = scene.copied(&files(add, word, "/x/"));
            // What stands for nothing is nothing.
            assert!(copied.is_err() || word.contains('*'), "{word}");
        }
        for word in ["absolute/secret", "../outside/secret", "relative/./secret", "./../outside/./secret"] {
            assert!(scene.copied(&Files { parents: true, ..files(add, word, "/y/") }).is_err(), "{word}");
        }
        // As a whole, links come as links.
        scene.copied(&files(add, ".", "/z/")).expect("a copy");
    }
    scene.is_untouched();
}

#[test]
fn destinations_end_at_the_image() {
    let Some(scene) = Scene::new() else { return };
    scene.write("source/d/secret", "new");
    scene.write("source/d/sub/f", "new");
    scene.link(scene.at("outside"), "image/absolute");
    scene.link("../outside", "image/relative");
    scene.link(scene.at("outside/secret"), "image/file");
    scene.link("../../../..", "image/up");
    let beside = scene.at("outside").display().to_string();
    for to in ["/absolute/", "/relative", "/file", "/absolute/new/", "/relative/../relative/", "../../outside/"] {
        for source in ["d", "d/secret"] {
            // Where a file stands in the way by now, it fails: inside.
            let _ = scene.copied(&files(false, source, to));
        }
    }
    let _ = scene.copied(&files(false, "d", &format!("/up{beside}/")));
    scene.is_untouched();
    // What a link of the image led to was made in the image.
    assert!(scene.at(&format!("image{beside}/sub/f")).is_file());
    assert!(scene.at("image/outside/sub/f").is_file());
}

#[test]
fn a_directory_that_becomes_a_link_meanwhile_leads_nowhere() {
    let Some(scene) = Scene::new() else { return };
    for number in 0..40 {
        scene.write(&format!("source/d/sub/{number}"), "new");
    }
    fs::create_dir_all(scene.at("image/x/sub")).expect("a directory");
    let (place, aside, outside) = (scene.at("image/x/sub"), scene.at("image/x/aside"), scene.at("outside"));
    let ended = Arc::new(AtomicBool::new(false));
    let is_over = Arc::clone(&ended);
    let swapping = thread::spawn(move || {
        while !is_over.load(Ordering::Relaxed) {
            if fs::rename(&place, &aside).is_ok() {
                let _ = symlink(&outside, &place);
                let _ = fs::remove_file(&place);
                let _ = fs::rename(&aside, &place);
            }
        }
    });
    for _ in 0..150 {
        // It may fail, but not elsewhere.
        let _ = scene.copied(&files(false, "d", "/x"));
    }
    ended.store(true, Ordering::Relaxed);
    swapping.join().expect("a thread");
    scene.is_untouched();
}

/// An archive whose names nothing has checked.
fn archive(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, kind, text) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        let content = if *kind == tar::EntryType::Regular { text.as_bytes() } else { b"" };
        header.set_size(content.len() as u64);
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        if *kind != tar::EntryType::Regular {
            header.as_old_mut().linkname[..text.len()].copy_from_slice(text.as_bytes());
        }
        header.set_cksum();
        builder.append(&header, content).expect("memory");
    }
    builder.into_inner().expect("memory")
}

#[test]
fn archives_end_at_their_destination() {
    use tar::EntryType::{Directory, Link, Regular, Symlink};
    let Some(scene) = Scene::new() else { return };
    let outside = scene.at("outside").display().to_string();
    let secret = format!("{outside}/secret");
    let inside = [("sub", Directory, ""), ("l", Symlink, "/sub"), ("l/new", Regular, "x")];
    let cases: [(&str, bool, Vec<u8>); 8] = [
        ("through-a-link-inside", false, archive(&inside)),
        ("up", true, archive(&[("../outside/new", Regular, "x")])),
        ("deep-up", true, archive(&[("a/../../new", Regular, "x")])),
        ("absolute", false, archive(&[(&format!("{outside}/new"), Regular, "x")])),
        ("through-absolute-link", true, archive(&[("l", Symlink, &outside), ("l/new", Regular, "x")])),
        ("through-relative-link", true, archive(&[("l", Symlink, "../../outside"), ("l/new", Regular, "x")])),
        ("hard-link", true, archive(&[("h", Link, &secret)])),
        ("hard-link-through-link", true, archive(&[("l", Symlink, &outside), ("h", Link, "l/secret")])),
    ];
    for (name, fails, bytes) in cases {
        fs::write(scene.at(&format!("source/{name}.tar")), bytes).expect("an archive");
        scene.write(&format!("image/{name}/etc/passwd"), "root");
        let added = scene.copied(&files(true, &format!("{name}.tar"), &format!("/{name}/etc/")));
        assert_eq!(added.is_err(), fails, "{name}: {added:?}");
        assert_eq!(fs::read_to_string(scene.at(&format!("image/{name}/etc/passwd"))).expect("a file"), "root");
        // Links of the archive lead no further than where it is unpacked, not into the rest of the image.
        assert!(!scene.at(&format!("image{outside}")).exists(), "{name}");
        scene.is_untouched();
    }
    assert!(scene.at("image/through-a-link-inside/etc/sub/new").is_file());
}

#[test]
fn what_stays_the_same_has_the_same_checksum() {
    let Some(scene) = Scene::new() else { return };
    scene.write("source/d/a.txt", "a");
    scene.write("source/d/b.md", "b");
    let sum = |files: &Files| {
        let source = scene.root("source");
        let items = find::find(&source, "d", files, true).expect("a source");
        let exclude = Choice::excluding(&files.exclude).expect("patterns");
        let places = Places { ground: Some(Opened::Context(source)), made: None };
        sum::of(&places, &items, exclude.as_ref()).expect("a checksum")
    };
    let all = files(false, "d", "/x");
    let without = Files { exclude: vec!["*.md".to_owned()], ..all.clone() };
    let (first, less) = (sum(&all), sum(&without));
    assert_ne!(first, less);
    scene.write("source/d/b.md", "changed");
    assert_eq!(sum(&without), less);
    assert_ne!(sum(&all), first);
    scene.write("source/d/b.md", "b");
    assert_eq!(sum(&all), first);
    fs::set_permissions(scene.at("source/d/a.txt"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("a mode");
    assert_ne!(sum(&all), first);
}
