//! Files of a root, on their way out.

use std::io::{self, Write};

use rustix::fs::FileType;
use slipway_backend::{BackendError, Root as Kind};
use slipway_layers::{
    pack::{View, pack, pack_file},
    root::{Dir, Root},
};
use slipway_paths::TreePath;

use crate::{error, place::real_path};

/// A directory, or a file in one.
#[derive(Debug)]
pub struct Found {
    directory: Dir,
    name: Option<Vec<u8>>,
}

impl Found {
    /// Which of both.
    pub fn kind(&self) -> Kind {
        if self.name.is_none() { Kind::Directory } else { Kind::File }
    }

    /// Writes it as an archive. Blocks.
    ///
    /// # Errors
    /// When it cannot be read, or nobody listens.
    pub fn pack(&self, output: &mut impl Write) -> io::Result<()> {
        match &self.name {
            None => pack(&self.directory, &View::Tree, output).map(drop).map_err(io::Error::from),
            Some(name) => pack_file(&self.directory, name, output).map(drop).map_err(io::Error::from),
        }
    }
}

/// The absolute path of an image that `path` is, for whoever is `doing` something with its files.
///
/// # Errors
/// When it is none.
pub fn wanted(path: &str, doing: &str) -> Result<TreePath, BackendError> {
    if !path.starts_with('/') {
        return Err(BackendError::Refused(format!(
            "files of an image cannot be read from `{path}`: it is not absolute"
        )));
    }
    TreePath::new(path).map_err(|error| BackendError::Refused(format!("{doing}: {error}")))
}

/// What stands at a path; a link to a directory is followed. Blocks.
///
/// # Errors
/// When nothing does, links lead in a circle, or the disk fails.
pub fn find(root: &Root, path: &TreePath, doing: &str) -> Result<Found, BackendError> {
    let found = look(root, path).map_err(|error| error::system(doing, error))?;
    found.ok_or_else(|| BackendError::Refused(format!("{doing}: it has no such file: check the path")))
}

fn look(root: &Root, path: &TreePath) -> io::Result<Option<Found>> {
    let real = real_path(root, path)?;
    let is_directory = |path: &TreePath| -> io::Result<bool> {
        let found = root.look(path.as_bytes())?;
        Ok(found.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory))
    };
    if is_directory(&real)? {
        return Ok(Some(Found { directory: root.directory(real.as_bytes())?, name: None }));
    }
    // The last link is the file, wherever it leads.
    let above = real_path(root, &path.parent().unwrap_or_default())?;
    if !is_directory(&above)? || root.look(above.join(path.name()).as_bytes())?.is_none() {
        return Ok(None);
    }
    Ok(Some(Found { directory: root.directory(above.as_bytes())?, name: Some(path.name().to_vec()) }))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn the_last_link_is_followed_to_a_directory_only() {
        let home = tempfile::tempdir().expect("a directory");
        fs::create_dir_all(home.path().join("srv/app")).expect("a directory");
        fs::write(home.path().join("srv/file"), "x").expect("a file");
        symlink("/srv/file", home.path().join("to-file")).expect("a link");
        symlink("/srv", home.path().join("to-directory")).expect("a link");
        let root = Root::open(home.path()).expect("a root");
        let kind = |path: &str| {
            let found = wanted(path, "look").and_then(|path| find(&root, &path, "look"));
            found.map(|found| (found.kind(), found.name.map(|name| String::from_utf8_lossy(&name).into_owned())))
        };
        let file = |name: &str| (Kind::File, Some(name.to_owned()));
        for (path, expected) in [
            ("/", (Kind::Directory, None)),
            ("/to-directory/app", (Kind::Directory, None)),
            ("/to-directory", (Kind::Directory, None)),
            ("/to-directory/file", file("file")),
            ("/to-file", file("to-file")),
        ] {
            assert_eq!(kind(path).expect(path), expected, "{path}");
        }
        for (path, expected) in [
            ("srv", "files of an image cannot be read from `srv`: it is not absolute"),
            ("/srv/none", "look: it has no such file: check the path"),
            ("/srv/file/below", "look: it has no such file: check the path"),
        ] {
            assert_eq!(kind(path).expect_err(path).to_string(), expected);
        }
    }
}
