//! Files of an image, read from a container that never runs.

use std::{io, sync::Arc};

use slipway_backend::{BackendError, ByteStream, LocalImage, Root as Kind, pipe};
use slipway_process::random_id;
use slipway_rootfs::files::{find, wanted};

use crate::{container::Container, program::Program};

/// Files below the absolute path `path`. A symbolic link to a directory is followed; one to a file is the file.
pub(crate) async fn files(
    program: &Arc<Program>,
    image: &LocalImage,
    path: &str,
) -> Result<(Kind, ByteStream), BackendError> {
    let doing = format!("read {path} of the image {}", image.id);
    let path = wanted(path, &doing)?;
    let container = Container::create(program, &format!("files-{}", random_id()), Some(image), &[]).await?;
    let root = container.root()?;
    let found = program.tasks.blocking(move || find(&root, &path, &doing)).await?;
    let kind = found.kind();
    let write = move |output: &mut pipe::Chunks| -> io::Result<()> {
        let written = found.pack(output);
        // What is open in a container goes before it.
        drop(found);
        drop(container);
        written
    };
    Ok((kind, pipe::stream(&program.tasks, write)))
}
