//! Temporary files that killed processes have left.

use std::{
    fs, io,
    os::unix::{
        fs::{FileTypeExt as _, MetadataExt as _},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use slipway_layers::store::size_of;

use super::account::Account;

/// What is older than this is nobody's, when nothing else tells.
const OLD: Duration = Duration::from_secs(24 * 3600);
/// What is younger is perhaps not listened at yet.
const NEW: Duration = Duration::from_secs(60);
/// Beginnings of the names of directories with sockets, among the system's temporary files.
const SOCKETS: [&str; 2] = ["slipway-ssh-", "slipway-agent-"];
/// Where temporary files are, below a home directory. Directories in it are named by what they are for, and stay.
const ROOMS: [&str; 2] = ["service/tmp", "service/tmp/context"];

/// Removes them. Blocks.
pub(super) fn clean(home: &Path, temporary: &Path, now: SystemTime, dry_run: bool) -> Account {
    let mut account = Account::new("temporary files", format!("{} and {}", home.display(), temporary.display()));
    let mut remove = |kind, path: PathBuf, is_directory: bool| {
        let bytes = size_of(&path);
        let removed = || if is_directory { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        if dry_run || removed().is_ok() {
            account.gone(kind, bytes);
        }
    };
    for directory in entries(temporary).filter(is_ours) {
        let sockets = sockets(&directory.path());
        let dead = match sockets.as_slice() {
            [] => is_older(&directory, OLD, now),
            sockets => is_older(&directory, NEW, now) && sockets.iter().all(|socket| is_dead(socket)),
        };
        if dead {
            remove("directories of ssh agents that have ended", directory.path(), true);
        }
    }
    for file in ROOMS.iter().flat_map(|room| entries(&home.join(room))) {
        if file.file_type().is_ok_and(|kind| !kind.is_dir()) && is_older(&file, OLD, now) {
            remove("files older than a day", file.path(), false);
        }
    }
    account
}

fn entries(directory: &Path) -> impl Iterator<Item = fs::DirEntry> + use<> {
    fs::read_dir(directory).into_iter().flatten().flatten()
}

/// Whether it is a directory for sockets that this user has made.
fn is_ours(entry: &fs::DirEntry) -> bool {
    let named = entry.file_name().to_str().is_some_and(|name| SOCKETS.iter().any(|prefix| name.starts_with(prefix)));
    let own = |about: fs::Metadata| about.is_dir() && about.uid() == rustix::process::geteuid().as_raw();
    named && entry.metadata().is_ok_and(own)
}

fn is_older(entry: &fs::DirEntry, than: Duration, now: SystemTime) -> bool {
    let changed = entry.metadata().and_then(|about| about.modified());
    changed.is_ok_and(|changed| now.duration_since(changed).is_ok_and(|age| age > than))
}

/// The sockets in a directory and those below it.
fn sockets(directory: &Path) -> Vec<PathBuf> {
    let inside = entries(directory).flat_map(|entry| entries(&entry.path()).chain([entry]));
    let sockets = inside.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_socket()));
    sockets.map(|entry| entry.path()).collect()
}

/// Whether nobody listens at a socket any more.
fn is_dead(socket: &Path) -> bool {
    match UnixStream::connect(socket) {
        Ok(_) => false,
        Err(error) => error.kind() == io::ErrorKind::ConnectionRefused,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn what_the_dead_have_left_goes_and_what_lives_stays() {
        let (home, temporary) = (tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory"));
        let at = |name: &str| temporary.path().join(name);
        for name in
            ["slipway-ssh-live", "slipway-ssh-dead", "slipway-agent-dead/tmp", "slipway-ssh-new", "other-ssh-dead"]
        {
            fs::create_dir_all(at(name)).expect("a directory");
        }
        let live = UnixListener::bind(at("slipway-ssh-live/agent")).expect("a socket");
        for name in ["slipway-ssh-dead/agent", "slipway-agent-dead/tmp/agent", "other-ssh-dead/agent"] {
            drop(UnixListener::bind(at(name)).expect("a socket"));
        }
        let room = home.path().join("service/tmp/context");
        fs::create_dir_all(&room).expect("a directory");
        fs::write(room.join("left"), "x").expect("a file");
        let written = fs::metadata(room.join("left")).and_then(|about| about.modified()).expect("a time");
        let hours = |hours: u64| written + Duration::from_secs(hours * 3600);
        let names = || {
            let mut names: Vec<_> = entries(temporary.path()).map(|entry| entry.file_name()).collect();
            names.sort();
            names
        };
        let would = clean(home.path(), temporary.path(), hours(1), true);
        assert_eq!(names().len(), 5);
        assert_eq!(clean(home.path(), temporary.path(), hours(1), false), would);
        assert_eq!(names(), ["other-ssh-dead", "slipway-ssh-live", "slipway-ssh-new"]);
        assert!(room.join("left").exists());
        clean(home.path(), temporary.path(), hours(25), false);
        assert_eq!(names(), ["other-ssh-dead", "slipway-ssh-live"]);
        assert!(room.exists() && !room.join("left").exists());
        drop(live);
        assert!(clean(home.path(), temporary.path(), hours(1), false).text(false).contains("removed: 1 "));
    }
}
