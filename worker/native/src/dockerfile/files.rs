//! `COPY` and `ADD`, as far as they are instructions: which files, and where they go, is the matter of `copy`.

use std::path::Path;
use std::sync::Arc;

use slipway_backend::{BackendError, ByteStream, DockerfileBuild};
use slipway_dockerfile::Files;

use super::{Build, cursor::Cursor, step::Place};
use crate::Shared;

pub(super) async fn unpack(
    _shared: &Arc<Shared>,
    _build: &DockerfileBuild,
    _archive: ByteStream,
    _directory: &Path,
) -> Result<(), BackendError> {
    Err(BackendError::Refused("not supported yet: COPY".to_owned()))
}

/// What is read of a part of the context.
pub(super) async fn sum(_shared: &Arc<Shared>, _directory: &Path, _source: &str) -> Result<String, BackendError> {
    Err(BackendError::Refused("not supported yet: bind mounts of the context".to_owned()))
}

pub(super) async fn put(
    build: &Build,
    _cursor: &mut Cursor,
    place: &Place<'_>,
    _files: &Files,
) -> Result<(), BackendError> {
    build.context().await.map_err(|error| place.told(error))?;
    Ok(())
}
