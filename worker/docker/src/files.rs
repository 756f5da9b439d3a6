//! Files of an image, read from a container that never starts.

use bollard::{models::ContainerCreateBody, query_parameters::DownloadFromContainerOptions};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use slipway_backend::{
    BackendError, ByteStream, LocalImage, Root,
    retar::{self, Rewrite},
    script::TOOLBOX_BIN,
};
use slipway_process::random_id;

use crate::{
    container::{Container, Found, Shared},
    engine::Engine,
};

/// Files below the absolute path `path`. A symbolic link to a directory is followed; one to a file is the file.
pub(crate) async fn files(engine: &Engine, image: &LocalImage, path: &str) -> Result<(Root, ByteStream), BackendError> {
    if !path.starts_with('/') {
        return Err(BackendError::Refused(format!(
            "files of an image cannot be read from `{path}`: it is not absolute"
        )));
    }
    let path = match path.trim_end_matches('/') {
        "" => "/",
        trimmed => trimmed,
    };
    let body = ContainerCreateBody {
        image: Some(image.id.to_string()),
        // Never started, but the engine wants one.
        entrypoint: Some(vec![format!("{TOOLBOX_BIN}/true")]),
        ..ContainerCreateBody::default()
    };
    let container = Shared::new(Container::create(engine, &format!("files-{}", random_id()), body).await?);
    let (root, path) = match container.look(path).await? {
        Found::Missing => {
            let why = format!("the image {} has no {path}: check the path", image.id);
            return Err(BackendError::Refused(why));
        }
        Found::Directory => (Root::Directory, path.to_owned()),
        Found::File => (Root::File, path.to_owned()),
        Found::Link(end) => match container.look(&end).await? {
            Found::Directory => (Root::Directory, end),
            Found::File | Found::Link(_) | Found::Missing => (Root::File, path.to_owned()),
        },
    };
    // The engine's names begin with the last segment of the path, except below the root.
    let strip = usize::from(root == Root::Directory && path != "/");
    let raw = download(container, if path == "/" { "/.".to_owned() } else { path });
    Ok((root, retar::stream(raw, Rewrite { strip, ..Rewrite::default() })))
}

/// The engine's archive of a path; the container lives as long as the stream.
fn download(container: Shared, path: String) -> ByteStream {
    let options = DownloadFromContainerOptions { path };
    let parts = container.engine().docker.download_from_container(container.name(), Some(options));
    let parts = parts.map_err(std::io::Error::other).boxed();
    let held = stream::unfold((parts, container), |(mut parts, container)| async move {
        let part = parts.next().await?;
        Some((part, (parts, container)))
    });
    held.boxed()
}
