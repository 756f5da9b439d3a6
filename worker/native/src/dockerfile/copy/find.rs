//! Paths: as Go cleans them, and as they are found in a root.

use std::io;

use rustix::fs::FileType;
use slipway_dockerfile::Files;
use slipway_layers::{LayerError, root::Root};
use slipway_paths::{Glob, TreePath};
use slipway_rootfs::place::real_path;

use super::{Item, Place, absent, chosen::Choice};

/// Paths that wildcards of one source may stand for.
const MAX_FOUND: usize = 1_000_000;

/// Where an instruction copies to.
pub(super) struct Target {
    /// Below the image's root, links not followed.
    pub(super) path: TreePath,
    /// Whether it is written as a directory.
    pub(super) is_directory: bool,
}

impl Target {
    /// `to` as it is written, relative to `workdir`.
    pub(super) fn new(workdir: &str, to: &str) -> Result<Self, String> {
        let is_directory = to.is_empty() || to.ends_with('/') || to == "." || to.ends_with("/.");
        Ok(Self { path: cleaned(workdir, to)?, is_directory })
    }
}

/// `path` relative to `base`; `..` ends at the root.
pub(super) fn cleaned(base: &str, path: &str) -> Result<TreePath, String> {
    let base = if path.starts_with('/') { "" } else { base };
    let mut kept: Vec<&str> = Vec::new();
    for segment in base.split('/').chain(path.split('/')) {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    TreePath::new(kept.join("/")).map_err(|error| error.to_string())
}

/// The path without links, as far as it exists.
pub(super) fn real(root: &Root, path: &TreePath) -> io::Result<TreePath> {
    real_path(root, path)
}

/// What stands at a path without links.
pub(super) fn kind(root: &Root, path: &TreePath) -> io::Result<Option<FileType>> {
    Ok(root.look(path.as_bytes())?.map(|stat| FileType::from_raw_mode(stat.st_mode)))
}

/// What a source names. Wildcards that stand for nothing are nothing, as BuildKit has it.
pub(super) fn find(root: &Root, word: &str, step: &Files, is_context: bool) -> Result<Vec<Item>, LayerError> {
    let bad = |why: String| LayerError::Bad(format!("the source `{word}`: {why}"));
    let system = |error: io::Error| LayerError::io(format!("look for `{word}`"), error);
    if step.parents {
        return below_pivot(root, word, is_context).map(|item| vec![item]);
    }
    let path = cleaned("/", word).map_err(bad)?;
    let found = if is_wild(path.as_bytes()) { expand(root, &path, word)? } else { vec![path] };
    let mut items = Vec::new();
    for path in found {
        let real = real(root, &path).map_err(system)?;
        if kind(root, &real).map_err(system)?.is_none() {
            return Err(absent(word, is_context));
        }
        let name = path.name().to_vec();
        let unpack = step.add && step.unpack != Some(false);
        items.push(Item { place: Place::Ground, path: real, name, include: None, unpack, time: None, known: None });
    }
    Ok(items)
}

/// A source of `--parents`: what stands before `/./` is left out of the names.
fn below_pivot(root: &Root, word: &str, is_context: bool) -> Result<Item, LayerError> {
    let bad = |why: String| LayerError::Bad(format!("the source `{word}`: {why}"));
    let system = |error: io::Error| LayerError::io(format!("look for `{word}`"), error);
    let (pivot, pattern) = word.split_once("/./").unwrap_or(("", word));
    let above = real(root, &cleaned("/", pivot).map_err(bad)?).map_err(system)?;
    let pattern = cleaned("/", pattern).map_err(bad)?;
    let whole = above.join(pattern.as_bytes());
    let is_there = || -> io::Result<bool> {
        let real = real(root, &whole.parent().unwrap_or_default())?;
        Ok(root.look(real.join(whole.name()).as_bytes())?.is_some())
    };
    let is_missing = kind(root, &above).map_err(system)? != Some(FileType::Directory)
        || !is_wild(pattern.as_bytes()) && !is_there().map_err(system)?;
    if is_missing {
        return Err(absent(word, is_context));
    }
    let include = if pattern.is_root() { None } else { Some(Choice::including(&pattern).map_err(bad)?) };
    Ok(Item { place: Place::Ground, path: above, name: Vec::new(), include, unpack: false, time: None, known: None })
}

/// Whether there is a wildcard in it. A `\` takes the next character as it is.
fn is_wild(path: &[u8]) -> bool {
    let mut bytes = path.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'*' | b'?' | b'[' => return true,
            _ => {}
        }
    }
    false
}

/// The paths that match, in the order of their names. Links are followed in front of the first wildcard only.
fn expand(root: &Root, path: &TreePath, word: &str) -> Result<Vec<TreePath>, LayerError> {
    let system = |error: io::Error| LayerError::io(format!("look for `{word}`"), error);
    let segments: Vec<&[u8]> = path.segments().collect();
    let first = segments.iter().position(|segment| is_wild(segment)).unwrap_or(segments.len());
    let globs = segments[first..].iter().map(|segment| Glob::copy_source(&String::from_utf8_lossy(segment)));
    let globs: Vec<Glob> = globs.collect::<Result<_, _>>().map_err(|error| LayerError::Bad(error.to_string()))?;
    let start = TreePath::new(segments[..first].join(&b'/')).map_err(|error| LayerError::Bad(error.to_string()))?;
    let start = real(root, &start).map_err(system)?;
    let mut level = if kind(root, &start).map_err(system)? == Some(FileType::Directory) { vec![start] } else { vec![] };
    for (depth, glob) in globs.iter().enumerate() {
        let is_last = depth + 1 == globs.len();
        let mut next = Vec::new();
        for above in &level {
            let directory = root.directory(above.as_bytes()).map_err(system)?;
            for name in directory.names().map_err(system)? {
                let alone = TreePath::root().join(&name);
                if !glob.is_match(&alone) {
                    continue;
                }
                let path = above.join(&name);
                if is_last || kind(root, &path).map_err(system)? == Some(FileType::Directory) {
                    next.push(path);
                }
            }
            if next.len() > MAX_FOUND {
                return Err(LayerError::TooMuch(format!("`{word}` stands for more than {MAX_FOUND} files")));
            }
        }
        level = next;
    }
    Ok(level)
}
