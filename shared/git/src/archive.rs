//! A scope as a tar archive.
//!
//! Headers are filled byte by byte in GNU's format: names need not be UTF-8, longer ones than 100 bytes have an entry
//! of their own in front, and nothing of the machine or its clock gets in.

use std::{io::Write, rc::Rc};

use slipway_paths::{Scope, TreePath};
use tar::{EntryType, Header};

use crate::{
    ArchiveOptions, FileMode, GitError,
    node::{Node, Source},
    tree::{Met, Selection, walk},
};

/// What the names of deletions in layers begin with.
const WHITEOUT: &[u8] = b".wh.";
/// Name of an entry that holds the long name of the next one.
const LONG_NAME: &[u8] = b"././@LongLink";

/// Writes what `scope` holds: the base directory itself as `./`, then directories that hold selected files, and those.
pub(crate) fn write(
    source: &Rc<Source>,
    scope: &Scope,
    options: &ArchiveOptions,
    out: &mut dyn Write,
) -> Result<(), GitError> {
    let base = Node::find(source, scope.base())?.ok_or_else(|| GitError::Missing(format!("`{}`", scope.base())))?;
    let selection = Selection::new(scope, options.only.as_deref())?;
    let mut archive = Archive { builder: tar::Builder::new(out), mtime: options.mtime };
    if base.is_directory() {
        archive.directory(b"./")?;
    }
    let name = options.file_name.as_deref().unwrap_or(base.name()).to_vec();
    // Directories that were entered but not yet written: they are when a file below them is.
    let mut pending: Vec<TreePath> = Vec::new();
    walk(&base, &selection, &mut |path, met| {
        match met {
            Met::Enter if path.is_root() => {}
            Met::Enter => pending.push(path.clone()),
            Met::Leave => {
                if pending.last() == Some(path) {
                    pending.pop();
                }
            }
            Met::File(mode, node) => {
                for directory in pending.drain(..) {
                    archive.directory(&[directory.as_bytes(), b"/"].concat())?;
                }
                let name = if path.is_root() { &name } else { path.as_bytes() };
                if options.for_layer && name.split(|byte| *byte == b'/').any(|part| part.starts_with(WHITEOUT)) {
                    return Err(GitError::Whiteout(scope.base().join(path.as_bytes()).to_string()));
                }
                archive.file(name, mode, &node.content()?)?;
            }
        }
        Ok(())
    })?;
    archive.builder.finish()?;
    Ok(())
}

struct Archive<'w> {
    builder: tar::Builder<&'w mut dyn Write>,
    mtime: u64,
}

impl Archive<'_> {
    /// `name` ends with `/`.
    fn directory(&mut self, name: &[u8]) -> std::io::Result<()> {
        let mut header = self.header(EntryType::Directory, 0o755);
        self.append(&mut header, name, b"", b"")
    }

    fn file(&mut self, name: &[u8], mode: FileMode, content: &[u8]) -> std::io::Result<()> {
        match mode {
            FileMode::Regular => self.append(&mut self.header(EntryType::Regular, 0o644), name, b"", content),
            FileMode::Executable => self.append(&mut self.header(EntryType::Regular, 0o755), name, b"", content),
            FileMode::Symlink => self.append(&mut self.header(EntryType::Symlink, 0o777), name, content, b""),
        }
    }

    fn header(&self, kind: EntryType, mode: u32) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(self.mtime);
        header
    }

    fn append(&mut self, header: &mut Header, name: &[u8], target: &[u8], content: &[u8]) -> std::io::Result<()> {
        self.long(EntryType::GNULongLink, target)?;
        self.long(EntryType::GNULongName, name)?;
        header.set_size(content.len() as u64);
        if let Some(fields) = header.as_gnu_mut() {
            put(&mut fields.name, name);
            put(&mut fields.linkname, target);
        }
        header.set_cksum();
        self.builder.append(header, content)
    }

    /// Writes a name that does not fit into a header as an entry of its own.
    fn long(&mut self, kind: EntryType, name: &[u8]) -> std::io::Result<()> {
        if name.len() <= 100 {
            return Ok(());
        }
        let content = [name, b"\0"].concat();
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        if let Some(fields) = header.as_gnu_mut() {
            put(&mut fields.name, LONG_NAME);
        }
        header.set_cksum();
        self.builder.append(&header, content.as_slice())
    }
}

/// Fills a field of a header; what does not fit is cut off.
fn put(field: &mut [u8; 100], bytes: &[u8]) {
    let length = bytes.len().min(field.len());
    field[..length].copy_from_slice(&bytes[..length]);
}
