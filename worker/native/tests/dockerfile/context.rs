//! The context of all cases.

use std::{
    fs::{self, File, FileTimes},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::Path,
    process::Stdio,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use slipway_backend::ByteStream;
use slipway_paths::{ContextFilter, Scope, TreePath};
use slipway_process::child::command;
use tempfile::TempDir;

/// When everything was modified.
const TIME: u64 = 1_600_000_000;
/// Files: path, mode, content.
const FILES: [(&str, u32, &str); 26] = [
    ("a.txt", 0o644, "a\n"),
    ("b.txt", 0o640, "b\n"),
    ("run.sh", 0o755, "#!/bin/sh\necho run\n"),
    ("suid", 0o4755, "s\n"),
    ("empty", 0o644, ""),
    (".hidden", 0o600, "h\n"),
    ("with space.txt", 0o644, "w\n"),
    ("arr[0].txt", 0o644, "arr\n"),
    ("caf\u{e9}.txt", 0o644, "c\n"),
    ("d/one.txt", 0o644, "1\n"),
    ("d/two.md", 0o644, "2\n"),
    ("d/sub/three.txt", 0o600, "3\n"),
    ("d/sub/deep/four.txt", 0o644, "4\n"),
    ("d/.dot", 0o644, "dot\n"),
    ("e/one.txt", 0o755, "e1\n"),
    ("e/sub", 0o644, "a file\n"),
    ("src/main.go", 0o644, "m\n"),
    ("src/main_test.go", 0o644, "t\n"),
    ("src/lib/lib.go", 0o644, "l\n"),
    ("src/lib/lib_test.go", 0o644, "lt\n"),
    ("src/vendor/x/x.go", 0o644, "x\n"),
    ("tree/x/a/f.txt", 0o644, "xa\n"),
    ("tree/x/b/f.txt", 0o644, "xb\n"),
    ("tree/y/a/f.md", 0o644, "ya\n"),
    ("etc/passwd", 0o644, "root:x:0:0::/root:/bin/sh\napp:x:1000:2000::/:/bin/sh\nsame:x:1500:1500::/:/bin/sh\n"),
    ("etc/group", 0o644, "root:x:0:\napp:x:3000:\nsame:x:1500:\nstaff:x:50:app\n"),
];
/// Symbolic links: path, target.
const LINKS: [(&str, &str); 6] = [
    ("link", "a.txt"),
    ("dirlink", "d"),
    ("dangling", "nowhere"),
    ("d/up", "../a.txt"),
    ("absolute", "/a.txt"),
    ("outside", "../../../../etc/hostname"),
];
/// Modes of directories that are not 0755.
const MODES: [(&str, u32); 3] = [("d/sub", 0o700), ("d", 0o711), ("src/lib", 0o1777)];

/// Makes it.
pub(crate) fn make() -> TempDir {
    let home = tempfile::tempdir().expect("a directory");
    let at = |path: &str| home.path().join(path);
    for (path, mode, text) in FILES {
        fs::create_dir_all(at(path).parent().expect("a parent")).expect("a directory");
        fs::write(at(path), text).expect("a file");
        fs::set_permissions(at(path), fs::Permissions::from_mode(mode)).expect("a mode");
    }
    fs::create_dir(at("void")).expect("a directory");
    fs::create_dir(at("bin")).expect("a directory");
    if Path::new("/bin/busybox").exists() {
        fs::copy("/bin/busybox", at("bin/busybox")).expect("a program");
    }
    archives(home.path());
    for (path, mode) in MODES {
        fs::set_permissions(at(path), fs::Permissions::from_mode(mode)).expect("a mode");
    }
    for (path, target) in LINKS {
        symlink(target, at(path)).expect("a link");
    }
    age(home.path()).expect("times");
    home
}

/// Archives of some files, in all compressions.
fn archives(home: &Path) {
    let mut builder = tar::Builder::new(Vec::new());
    let mut add = |path: &str, kind: tar::EntryType, mode: u32, owner: u64, text: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(owner);
        header.set_gid(owner + 1);
        header.set_mtime(TIME);
        let content = if kind == tar::EntryType::Regular { text } else { "" };
        header.set_size(content.len() as u64);
        if kind != tar::EntryType::Regular && !text.is_empty() {
            header.set_link_name(text).expect("a link");
        }
        header.set_path(path).expect("a path");
        header.set_cksum();
        builder.append(&header, content.as_bytes()).expect("memory");
    };
    add("in/", tar::EntryType::Directory, 0o750, 11, "");
    add("in/f", tar::EntryType::Regular, 0o640, 11, "f\n");
    add("in/hard", tar::EntryType::Link, 0o640, 11, "in/f");
    add("in/soft", tar::EntryType::Symlink, 0o777, 12, "f");
    add("implied/below/g", tar::EntryType::Regular, 0o4711, 0, "g\n");
    add("a.txt", tar::EntryType::Regular, 0o600, 0, "of the archive\n");
    let plain = builder.into_inner().expect("memory");
    fs::write(home.join("t.tar"), &plain).expect("a file");
    fs::write(home.join("no-ending"), &plain).expect("a file");
    for (program, name) in [("gzip", "t.tgz"), ("bzip2", "t.tar.bz2"), ("xz", "t.tar.xz")] {
        packed(program, &plain, &home.join(name));
    }
    packed("gzip", b"just text\n", &home.join("text.gz"));
    fs::write(home.join("broken.tgz"), b"\x1f\x8b\x08 no gzip").expect("a file");
    fs::write(home.join("zeros.tar"), [0; 1024]).expect("a file");
}

fn packed(program: &str, plain: &[u8], to: &Path) {
    let file = File::create(to).expect("a file");
    let arguments: &[&str] = if program == "gzip" { &["-nc"] } else { &["-c"] };
    let mut running = command(program).args(arguments).stdin(Stdio::piped()).stdout(file).spawn().expect(program);
    running.stdin.take().expect("a pipe").write_all(plain).expect("bytes");
    assert!(running.wait().expect("an end").success(), "{program}");
}

/// Sets all times, those of directories after what is in them.
fn age(path: &Path) -> io::Result<()> {
    for found in fs::read_dir(path)? {
        let found = found?;
        let kind = found.file_type()?;
        if kind.is_dir() {
            age(&found.path())?;
        } else if kind.is_file() {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(TIME);
            File::open(found.path())?.set_times(FileTimes::new().set_modified(time))?;
        }
    }
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(TIME);
    File::open(path)?.set_times(FileTimes::new().set_modified(time))
}

/// It as an archive, without what a `.dockerignore` leaves out.
pub(crate) fn archive(home: &Path, ignore: &str) -> ByteStream {
    let ignore = slipway_dockerfile::ignore_patterns(ignore);
    let scope = Scope::Context(ContextFilter { base: TreePath::root(), ignore, sources: None });
    let mut builder = tar::Builder::new(Vec::new());
    append(&mut builder, home, &TreePath::root(), &scope).expect("an archive");
    stream::iter([Ok(Bytes::from(builder.into_inner().expect("memory")))]).boxed()
}

/// Directories are there when a file in them is, or when they themselves are kept.
fn append(builder: &mut tar::Builder<Vec<u8>>, home: &Path, inner: &TreePath, scope: &Scope) -> io::Result<()> {
    let mut names: Vec<_> = fs::read_dir(home)?.collect::<Result<_, _>>()?;
    names.sort_by_key(fs::DirEntry::file_name);
    for found in names {
        let name = found.file_name();
        let path = inner.join(name.as_encoded_bytes());
        let about = found.path().symlink_metadata()?;
        let mut header = tar::Header::new_gnu();
        header.set_metadata_in_mode(&about, tar::HeaderMode::Complete);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mode(about.mode() & 0o7777);
        if about.is_dir() {
            let mut below = tar::Builder::new(Vec::new());
            append(&mut below, &found.path(), &path, scope)?;
            let below = below.into_inner()?;
            if scope.keeps(&path) || below.len() > 1024 {
                header.set_path(format!("{path}/"))?;
                header.set_size(0);
                header.set_cksum();
                builder.append(&header, io::empty())?;
                builder.get_mut().extend_from_slice(&below[..below.len() - 1024]);
            }
        } else if scope.keeps(&path) {
            if about.is_symlink() {
                builder.append_link(&mut header, path.to_string(), fs::read_link(found.path())?)?;
            } else {
                builder.append_data(&mut header, path.to_string(), File::open(found.path())?)?;
            }
        }
    }
    Ok(())
}
