//! Archive to directory.

#[cfg(test)]
pub(crate) mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    io::{self, Read, Seek as _, SeekFrom, Write as _},
    os::unix::ffi::OsStrExt as _,
    rc::Rc,
};

use rustix::fs::{AtFlags, FileType, OFlags, Stat, XattrFlags, fsetxattr, linkat};
use slipway_paths::TreePath;

use crate::{
    LayerError,
    entry::{Entry, Kind, Time},
    error::shown,
    root::{Dir, Root},
    tar::TarReader,
    userns,
};

/// What the name of a file that deletes another begins with.
pub const WHITEOUT: &[u8] = b".wh.";
/// The file that hides everything that lower layers have in its directory.
pub const OPAQUE: &[u8] = b".wh..wh..opq";

/// How overlay says so.
pub(crate) fn opaque_xattr() -> &'static [u8] {
    if userns::inside() { b"user.overlay.opaque" } else { b"trusted.overlay.opaque" }
}

/// Directories that many systems have as symbolic links: an archive that brings the directory must not replace the link,
/// which would hide half of the system.
const USUAL_LINKS: [&[u8]; 10] =
    [b"bin", b"sbin", b"lib", b"lib32", b"lib64", b"libx32", b"var/run", b"var/lock", b"var/mail", b"usr/tmp"];
/// Bytes that are copied at once.
const CHUNK: usize = 256 * 1024;

/// What an archive is unpacked as.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// A layer, into a directory of its own: whiteouts become those of overlay.
    Layer,
    /// Files, into a system that is there: names that leave the archive's root are refused; what is there stays unless it
    /// is replaced.
    Files {
        /// Directory that the names are relative to; it exists.
        to: TreePath,
        /// Whether the archive's own root is `to` as it was made for it, or was there before and stays as it is.
        new: bool,
        /// User id of all files instead of their own.
        uid: Option<u32>,
        /// Group id of all files instead of their own.
        gid: Option<u32>,
        /// Whether absolute names are refused, or are those below the archive's root.
        strict: bool,
    },
}

/// What came out of an archive.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Unpacked {
    /// Bytes of content, and one block for each file.
    pub size: u64,
    /// Directories that the archive names files in, but not themselves: their mode, owner and time are made up.
    pub implied: BTreeSet<TreePath>,
}

/// Unpacks the archive in `reader` below `root`, to its end.
///
/// # Errors
/// [`LayerError`]; what was unpacked until then stays.
pub fn unpack<R: Read>(reader: &mut TarReader<R>, root: &Root, purpose: &Purpose) -> Result<Unpacked, LayerError> {
    let mut unpacker = Unpacker {
        root,
        purpose,
        parent: None,
        times: BTreeMap::new(),
        result: Unpacked::default(),
        buffer: vec![0; CHUNK],
    };
    while let Some(entry) = reader.next()? {
        unpacker.take(entry, reader)?;
    }
    unpacker.finish()
}

/// What of the files that are there an entry leaves.
enum Stays {
    Nothing,
    Directory,
    /// A link of the system to a directory.
    Link,
}

struct Unpacker<'a> {
    root: &'a Root,
    purpose: &'a Purpose,
    /// The directory that the last entry was in: archives go directory by directory.
    parent: Option<(TreePath, Rc<Dir>)>,
    /// Times of directories, set when nothing is made in them any more.
    times: BTreeMap<TreePath, Time>,
    result: Unpacked,
    buffer: Vec<u8>,
}

impl Unpacker<'_> {
    fn take<R: Read>(&mut self, mut entry: Entry, reader: &mut TarReader<R>) -> Result<(), LayerError> {
        let inner = self.clean(&entry.path)?;
        self.set_owner(&mut entry);
        let path = match self.purpose {
            Purpose::Layer => inner.clone(),
            Purpose::Files { to, .. } => to.join(inner.as_bytes()),
        };
        if inner.is_root() {
            return self.take_root(&path, &entry);
        }
        let parent_path = path.parent().unwrap_or_default();
        let name = path.name().to_vec();
        if *self.purpose == Purpose::Layer && name.starts_with(WHITEOUT) {
            return self.whiteout(&parent_path, &name);
        }
        let put = self.put(&parent_path, &path, &name, &entry, reader);
        put.map_err(|error| match error {
            LayerError::Io { error, .. } => LayerError::io(format!("unpack `{path}`"), error),
            other => other,
        })
    }

    fn clean(&self, name: &[u8]) -> Result<TreePath, LayerError> {
        let outside = || {
            LayerError::Bad(format!("unpack an archive: it holds `{}`, which leads outside of its root", shown(name)))
        };
        let is_absolute = name.starts_with(b"/") && matches!(self.purpose, Purpose::Files { strict: true, .. });
        if is_absolute || name.split(|byte| *byte == b'/').any(|segment| segment == b"..") {
            return Err(outside());
        }
        TreePath::new(name).map_err(|_| outside())
    }

    fn set_owner(&self, entry: &mut Entry) {
        if let Purpose::Files { uid, gid, .. } = self.purpose {
            entry.uid = uid.unwrap_or(entry.uid);
            entry.gid = gid.unwrap_or(entry.gid);
        }
    }

    /// The archive's own root.
    fn take_root(&mut self, path: &TreePath, entry: &Entry) -> Result<(), LayerError> {
        let stays = matches!(self.purpose, Purpose::Files { new: false, .. });
        if stays || entry.kind != Kind::Directory {
            return Ok(());
        }
        let doing = || "unpack an archive's root".to_owned();
        let own = self.root.directory(path.as_bytes()).map_err(|error| LayerError::io(doing(), error))?;
        self.times.insert(path.clone(), entry.mtime);
        own.dress(b".", (entry.uid, entry.gid), Some(entry.mode), &entry.xattrs)
            .map_err(|error| LayerError::io(doing(), error))
    }

    /// The directory of an entry, made when the archive has not brought it.
    fn enter(&mut self, path: &TreePath) -> Result<Rc<Dir>, LayerError> {
        if let Some((known, directory)) = &self.parent
            && known == path
        {
            return Ok(Rc::clone(directory));
        }
        let opened = match self.root.directory(path.as_bytes()) {
            Ok(directory) => directory,
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_root() => self.imply(path)?,
            Err(error) => return Err(LayerError::io(format!("open the directory `{path}`"), error)),
        };
        let opened = Rc::new(opened);
        self.keep_time(path, &opened)?;
        self.parent = Some((path.clone(), Rc::clone(&opened)));
        Ok(opened)
    }

    /// Directories that are there keep their time, so that equal files make equal layers.
    fn keep_time(&mut self, path: &TreePath, directory: &Dir) -> Result<(), LayerError> {
        if *self.purpose == Purpose::Layer || self.times.contains_key(path) {
            return Ok(());
        }
        let found = directory.look(b".").map_err(|error| LayerError::io(format!("look at `{path}`"), error))?;
        if let Some(stat) = found {
            self.times.insert(path.clone(), Time::of(&stat));
        }
        Ok(())
    }

    fn imply(&mut self, path: &TreePath) -> Result<Dir, LayerError> {
        let doing = |error: io::Error| LayerError::io(format!("make the directory `{path}`"), error);
        let name = path.name().to_vec();
        let above = self.enter(&path.parent().unwrap_or_default())?;
        above.make(&name, &Kind::Directory).map_err(doing)?;
        above.dress(&name, (0, 0), Some(0o755), &[]).map_err(doing)?;
        let made = above.enter(&name).map_err(doing)?;
        self.result.implied.insert(path.clone());
        self.times.insert(path.clone(), Time::default());
        self.result.size += 4096;
        Ok(made)
    }

    fn put<R: Read>(
        &mut self,
        parent_path: &TreePath,
        path: &TreePath,
        name: &[u8],
        entry: &Entry,
        reader: &mut TarReader<R>,
    ) -> Result<(), LayerError> {
        let doing = |error: io::Error| LayerError::io("unpack", error);
        let hard = match &entry.kind {
            Kind::HardLink(target) => Some(self.link_target(target, path)?),
            _ => None,
        };
        self.result.size += 4096 + entry.stored();
        let parent = self.enter(parent_path)?;
        let there = parent.look(name).map_err(doing)?;
        let stays = match self.what_stays(path, entry, there.as_ref()) {
            Stays::Link => return Ok(()),
            Stays::Directory => true,
            Stays::Nothing => false,
        };
        if there.is_some() && !stays {
            parent.remove(name).map_err(doing)?;
        }
        match (&entry.kind, hard) {
            // All names of a file share its owner and time: those of the first name hold.
            (_, Some((directory, file))) => return link(&directory, &file, &parent, name).map_err(doing),
            (Kind::Directory, None) if stays => {}
            (Kind::File { size, spans }, None) => {
                copy(&parent, name, *size, spans.as_deref(), reader, &mut self.buffer)?;
            }
            (kind, None) => parent.make(name, kind).map_err(doing)?,
        }
        let mode = (!matches!(entry.kind, Kind::Symlink(_))).then_some(entry.mode);
        parent.dress(name, (entry.uid, entry.gid), mode, &entry.xattrs).map_err(doing)?;
        if entry.kind != Kind::Directory {
            return parent.set_time(name, entry.mtime).map_err(doing);
        }
        if *self.purpose == Purpose::Layer && there.as_ref().is_some_and(is_whiteout) {
            set_opaque(&parent, name).map_err(doing)?;
        }
        self.times.insert(path.clone(), entry.mtime);
        self.result.implied.remove(path);
        Ok(())
    }

    /// What an entry does not replace.
    fn what_stays(&self, path: &TreePath, entry: &Entry, there: Option<&Stat>) -> Stays {
        let (Kind::Directory, Some(stat)) = (&entry.kind, there) else { return Stays::Nothing };
        let is_usual = *self.purpose != Purpose::Layer && USUAL_LINKS.contains(&path.as_bytes());
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Stays::Directory,
            FileType::Symlink if is_usual && self.root.directory(path.as_bytes()).is_ok() => Stays::Link,
            _ => Stays::Nothing,
        }
    }

    /// The file that a hard link names: it must have come before.
    fn link_target(&self, target: &[u8], link: &TreePath) -> Result<(Dir, Vec<u8>), LayerError> {
        let inner = self.clean(target)?;
        let path = match self.purpose {
            Purpose::Layer => inner,
            Purpose::Files { to, .. } => to.join(inner.as_bytes()),
        };
        let missing = || {
            let shown = shown(target);
            LayerError::Bad(format!("unpack `{link}`: it is a hard link to `{shown}`, which is no file of the archive"))
        };
        let directory = self.root.directory(path.parent().unwrap_or_default().as_bytes()).map_err(|_| missing())?;
        let found = directory.look(path.name()).map_err(|error| LayerError::io(format!("unpack `{link}`"), error))?;
        match found {
            Some(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::Directory && !is_whiteout(&stat) => {
                Ok((directory, path.name().to_vec()))
            }
            Some(_) | None => Err(missing()),
        }
    }

    /// Turns a whiteout of archives into one of overlay.
    fn whiteout(&mut self, parent_path: &TreePath, name: &[u8]) -> Result<(), LayerError> {
        let doing = |error: io::Error| LayerError::io(format!("unpack the deletion `{}`", shown(name)), error);
        if name == OPAQUE {
            let directory = self.enter(parent_path)?;
            return set_opaque(&directory, b".").map_err(doing);
        }
        let hidden = &name[WHITEOUT.len()..];
        // Other names with two marks are notes of old storage drivers.
        if hidden.starts_with(WHITEOUT) {
            return Ok(());
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(LayerError::Bad(format!(
                "unpack an archive: `{}` deletes nothing that has a name",
                shown(name)
            )));
        }
        let parent = self.enter(parent_path)?;
        match parent.look(hidden).map_err(doing)? {
            None => parent.make(hidden, &Kind::Char(0, 0)).map_err(doing)?,
            // What this layer itself brings stays; what is below it goes.
            Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                set_opaque(&parent, hidden).map_err(doing)?;
            }
            Some(_) => {}
        }
        self.result.size += 4096;
        Ok(())
    }

    fn finish(mut self) -> Result<Unpacked, LayerError> {
        for (path, time) in std::mem::take(&mut self.times) {
            let doing = |error: io::Error| LayerError::io(format!("set the time of `{path}`"), error);
            match self.root.look(path.as_bytes()).map_err(doing)? {
                Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                    let directory = self.root.directory(path.as_bytes()).map_err(doing)?;
                    directory.set_time(b".", time).map_err(doing)?;
                }
                // A later entry has replaced it.
                Some(_) | None => {}
            }
        }
        Ok(self.result)
    }
}

/// Makes a file with its content.
fn copy<R: Read>(
    parent: &Dir,
    name: &[u8],
    size: u64,
    spans: Option<&[(u64, u64)]>,
    reader: &mut TarReader<R>,
    buffer: &mut [u8],
) -> Result<(), LayerError> {
    let doing = || format!("write `{}`", shown(name));
    let create = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let mut file = parent.open(name, create, 0o600).map_err(|error| LayerError::io(doing(), error))?;
    let whole = [(0, size)];
    for (offset, length) in spans.unwrap_or(&whole) {
        if spans.is_some() {
            file.seek(SeekFrom::Start(*offset)).map_err(|error| LayerError::io(doing(), error))?;
        }
        let mut left = *length;
        while left > 0 {
            let room = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            let count = reader.read(&mut buffer[..room]).map_err(|error| LayerError::io(doing(), error))?;
            file.write_all(&buffer[..count]).map_err(|error| LayerError::io(doing(), error))?;
            left -= count as u64;
        }
    }
    if spans.is_some() {
        file.set_len(size).map_err(|error| LayerError::io(doing(), error))?;
    }
    Ok(())
}

fn link(directory: &Dir, file: &[u8], parent: &Dir, name: &[u8]) -> io::Result<()> {
    let (file, name) = (OsStr::from_bytes(file), OsStr::from_bytes(name));
    Ok(linkat(directory, file, parent, name, AtFlags::empty())?)
}

fn set_opaque(parent: &Dir, name: &[u8]) -> io::Result<()> {
    let directory = parent.open(name, OFlags::RDONLY | OFlags::DIRECTORY, 0)?;
    let key = OsStr::from_bytes(opaque_xattr());
    Ok(fsetxattr(&directory, key, b"y", XattrFlags::empty())?)
}

/// Whether a file is overlay's mark for a deleted one.
pub(crate) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}
