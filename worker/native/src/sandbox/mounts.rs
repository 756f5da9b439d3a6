//! What commands see of the host beside its system: opened while the host's paths lead there, placed in the root.

use std::{
    fs::{self, File},
    io,
    os::fd::OwnedFd,
    path::Path,
};

use rustix::{
    fs::{CWD, FileType, StatVfsMountFlags, fstat, statvfs},
    mount::{MountFlags, OpenTreeFlags, mount_remount, open_tree},
};
use slipway_backend::HostMount;
use slipway_layers::userns;

use super::init::place;

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
    mounts.sort_by_key(|(mount, _)| mount.target.split('/').count());
    for (mount, opened) in mounts {
        let placed = make_room(&opened, Path::new(&mount.target)).and_then(|()| place(&opened, &mount.target));
        placed.and_then(|()| restrict(&mount)).map_err(|error| about(&mount, error))?;
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

/// Devices are never opened through it; the restrictions that it has on the host stay.
fn restrict(mount: &HostMount) -> io::Result<()> {
    let found = statvfs(&mount.target)?.f_flag;
    let mut flags = MountFlags::BIND | MountFlags::NODEV;
    let kept = [
        (StatVfsMountFlags::RDONLY, MountFlags::RDONLY),
        (StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
    ];
    for (on_host, flag) in kept {
        flags.set(flag, found.contains(on_host));
    }
    if mount.read_only {
        flags |= MountFlags::RDONLY;
    }
    Ok(mount_remount(&mount.target, flags, c"")?)
}

fn about(mount: &HostMount, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{} at {}: {error}", mount.source.display(), mount.target))
}
