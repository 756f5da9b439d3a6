//! `COPY` and `ADD`, as far as they are instructions: what they read, and how it comes into an image, is the matter of `copy`.

use std::sync::Arc;

use slipway_backend::{BackendError, dockerfile::history};
use slipway_dockerfile::Files;
use slipway_layers::root::Root;

use super::{
    Build, base,
    cache::{self, Key},
    copy::{self, Ground, Selected},
    cursor::Cursor,
    held::Held,
    step::Place,
};
use crate::{commit, error, stubs::Places, workspace::Room};

/// Copies files into the image.
pub(super) async fn put(
    build: &Build,
    cursor: &mut Cursor,
    place: &Place<'_>,
    files: &Files,
) -> Result<(), BackendError> {
    let selected = select(build, place, files).await.map_err(|error| place.told(error))?;
    let by = history::files(files);
    if files.link {
        return apart(build, cursor, place, (files, selected, &by)).await;
    }
    let mut key = Key::new("files", cursor);
    let (chown, chmod) = (files.chown.as_deref().unwrap_or_default(), files.chmod.as_deref().unwrap_or_default());
    let options = format!("{} {:?}", files.add, files.unpack);
    key.list([cursor.directory(), &files.to, chown, chmod, &options, selected.checksum()]);
    key.list(files.exclude.iter().map(String::as_str));
    let shared = Arc::clone(&build.shared);
    let directory = cursor.directory().to_owned();
    let name = build.room_name();
    cache::through(build, cursor, place, (key, &by), async |cursor| {
        let layers = cursor.layers.clone();
        let (owned, below) = (Arc::clone(&shared), layers.clone());
        let make = move || Room::make(&owned, &below, &name, &Places::default()).map(Arc::new);
        let room = Held::new(&shared.tasks, shared.tasks.blocking(make).await?);
        copy::put(&shared, selected, files, &room.get(), &directory).await?;
        commit::layer(&shared, room.take(), &layers, || ()).await
    })
    .await
}

/// Copies files into a layer that knows nothing of those below it, so that it is the same on all of them.
async fn apart(
    build: &Build,
    cursor: &mut Cursor,
    place: &Place<'_>,
    (files, selected, by): (&Files, Selected, &str),
) -> Result<(), BackendError> {
    let shared = Arc::clone(&build.shared);
    let owner = copy::owner_on(&shared, files, &cursor.layers).await.map_err(|error| place.told(error))?;
    let mut key = Key::apart("linked files", cursor);
    let options = format!("{} {:?} {owner:?}", files.add, files.unpack);
    let chmod = files.chmod.as_deref().unwrap_or_default();
    key.list([cursor.directory(), &files.to, chmod, &options, selected.checksum()]);
    key.list(files.exclude.iter().map(String::as_str));
    let (directory, name) = (cursor.directory().to_owned(), build.room_name());
    cache::through(build, cursor, place, (key, by), async |cursor| {
        copy::apart(&shared, selected, (files, owner), (name, &directory), &cursor.layers).await
    })
    .await
}

async fn select(build: &Build, place: &Place<'_>, files: &Files) -> Result<Selected, BackendError> {
    let ground = match &files.from {
        Some(from) => Ground::Layers(base::layers(build, place.stage, place.written.line, from).await?),
        // Here-documents and addresses need no context.
        None if files.needs_context() => Ground::Context(build.context().await?),
        None => Ground::Layers(Vec::new()),
    };
    copy::select(&build.shared, files, ground, build.room_name()).await
}

/// What is read of a part of the context.
pub(super) async fn sum(build: &Build, source: &str) -> Result<String, BackendError> {
    let (directory, source) = (build.context().await?, source.to_owned());
    let read = move || {
        let root = Root::open(&directory).map_err(|error| error::system("open the build context", error))?;
        copy::sum_tree(&root, &source)
    };
    build.shared.tasks.blocking(read).await
}
