//! What the kernel does: system calls, overlay mounts.

use std::{fs, io, path::Path};

use rustix::{
    fs::{CWD, Mode, OFlags, ResolveFlags, openat2},
    io::Errno,
    mount::{FsOpenFlags, MountAttrFlags, fsopen},
    process::{PidfdFlags, getpid, pidfd_open},
};
use slipway_layers::{Store, store::Options};
use slipway_process::random_id;

use super::{CHROOT, Finding, ROOTLESS};
use crate::overlay;

/// The oldest kernel on which everything here works.
const WANTED: &str = "use a kernel of version 6.5 or later";

/// The calls that no version number promises: a filter around this process may refuse them too.
pub(super) fn calls() -> Finding {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let open = openat2(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::IN_ROOT).map(drop);
    let watch = pidfd_open(getpid(), PidfdFlags::empty()).map(drop);
    // Without the right to mount, the answer is another one than without the call.
    let mount = match fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC) {
        Err(Errno::NOSYS) => Err(Errno::NOSYS),
        Ok(_) | Err(_) => Ok(()),
    };
    let tried = [("openat2", open), ("pidfd_open", watch), ("fsopen", mount)];
    let missing = tried.into_iter().find_map(|(name, tried)| Some((name, tried.err()?)));
    let finding = match missing {
        None => Finding::works("kernel", format!("Linux {release} has the system calls that builds need")),
        Some((name, error)) => {
            let mend = if error == Errno::PERM { "let the filter of the container allow it" } else { WANTED };
            Finding::fails("kernel", format!("Linux {release}: {name}: {error}"), mend)
        }
    };
    finding.needed_by(&[CHROOT, ROOTLESS])
}

/// An overlay in the place where layers are kept, as root.
pub(super) fn overlay(store: &Path, root: bool) -> Finding {
    const NAME: &str = "overlay";
    if !root {
        return Finding::new(NAME, super::State::Unneeded, "mounted as root only; see user-namespace-overlay");
    }
    let place = store.display();
    let finding = match mounted(store) {
        Ok(()) => Finding::works(NAME, format!("mounted in {place}")),
        Err(error) => {
            let mend = match error.raw_os_error().and_then(|code| u16::try_from(code).ok()) {
                Some(code) => mend(i32::from(code)),
                None => WANTED.to_owned(),
            };
            Finding::fails(NAME, format!("mount an overlay in {place}: {error}"), mend)
        }
    };
    finding.needed_by(&[CHROOT])
}

fn mend(code: i32) -> String {
    match Errno::from_raw_os_error(code) {
        Errno::NODEV => "modprobe overlay".to_owned(),
        Errno::PERM | Errno::ACCESS => "run as root, in a container with --privileged".to_owned(),
        Errno::NOSPC => "free some space there, or choose another place with --home-dir".to_owned(),
        Errno::INVAL => {
            format!("choose a place on ext4 or xfs with --home-dir (not another overlay or a network's); or {WANTED}")
        }
        _ => "choose a writable place on ext4 or xfs with --home-dir".to_owned(),
    }
}

fn mounted(store: &Path) -> io::Result<()> {
    let store = Store::open(store, &Options { limit: None })?;
    let work = store.work(&format!("check-{}", random_id()))?;
    let (upper, scratch) = (work.path().join("upper"), work.path().join("scratch"));
    fs::create_dir(&upper)?;
    fs::create_dir(&scratch)?;
    let writable = overlay::Writable { upper: &upper, work: &scratch };
    overlay::mount(&store.empty(), Some(writable), MountAttrFlags::empty()).map(drop)
}
