//! A sandbox by a runtime: the init prepares a bundle in the namespaces that it was started in, and becomes the runtime.
//!
//! So the kernel ends the runtime, and all that it has started, with the init, as it does with our own sandbox.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    os::fd::OwnedFd,
    os::unix::{ffi::OsStrExt as _, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use rustix::{
    fs::{CWD, FileType, Mode, fstat},
    mount::{MountFlags, OpenTreeFlags, mount_remount, open_tree},
    process::umask,
};
use serde_json::json;
use slipway_layers::{root::Root, userns};
use slipway_paths::TreePath;
use slipway_process::child;
use slipway_rootfs::{place::real_path, toolbox::MOUNT};

use super::{
    GUARD, Spec,
    bundle::{Sources, describe},
    init::{self, Step, step},
    mounts, seen,
};
use crate::{
    runtime::{Kind, Runtime},
    stubs::TEMPORARY,
};

/// Longest text that a runtime tells a hook.
const MAX_STATE: u64 = 1 << 20;
/// Where control groups are.
const GROUPS: &str = "/sys/fs/cgroup";
/// Programs that runtimes start are looked for here.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Hands the root and the script over to a runtime; comes back only when that fails.
pub(super) fn become_runtime(
    runtime: &Runtime,
    directory: &Path,
    spec: &Spec,
    ([root, script], whole): ([OwnedFd; 2], Vec<OwnedFd>),
) -> Step<std::convert::Infallible> {
    let at = |name: &str| directory.join(name);
    let (place, devices, toolbox, state) = (at("root"), at("dev"), at("toolbox"), at("state"));
    let mut mounts = step("open what is mounted", mounts::open(spec.mounts.clone()))?;
    mounts.extend(step("open what is seen", seen::open(spec, whole))?);
    for made in [&place, &devices, &toolbox, &state] {
        step("make the bundle's directories", fs::create_dir(made))?;
    }
    let systems = step("make /proc and /sys", init::Systems::make())?;
    let tools = step("mount the toolbox", init::toolbox(spec))?;
    if let Some(tools) = &tools {
        step("place the toolbox", init::place_toolbox(tools, &toolbox))?;
    }
    umask(Mode::empty());
    step("make /dev", systems.devices(&devices))?;
    // Ids of processes are those of the new namespace.
    step("mount /proc", systems.processes(Path::new("/proc")))?;
    if spec.interactive {
        step("place the terminal", terminal(&devices.join("console")))?;
    }
    let mounts = step("mount", mounts::wait_in(&at("mounts"), mounts))?;
    step("keep the runtime off control groups", close_groups(runtime))?;
    step("place the root", init::place(&root, &place))?;
    step("keep devices of the root closed", init::guarded(&place, MountFlags::NODEV))?;
    let image = Root::of(root);
    let files: Vec<(String, PathBuf)> = spec.files.iter().filter(|(to, _)| has_place(&image, to)).cloned().collect();
    let own = match runtime.kind() {
        Kind::Runsc => step("look for what the runtime would hide", own(&image, &place))?,
        Kind::Runc | Kind::Crun | Kind::Kata => Vec::new(),
    };
    let sources = Sources {
        root: &place,
        devices: (runtime.kind() != Kind::Runsc).then_some(&*devices),
        toolbox: (tools.is_some() && has_place(&image, MOUNT)).then_some(&*toolbox),
        own: &own,
        files: &files,
        mounts: &mounts,
        // A runtime that has devices of its own has this, too.
        foreign_system: systems.is_foreign() && runtime.kind() != Kind::Runsc,
    };
    let mut described = describe(spec, &sources);
    // Without root there are no nodes to open.
    if runtime.kind() == Kind::Crun && !userns::inside() {
        let guard = step("place the guard", own_program(at("guard")))?;
        let hook = json!({ "path": guard, "args": ["slipway", GUARD, place] });
        described["hooks"] = json!({ "createContainer": [hook] });
    }
    let described = described.to_string();
    step("describe the sandbox", fs::write(at("config.json"), described))?;
    drop(image);
    umask(Mode::from_raw_mode(0o022));
    let mut command = command(runtime, directory, &state, "stage");
    command.stdin(Stdio::from(script)).current_dir(directory).env_clear();
    command.env("PATH", PATH).env("XDG_RUNTIME_DIR", &state).env("HOME", &state);
    Err(("start the runtime", command.exec()))
}

/// What runs the bundle in a directory, in the foreground; `state` = where it keeps its own files. It leaves control groups
/// alone: the whole of it is in one already.
fn command(runtime: &Runtime, bundle: &Path, state: &Path, id: &str) -> Command {
    let mut command = child::command(runtime.program());
    command.arg("--root").arg(state);
    match runtime.kind() {
        Kind::Runc => command.args(["--rootless", "true"]),
        Kind::Crun => command.args(["--cgroup-manager", "disabled"]),
        // Its network is the one that it is started in. What commands write goes to the root itself, and not to a file beside
        // it; which rights they have is said elsewhere.
        Kind::Runsc => command.args(["--ignore-cgroups", "--network", "host", "--overlay2", "none", "--net-raw"]),
        Kind::Kata => &mut command,
    };
    command.args(["run", "--bundle"]).arg(bundle).arg(id);
    command
}

/// Places the terminal that is standard output. A runtime may put a pipe of its own between that and what it runs.
fn terminal(at: &Path) -> io::Result<()> {
    let path = fs::read_link("/proc/self/fd/1")?;
    let terminal = open_tree(CWD, &path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
    if fstat(&terminal)?.st_rdev != fstat(io::stdout())?.st_rdev {
        return Err(io::Error::other(format!("{} is another one", path.display())));
    }
    fs::File::create(at)?;
    init::place(&terminal, at)
}

/// Where this program can be started from; a copy at `otherwise`, when it was removed from its place.
fn own_program(otherwise: PathBuf) -> io::Result<PathBuf> {
    let own = fs::read_link("/proc/self/exe")?;
    if own.is_file() {
        return Ok(own);
    }
    fs::copy("/proc/self/exe", &otherwise)?;
    Ok(otherwise)
}

/// Keeps nodes of devices in a root from being opened: crun forgets that they were, when it mounts the root to itself.
pub(super) fn guard(root: Option<OsString>) -> ExitCode {
    // What the runtime tells its hooks is to be read: it takes an early end for a failure.
    let told = io::copy(&mut io::Read::take(io::stdin(), MAX_STATE), &mut io::sink());
    let guarded = told.is_ok() && root.is_some_and(|root| init::guarded(Path::new(&root), MountFlags::NODEV).is_ok());
    if guarded { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Whether something can be mounted at a path of the image. A link that leads nowhere has no place for it.
fn has_place(image: &Root, path: &str) -> bool {
    let found = TreePath::new(path).map_err(io::Error::other).and_then(|path| real_path(image, &path));
    found.and_then(|real| image.look(real.as_bytes())).is_ok_and(|found| found.is_some())
}

/// Directories of an image that gVisor would lay memory on, when they are empty: their paths, and where they are without links.
fn own(image: &Root, place: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let real = real_path(image, &TreePath::new(TEMPORARY).map_err(io::Error::other)?)?;
    let found = image.look(real.as_bytes())?;
    let is_directory = found.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory);
    let at = place.join(OsStr::from_bytes(real.as_bytes()));
    Ok(is_directory.then(|| (TEMPORARY.to_owned(), at)).into_iter().collect())
}

/// Makes control groups read-only: what the runtime starts stays in the one that it is in. crun does not even begin where it
/// sees both versions of them: it sees none.
fn close_groups(runtime: &Runtime) -> io::Result<()> {
    if runtime.kind() == Kind::Crun && Path::new(GROUPS).join("unified").exists() {
        return init::place(&init::made("tmpfs", &[("size", "0")], init::nothing())?, GROUPS);
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    for place in mounts.lines().filter_map(|line| line.split(' ').nth(4)).filter(|place| place.starts_with(GROUPS)) {
        match mount_remount(place, flags, c"") {
            // Without root they cannot be written anyway.
            Err(_) if userns::inside() => {}
            closed => closed?,
        }
    }
    Ok(())
}
