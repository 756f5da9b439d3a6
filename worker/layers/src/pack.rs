//! Directory to archive: names in order, owners as numbers, times in whole seconds. Equal trees give equal bytes.

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fs::File,
    io::{self, Read as _, Write},
};

use rustix::fs::{FileType, OFlags, Stat, major, minor};

use crate::{
    LayerError,
    entry::{Entry, Kind, Time},
    error::shown,
    root::Dir,
    tar::TarWriter,
    unpack::{OPAQUE, WHITEOUT, is_whiteout, opaque_xattr},
};

/// Attributes that overlay writes for itself.
const OVERLAY: [&[u8]; 2] = [b"trusted.overlay.", b"user.overlay."];
/// Attributes that belong to a file wherever it is: capabilities and the user's own.
const PORTABLE: [&[u8]; 2] = [b"security.capability", b"user."];

/// Longest path that is packed: no archive of ours could be unpacked with a longer one.
const MAX_PATH: usize = 4096;

/// What a directory is packed as.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum View {
    /// The upper directory of an overlay, as a layer: its marks become whiteouts; the directory itself is not listed.
    /// Deletions of the names given here are left out: nothing below has them.
    Upper {
        /// Paths without a leading slash.
        never: Vec<Vec<u8>>,
    },
    /// A tree as it is, the directory itself first as `./`.
    Tree,
}

/// What was packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Packed {
    /// Number of entries.
    pub entries: u64,
    /// Bytes of content, and one block for each entry.
    pub size: u64,
}

/// Packs a directory with all that is in it. Sockets are left out: they are nothing without the process behind them.
///
/// # Errors
/// [`LayerError`] when a file cannot be read or `output` not be written.
pub fn pack<W: Write>(directory: &Dir, view: &View, output: W) -> Result<(W, Packed), LayerError> {
    pack_by(directory, view, output, copy)
}

/// Copies so many bytes of a file to an output; answers how many there were.
pub(crate) type Copying<W> = fn(&mut W, File, u64) -> io::Result<u64>;

fn copy<W: Write>(output: &mut W, file: File, size: u64) -> io::Result<u64> {
    io::copy(&mut file.take(size), output)
}

/// The same for an output that has a better way to take what is in files.
pub(crate) fn pack_by<W: Write>(
    directory: &Dir,
    view: &View,
    output: W,
    copy: Copying<W>,
) -> Result<(W, Packed), LayerError> {
    let mut packer = Packer::new(view, output, copy);
    if *view == View::Tree {
        let stat = look(directory, b".", b"./")?;
        let entry = packer.entry(directory, b".", b"./".to_vec(), &stat)?;
        packer.append(&entry, None)?;
    }
    packer.children(directory, b"")?;
    let output = packer.writer.finish().map_err(|error| LayerError::io("write an archive", error))?;
    Ok((output, packer.packed))
}

/// Packs one file, not a directory, under its own name.
///
/// # Errors
/// [`LayerError`] when it cannot be read or `output` not be written.
pub fn pack_file<W: Write>(directory: &Dir, name: &[u8], output: W) -> Result<W, LayerError> {
    let mut packer = Packer::new(&View::Tree, output, copy);
    packer.child(directory, name, name.to_vec())?;
    packer.writer.finish().map_err(|error| LayerError::io("write an archive", error))
}

struct Packer<'a, W> {
    view: &'a View,
    writer: TarWriter<W>,
    /// First names of files that have several.
    names: HashMap<(u64, u64), Vec<u8>>,
    packed: Packed,
    copy: Copying<W>,
}

impl<'a, W: Write> Packer<'a, W> {
    fn new(view: &'a View, output: W, copy: Copying<W>) -> Self {
        Self { view, writer: TarWriter::new(output), names: HashMap::new(), packed: Packed::default(), copy }
    }

    fn children(&mut self, directory: &Dir, prefix: &[u8]) -> Result<(), LayerError> {
        let names = directory.names().map_err(|error| LayerError::io(format!("list `{}`", shown(prefix)), error))?;
        for name in names {
            let path = if prefix.is_empty() { name.clone() } else { [prefix, b"/", &name].concat() };
            self.child(directory, &name, path)?;
        }
        Ok(())
    }

    fn child(&mut self, directory: &Dir, name: &[u8], path: Vec<u8>) -> Result<(), LayerError> {
        if path.len() > MAX_PATH {
            let start = shown(&path);
            return Err(LayerError::TooMuch(format!(
                "pack a path of more than {MAX_PATH} bytes, beginning with {start}"
            )));
        }
        let stat = look(directory, name, &path)?;
        let is_upper = *self.view != View::Tree;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => self.directory(directory, name, path, &stat),
            FileType::RegularFile => self.file(directory, name, path, &stat),
            FileType::Socket | FileType::Unknown => Ok(()),
            FileType::CharacterDevice if is_upper && is_whiteout(&stat) => self.whiteout(&path, name),
            FileType::CharacterDevice | FileType::BlockDevice | FileType::Symlink | FileType::Fifo => {
                let entry = self.entry(directory, name, path, &stat)?;
                self.append(&entry, None)
            }
        }
    }

    fn directory(&mut self, parent: &Dir, name: &[u8], path: Vec<u8>, stat: &Stat) -> Result<(), LayerError> {
        let entry = self.entry(parent, name, [&path, b"/".as_slice()].concat(), stat)?;
        self.append(&entry, None)?;
        let doing = |error: io::Error| LayerError::io(format!("read `{}`", shown(&path)), error);
        let inner = parent.enter(name).map_err(doing)?;
        if *self.view != View::Tree && parent.xattr(name, opaque_xattr()).map_err(doing)?.as_deref() == Some(b"y") {
            self.mark([&path, b"/".as_slice(), OPAQUE].concat())?;
        }
        self.children(&inner, &path)
    }

    fn file(&mut self, parent: &Dir, name: &[u8], path: Vec<u8>, stat: &Stat) -> Result<(), LayerError> {
        let mut entry = self.entry(parent, name, path, stat)?;
        if stat.st_nlink > 1 {
            let id = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.names.get(&id) {
                // Its attributes stand there, too: a reader that sets the owner of every name takes capabilities away.
                entry.kind = Kind::HardLink(first.clone());
                return self.append(&entry, None);
            }
            self.names.insert(id, entry.path.clone());
        }
        let file = parent.open(name, OFlags::RDONLY | OFlags::NOATIME, 0);
        // Only the owner may leave the time of access alone.
        let file = file.or_else(|_| parent.open(name, OFlags::RDONLY, 0));
        let file = file.map_err(|error| LayerError::io(format!("read `{}`", shown(&entry.path)), error))?;
        self.append(&entry, Some(file))
    }

    /// Overlay's mark for a deleted file.
    fn whiteout(&mut self, path: &[u8], name: &[u8]) -> Result<(), LayerError> {
        if let View::Upper { never } = self.view
            && never.iter().any(|known| known == path)
        {
            return Ok(());
        }
        let directory = &path[..path.len() - name.len()];
        self.mark([directory, WHITEOUT, name].concat())
    }

    fn mark(&mut self, path: Vec<u8>) -> Result<(), LayerError> {
        let entry = Entry { mode: 0o600, ..Entry::file(path, 0) };
        self.append(&entry, None)
    }

    fn entry(&self, parent: &Dir, name: &[u8], path: Vec<u8>, stat: &Stat) -> Result<Entry, LayerError> {
        let doing = |error: io::Error| LayerError::io(format!("read `{}`", shown(&path)), error);
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink(parent.link_text(name).map_err(doing)?),
            FileType::CharacterDevice => Kind::Char(major(stat.st_rdev), minor(stat.st_rdev)),
            FileType::BlockDevice => Kind::Block(major(stat.st_rdev), minor(stat.st_rdev)),
            FileType::Fifo => Kind::Fifo,
            FileType::RegularFile | FileType::Socket | FileType::Unknown => {
                Kind::File { size: u64::try_from(stat.st_size).unwrap_or(0), spans: None }
            }
        };
        let xattrs = parent.xattrs(name).map_err(doing)?;
        Ok(Entry {
            kind,
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            mtime: Time { seconds: stat.st_mtime, nanos: 0 },
            xattrs: xattrs.into_iter().filter(|(key, _)| is_kept(key)).collect(),
            path,
        })
    }

    fn append(&mut self, entry: &Entry, content: Option<File>) -> Result<(), LayerError> {
        self.packed.entries += 1;
        self.packed.size += 4096 + entry.stored();
        let copy = self.copy;
        let written =
            self.writer.append_by(entry, |output, size| content.map_or(Ok(0), |file| copy(output, file, size)));
        written.map_err(|error| LayerError::io(format!("pack `{}`", shown(&entry.path)), error))
    }
}

/// Whether an attribute belongs to a file, and not to the file system that it lies in.
pub fn is_kept(key: &[u8]) -> bool {
    PORTABLE.iter().any(|prefix| key.starts_with(prefix)) && !OVERLAY.iter().any(|own| key.starts_with(own))
}

fn look(directory: &Dir, name: &[u8], path: &[u8]) -> Result<Stat, LayerError> {
    let doing = || format!("look at `{}`", shown(path));
    let found = directory.look(name).map_err(|error| LayerError::io(doing(), error))?;
    found.ok_or_else(|| LayerError::io(doing(), io::Error::from(io::ErrorKind::NotFound)))
}
