//! Putting an archive to its place in a root.

use std::io::{self, Read};

use rustix::fs::FileType;
use slipway_backend::BackendError;
use slipway_layers::{
    LayerError,
    entry::{Kind, Time},
    root::Root,
    tar::{Limits, TarReader},
    unpack::{Purpose, unpack},
};
use slipway_paths::TreePath;

use crate::{
    accounts::{Account, resolve},
    error, owner,
};

/// Links that may follow each other, as in the kernel.
const MAX_LINKS: usize = 40;

/// Unpacks the archive in `input` below the absolute directory `to`. Blocks.
///
/// # Errors
/// When the archive is hostile or broken, an owner is unknown, a file stands in the way, or the disk fails.
pub fn put(
    root: &Root,
    input: impl Read,
    to: &str,
    owner: Option<&str>,
    group: Option<&str>,
) -> Result<(), BackendError> {
    let doing = format!("put files to {to}");
    let refuse = |why: &str| BackendError::Refused(format!("files cannot be put to {to}: {why}"));
    if !to.starts_with('/') {
        return Err(refuse("the path must be absolute"));
    }
    let uid = owner.map(|name| resolve(root, Account::User, name)).transpose()?;
    let gid = group.map(|name| resolve(root, Account::Group, name)).transpose()?;
    let wanted = TreePath::new(to).map_err(|error| refuse(&error.to_string()))?;
    let real = real_path(root, &wanted).map_err(|error| error::system(&doing, error))?;
    let new = match root.look(real.as_bytes()).map_err(|error| error::system(&doing, error))? {
        Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => false,
        Some(_) => return Err(refuse(&format!("/{real} of the image is no directory"))),
        None => true,
    };
    if new {
        let owner = (uid.unwrap_or(0), gid.unwrap_or(0));
        make(root, &real, owner).map_err(|error| match error.kind() {
            io::ErrorKind::NotADirectory => refuse("a file of the image stands where a directory has to be"),
            _ => error::system(&doing, error),
        })?;
    }
    let purpose = Purpose::Files { to: real, new, uid, gid, strict: true };
    let mut reader = TarReader::new(input, Limits::default());
    let unpacked = unpack(&mut reader, root, &purpose).and_then(|_| drain(reader.into_inner()));
    unpacked.map_err(|error| error::archive(&doing, error))
}

/// The directory that a single file goes to on its way to `to`, and what it is called there, if not as it comes. Blocks.
///
/// # Errors
/// When the path is none, or the disk fails.
pub fn of_file(root: &Root, to: &str) -> Result<(String, Option<Vec<u8>>), BackendError> {
    let refuse = |why: String| BackendError::Refused(format!("files cannot be put to {to}: {why}"));
    let wanted = TreePath::new(to).map_err(|error| refuse(error.to_string()))?;
    let system = |error: io::Error| error::system(&format!("put files to {to}"), error);
    let found = root.look(real_path(root, &wanted).map_err(system)?.as_bytes()).map_err(system)?;
    if found.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory) {
        return Ok((to.to_owned(), None));
    }
    let (above, name) = to.trim_end_matches('/').rsplit_once('/').unwrap_or(("", to));
    Ok((if above.is_empty() { "/" } else { above }.to_owned(), Some(name.as_bytes().to_vec())))
}

/// Whoever makes the archive is not stopped before its end.
fn drain(mut rest: impl Read) -> Result<(), LayerError> {
    io::copy(&mut rest, &mut io::sink()).map(drop).map_err(|error| LayerError::io("read an archive", error))
}

/// A path without links, as far as it exists.
///
/// # Errors
/// When links lead in a circle, or the disk fails.
pub fn real_path(root: &Root, path: &TreePath) -> io::Result<TreePath> {
    let mut links = 0;
    let mut real = TreePath::root();
    let mut rest: Vec<Vec<u8>> = path.segments().map(<[u8]>::to_vec).collect();
    rest.reverse();
    while let Some(segment) = rest.pop() {
        if segment == b".." {
            real = real.parent().unwrap_or_default();
            continue;
        }
        let next = real.join(&segment);
        let is_link =
            root.look(next.as_bytes())?.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink);
        if !is_link {
            real = next;
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(io::Error::from_raw_os_error(rustix::io::Errno::LOOP.raw_os_error()));
        }
        let text = root.directory(real.as_bytes())?.link_text(&segment)?;
        if text.starts_with(b"/") {
            real = TreePath::root();
        }
        let parts = text.split(|byte| *byte == b'/').filter(|part| !matches!(*part, b"" | b"."));
        rest.extend(parts.rev().map(<[u8]>::to_vec));
    }
    Ok(real)
}

/// Makes a directory and those above it, which are `0755` of root. Directories that are there keep their time.
fn make(root: &Root, path: &TreePath, owner: (u32, u32)) -> io::Result<()> {
    if path.is_root() || root.look(path.as_bytes())?.is_some() {
        return Ok(());
    }
    let above = path.parent().unwrap_or_default();
    make(root, &above, (0, 0))?;
    let parent = root.directory(above.as_bytes())?;
    let before = parent.look(b".")?;
    parent.make(path.name(), &Kind::Directory)?;
    parent.dress(path.name(), owner, Some(0o755), &[])?;
    parent.set_time(path.name(), Time::default())?;
    match before {
        Some(stat) => parent.set_time(b".", Time::of(&stat)),
        None => Ok(()),
    }
}

/// Whether a directory is there, at the end of links. Blocks.
///
/// # Errors
/// When links lead in a circle, or the disk fails.
pub fn is_directory(root: &Root, path: &str) -> io::Result<bool> {
    let real = real_path(root, &TreePath::new(path).map_err(io::Error::other)?)?;
    let found = root.look(real.as_bytes())?;
    Ok(found.is_some_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory))
}

/// Makes a directory for what follows, owned by the user of an image when it names one, where it is missing. Blocks.
///
/// # Errors
/// When something else is there, the user is unknown, or the disk fails.
pub fn directory(root: &Root, directory: &str, user: &str) -> Result<(), BackendError> {
    let owner = if user.is_empty() { (0, 0) } else { owner::of(root, user)? };
    ensure(root, directory, owner)
}

/// Makes a directory of the image, and those above it, where they are missing. Blocks.
///
/// # Errors
/// When something else is there, or the disk fails.
pub fn ensure(root: &Root, directory: &str, owner: (u32, u32)) -> Result<(), BackendError> {
    let system = |error| error::system(&format!("make the directory {directory}"), error);
    let refused = || BackendError::Refused(format!("{directory} is no directory of the image"));
    let path = TreePath::new(directory).map_err(|error| BackendError::Refused(format!("{directory}: {error}")))?;
    let real = real_path(root, &path).map_err(|_| refused())?;
    match root.look(real.as_bytes()).map_err(system)? {
        Some(found) if FileType::from_raw_mode(found.st_mode) == FileType::Directory => Ok(()),
        Some(_) => Err(refused()),
        None => make_all(root, &real, owner).map_err(|error| match error.kind() {
            io::ErrorKind::NotADirectory => refused(),
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
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn links_are_followed_inside() {
        let directory = tempfile::tempdir().expect("a directory");
        let at = |name: &str| directory.path().join(name);
        fs::create_dir_all(at("usr/share/data")).expect("a directory");
        symlink("/usr/share", at("abs")).expect("a link");
        symlink("../../../../usr", at("up")).expect("a link");
        symlink("data", at("usr/share/current")).expect("a link");
        symlink("loop", at("loop")).expect("a link");
        symlink("/usr/gone/x", at("dangling")).expect("a link");
        let root = Root::open(directory.path()).expect("a root");
        let real = |path: &str| real_path(&root, &TreePath::new(path).expect("a path")).map(|path| path.to_string());
        for (path, expected) in [
            ("abs/current/f", "usr/share/data/f"),
            ("up/share/new/deep", "usr/share/new/deep"),
            ("dangling/y", "usr/gone/x/y"),
            ("", ""),
        ] {
            assert_eq!(real(path).expect(path), expected);
        }
        assert!(real("loop/x").is_err());
    }
}
