//! What commands see of the host beside its system: opened while the host's paths lead there, placed in the root.

use std::{
    fs::{self, File},
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, FileType, fstat, statvfs},
    mount::{MountFlags, OpenTreeFlags, open_tree},
};
use slipway_backend::HostMount;
use slipway_layers::userns;

use super::init::{LACKS, guarded, place};

/// Opens what is to be mounted; what other file systems hold below it is not seen.
pub(super) fn open(mounts: Vec<HostMount>) -> io::Result<Vec<(HostMount, OwnedFd)>> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    if userns::inside() {
        // Without root nothing may be uncovered: what is mounted below comes along.
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    let one = |mount: HostMount| match open_tree(CWD, &mount.source, flags) {
        Ok(opened) => Ok((mount, opened)),
        Err(error) => Err(about(&mount, error.into())),
    };
    mounts.into_iter().map(one).collect()
}

/// Puts everything to its place, what lies deeper last.
pub(super) fn place_all(mut mounts: Vec<(HostMount, OwnedFd)>) -> io::Result<()> {
    in_order(&mut mounts);
    for (mount, opened) in mounts {
        let target = Path::new(&mount.target);
        let placed = make_room(&opened, target).and_then(|()| place(&opened, target));
        placed.and_then(|()| restrict(target, mount.read_only)).map_err(|error| about(&mount, error))?;
    }
    Ok(())
}

/// The root has a place for everything, but what is mounted over it may lack one for what is mounted in it.
fn make_room(opened: &OwnedFd, target: &Path) -> io::Result<()> {
    if target.exists() {
        return Ok(());
    }
    if FileType::from_raw_mode(fstat(opened)?.st_mode) == FileType::Directory {
        return fs::create_dir_all(target);
    }
    target.parent().map_or(Ok(()), fs::create_dir_all)?;
    File::create(target).map(drop)
}

/// A mount where a runtime finds it.
pub(super) struct Waiting {
    /// Absolute path in the container.
    pub(super) target: String,
    /// Where it is now.
    pub(super) source: PathBuf,
    /// What it lacks, as runtimes call it.
    pub(super) lacks: Vec<&'static str>,
}

/// Puts everything to a place of its own in a new directory, for a runtime to take it from there, in the right order.
pub(super) fn wait_in(directory: &Path, mut mounts: Vec<(HostMount, OwnedFd)>) -> io::Result<Vec<Waiting>> {
    fs::create_dir(directory)?;
    in_order(&mut mounts);
    let one = |(number, (mount, opened)): (usize, (HostMount, OwnedFd))| {
        let source = directory.join(number.to_string());
        let lacks = make_room(&opened, &source)
            .and_then(|()| place(&opened, &source))
            .and_then(|()| restrict(&source, mount.read_only))
            .and_then(|()| lacks(&source));
        let lacks = lacks.map_err(|error| about(&mount, error))?;
        Ok(Waiting { target: mount.target, source, lacks })
    };
    mounts.into_iter().enumerate().map(one).collect()
}

/// What lies deeper comes last.
fn in_order(mounts: &mut [(HostMount, OwnedFd)]) {
    mounts.sort_by_key(|(mount, _)| mount.target.split('/').count());
}

/// Devices are never opened through it; the restrictions that it has on the host stay.
fn restrict(at: &Path, read_only: bool) -> io::Result<()> {
    let mut flags = MountFlags::NODEV;
    flags.set(MountFlags::RDONLY, read_only);
    guarded(at, flags)
}

fn lacks(at: &Path) -> io::Result<Vec<&'static str>> {
    let found = statvfs(at)?.f_flag;
    Ok(LACKS.into_iter().filter(|(has_it, ..)| found.contains(*has_it)).map(|(.., name)| name).collect())
}

fn about(mount: &HostMount, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{} at {}: {error}", mount.source.display(), mount.target))
}
