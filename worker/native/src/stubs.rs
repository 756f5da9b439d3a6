//! Places for what is mounted into a sandbox, where the image has none.
//!
//! They lie in a layer of their own between the image and the changes, with the owners and modes that the image's own
//! directories have, so that nothing of them is ever in a layer that is made.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rustix::fs::FileType;
use slipway_backend::{SECRETS, Setup};
use slipway_layers::{
    copy::{self, linked},
    entry::{Entry, Kind},
    pack::is_kept,
    root::Root,
};
use slipway_paths::TreePath;

use crate::{
    place::{real_path, time_of},
    toolbox::MOUNT,
};

/// Directories that something is mounted on.
const DIRECTORIES: [&str; 4] = ["/dev", "/proc", "/sys", MOUNT];
/// Files of the host that stand in the place of the image's.
pub(crate) const FILES: [&str; 3] = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];

/// Makes the places that `image` lacks in the empty directory `at`; answers the paths that only it has.
pub(crate) fn make(image: &Root, at: &Path, setup: &Setup) -> io::Result<Vec<Vec<u8>>> {
    fs::create_dir(at)?;
    let stubs = Root::open(at)?;
    let mut made = Vec::new();
    for path in DIRECTORIES {
        one(image, &stubs, path, &Kind::Directory, &mut made)?;
    }
    for path in FILES {
        one(image, &stubs, path, &Kind::File { size: 0, spans: None }, &mut made)?;
    }
    if !setup.secrets.is_empty() {
        one(image, &stubs, SECRETS, &Kind::Directory, &mut made)?;
    }
    for mount in &setup.mounts {
        let kind = match fs::metadata(&mount.source) {
            Ok(found) if found.is_dir() => Kind::Directory,
            // What is not there is said when it is opened.
            Ok(_) | Err(_) => Kind::File { size: 0, spans: None },
        };
        one(image, &stubs, &mount.target, &kind, &mut made)?;
    }
    Ok(made)
}

/// Puts files of several names there as files of one name each: fuse-overlayfs takes all names of one for the same file, and
/// changes whichever it saw last. `lowers` = the directories that `image` is made of.
pub(crate) fn part(image: &Root, at: &Path, lowers: &[PathBuf]) -> io::Result<()> {
    let stubs = Root::open(at)?;
    for lower in lowers {
        let lower = Root::open(lower)?;
        for (path, number) in linked(&lower.directory(b"")?)? {
            // Another layer may have something else there, or nothing.
            let is_seen = image.look(&path).ok().flatten().is_some_and(|stat| stat.st_ino == number);
            let path = TreePath::new(&path).map_err(io::Error::other)?;
            if !is_seen || stubs.look(path.as_bytes())?.is_some() {
                continue;
            }
            let above = path.parent().unwrap_or_default();
            if directories(image, &stubs, &above, &mut Vec::new())? {
                let (from, to) = (lower.directory(above.as_bytes())?, stubs.directory(above.as_bytes())?);
                copy::part(&from, &to, path.name())?;
                // What went in has changed the directory.
                if let (false, Some(stat)) = (above.is_root(), image.look(above.as_bytes())?) {
                    to.set_time(b".", time_of(&stat))?;
                }
            }
        }
    }
    Ok(())
}

fn one(image: &Root, stubs: &Root, path: &str, kind: &Kind, made: &mut Vec<Vec<u8>>) -> io::Result<()> {
    let path = TreePath::new(path).map_err(io::Error::other)?;
    let real = real_path(image, &path)?;
    // One place may lie in another.
    if image.look(real.as_bytes())?.is_some() || stubs.look(real.as_bytes())?.is_some() {
        return Ok(());
    }
    let above = real.parent().unwrap_or_default();
    if !directories(image, stubs, &above, made)? {
        return Ok(());
    }
    let parent = stubs.directory(above.as_bytes())?;
    match kind {
        Kind::Directory => {
            parent.make(real.name(), kind)?;
            parent.dress(real.name(), (0, 0), Some(0o755), &[])?;
        }
        _ => drop(parent.open(real.name(), rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CREATE, 0o644)?),
    }
    made.push(real.as_bytes().to_vec());
    Ok(())
}

/// Makes a directory and those above it as the image has them; `false` when a file stands in the way.
fn directories(image: &Root, stubs: &Root, path: &TreePath, made: &mut Vec<Vec<u8>>) -> io::Result<bool> {
    if path.is_root() || stubs.look(path.as_bytes())?.is_some() {
        return Ok(true);
    }
    let above = path.parent().unwrap_or_default();
    if !directories(image, stubs, &above, made)? {
        return Ok(false);
    }
    let mut entry = Entry::directory(path.as_bytes());
    let mut xattrs = Vec::new();
    let found = image.look(path.as_bytes())?;
    if let Some(stat) = &found {
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return Ok(false);
        }
        entry.uid = stat.st_uid;
        entry.gid = stat.st_gid;
        entry.mode = stat.st_mode & 0o7777;
        entry.mtime = time_of(stat);
        xattrs = image.directory(path.as_bytes())?.xattrs(b".")?;
        xattrs.retain(|(key, _)| is_kept(key));
    } else {
        made.push(path.as_bytes().to_vec());
    }
    let parent = stubs.directory(above.as_bytes())?;
    parent.make(path.name(), &Kind::Directory)?;
    parent.dress(path.name(), (entry.uid, entry.gid), Some(entry.mode), &xattrs)?;
    parent.set_time(path.name(), entry.mtime)?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn only_what_is_missing_is_made_and_looks_like_the_image() {
        let home = tempfile::tempdir().expect("a directory");
        let image = home.path().join("image");
        for directory in ["dev", "etc", "proc"] {
            fs::create_dir_all(image.join(directory)).expect("a directory");
        }
        fs::set_permissions(image.join("etc"), fs::Permissions::from_mode(0o711)).expect("a mode");
        fs::write(image.join("etc/hosts"), "").expect("a file");
        symlink("../run/resolve/stub.conf", image.join("etc/resolv.conf")).expect("a link");
        let stubs = home.path().join("stubs");
        let setup = Setup::new("a".to_owned(), slipway_oci::Platform::host());
        let made = make(&Root::open(&image).expect("a root"), &stubs, &setup).expect("stubs");
        let made: Vec<String> = made.into_iter().map(|path| String::from_utf8(path).expect("utf-8")).collect();
        let expected = ["sys", ".werf", ".werf/stapel", "etc/hostname", "run", "run/resolve", "run/resolve/stub.conf"];
        assert_eq!(made, expected);
        assert_eq!(fs::metadata(stubs.join("etc")).expect("a stub").mode() & 0o777, 0o711);
        assert!(!stubs.join("dev").exists() && !stubs.join("etc/hosts").exists());
    }
}
