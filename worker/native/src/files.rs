//! Files of an image, read from a mount of its layers.

use std::io;

use slipway_backend::{BackendError, ByteStream, LocalImage, Root as Kind, pipe};
use slipway_layers::Layer;
use slipway_paths::TreePath;
use slipway_rootfs::files::{Found, find};

use crate::{
    Shared,
    driver::{Tree, look},
    error,
    workspace::lowers,
};

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
        let tree = look(&driver, &store, &lowers)?;
        Ok(find(&tree.root, &path)?.map(|found| (found, tree)))
    };
    let found = shared.tasks.blocking(look).await.map_err(|error| error::system(&doing, error))?;
    let (found, tree) =
        found.ok_or_else(|| BackendError::Refused(format!("{doing}: it has no such file: check the path")))?;
    Ok((found.kind(), pipe::stream(&shared.tasks, move |output| write(found, tree, &layers, output))))
}

/// The layers are in use until the last byte.
fn write(found: Found, tree: Tree, _layers: &[Layer], output: &mut pipe::Chunks) -> io::Result<()> {
    let written = found.pack(output);
    // What is open in a tree goes before it.
    drop(found);
    drop(tree);
    written
}
