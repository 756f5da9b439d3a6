//! Files of an image on their way into another: which of them go, and their checksum.

use std::{
    io::{self, Read, Write},
    path::PathBuf,
};

use slipway_backend::Root;
use slipway_digest::{Checksum, Encoder};
use slipway_paths::{PathFilter, Scope, TreePath};
use slipway_stages::ImportInput;
use tar::{Archive, Builder, Header};

/// One entry that goes.
struct Item<'a> {
    /// Path below what is imported; the root for the directory itself and for a single file.
    path: &'a TreePath,
    header: &'a Header,
    /// Where a link points.
    target: Option<&'a [u8]>,
    content: &'a mut dyn Read,
}

/// The checksum of what an import would bring: (type, mode, path, content id) of its entries, sorted by path.
pub(crate) fn checksum(root: Root, tar: impl Read, input: &ImportInput) -> io::Result<Checksum> {
    let mut entries: Vec<(Vec<u8>, Checksum)> = Vec::new();
    walk(root, tar, input, |item| {
        let mode = u64::from(item.header.mode()? & 0o7777);
        let encoder = Encoder::new("import-entry")
            .number(u64::from(item.header.entry_type().as_byte()))
            .number(mode)
            .bytes(item.path.as_bytes());
        let encoder = match item.target {
            Some(target) => encoder.bytes(target),
            None => encoder.checksum(&Checksum::of_content(item.content)?),
        };
        entries.push((item.path.as_bytes().to_vec(), encoder.finish()));
        Ok(())
    })?;
    entries.sort();
    Ok(Encoder::new("imported").list(entries.iter(), |encoder, (_, entry)| encoder.checksum(entry)).finish())
}

/// Writes what an import brings as a tar; a single file is called `file_name`. Answers how many entries it has.
pub(crate) fn filter(
    root: Root,
    tar: impl Read,
    input: &ImportInput,
    file_name: &[u8],
    out: &mut dyn Write,
) -> io::Result<u64> {
    let mut builder = Builder::new(out);
    let mut entries = 0;
    walk(root, tar, input, |item| {
        entries += 1;
        let mut header = item.header.clone();
        let name = match root {
            Root::File => bytes_path(file_name),
            Root::Directory if item.path.is_root() => PathBuf::from("./"),
            Root::Directory => bytes_path(item.path.as_bytes()),
        };
        match item.target {
            Some(target) => builder.append_link(&mut header, name, bytes_path(target)),
            None => builder.append_data(&mut header, name, item.content),
        }
    })?;
    builder.finish()?;
    Ok(entries)
}

/// Calls `take` for every entry that the import's globs choose. A directory goes with the first chosen file below it,
/// so that includes leave no empty directories; without includes it goes by itself.
fn walk(
    root: Root,
    tar: impl Read,
    input: &ImportInput,
    mut take: impl FnMut(Item<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let scope = Scope::Filter(PathFilter {
        base: TreePath::root(),
        include: input.include.clone(),
        exclude: input.exclude.clone(),
        within: Vec::new(),
    });
    let chosen = |path: &TreePath| root == Root::File || path.is_root() || scope.keeps(path);
    let mut waiting: Vec<(TreePath, Header)> = Vec::new();
    let mut archive = Archive::new(tar);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = match root {
            Root::File => TreePath::root(),
            Root::Directory => TreePath::new(entry.path_bytes().as_ref()).map_err(io::Error::other)?,
        };
        let header = entry.header().clone();
        waiting.retain(|(directory, _)| path.below(directory).is_some());
        if header.entry_type().is_dir() && !input.include.is_empty() && !path.is_root() {
            waiting.push((path, header));
            continue;
        }
        if !chosen(&path) {
            continue;
        }
        for (directory, header) in waiting.drain(..) {
            take(Item { path: &directory, header: &header, target: None, content: &mut io::empty() })?;
        }
        let target = entry.link_name_bytes().map(std::borrow::Cow::into_owned);
        take(Item { path: &path, header: &header, target: target.as_deref(), content: &mut entry })?;
    }
    Ok(())
}

fn bytes_path(bytes: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    PathBuf::from(std::ffi::OsStr::from_bytes(bytes))
}
