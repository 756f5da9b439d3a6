//! Files of an image, read from a mount of its layers.

use std::io;

use slipway_backend::{BackendError, ByteStream, LocalImage, Root as Kind, pipe};
use slipway_layers::Layer;
use slipway_rootfs::files::{Found, find, wanted};

use crate::{
    Shared,
    driver::{Tree, look},
    error,
    workspace::lowers,
};

/// Files below the absolute path `path`. A symbolic link to a directory is followed; one to a file is the file.
pub(crate) async fn files(shared: &Shared, image: &LocalImage, path: &str) -> Result<(Kind, ByteStream), BackendError> {
    let doing = format!("read {path} of the image {}", image.id);
    let path = wanted(path, &doing)?;
    let (_, layers) = shared.image(image).await?;
    let lowers = lowers(shared, &layers);
    let (driver, store) = (shared.driver.clone(), shared.store.clone());
    let open = move || -> Result<(Found, Tree), BackendError> {
        let tree = look(&driver, &store, &lowers).map_err(|error| error::system(&doing, error))?;
        Ok((find(&tree.root, &path, &doing)?, tree))
    };
    let (found, tree) = shared.tasks.blocking(open).await?;
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
