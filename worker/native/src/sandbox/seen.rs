//! Parts of images and of directories that commands see, and files in memory: opened while the host is still around, by
//! paths that cannot leave what they are parts of.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::{
        fd::OwnedFd,
        unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::OFlags,
    mount::{MountAttrFlags, OpenTreeFlags, UnmountFlags, open_tree, unmount},
};
use slipway_backend::HostMount;
use slipway_layers::root::Root;

use super::{
    Confided, Memory, Seen, Spec, Whole,
    init::{ANYWHERE, made, nothing, place},
};

/// Memory that a file takes beside its content.
const PAGE: usize = 4096;

/// Opens everything, in the order in which it is described. `whole` = the mounts that were handed over.
pub(super) fn open(spec: &Spec, whole: Vec<OwnedFd>) -> io::Result<Vec<(HostMount, OwnedFd)>> {
    let mut all = Vec::new();
    let directories = spec.seen.iter().filter(|seen| matches!(seen.of, Whole::Directory(_)));
    for seen in directories {
        let Whole::Directory(path) = &seen.of else { continue };
        let opened = Root::open(path).and_then(|root| part(&root, seen));
        all.push(opened.map_err(|error| about(seen, error))?);
    }
    for (number, mount) in whole.into_iter().enumerate() {
        let parts = spec.seen.iter().filter(|seen| seen.of == Whole::Mount(number));
        mounted(&mount, || {
            let root = Root::open(Path::new(ANYWHERE))?;
            for seen in parts {
                all.push(part(&root, seen).map_err(|error| about(seen, error))?);
            }
            Ok(())
        })?;
    }
    for programs in [false, true] {
        let files: Vec<&Confided> = spec.confided.iter().filter(|file| file.program == programs).collect();
        all.extend(confided(&files, programs)?);
    }
    for memory in &spec.memory {
        let host = HostMount { source: PathBuf::from("tmpfs"), target: memory.target.clone(), read_only: false };
        all.push((host, of_memory(memory)?));
    }
    Ok(all)
}

/// What is in it comes of the commands themselves.
fn of_memory(memory: &Memory) -> io::Result<OwnedFd> {
    let (mode, size) = (format!("{:o}", memory.mode), memory.size.map(|size| size.to_string()));
    let mut options = vec![("mode", mode.as_str())];
    options.extend(size.as_deref().map(|size| ("size", size)));
    made("tmpfs", &options, attributes(memory.programs))
}

fn attributes(programs: bool) -> MountAttrFlags {
    if programs { MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOSUID } else { nothing() }
}

/// Does something while a mount that is nowhere lies where [`Root`] can be opened: parts of it can be taken only then.
fn mounted(mount: &OwnedFd, what: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    place(mount, ANYWHERE)?;
    let done = what();
    unmount(ANYWHERE, UnmountFlags::DETACH)?;
    done
}

fn part(root: &Root, seen: &Seen) -> io::Result<(HostMount, OwnedFd)> {
    let found = root.at(seen.path.trim_matches('/').as_bytes(), OFlags::PATH)?;
    let host = HostMount { source: PathBuf::from(&seen.path), target: seen.target.clone(), read_only: seen.read_only };
    Ok((host, cloned(&found)?))
}

fn cloned(found: &OwnedFd) -> io::Result<OwnedFd> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    Ok(open_tree(found, "", flags)?)
}

fn about(seen: &Seen, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("`{}` for {}: {error}", seen.path, seen.target))
}

/// Puts files into memory of their own.
fn confided(files: &[&Confided], programs: bool) -> io::Result<Vec<(HostMount, OwnedFd)>> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let bytes: usize = files.iter().map(|file| file.content.len().next_multiple_of(PAGE) + PAGE).sum();
    let size = (bytes + 16 * PAGE).to_string();
    let memory = made("tmpfs", &[("mode", "700"), ("size", &size)], attributes(programs))?;
    let mut all = Vec::new();
    mounted(&memory, || {
        for (number, file) in files.iter().enumerate() {
            let path = Path::new(ANYWHERE).join(number.to_string());
            let mut open = fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(&path)?;
            open.write_all(&file.content)?;
            std::os::unix::fs::fchown(&open, Some(file.owner.0), Some(file.owner.1))?;
            open.set_permissions(fs::Permissions::from_mode(file.mode & 0o7777))?;
            let host = HostMount { source: path.clone(), target: file.target.clone(), read_only: true };
            all.push((host, cloned(&OwnedFd::from(File::open(&path)?))?));
        }
        Ok(())
    })?;
    Ok(all)
}
