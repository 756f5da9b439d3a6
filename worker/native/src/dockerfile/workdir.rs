//! `WORKDIR`.

use std::sync::Arc;

use slipway_backend::BackendError;
use slipway_rootfs::place::directory as made;

use super::{
    Build,
    cache::{self, Key},
    cursor::Cursor,
    step::Place,
};
use crate::{commit, stubs::Places, workspace::Room};

/// Names a directory for what follows, and makes it.
pub(super) async fn enter(
    build: &Build,
    cursor: &mut Cursor,
    place: &Place<'_>,
    path: &str,
) -> Result<(), BackendError> {
    let by = cursor.enter(path);
    let directory = cursor.directory().to_owned();
    let mut key = Key::new("workdir", cursor);
    let user = cursor.config.config.user.clone();
    key.list([directory.as_str(), &user]);
    let (shared, name) = (Arc::clone(&build.shared), build.room_name());
    cache::through(build, cursor, place, (key, &by), async |cursor| {
        let layers = cursor.layers.clone();
        let (owned, below) = (Arc::clone(&shared), layers.clone());
        let make = move || -> Result<Arc<Room>, BackendError> {
            let room = Arc::new(Room::make(&owned, &below, &name, &Places::default())?);
            made(&room.tree.root, &directory, &user)?;
            Ok(room)
        };
        let room = shared.tasks.blocking(make).await?;
        commit::layer(&shared, room, &layers, || ()).await
    })
    .await
}
