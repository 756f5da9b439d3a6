//! Layers without overlay: their files copied over each other into one directory.

use std::{
    collections::HashMap,
    fs::{File, create_dir},
    io::{self, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, FileType, OFlags, Stat, ftruncate, ioctl_ficlone, linkat, major, minor},
    io::Errno,
};

use crate::{
    entry::{Kind, Time},
    pack::is_kept,
    root::{Dir, Root},
    unpack::{is_whiteout, opaque_xattr},
};

/// Whether files of several names stay one file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Names {
    /// They do: the copy is only read.
    Kept,
    /// Each name becomes a file of its own, as a change through one of them does in an overlay.
    Parted,
}

/// Copies a layer, as the store keeps it, over the tree in `to`: its marks delete what they hide. Nothing of the copy is
/// shared with the layer, whatever is written to it.
///
/// # Errors
/// Those of the kernel.
pub fn lay_over(layer: &Dir, to: &Dir, names: Names) -> io::Result<()> {
    let mut copier = Copier { names, known: HashMap::new(), path: Vec::new() };
    copier.children(layer, to, to)
}

/// Lays directories, the topmost first, over each other in a new one, which looks like the topmost.
///
/// # Errors
/// Those of the kernel.
pub fn lay_all(lowers: &[PathBuf], tree: &Path, names: Names) -> io::Result<()> {
    create_dir(tree)?;
    let to = Root::open(tree)?.directory(b"")?;
    for lower in lowers.iter().rev() {
        let from = Root::open(lower)?.directory(b"")?;
        lay_over(&from, &to, names)?;
        if let Some(stat) = from.look(b".")? {
            dress(&to, b".", &stat, &[])?;
        }
    }
    Ok(())
}

/// Copies one thing that is no directory, with all that it is but its other names.
///
/// # Errors
/// Those of the kernel.
pub fn part(from: &Dir, to: &Dir, name: &[u8]) -> io::Result<()> {
    let stat = from.look(name)?.ok_or(io::ErrorKind::NotFound)?;
    let mut copier = Copier { names: Names::Parted, known: HashMap::new(), path: Vec::new() };
    copier.other((from, to, to), name, &stat)
}

/// Paths in a layer, as the store keeps it, of what has several names there; with their numbers in the file system.
///
/// # Errors
/// Those of the kernel.
pub fn linked(layer: &Dir) -> io::Result<Vec<(Vec<u8>, u64)>> {
    let mut found = Vec::new();
    let mut open = vec![(layer.enter(b".")?, Vec::new())];
    while let Some((directory, path)) = open.pop() {
        for name in directory.names()? {
            let stat = directory.look(&name)?.ok_or(io::ErrorKind::NotFound)?;
            let at = if path.is_empty() { name.clone() } else { [path.as_slice(), &name].join(&b'/') };
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                open.push((directory.enter(&name)?, at));
            } else if stat.st_nlink > 1 && !is_whiteout(&stat) {
                found.push((at, stat.st_ino));
            }
        }
    }
    Ok(found)
}

struct Copier {
    names: Names,
    /// Where files of several names were copied to, by their number in the layer: steps from the top, and a name.
    known: HashMap<(u64, u64), Vec<Vec<u8>>>,
    path: Vec<Vec<u8>>,
}

impl Copier {
    fn children(&mut self, from: &Dir, to: &Dir, top: &Dir) -> io::Result<()> {
        for name in from.names()? {
            let stat = from.look(&name)?.ok_or(io::ErrorKind::NotFound)?;
            if is_whiteout(&stat) {
                to.remove(&name)?;
            } else if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                self.directory((from, to, top), &name, &stat)?;
            } else {
                to.remove(&name)?;
                self.other((from, to, top), &name, &stat)?;
            }
        }
        Ok(())
    }

    fn directory(&mut self, (from, to, top): (&Dir, &Dir, &Dir), name: &[u8], stat: &Stat) -> io::Result<()> {
        let is_there = to.look(name)?.map(|there| FileType::from_raw_mode(there.st_mode));
        let hides = from.xattr(name, opaque_xattr())?.is_some();
        if is_there != Some(FileType::Directory) || hides {
            to.remove(name)?;
            to.make(name, &Kind::Directory)?;
        }
        self.path.push(name.to_vec());
        self.children(&from.enter(name)?, &to.enter(name)?, top)?;
        self.path.pop();
        let kept: Vec<_> = from.xattrs(name)?.into_iter().filter(|(key, _)| is_kept(key)).collect();
        for (key, _) in to.xattrs(name)?.iter().filter(|(key, _)| is_kept(key)) {
            if !kept.iter().any(|(stays, _)| stays == key) {
                to.remove_xattr(name, key)?;
            }
        }
        dress(to, name, stat, &kept)
    }

    fn other(&mut self, (from, to, top): (&Dir, &Dir, &Dir), name: &[u8], stat: &Stat) -> io::Result<()> {
        if stat.st_nlink > 1 && self.names == Names::Kept {
            let mut place = self.path.clone();
            place.push(name.to_vec());
            if let Some(first) = self.known.get(&(stat.st_dev, stat.st_ino)) {
                return link(top, first, to, name);
            }
            self.known.insert((stat.st_dev, stat.st_ino), place);
        }
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => {
                let source = from.open(name, OFlags::RDONLY, 0)?;
                let target = to.open(name, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL, 0o600)?;
                content(&source, &target, stat)?;
            }
            FileType::Symlink => to.make(name, &Kind::Symlink(from.link_text(name)?))?,
            FileType::Fifo => to.make(name, &Kind::Fifo)?,
            FileType::CharacterDevice => to.make(name, &Kind::Char(major(stat.st_rdev), minor(stat.st_rdev)))?,
            FileType::BlockDevice => to.make(name, &Kind::Block(major(stat.st_rdev), minor(stat.st_rdev)))?,
            // Nothing without the process behind it.
            FileType::Socket | FileType::Directory | FileType::Unknown => return Ok(()),
        }
        let kept: Vec<_> = from.xattrs(name)?.into_iter().filter(|(key, _)| is_kept(key)).collect();
        dress(to, name, stat, &kept)
    }
}

fn link(top: &Dir, first: &[Vec<u8>], to: &Dir, name: &[u8]) -> io::Result<()> {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
    let (last, above) = first.split_last().ok_or(io::ErrorKind::InvalidInput)?;
    let mut directory = top.enter(b".")?;
    for segment in above {
        directory = directory.enter(segment)?;
    }
    Ok(linkat(&directory, OsStr::from_bytes(last), to, OsStr::from_bytes(name), AtFlags::empty())?)
}

/// Owner, mode, attributes and time of something else.
pub(crate) fn dress(to: &Dir, name: &[u8], stat: &Stat, xattrs: &[(Vec<u8>, Vec<u8>)]) -> io::Result<()> {
    let is_link = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
    let mode = (!is_link).then_some(stat.st_mode & 0o7777);
    to.dress(name, (stat.st_uid, stat.st_gid), mode, xattrs)?;
    to.set_time(name, Time::of(stat))
}

/// Fills an empty file with the content of another: by a reference to the same blocks where the file system can, which
/// parts them when one is written; else copied, holes left out.
///
/// # Errors
/// Those of the kernel.
pub fn content(source: &File, target: &File, stat: &Stat) -> io::Result<()> {
    if stat.st_size == 0 || ioctl_ficlone(target, source).is_ok() {
        return Ok(());
    }
    let size = u64::try_from(stat.st_size).unwrap_or(0);
    ftruncate(target, size)?;
    let (mut source, mut target) = (source, target);
    let mut at = 0;
    while at < size {
        let data = match rustix::fs::seek(source, rustix::fs::SeekFrom::Data(at)) {
            Ok(data) => data,
            // The rest is a hole.
            Err(Errno::NXIO) => break,
            // A file system without holes.
            Err(Errno::INVAL) => at,
            Err(error) => return Err(error.into()),
        };
        let end = rustix::fs::seek(source, rustix::fs::SeekFrom::Hole(data)).unwrap_or(size);
        source.seek(SeekFrom::Start(data))?;
        target.seek(SeekFrom::Start(data))?;
        io::copy(&mut io::Read::take(source, end - data), &mut target)?;
        at = end;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    };

    use super::*;
    use crate::root::Root;

    #[test]
    fn layers_lie_on_each_other_as_in_an_overlay() {
        let home = tempfile::tempdir().expect("a directory");
        let at = |name: &str| home.path().join(name);
        for directory in ["low/d", "low/gone", "low/hidden", "high/d", "high/hidden", "tree"] {
            fs::create_dir_all(at(directory)).expect("a directory");
        }
        for (file, text) in [("low/d/one", "1"), ("low/gone/x", "x"), ("low/hidden/old", "x"), ("high/hidden/new", "y")]
        {
            fs::write(at(file), text).expect("a file");
        }
        fs::hard_link(at("low/d/one"), at("low/d/two")).expect("a link");
        fs::set_permissions(at("low/d"), fs::Permissions::from_mode(0o711)).expect("a mode");
        let open = |name: &str| Root::open(&at(name)).expect("a root").directory(b"").expect("a directory");
        if open("high").make(b"gone", &Kind::Char(0, 0)).is_err()
            || open("high").set_xattr(b"hidden", opaque_xattr(), b"y").is_err()
        {
            return skip();
        }
        lay_over(&open("low"), &open("tree"), Names::Kept).expect("a copy");
        assert_eq!(fs::metadata(at("tree/d/one")).expect("a file").nlink(), 2);
        assert_eq!(fs::metadata(at("tree/d")).expect("a directory").mode() & 0o777, 0o711);
        lay_over(&open("high"), &open("tree"), Names::Parted).expect("a copy");
        assert!(!at("tree/gone").exists() && !at("tree/hidden/old").exists() && at("tree/hidden/new").exists());
        assert_eq!(fs::metadata(at("tree/d")).expect("a directory").mode() & 0o777, 0o755);
        fs::write(at("tree/d/one"), "changed").expect("a file");
        assert_eq!(fs::read_to_string(at("low/d/two")).expect("a file"), "1");
    }

    #[test]
    fn files_of_several_names_are_found_and_parted() {
        let home = tempfile::tempdir().expect("a directory");
        let at = |name: &str| home.path().join(name);
        for directory in ["layer/d", "to"] {
            fs::create_dir_all(at(directory)).expect("a directory");
        }
        fs::write(at("layer/d/one"), "1").expect("a file");
        fs::write(at("layer/alone"), "2").expect("a file");
        fs::hard_link(at("layer/d/one"), at("layer/two")).expect("a link");
        let open = |name: &str| Root::open(&at(name)).expect("a root").directory(b"").expect("a directory");
        let mut found: Vec<_> = linked(&open("layer")).expect("a listing").into_iter().map(|(path, _)| path).collect();
        found.sort();
        assert_eq!(found, [b"d/one".to_vec(), b"two".to_vec()]);
        part(&open("layer"), &open("to"), b"two").expect("a copy");
        assert_eq!(fs::metadata(at("to/two")).expect("a file").nlink(), 1);
        assert_eq!(fs::read_to_string(at("to/two")).expect("a file"), "1");
    }

    #[test]
    fn holes_stay_holes_and_bytes_their_places() {
        let home = tempfile::tempdir().expect("a directory");
        let at = |name: &str| home.path().join(name);
        fs::create_dir_all(at("low")).expect("a directory");
        fs::create_dir_all(at("tree")).expect("a directory");
        let file = File::create(at("low/sparse")).expect("a file");
        use std::os::unix::fs::FileExt as _;
        file.write_all_at(b"begin", 0).expect("bytes");
        file.write_all_at(b"end", 64 << 20).expect("bytes");
        file.set_len(65 << 20).expect("a size");
        let open = |name: &str| Root::open(&at(name)).expect("a root").directory(b"").expect("a directory");
        lay_over(&open("low"), &open("tree"), Names::Parted).expect("a copy");
        let (from, to) = (fs::metadata(at("low/sparse")), fs::metadata(at("tree/sparse")));
        let (from, to) = (from.expect("a file"), to.expect("a file"));
        assert_eq!((from.len(), from.mtime_nsec()), (to.len(), to.mtime_nsec()));
        assert!(to.blocks() < 4096, "{}", to.blocks());
        assert!(fs::read(at("tree/sparse")).expect("bytes") == fs::read(at("low/sparse")).expect("bytes"));
    }

    fn skip() {
        use std::io::Write as _;
        let _ = writeln!(io::stderr(), "skipped: marks of overlay cannot be made here");
    }
}
