//! The init: builds the root from the inside, gives up its rights, becomes the shell.

use std::{
    fs::{self, File},
    io::{self, IoSliceMut, Read as _, Seek as _, Write as _},
    mem::MaybeUninit,
    os::fd::{AsFd, OwnedFd},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{ExitCode, Stdio},
};

use rustix::{
    fs::{CWD, Mode, StatVfsMountFlags, statvfs},
    mount::{
        FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
        UnmountFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount_bind, mount_change, mount_remount,
        move_mount, open_tree, unmount,
    },
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, recvmsg, send},
    process::{Signal, ioctl_tiocsctty, pivot_root, set_parent_process_death_signal, setsid, umask},
    system::sethostname,
};
use slipway_layers::userns;
use slipway_process::child::command;
use slipway_rootfs::toolbox::MOUNT;

use super::{BROKEN, Spec, filter, handover::become_runtime, mounts, rights, seen, start::MOST_WHOLE};
use crate::overlay;

/// Parts of `/proc` and `/sys` that tell of the host or change it: hidden.
pub(super) const HIDDEN: [&str; 12] = [
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];
/// Parts that may be read only.
pub(super) const READ_ONLY: [&str; 5] = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];
/// Devices of every system.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
/// Links of `/dev`.
const LINKS: [(&str, &str); 5] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
];
/// What mounts may lack: as it is found, as it is asked for, and as runtimes call it.
pub(super) const LACKS: [(StatVfsMountFlags, MountFlags, &str); 7] = [
    (StatVfsMountFlags::RDONLY, MountFlags::RDONLY, "ro"),
    (StatVfsMountFlags::NOSUID, MountFlags::NOSUID, "nosuid"),
    (StatVfsMountFlags::NODEV, MountFlags::NODEV, "nodev"),
    (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC, "noexec"),
    (StatVfsMountFlags::NOATIME, MountFlags::NOATIME, "noatime"),
    (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME, "nodiratime"),
    (StatVfsMountFlags::RELATIME, MountFlags::RELATIME, "relatime"),
];
/// A directory that every Linux has: the root is mounted there for a moment.
pub(super) const ANYWHERE: &str = "/sys";

pub(super) type Step<T> = Result<T, (&'static str, io::Error)>;

/// Runs until the shell takes over; what goes wrong before is told to the worker.
pub(super) fn run() -> ExitCode {
    // Standard input is the socket to the worker. A copy remains until the shell runs.
    let told = io::stdin().as_fd().try_clone_to_owned();
    let (doing, error) = match become_shell() {
        Ok(code) => return code,
        Err(why) => why,
    };
    if let Ok(socket) = told {
        let _ = send(&socket, format!("{doing}: {error}").as_bytes(), SendFlags::NOSIGNAL);
    }
    ExitCode::from(BROKEN)
}

/// Names what was being done when something failed.
pub(super) fn step<T, E: Into<io::Error>>(doing: &'static str, result: Result<T, E>) -> Step<T> {
    result.map_err(|error| (doing, error.into()))
}

/// Comes back only when there is no shell: with the code to end with, or why it cannot be told by one.
fn become_shell() -> Step<ExitCode> {
    step("bind the sandbox to its parent", set_parent_process_death_signal(Some(Signal::KILL)))?;
    let ([root, spec, script], whole) = step("take the root over", receive())?;
    let mut spec = step("read the sandbox's description", read_spec(spec))?;
    step("make mounts private", mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC))?;
    if let Some((runtime, directory)) = &spec.runtime {
        return become_runtime(runtime, directory, &spec, ([root, script], whole)).map(|never| match never {});
    }
    let toolbox = step("mount the toolbox", toolbox(&spec))?;
    let files = step("open the files of the host", host_files(&spec))?;
    let mut mounts = step("open what is mounted", mounts::open(std::mem::take(&mut spec.mounts)))?;
    mounts.extend(step("open what is seen", seen::open(&spec, whole))?);
    let systems = step("make /proc and /sys", Systems::make())?;
    step("enter the root", enter(&root))?;
    drop(root);
    umask(Mode::empty());
    step("mount /proc, /dev and /sys", systems.place())?;
    if let Some(toolbox) = &toolbox {
        step("place the toolbox", place_toolbox(toolbox, Path::new(MOUNT)))?;
    }
    for (path, file) in files {
        // A link of the image that leads nowhere has no place for it.
        let _ = place(&file, &path);
    }
    step("hide parts of /proc", hide())?;
    umask(Mode::from_raw_mode(0o022));
    step("mount", mounts::place_all(mounts))?;
    step("name the machine", sethostname(spec.hostname.as_bytes()))?;
    let program = step("start the build shell", spec.command.first().ok_or(io::ErrorKind::InvalidInput))?;
    let mut shell = command(program);
    shell.args(&spec.command[1..]).env_clear().envs(&spec.variables).stdin(Stdio::from(script));
    step("enter the working directory", std::env::set_current_dir(&spec.directory))?;
    if spec.interactive {
        step("take the terminal", take_terminal())?;
    }
    step("give up rights", rights::give_up(spec.raw))?;
    if let Some(user) = &spec.user {
        step("become the user", rights::take_on(user))?;
        // The kernel forgets it when ids change.
        step("bind the sandbox to its parent", set_parent_process_death_signal(Some(Signal::KILL)))?;
    }
    step("set the filter of system calls", filter::set())?;
    let error = shell.exec();
    if spec.toolbox.is_none()
        && let Some(code) = lacks_program(program, &error)
    {
        return Ok(code);
    }
    Err(("start the build shell", error))
}

/// What cannot be started of an image is the user's to mend: told and ended as shells do it.
fn lacks_program(program: &str, error: &io::Error) -> Option<ExitCode> {
    let code = match error.kind() {
        io::ErrorKind::NotFound => 127,
        io::ErrorKind::PermissionDenied => 126,
        _ if error.raw_os_error() == Some(libc::ENOEXEC) => 126,
        _ => return None,
    };
    // Its output may be closed.
    let _ = writeln!(io::stderr(), "{program}: {error}");
    Some(ExitCode::from(code))
}

/// The root's mount, the description and the script, in this order; and what parts are seen of.
fn receive() -> io::Result<([OwnedFd; 3], Vec<OwnedFd>)> {
    let mut byte = [0_u8; 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3 + MOST_WHOLE))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(io::stdin(), &mut [IoSliceMut::new(&mut byte)], &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut found = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            found.extend(descriptors);
        }
    }
    let mut found = found.into_iter();
    let first: Vec<OwnedFd> = found.by_ref().take(3).collect();
    let first = first.try_into().map_err(|_| io::Error::other("the worker sent something else"))?;
    Ok((first, found.collect()))
}

fn read_spec(spec: OwnedFd) -> io::Result<Spec> {
    let mut file = File::from(spec);
    let mut bytes = Vec::new();
    file.rewind()?;
    file.read_to_end(&mut bytes)?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// The terminal becomes the one of a session of its own, so that some keys reach the shell as signals.
fn take_terminal() -> io::Result<()> {
    setsid()?;
    Ok(ioctl_tiocsctty(io::stdout())?)
}

/// Overlay without a writable part is read-only whatever is done to it. Where there is none, the directory itself is what
/// [`guarded`] keeps from being written; nothing is beside it then.
pub(super) fn toolbox(spec: &Spec) -> io::Result<Option<OwnedFd>> {
    let Some(toolbox) = &spec.toolbox else { return Ok(None) };
    if !spec.overlays {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        return Ok(Some(open_tree(CWD, toolbox, flags)?));
    }
    let attributes =
        MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let lowers: Vec<_> = spec.tools.iter().chain([toolbox, &spec.empty]).cloned().collect();
    overlay::mount(&lowers, None, attributes).map(Some)
}

/// Takes rights from a mount at its place, beside those that it lacks already.
pub(super) fn guarded(at: &Path, more: MountFlags) -> io::Result<()> {
    let has = statvfs(at)?.f_flag;
    let kept = LACKS.into_iter().filter(|(has_it, ..)| has.contains(*has_it));
    let flags = kept.fold(MountFlags::BIND | more, |all, (_, flag, _)| all | flag);
    Ok(mount_remount(at, flags, c"")?)
}

fn host_files(spec: &Spec) -> io::Result<Vec<(String, OwnedFd)>> {
    let clone = |path: &Path| open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC);
    spec.files.iter().map(|(to, from)| Ok((to.clone(), clone(from)?))).collect()
}

/// Makes a mount the root and forgets the old one. From here on no path leads to the host.
fn enter(root: &OwnedFd) -> io::Result<()> {
    place(root, ANYWHERE)?;
    // A copy of layers lies in a file system of the host, where nodes of devices open.
    guarded(Path::new(ANYWHERE), MountFlags::NODEV)?;
    std::env::set_current_dir(ANYWHERE)?;
    pivot_root(".", ".")?;
    unmount(".", UnmountFlags::DETACH)?;
    std::env::set_current_dir("/")
}

/// Places the toolbox, where nobody writes to it.
pub(super) fn place_toolbox(toolbox: &OwnedFd, at: &Path) -> io::Result<()> {
    place(toolbox, at)?;
    guarded(at, MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV)
}

pub(super) fn place(mount: &impl AsFd, at: impl AsRef<Path>) -> io::Result<()> {
    Ok(move_mount(mount.as_fd(), "", CWD, at.as_ref(), MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?)
}

/// What is made while the host's is still seen: the kernel gives a process without root no view of processes that it does
/// not have already. Devices are the host's own, one by one: where commands can make nodes, none opens anything.
pub(super) struct Systems {
    processes: OwnedFd,
    devices: Vec<OwnedFd>,
    system: OwnedFd,
    is_foreign: bool,
}

impl Systems {
    pub(super) fn make() -> io::Result<Self> {
        let processes = made("proc", &[], nothing())?;
        let system = made("sysfs", &[], nothing() | MountAttrFlags::MOUNT_ATTR_RDONLY);
        let one = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let devices = DEVICES.iter().map(|name| open_tree(CWD, format!("/dev/{name}"), one));
        let (system, is_foreign) = match system {
            Ok(made) => (made, false),
            Err(error) if !userns::inside() => return Err(error),
            // It is the network's, and that of the host is not ours: its owner keeps it from being written.
            Err(_) => (open_tree(CWD, "/sys", one | OpenTreeFlags::AT_RECURSIVE)?, true),
        };
        Ok(Self { processes, devices: devices.collect::<Result<_, _>>()?, system, is_foreign })
    }

    /// Whether `/sys` is that of the host.
    pub(super) fn is_foreign(&self) -> bool {
        self.is_foreign
    }

    /// Mounts the view of processes.
    pub(super) fn processes(&self, at: &Path) -> io::Result<()> {
        place(&self.processes, at)
    }

    /// Makes a `/dev`, but for what is mounted in it.
    pub(super) fn devices(&self, at: &Path) -> io::Result<()> {
        let quiet = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
        place(&made("tmpfs", &[("mode", "755"), ("size", "65536k")], quiet)?, at)?;
        for (name, device) in DEVICES.iter().zip(&self.devices) {
            let path = at.join(name);
            File::create(&path)?;
            place(device, &path)?;
        }
        for (name, to) in LINKS {
            std::os::unix::fs::symlink(to, at.join(name))?;
        }
        ["pts", "shm", "mqueue"].into_iter().try_for_each(|name| fs::create_dir(at.join(name)))
    }

    fn place(&self) -> io::Result<()> {
        let plain = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        self.processes(Path::new("/proc"))?;
        place(&self.system, "/sys")?;
        self.devices(Path::new("/dev"))?;
        let terminals = made("devpts", &[("ptmxmode", "0666"), ("mode", "0620"), ("gid", "5")], plain)?;
        place(&terminals, "/dev/pts")?;
        place(&made("tmpfs", &[("mode", "1777"), ("size", "65536k")], nothing())?, "/dev/shm")?;
        place(&made("mqueue", &[], nothing())?, "/dev/mqueue")
    }
}

/// Attributes of what nothing is run from.
pub(super) fn nothing() -> MountAttrFlags {
    MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC | MountAttrFlags::MOUNT_ATTR_NODEV
}

pub(super) fn made(kind: &str, options: &[(&str, &str)], attributes: MountAttrFlags) -> io::Result<OwnedFd> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)?;
    for (key, value) in options {
        fsconfig_set_string(context.as_fd(), *key, *value)?;
    }
    fsconfig_create(context.as_fd())?;
    Ok(fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

fn hide() -> io::Result<()> {
    for path in HIDDEN {
        match fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => {
                let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NOSUID;
                place(&made("tmpfs", &[("size", "0")], attributes)?, path)?;
            }
            Ok(_) => mount_bind("/dev/null", path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    for path in READ_ONLY.into_iter().filter(|path| fs::symlink_metadata(path).is_ok()) {
        mount_bind(path, path)?;
        mount_remount(path, flags, c"")?;
    }
    Ok(())
}
