//! Rewriting tar streams on their way into a container: other paths, other owners, fewer entries.
//!
//! Names of any length and bytes, extended attributes and devices survive; long names leave as pax records. What leads
//! out of the archive's root (`..`, absolute names) is refused, whoever made the archive. A directory is written once,
//! because engines refuse layers that list one twice.

mod entry;
mod pipe;
#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    io::{self, Read, Write},
};

use slipway_paths::{PathError, TreePath};

pub use pipe::stream;

/// Why an archive cannot be rewritten.
#[derive(Debug, thiserror::Error)]
pub enum RetarError {
    /// An entry's name leaves the archive's root.
    #[error("the archive holds `{0}`, which leads outside of its root")]
    Escapes(String),
    /// A hard link's file was filtered out or never came.
    #[error("`{link}` is a hard link to `{target}`, which is not among the files that were selected: select both")]
    LinkWithoutFile {
        /// The link.
        link: String,
        /// The file that it shares.
        target: String,
    },
    /// An archive that should hold one file holds something else.
    #[error("the archive should hold a single file, but holds `{0}` too")]
    NotSingle(String),
    /// Something no file system of a container knows.
    #[error("`{name}` is of a kind that cannot be put into an image ({kind})")]
    Kind {
        /// The entry's name.
        name: String,
        /// The type byte of the tar header.
        kind: char,
    },
    /// The archive is larger than this program takes.
    #[error("the archive holds more than {limit} {what}")]
    TooMuch {
        /// What there is too much of.
        what: &'static str,
        /// How much is taken.
        limit: u64,
    },
    /// Reading or writing failed, or the archive is malformed.
    #[error("read the archive: {0}")]
    Io(#[from] io::Error),
}

impl From<RetarError> for io::Error {
    fn from(error: RetarError) -> Self {
        match error {
            RetarError::Io(error) => error,
            other => Self::new(io::ErrorKind::InvalidData, other),
        }
    }
}

/// What an entry is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file or a hard link to one.
    File,
    /// A symbolic link.
    Symlink,
    /// A device or a pipe.
    Special,
}

/// Decides whether an entry stays; it is asked with the path inside the archive, after [`Rewrite::strip`].
pub type Predicate = Box<dyn FnMut(&TreePath, Kind) -> bool + Send>;

/// How much of an archive is taken.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Number of entries.
    pub entries: u64,
    /// Bytes of one name.
    pub name: u64,
    /// Bytes of content, all entries together.
    pub bytes: u64,
}

impl Default for Limits {
    /// Five million entries, names of 4 KiB, a tebibyte.
    fn default() -> Self {
        Self { entries: 5_000_000, name: 4096, bytes: 1 << 40 }
    }
}

/// What is done to an archive. The default copies it.
#[derive(Default)]
pub struct Rewrite {
    /// How many leading segments of every name are dropped.
    pub strip: usize,
    /// Which entries stay; all, when `None`.
    pub keep: Option<Predicate>,
    /// A directory, but for the root, goes only with what is in it: it waits for the first entry below it that stays
    /// and is none itself, so that filters leave no empty directories.
    pub directories_wait: bool,
    /// The archive's only entry gets this name instead of its own.
    pub single: Option<Vec<u8>>,
    /// Put before every name.
    pub prefix: TreePath,
    /// Directories that come first, as `0755` of 0:0.
    pub parents: Vec<TreePath>,
    /// What becomes of the entry `./`.
    pub root: RootEntry,
    /// User id of all entries instead of their own.
    pub uid: Option<u64>,
    /// Group id of all entries instead of their own.
    pub gid: Option<u64>,
    /// How much is taken.
    pub limits: Limits,
}

/// What becomes of the entry of the archive's own root.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RootEntry {
    /// It stays when there is one.
    #[default]
    Keep,
    /// It goes: the directory is there and stays as it is.
    Drop,
    /// It comes first even when the archive has none, then as `0755`.
    Make,
}

/// Rewrites the archive in `input` to `output`; answers how many entries were written.
///
/// # Errors
/// [`RetarError`]; what was written until then is no archive.
pub fn rewrite(input: impl Read, output: impl Write, rewrite: Rewrite) -> Result<u64, RetarError> {
    let mut archive = tar::Archive::new(input);
    archive.set_ignore_zeros(false);
    let mut writer = Writer::new(output, rewrite);
    writer.write_parents()?;
    for entry in archive.entries()? {
        writer.take(entry?)?;
    }
    writer.finish()
}

/// The archive being written.
struct Writer<W> {
    output: W,
    rewrite: Rewrite,
    seen: u64,
    bytes: u64,
    written: u64,
    directories: HashSet<TreePath>,
    /// Directories that wait, the outermost first, each with its path in the archive.
    waiting: Vec<(TreePath, entry::Written)>,
    /// Files that were left out: a hard link to one of them has no content.
    dropped: HashSet<TreePath>,
    root_pending: bool,
}

impl<W: Write> Writer<W> {
    fn new(output: W, rewrite: Rewrite) -> Self {
        let root_pending = rewrite.root == RootEntry::Make;
        Self {
            output,
            rewrite,
            seen: 0,
            bytes: 0,
            written: 0,
            directories: HashSet::new(),
            waiting: Vec::new(),
            dropped: HashSet::new(),
            root_pending,
        }
    }

    fn write_parents(&mut self) -> Result<(), RetarError> {
        for parent in std::mem::take(&mut self.rewrite.parents) {
            self.directories.insert(parent.clone());
            self.written += 1;
            entry::directory(&parent, 0, 0).write(&mut self.output, io::empty())?;
        }
        Ok(())
    }

    fn take<R: Read>(&mut self, mut found: tar::Entry<'_, R>) -> Result<(), RetarError> {
        let Some(kind) = entry::kind(&found)? else { return Ok(()) };
        self.count(&found)?;
        let Some(path) = self.inner_path(&found.path_bytes())? else { return Ok(()) };
        if path.is_root() && kind == Kind::Directory {
            return self.take_root(&mut found);
        }
        self.flush_root()?;
        if self.rewrite.directories_wait {
            self.waiting.retain(|(directory, _)| path.below(directory).is_some());
            if kind == Kind::Directory {
                return self.wait(&mut found, path);
            }
        }
        if self.rewrite.keep.as_mut().is_some_and(|keep| !keep(&path, kind)) {
            if kind == Kind::File {
                self.dropped.insert(path);
            }
            return Ok(());
        }
        let target = self.link_target(&found, &path)?;
        for (_, directory) in std::mem::take(&mut self.waiting) {
            self.written += 1;
            directory.write(&mut self.output, io::empty())?;
        }
        let path = self.outer_path(path)?;
        if kind == Kind::Directory && !self.directories.insert(path.clone()) {
            return Ok(());
        }
        self.write(&mut found, &path, target)
    }

    fn wait<R: Read>(&mut self, found: &mut tar::Entry<'_, R>, path: TreePath) -> Result<(), RetarError> {
        let outer = self.outer_path(path.clone())?;
        if self.directories.insert(outer.clone()) {
            self.waiting.push((path, self.written(found, &outer, None)?));
        }
        Ok(())
    }

    fn count<R: Read>(&mut self, found: &tar::Entry<'_, R>) -> Result<(), RetarError> {
        let limits = self.rewrite.limits;
        self.seen += 1;
        self.bytes = self.bytes.saturating_add(found.size());
        if self.seen > limits.entries {
            return Err(RetarError::TooMuch { what: "entries", limit: limits.entries });
        }
        if self.bytes > limits.bytes {
            return Err(RetarError::TooMuch { what: "bytes", limit: limits.bytes });
        }
        Ok(())
    }

    /// The path inside the archive, less what is stripped; `None` when nothing remains of a name.
    fn inner_path(&self, name: &[u8]) -> Result<Option<TreePath>, RetarError> {
        let limit = self.rewrite.limits.name;
        if name.len() as u64 > limit {
            return Err(RetarError::TooMuch { what: "bytes in a name", limit });
        }
        let path = clean(name)?;
        if self.rewrite.strip == 0 {
            return Ok(Some(path));
        }
        if path.segments().count() < self.rewrite.strip {
            return Ok(None);
        }
        let rest: Vec<&[u8]> = path.segments().skip(self.rewrite.strip).collect();
        Ok(Some(clean(&rest.join(&b'/'))?))
    }

    fn outer_path(&self, path: TreePath) -> Result<TreePath, RetarError> {
        let Some(name) = &self.rewrite.single else { return Ok(self.rewrite.prefix.join(path.as_bytes())) };
        if self.written > 0 && self.seen > 1 {
            return Err(RetarError::NotSingle(path.to_string()));
        }
        Ok(self.rewrite.prefix.join(name))
    }

    /// Where a link points: symbolic links keep their text, hard links move with the archive.
    fn link_target<R: Read>(&self, found: &tar::Entry<'_, R>, path: &TreePath) -> Result<Option<Vec<u8>>, RetarError> {
        let Some(target) = found.link_name_bytes() else { return Ok(None) };
        if !found.header().entry_type().is_hard_link() {
            return Ok(Some(target.into_owned()));
        }
        let inner = self.inner_path(&target)?.unwrap_or_default();
        if inner.is_root() || self.dropped.contains(&inner) {
            let target = String::from_utf8_lossy(&target).into_owned();
            return Err(RetarError::LinkWithoutFile { link: path.to_string(), target });
        }
        Ok(Some(self.rewrite.prefix.join(inner.as_bytes()).as_bytes().to_vec()))
    }

    fn take_root<R: Read>(&mut self, found: &mut tar::Entry<'_, R>) -> Result<(), RetarError> {
        self.root_pending = false;
        let prefix = self.rewrite.prefix.clone();
        if self.rewrite.root == RootEntry::Drop
            || self.rewrite.single.is_some()
            || !self.directories.insert(prefix.clone())
        {
            return Ok(());
        }
        self.write(found, &prefix, None)
    }

    /// Writes the root that the archive turned out not to bring.
    fn flush_root(&mut self) -> Result<(), RetarError> {
        let prefix = self.rewrite.prefix.clone();
        if !std::mem::take(&mut self.root_pending) || !self.directories.insert(prefix.clone()) {
            return Ok(());
        }
        self.written += 1;
        let (uid, gid) = (self.rewrite.uid.unwrap_or(0), self.rewrite.gid.unwrap_or(0));
        Ok(entry::directory(&prefix, uid, gid).write(&mut self.output, io::empty())?)
    }

    fn write<R: Read>(
        &mut self,
        found: &mut tar::Entry<'_, R>,
        path: &TreePath,
        target: Option<Vec<u8>>,
    ) -> Result<(), RetarError> {
        let written = self.written(found, path, target)?;
        self.written += 1;
        Ok(written.write(&mut self.output, found)?)
    }

    fn written<R: Read>(
        &self,
        found: &mut tar::Entry<'_, R>,
        path: &TreePath,
        target: Option<Vec<u8>>,
    ) -> io::Result<entry::Written> {
        let mut written = entry::Written::from_entry(found, path, target)?;
        written.uid = self.rewrite.uid.unwrap_or(written.uid);
        written.gid = self.rewrite.gid.unwrap_or(written.gid);
        Ok(written)
    }

    fn finish(mut self) -> Result<u64, RetarError> {
        self.flush_root()?;
        self.output.write_all(&[0; 1024])?;
        self.output.flush()?;
        Ok(self.written)
    }
}

/// A name inside an archive; `./x` is fine, what leaves the root is not.
fn clean(name: &[u8]) -> Result<TreePath, RetarError> {
    let escapes = || RetarError::Escapes(String::from_utf8_lossy(name).into_owned());
    if name.starts_with(b"/") || name.split(|b| *b == b'/').any(|segment| segment == b"..") {
        return Err(escapes());
    }
    TreePath::new(name).map_err(|error| match error {
        PathError::Escapes(_) | PathError::Nul(_) => escapes(),
    })
}
