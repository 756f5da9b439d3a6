//! `WORKDIR`.

use std::{io, sync::Arc};

use rustix::fs::FileType;
use slipway_backend::BackendError;
use slipway_layers::root::Root;
use slipway_paths::TreePath;

use super::{
    Build,
    cache::{self, Key},
    copy::owner,
    cursor::Cursor,
    step::Place,
};
use crate::{
    commit, error,
    place::{make, real_path},
    stubs::Places,
    workspace::Room,
};

/// Names a directory for what follows, and makes it.
pub(super) async fn enter(
    build: &Build,
    cursor: &mut Cursor,
    place: &Place<'_>,
    path: &str,
) -> Result<(), BackendError> {
    let directory = joined(cursor.directory(), path);
    let by = format!("WORKDIR {directory}");
    cursor.config.config.working_dir.clone_from(&directory);
    let mut key = Key::new("workdir", cursor);
    let user = cursor.config.config.user.clone();
    key.list([directory.as_str(), &user]);
    let (shared, name) = (Arc::clone(&build.shared), build.room_name());
    cache::through(build, cursor, place, (key, &by), async |cursor| {
        let layers = cursor.layers.clone();
        let (owned, below) = (Arc::clone(&shared), layers.clone());
        let make = move || -> Result<Arc<Room>, BackendError> {
            let room = Arc::new(Room::make(&owned, &below, &name, &Places::default())?);
            let owner = if user.is_empty() { (0, 0) } else { owner::of(&room.tree.root, &user)? };
            ensure(&room, &directory, owner)?;
            Ok(room)
        };
        let room = shared.tasks.blocking(make).await?;
        commit::layer(&shared, room, &layers, || ()).await
    })
    .await
}

/// The absolute path that `path` means in `directory`, in its shortest form.
pub(super) fn joined(directory: &str, path: &str) -> String {
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{directory}/{path}") };
    let mut kept: Vec<&str> = Vec::new();
    for segment in whole.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    format!("/{}", kept.join("/"))
}

/// Makes a directory of the image, and those above it, where they are missing. Blocks.
pub(super) fn ensure(room: &Room, directory: &str, owner: (u32, u32)) -> Result<(), BackendError> {
    let root = &room.tree.root;
    let system = |error| error::system(&format!("make the directory {directory}"), error);
    let refused = || BackendError::Refused(format!("{directory} is no directory of the image"));
    let path = TreePath::new(directory).map_err(|error| BackendError::Refused(format!("{directory}: {error}")))?;
    let real = real_path(root, &path).map_err(|_| refused())?;
    match root.look(real.as_bytes()).map_err(system)? {
        Some(found) if FileType::from_raw_mode(found.st_mode) == FileType::Directory => Ok(()),
        Some(_) => Err(refused()),
        None => make_all(root, &real, owner).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotADirectory => refused(),
            _ => system(error),
        }),
    }
}

/// Makes a directory and those above it, all of one owner.
fn make_all(root: &Root, path: &TreePath, owner: (u32, u32)) -> io::Result<()> {
    if let Some(above) = path.parent().filter(|above| !above.is_root()) {
        make_all(root, &above, owner)?;
    }
    make(root, path, owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined() {
        let cases =
            [("/", "a", "/a"), ("/a", "../b/./c/", "/b/c"), ("/a", "/b", "/b"), ("/", "..", "/"), ("/x", "", "/x")];
        for (directory, path, expected) in cases {
            assert_eq!(joined(directory, path), expected, "{directory} {path}");
        }
    }
}
