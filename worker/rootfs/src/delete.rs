//! Deletions: files that left the sources, and directories that this empties.

use std::io;

use rustix::fs::{AtFlags, FileType, unlinkat};
use slipway_backend::{BackendError, script::Deletion};
use slipway_layers::{
    entry::Time,
    root::{Dir, Root, is_missing},
};
use slipway_paths::TreePath;

use crate::{error, place::real_path};

/// Deletes. A file that was replaced by a directory stays, as does what lies behind a symbolic link: it is not the file
/// that was asked for. Blocks.
///
/// # Errors
/// When the disk fails.
pub fn delete(root: &Root, deletions: &[Deletion]) -> Result<(), BackendError> {
    for deletion in deletions {
        let doing = format!("delete files below {} that are no longer in the sources", deletion.root);
        below(root, deletion).map_err(|error| error::system(&doing, error))?;
    }
    Ok(())
}

fn below(root: &Root, deletion: &Deletion) -> io::Result<()> {
    let path = TreePath::new(&deletion.root).map_err(io::Error::other)?;
    let base = match root.directory(real_path(root, &path)?.as_bytes()) {
        Ok(base) => base,
        Err(error) if is_missing(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut emptied = Vec::new();
    for path in deletion.paths.iter().filter(|path| !path.is_root()) {
        let parent = path.parent().unwrap_or_default();
        let Some(directory) = enter(&base, &parent)? else { continue };
        if delete_file(&directory, path.name())? {
            emptied.push(parent);
        }
    }
    for mut path in emptied {
        while !path.is_root() {
            let above = path.parent().unwrap_or_default();
            let Some(directory) = enter(&base, &above)? else { break };
            if !delete_empty(&directory, path.name())? {
                break;
            }
            path = above;
        }
    }
    Ok(())
}

/// The directory at a path without links; `None` when there is none.
fn enter(base: &Dir, path: &TreePath) -> io::Result<Option<Dir>> {
    let mut directory = base.enter(b".")?;
    for segment in path.segments() {
        directory = match directory.enter(segment) {
            Ok(inner) => inner,
            // A link is no directory when it is not followed.
            Err(error) if is_missing(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
    }
    Ok(Some(directory))
}

fn delete_file(directory: &Dir, name: &[u8]) -> io::Result<bool> {
    let Some(stat) = directory.look(name)? else { return Ok(false) };
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        return Ok(false);
    }
    keeping_time(directory, || directory.remove(name))?;
    Ok(true)
}

/// Deletes a directory that is empty.
fn delete_empty(directory: &Dir, name: &[u8]) -> io::Result<bool> {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
    let mut gone = true;
    keeping_time(directory, || match unlinkat(directory, OsStr::from_bytes(name), AtFlags::REMOVEDIR) {
        Ok(()) => Ok(()),
        Err(
            rustix::io::Errno::NOTEMPTY
            | rustix::io::Errno::EXIST
            | rustix::io::Errno::NOENT
            | rustix::io::Errno::NOTDIR,
        ) => {
            gone = false;
            Ok(())
        }
        Err(error) => Err(error.into()),
    })?;
    Ok(gone)
}

/// Directories keep their time, so that equal sources make equal layers.
fn keeping_time(directory: &Dir, change: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    let before = directory.look(b".")?;
    change()?;
    match before {
        Some(stat) => directory.set_time(b".", Time::of(&stat)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_go_with_the_directories_that_they_leave_empty() {
        let home = tempfile::tempdir().expect("a directory");
        let at = |name: &str| home.path().join("srv").join(name);
        for directory in ["a/b/c", "keep", "outside", "now-a-dir"] {
            fs::create_dir_all(at(directory)).expect("a directory");
        }
        for file in ["a/b/c/one", "keep/one", "keep/two", "outside/one", "now-a-dir/one", "it's", ".hidden"] {
            fs::write(at(file), "x").expect("a file");
        }
        std::os::unix::fs::symlink("outside", at("link")).expect("a link");
        std::os::unix::fs::symlink("/srv", home.path().join("current")).expect("a link");
        let paths = ["a/b/c/one", "keep/one", "link/one", "now-a-dir", "it's", ".hidden", "never", "it's/x"];
        let paths = paths.iter().map(|path| TreePath::new(path).expect("a path")).collect();
        let deletion = Deletion { root: "/current".to_owned(), paths };
        let missing = Deletion { root: "/no/such/directory".to_owned(), ..deletion.clone() };
        let root = Root::open(home.path()).expect("a root");
        delete(&root, &[missing, deletion]).expect("files go");
        let left = |name: &str| at(name).symlink_metadata().is_ok();
        assert!(left("keep/two") && left("outside/one") && left("link") && left("now-a-dir/one"));
        assert!(!left("a") && !left("keep/one") && !left("it's") && !left(".hidden"));
        assert!(left("."));
    }
}
