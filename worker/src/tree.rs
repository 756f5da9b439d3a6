//! Files of an image on their way into another: which of them go, and their checksum.

use std::{
    collections::HashMap,
    io::{self, Read},
};

use slipway_backend::{
    Root,
    retar::{Kind, Predicate, Rewrite},
};
use slipway_digest::{Checksum, Encoder};
use slipway_paths::{PathFilter, Scope, TreePath};
use slipway_stages::ImportInput;
use tar::{Archive, EntryType, Header};

/// One entry that goes.
struct Item<'a> {
    /// Path below what is imported; the root for the directory itself and for a single file.
    path: &'a TreePath,
    header: &'a Header,
    /// Where a link points.
    target: Option<&'a [u8]>,
    content: &'a mut dyn Read,
}

/// The checksum of what an import would bring: (type, mode, path, content id) of its entries, sorted by path. Which of
/// several names of one file is the link to the others does not count.
pub(crate) fn checksum(root: Root, tar: impl Read, input: &ImportInput) -> io::Result<Checksum> {
    let mut entries: Vec<(Vec<u8>, Checksum)> = Vec::new();
    let mut files: HashMap<Vec<u8>, (u64, Checksum)> = HashMap::new();
    walk(root, tar, input, |item| {
        let path = item.path.as_bytes();
        let mode = u64::from(item.header.mode()? & 0o7777);
        let kind = item.header.entry_type();
        let entry = match item.target {
            Some(target) if kind.is_hard_link() => {
                let (mode, content) = linked(&files, target, item.path)?;
                encoder(EntryType::Regular, mode, path).checksum(&content)
            }
            Some(target) => encoder(kind, mode, path).bytes(target),
            None => {
                let content = Checksum::of_content(item.content)?;
                if kind.is_file() {
                    files.insert(path.to_vec(), (mode, content));
                }
                encoder(kind, mode, path).checksum(&content)
            }
        };
        entries.push((path.to_vec(), entry.finish()));
        Ok(())
    })?;
    entries.sort();
    Ok(Encoder::new("imported").list(entries.iter(), |encoder, (_, entry)| encoder.checksum(entry)).finish())
}

fn encoder(kind: EntryType, mode: u64, path: &[u8]) -> Encoder {
    Encoder::new("import-entry").number(u64::from(kind.as_byte())).number(mode).bytes(path)
}

/// Mode and content of the file that a hard link is another name of.
fn linked(files: &HashMap<Vec<u8>, (u64, Checksum)>, target: &[u8], link: &TreePath) -> io::Result<(u64, Checksum)> {
    let found = TreePath::new(target).ok().and_then(|target| files.get(target.as_bytes()).copied());
    found.ok_or_else(|| {
        let target = String::from_utf8_lossy(target);
        io::Error::other(format!(
            "`{link}` is a hard link to `{target}`, which is not among the files that were selected: select both"
        ))
    })
}

/// What becomes of the files of the source on their way.
pub(crate) fn rewrite(root: Root, input: &ImportInput) -> Rewrite {
    let scope = scope(input);
    let keep: Predicate = Box::new(move |path, kind| kind == Kind::Directory && path.is_root() || scope.keeps(path));
    match root {
        Root::File => Rewrite::default(),
        Root::Directory => {
            Rewrite { keep: Some(keep), directories_wait: !input.include.is_empty(), ..Rewrite::default() }
        }
    }
}

fn scope(input: &ImportInput) -> Scope {
    Scope::Filter(PathFilter {
        base: TreePath::root(),
        include: input.include.clone(),
        exclude: input.exclude.clone(),
        within: Vec::new(),
    })
}

/// Calls `take` for every entry that the import's globs choose. A directory goes with the first chosen file below it,
/// so that includes leave no empty directories; without includes it goes by itself.
fn walk(
    root: Root,
    tar: impl Read,
    input: &ImportInput,
    mut take: impl FnMut(Item<'_>) -> io::Result<()>,
) -> io::Result<()> {
    let scope = scope(input);
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
