//! Files of a root, on their way out.

use std::io::{self, Write};

use rustix::fs::FileType;
use slipway_backend::Root as Kind;
use slipway_layers::{
    pack::{View, pack, pack_file},
    root::{Dir, Root},
};
use slipway_paths::TreePath;

use crate::place::real_path;

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

/// What stands at a path; a link to a directory is followed. Blocks.
///
/// # Errors
/// When links lead in a circle, or the disk fails.
pub fn find(root: &Root, path: &TreePath) -> io::Result<Option<Found>> {
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
