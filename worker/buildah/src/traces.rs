//! Places that are made in a container for what is mounted there, and are in no image.

use std::io;

use rustix::fs::{AtFlags, FileType, unlinkat};
use slipway_layers::root::Root;
use slipway_paths::TreePath;
use slipway_rootfs::place::real_path;

/// What the program mounts something at by itself.
const USUAL: [&str; 8] =
    ["/dev", "/proc", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf", "/run/.containerenv", "/run/secrets"];

/// Paths that were not there before a script ran, the shortest first.
#[derive(Debug, Default)]
pub(crate) struct Traces(Vec<TreePath>);

impl Traces {
    /// Which of the usual places and of those in `further` are not there yet. Blocks.
    pub(crate) fn note<'a>(root: &Root, further: impl Iterator<Item = &'a str>) -> io::Result<Self> {
        let mut missing = Vec::new();
        for place in USUAL.into_iter().chain(further) {
            let path = real_path(root, &TreePath::new(place).map_err(io::Error::other)?)?;
            let mut above = TreePath::root();
            for segment in path.segments() {
                above = above.join(segment);
                if !missing.contains(&above) && root.look(above.as_bytes())?.is_none() {
                    missing.push(above.clone());
                }
            }
        }
        missing.sort();
        Ok(Self(missing))
    }

    /// Takes away those of them that are there now and hold nothing. Blocks.
    pub(crate) fn remove(&self, root: &Root) -> io::Result<()> {
        for path in self.0.iter().rev() {
            let Some(stat) = root.look(path.as_bytes())? else { continue };
            let flags = match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => AtFlags::REMOVEDIR,
                FileType::RegularFile if stat.st_size == 0 => AtFlags::empty(),
                _ => continue,
            };
            let above = root.directory(path.parent().unwrap_or_default().as_bytes())?;
            use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
            match unlinkat(&above, OsStr::from_bytes(path.name()), flags) {
                // A command put something there.
                Ok(()) | Err(rustix::io::Errno::NOTEMPTY | rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use super::*;

    #[test]
    fn only_what_was_made_for_mounts_goes() {
        let home = tempfile::tempdir().expect("a directory");
        let at = |name: &str| home.path().join(name);
        fs::create_dir_all(at("run")).expect("a directory");
        symlink("/run", at("var")).expect("a link");
        let root = Root::open(home.path()).expect("a root");
        let traces = Traces::note(&root, ["/var/data/deep", "/srv/app", "/tool"].into_iter()).expect("a look");
        for directory in ["etc", "proc", "run/data/deep", "srv/app", "tool"] {
            fs::create_dir_all(at(directory)).expect("a directory");
        }
        for (file, text) in [("etc/hosts", ""), ("etc/own", "x"), ("srv/app/kept", "x")] {
            fs::write(at(file), text).expect("a file");
        }
        traces.remove(&root).expect("traces go");
        let there = |name: &str| at(name).symlink_metadata().is_ok();
        assert!(there("run") && there("var") && there("etc/own") && there("srv/app/kept"));
        assert!(!there("etc/hosts") && !there("proc") && !there("run/data") && !there("tool"));
    }
}
