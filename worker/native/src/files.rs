//! Files of an image, read from a mount of its layers.

use std::io;

use rustix::fs::FileType;
use slipway_backend::{BackendError, ByteStream, LocalImage, Root as Kind};
use slipway_layers::{
    Layer,
    pack::{View, pack, pack_file},
    root::{Dir, Root},
};
use slipway_paths::TreePath;

use crate::{Shared, driver::Tree, error, pipe, place::real_path, workspace::lowers};

/// Files below the absolute path `path`. A symbolic link to a directory is followed; one to a file is the file.
pub(crate) async fn files(shared: &Shared, image: &LocalImage, path: &str) -> Result<(Kind, ByteStream), BackendError> {
    let doing = format!("read {path} of the image {}", image.id);
    if !path.starts_with('/') {
        return Err(BackendError::Refused(format!(
            "files of an image cannot be read from `{path}`: it is not absolute"
        )));
    }
    let path = TreePath::new(path).map_err(|error| BackendError::Refused(format!("{doing}: {error}")))?;
    let (_, layers) = shared.image(image).await?;
    let lowers = lowers(shared, &layers);
    let (driver, store) = (shared.driver.clone(), shared.store.clone());
    let look = move || -> io::Result<Option<(Found, Tree)>> {
        let tree = driver.look(&store, &lowers)?;
        Ok(find(&tree.root, &path)?.map(|found| (found, tree)))
    };
    let found = shared.tasks.blocking(look).await.map_err(|error| error::system(&doing, error))?;
    let (found, tree) =
        found.ok_or_else(|| BackendError::Refused(format!("{doing}: it has no such file: check the path")))?;
    Ok((found.kind(), pipe::stream(&shared.tasks, move |output| write(found, tree, &layers, output))))
}

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
    pub fn pack(&self, output: &mut pipe::Chunks) -> io::Result<()> {
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

/// The layers are in use until the last byte.
fn write(found: Found, tree: Tree, _layers: &[Layer], output: &mut pipe::Chunks) -> io::Result<()> {
    let written = found.pack(output);
    // What is open in a tree goes before it.
    drop(found);
    drop(tree);
    written
}
