//! Overlay mounts that have no place: held by a descriptor, gone with it.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::{
    fs::{CWD, Mode, OFlags, openat},
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount,
        fsopen,
    },
};
use slipway_layers::userns;

/// The writable part of a mount; both directories are on one file system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writable<'a> {
    /// Where changes go.
    pub(crate) upper: &'a Path,
    /// Overlay's own.
    pub(crate) work: &'a Path,
}

/// Mounts directories over each other, the topmost first. Without a writable part the mount is read-only, and at least
/// two directories are needed.
pub(crate) fn mount(
    lowers: &[PathBuf],
    writable: Option<Writable<'_>>,
    attributes: MountAttrFlags,
) -> io::Result<OwnedFd> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    configure(&context, lowers, writable).map_err(|error| explained(&context, error))?;
    Ok(fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

fn configure(context: &OwnedFd, lowers: &[PathBuf], writable: Option<Writable<'_>>) -> io::Result<()> {
    // By descriptor: a path may be longer than the 255 bytes that a value may have, and need escapes.
    let mut held = Vec::with_capacity(lowers.len() + 2);
    let mut set = |key: &str, path: &Path| -> io::Result<()> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = openat(CWD, path, flags, Mode::empty())?;
        fsconfig_set_string(context.as_fd(), key, format!("/proc/self/fd/{}", directory.as_raw_fd()))?;
        held.push(directory);
        Ok(())
    };
    for lower in lowers {
        set("lowerdir+", lower)?;
    }
    if let Some(writable) = writable {
        set("upperdir", writable.upper)?;
        set("workdir", writable.work)?;
        // What a killed build leaves is thrown away: nothing of it needs to reach the disk.
        fsconfig_set_flag(context.as_fd(), "volatile")?;
    }
    // Layers of ours are read by others too: nothing in them may need these.
    for option in ["index", "metacopy"] {
        fsconfig_set_string(context.as_fd(), option, "off")?;
    }
    // Without root its marks are attributes of users, and links of directories must not even be followed.
    let links = if userns::inside() { "nofollow" } else { "off" };
    if userns::inside() {
        fsconfig_set_flag(context.as_fd(), "userxattr")?;
    }
    fsconfig_set_string(context.as_fd(), "redirect_dir", links)?;
    Ok(fsconfig_create(context.as_fd())?)
}

/// The kernel says what is wrong by a message, if at all.
fn explained(context: &OwnedFd, error: io::Error) -> io::Error {
    let mut text = Vec::new();
    let mut buffer = [0; 512];
    if let Ok(mut messages) = context.try_clone().map(File::from) {
        while let Ok(count @ 1..) = messages.read(&mut buffer) {
            text.extend_from_slice(&buffer[..count]);
            text.extend_from_slice(b"; ");
        }
    }
    let text = String::from_utf8_lossy(&text).replace('\n', " ");
    if text.is_empty() {
        error
    } else {
        io::Error::new(error.kind(), format!("{error} ({})", text.trim_end_matches("; ")))
    }
}
