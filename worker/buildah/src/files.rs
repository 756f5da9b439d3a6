//! Files of an image, read from a container that never runs.

use std::{io, sync::Arc};

use slipway_backend::{BackendError, ByteStream, LocalImage, Root as Kind, pipe};
use slipway_paths::TreePath;
use slipway_process::random_id;
use slipway_rootfs::files::find;

use crate::{container::Container, error::system, program::Program};

/// Files below the absolute path `path`. A symbolic link to a directory is followed; one to a file is the file.
pub(crate) async fn files(
    program: &Arc<Program>,
    image: &LocalImage,
    path: &str,
) -> Result<(Kind, ByteStream), BackendError> {
    let doing = format!("read {path} of the image {}", image.id);
    if !path.starts_with('/') {
        return Err(BackendError::Refused(format!(
            "files of an image cannot be read from `{path}`: it is not absolute"
        )));
    }
    let path = TreePath::new(path).map_err(|error| BackendError::Refused(format!("{doing}: {error}")))?;
    let container = Container::create(program, &format!("files-{}", random_id()), Some(image), &[]).await?;
    let root = container.root()?;
    let found = program.tasks.blocking(move || find(&root, &path)).await.map_err(|error| system(&doing, error))?;
    let found = found.ok_or_else(|| BackendError::Refused(format!("{doing}: it has no such file: check the path")))?;
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
