//! What was changed in a tree, as the upper directory of an overlay has it.
//!
//! Of a copy of layers, a note is taken of every file; what is another file later, or was touched, goes to the upper
//! directory, together with the directories above it. Touching is told by the time of change, which no program sets.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
};

use rustix::fs::{FileType, Stat};

use crate::{
    copy::dress,
    entry::Kind,
    entry::Time,
    pack::is_kept,
    root::{Dir, Root},
    unpack::{OPAQUE, WHITEOUT, is_whiteout, opaque_xattr},
};

/// A further mark of fuse-overlayfs in what hides lower directories.
const FUSE_OPAQUE: &[u8] = b".wh..opq";
/// Attributes that fuse-overlayfs writes for itself.
const FUSE: &[u8] = b"user.fuseoverlayfs.";

/// What a tree was like.
#[derive(Debug)]
pub struct Before {
    seen: Seen,
    /// When a directory was made: another one may have its number later.
    born: (i64, u32),
    children: BTreeMap<Vec<u8>, Before>,
}

/// What tells whether a file is the same, untouched.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Seen {
    changed: (i64, u64),
    modified: (i64, u64),
    number: u64,
    mode: u32,
    owner: (u32, u32),
    size: i64,
}

impl Seen {
    fn of(stat: &Stat) -> Self {
        Self {
            changed: (stat.st_ctime, stat.st_ctime_nsec),
            modified: (stat.st_mtime, stat.st_mtime_nsec),
            number: stat.st_ino,
            mode: stat.st_mode,
            owner: (stat.st_uid, stat.st_gid),
            size: stat.st_size,
        }
    }
}

fn is_directory(mode: u32) -> bool {
    FileType::from_raw_mode(mode) == FileType::Directory
}

/// Takes note of a tree. What is changed after it is later by the clock of the file system: it comes back only then;
/// `probe` is a name for a file beside the tree.
///
/// # Errors
/// Those of the kernel.
pub fn note(tree: &Dir, probe: &Path) -> io::Result<Before> {
    let stat = tree.look(b".")?.ok_or(io::ErrorKind::NotFound)?;
    let mut latest = Seen::of(&stat).changed;
    let before = noted(tree, &stat, &mut latest)?;
    loop {
        std::fs::write(probe, b"")?;
        let now = rustix::fs::stat(probe)?;
        std::fs::remove_file(probe)?;
        if Seen::of(&now).changed > latest {
            return Ok(before);
        }
        std::thread::yield_now();
    }
}

fn noted(tree: &Dir, stat: &Stat, latest: &mut (i64, u64)) -> io::Result<Before> {
    let seen = Seen::of(stat);
    *latest = seen.changed.max(*latest);
    let mut children = BTreeMap::new();
    for name in tree.names()? {
        let stat = tree.look(&name)?.ok_or(io::ErrorKind::NotFound)?;
        let child = if is_directory(stat.st_mode) {
            noted(&tree.enter(&name)?, &stat, latest)?
        } else {
            let seen = Seen::of(&stat);
            *latest = seen.changed.max(*latest);
            Before { seen, born: (0, 0), children: BTreeMap::new() }
        };
        children.insert(name, child);
    }
    Ok(Before { seen, born: tree.born(b".")?, children })
}

/// Moves what was changed in a tree since a note to the empty directory `upper` of the same file system. The tree is
/// nothing whole afterwards.
///
/// # Errors
/// Those of the kernel.
pub fn part(tree: &Dir, before: &Before, upper: &Dir) -> io::Result<()> {
    let stat = tree.look(b".")?.ok_or(io::ErrorKind::NotFound)?;
    dress(upper, b".", &stat, &[])?;
    let mut parting =
        Parting { above: vec![Level { name: Vec::new(), stat, xattrs: Vec::new(), upper: Some(upper.enter(b".")?) }] };
    parting.directory(tree, before)?;
    upper.set_time(b".", Time::of(&stat))
}

/// A directory that is looked at, with what it was like before anything of it was moved.
struct Level {
    name: Vec<u8>,
    stat: Stat,
    xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    upper: Option<Dir>,
}

struct Parting {
    above: Vec<Level>,
}

impl Parting {
    fn directory(&mut self, tree: &Dir, before: &Before) -> io::Result<()> {
        let names: BTreeSet<Vec<u8>> = tree.names()?.into_iter().collect();
        for name in &names {
            let stat = tree.look(name)?.ok_or(io::ErrorKind::NotFound)?;
            match before.children.get(name) {
                Some(old)
                    if is_directory(stat.st_mode)
                        && is_directory(old.seen.mode)
                        && old.seen.number == stat.st_ino
                        && old.born == tree.born(name)? =>
                {
                    self.same_directory(tree, name, stat, old)?;
                }
                Some(old) if !is_directory(stat.st_mode) && old.seen == Seen::of(&stat) => {}
                old => {
                    let hides = old.is_some() && is_directory(stat.st_mode);
                    let upper = self.upper()?;
                    tree.hand(name, upper)?;
                    if hides {
                        upper.set_xattr(name, opaque_xattr(), b"y")?;
                    }
                }
            }
        }
        for name in before.children.keys().filter(|name| !names.contains(*name)) {
            self.upper()?.make(name, &Kind::Char(0, 0))?;
        }
        Ok(())
    }

    fn same_directory(&mut self, tree: &Dir, name: &[u8], stat: Stat, old: &Before) -> io::Result<()> {
        let xattrs = tree.xattrs(name)?.into_iter().filter(|(key, _)| is_kept(key)).collect();
        self.above.push(Level { name: name.to_vec(), stat, xattrs, upper: None });
        if old.seen != Seen::of(&stat) {
            self.upper()?;
        }
        self.directory(&tree.enter(name)?, old)?;
        let Some(level) = self.above.pop() else { return Ok(()) };
        match (level.upper, self.above.last()) {
            (Some(_), Some(Level { upper: Some(above), .. })) => above.set_time(&level.name, Time::of(&level.stat)),
            _ => Ok(()),
        }
    }

    /// The upper directory of the one that is looked at; made, with those above it, when it is not there.
    fn upper(&mut self) -> io::Result<&Dir> {
        for index in 1..self.above.len() {
            if self.above[index].upper.is_some() {
                continue;
            }
            let Some(parent) = &self.above[index - 1].upper else { continue };
            let level = &self.above[index];
            parent.make(&level.name, &Kind::Directory)?;
            dress(parent, &level.name, &level.stat, &level.xattrs)?;
            let made = parent.enter(&level.name)?;
            self.above[index].upper = Some(made);
        }
        self.above.last().and_then(|level| level.upper.as_ref()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Rewrites the marks that fuse-overlayfs leaves in an upper directory to those of the kernel's overlay. `lowers` = what
/// lies below, the topmost first: a directory that hides nothing has no mark.
///
/// # Errors
/// Those of the kernel.
pub fn settle(upper: &Dir, lowers: &[Root]) -> io::Result<()> {
    settled(upper, lowers, &mut Vec::new())
}

fn settled(upper: &Dir, lowers: &[Root], path: &mut Vec<Vec<u8>>) -> io::Result<()> {
    let stat = upper.look(b".")?.ok_or(io::ErrorKind::NotFound)?;
    let mut is_changed = false;
    for name in upper.names()? {
        let stat = upper.look(&name)?.ok_or(io::ErrorKind::NotFound)?;
        if is_directory(stat.st_mode) {
            path.push(name.clone());
            let inner = upper.enter(&name)?;
            let marked = upper.xattr(&name, opaque_xattr())?.is_some();
            match is_below(lowers, path)? {
                true if !marked && inner.look(OPAQUE)?.is_some() => upper.set_xattr(&name, opaque_xattr(), b"y")?,
                // It marks every directory that is new.
                false if marked => upper.remove_xattr(&name, opaque_xattr())?,
                true | false => {}
            }
            settled(&inner, lowers, path)?;
            path.pop();
        } else if name == OPAQUE || (name == FUSE_OPAQUE && is_whiteout(&stat)) {
            upper.remove(&name)?;
            is_changed = true;
            continue;
        } else if let Some(hidden) = name.strip_prefix(WHITEOUT).filter(|_| stat.st_size == 0) {
            upper.remove(&name)?;
            upper.make(hidden, &Kind::Char(0, 0))?;
            is_changed = true;
            continue;
        }
        for (key, _) in upper.xattrs(&name)?.iter().filter(|(key, _)| key.starts_with(FUSE)) {
            upper.remove_xattr(&name, key)?;
        }
    }
    if is_changed { upper.set_time(b".", Time::of(&stat)) } else { Ok(()) }
}

/// Whether the layers have anything at a path.
fn is_below(lowers: &[Root], path: &[Vec<u8>]) -> io::Result<bool> {
    for lower in lowers {
        let mut directory = lower.directory(b"")?;
        let mut hides = false;
        for (index, name) in path.iter().enumerate() {
            let Some(stat) = directory.look(name)? else { break };
            if is_whiteout(&stat) {
                return Ok(false);
            }
            if index + 1 == path.len() {
                return Ok(true);
            }
            if !is_directory(stat.st_mode) {
                return Ok(false);
            }
            hides |= directory.xattr(name, opaque_xattr())?.is_some();
            directory = directory.enter(name)?;
        }
        if hides {
            return Ok(false);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests;
