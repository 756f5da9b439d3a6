//! Places for what is mounted into a sandbox, where the image has none.
//!
//! They lie in a layer of their own between the image and the changes, with the owners, modes and times that the image's own
//! directories have, so that nothing of them is ever in a layer that is made.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use rustix::fs::{FileType, OFlags};
use slipway_backend::{SECRETS, Setup};
use slipway_layers::{
    ChainId, Layer, LayerError, Store,
    copy::{self, linked},
    entry::{Entry, Kind, Time},
    pack::is_kept,
    root::Root,
    store::{About, Claimed},
};
use slipway_oci::BlobDigest;
use slipway_paths::TreePath;
use slipway_rootfs::{place::real_path, toolbox::MOUNT};

use crate::runtime::{self, Runtime};

/// Directories that something is mounted on.
const DIRECTORIES: [&str; 3] = ["/dev", "/proc", "/sys"];
/// Where gVisor lays memory on what is empty, or is not there.
pub(crate) const TEMPORARY: &str = "/tmp";
/// Files of the host that stand in the place of the image's.
pub(crate) const FILES: [&str; 3] = ["/etc/hostname", "/etc/hosts", "/etc/resolv.conf"];
/// An empty file.
const FILE: Kind = Kind::File { size: 0, spans: None };

/// What is mounted into a sandbox: absolute paths, and whether each is a directory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Places(Vec<(String, bool)>);

impl Places {
    /// What every sandbox has.
    pub(crate) fn usual() -> Self {
        let directories = DIRECTORIES.map(|path| (path.to_owned(), true));
        Self(directories.into_iter().chain(FILES.map(|path| (path.to_owned(), false))).collect())
    }

    /// What the script of a stage has.
    pub(crate) fn of(setup: &Setup) -> Self {
        let mut places = Self::usual();
        places.add(MOUNT, true);
        if !setup.secrets.is_empty() {
            places.add(SECRETS, true);
        }
        for mount in &setup.mounts {
            // What is not there is said when it is opened.
            places.add(&mount.target, fs::metadata(&mount.source).is_ok_and(|found| found.is_dir()));
        }
        places
    }

    /// With what a runtime mounts besides.
    pub(crate) fn by(&self, runtime: Option<&Runtime>) -> Self {
        let mut places = self.clone();
        if runtime.is_some_and(|runtime| runtime.kind() == runtime::Kind::Runsc) {
            places.add(TEMPORARY, true);
        }
        places
    }

    /// One more.
    pub(crate) fn add(&mut self, path: &str, is_directory: bool) {
        self.0.push((path.to_owned(), is_directory));
    }
}

/// The places that an image lacks.
#[derive(Default)]
pub(crate) struct Stubs {
    /// By path: what is above something comes before it.
    places: BTreeMap<Vec<u8>, Entry>,
    /// The paths that no layer of the image has, in the order in which they were thought of.
    pub(crate) made: Vec<Vec<u8>>,
}

impl Stubs {
    /// What `image` lacks for what is mounted.
    pub(crate) fn of(image: &Root, places: &Places) -> io::Result<Self> {
        let mut stubs = Self::default();
        for (path, is_directory) in &places.0 {
            stubs.one(image, path, if *is_directory { Kind::Directory } else { FILE })?;
        }
        Ok(stubs)
    }

    /// The layer of these places: most stages have the same, so it is made once and kept like any other.
    pub(crate) fn layer(&self, store: &Store) -> Result<Layer, LayerError> {
        let diff_id = BlobDigest::of(self.text().as_bytes());
        let claim = match store.claim(&ChainId::of(None, &diff_id))? {
            Claimed::There(layer) => return Ok(layer),
            Claimed::Ours(claim) => claim,
        };
        let doing = |error: io::Error| LayerError::io("make the places for mounts", error);
        Root::open(&claim.diff()).and_then(|root| self.make(&root)).map_err(doing)?;
        claim.finish(&About { diff_id, below: None, size: 0 })
    }

    fn make(&self, root: &Root) -> io::Result<()> {
        for (path, entry) in &self.places {
            let (above, name) = split(path);
            let parent = root.directory(above)?;
            match entry.kind {
                Kind::Directory => parent.make(name, &Kind::Directory)?,
                _ => drop(parent.open(name, OFlags::WRONLY | OFlags::CREATE, entry.mode)?),
            }
            parent.dress(name, (entry.uid, entry.gid), Some(entry.mode), &entry.xattrs)?;
        }
        self.set_times(root)
    }

    /// What is made in a directory changes its time: from the lowest up.
    fn set_times(&self, root: &Root) -> io::Result<()> {
        for (path, entry) in self.places.iter().rev() {
            let (above, name) = split(path);
            root.directory(above)?.set_time(name, entry.mtime)?;
        }
        Ok(())
    }

    /// Everything that the layer is made by.
    fn text(&self) -> String {
        let line = |entry: &Entry| {
            let Entry { path, kind, mode, uid, gid, mtime, xattrs } = entry;
            let kind = if *kind == Kind::Directory { "directory" } else { "file" };
            let xattr = |(name, value): &(Vec<u8>, Vec<u8>)| format!(" {}={}", name.escape_ascii(), hex(value));
            let xattrs: String = xattrs.iter().map(xattr).collect();
            format!("{kind} {mode:o} {uid}:{gid} {}.{} {}{xattrs}\n", mtime.seconds, mtime.nanos, hex(path))
        };
        std::iter::once("places for mounts\n".to_owned()).chain(self.places.values().map(line)).collect()
    }

    fn one(&mut self, image: &Root, path: &str, kind: Kind) -> io::Result<()> {
        let path = TreePath::new(path).map_err(io::Error::other)?;
        let real = real_path(image, &path)?;
        // One place may lie in another.
        if image.look(real.as_bytes())?.is_some() || self.places.contains_key(real.as_bytes()) {
            return Ok(());
        }
        if !self.directories(image, &real.parent().unwrap_or_default())? {
            return Ok(());
        }
        let mode = if kind == Kind::Directory { 0o755 } else { 0o644 };
        let entry = Entry { kind, mode, ..Entry::directory(real.as_bytes()) };
        self.places.insert(real.as_bytes().to_vec(), entry);
        self.made.push(real.as_bytes().to_vec());
        Ok(())
    }

    /// A directory and those above it as the image has them; `false` when a file stands in the way.
    fn directories(&mut self, image: &Root, path: &TreePath) -> io::Result<bool> {
        if path.is_root() {
            return Ok(true);
        }
        if let Some(place) = self.places.get(path.as_bytes()) {
            return Ok(place.kind == Kind::Directory);
        }
        if !self.directories(image, &path.parent().unwrap_or_default())? {
            return Ok(false);
        }
        let mut entry = Entry::directory(path.as_bytes());
        if let Some(stat) = image.look(path.as_bytes())? {
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                return Ok(false);
            }
            entry.uid = stat.st_uid;
            entry.gid = stat.st_gid;
            entry.mode = stat.st_mode & 0o7777;
            entry.mtime = Time::of(&stat);
            entry.xattrs = image.directory(path.as_bytes())?.xattrs(b".")?;
            entry.xattrs.retain(|(key, _)| is_kept(key));
        } else {
            self.made.push(path.as_bytes().to_vec());
        }
        self.places.insert(path.as_bytes().to_vec(), entry);
        Ok(true)
    }
}

/// Puts files of several names into the new directory `at`, as files of one name each: fuse-overlayfs takes all names of one
/// for the same file, and changes whichever it saw last. `lowers` = the directories that `image` is made of.
pub(crate) fn part(image: &Root, at: &Path, lowers: &[PathBuf]) -> io::Result<()> {
    fs::create_dir(at)?;
    let mut above = Stubs::default();
    let mut files: BTreeMap<Vec<u8>, &Path> = BTreeMap::new();
    for lower in lowers {
        for (path, number) in linked(&Root::open(lower)?.directory(b"")?)? {
            // Another layer may have something else there, or nothing.
            let is_seen = image.look(&path).ok().flatten().is_some_and(|stat| stat.st_ino == number);
            if !is_seen || files.contains_key(&path) {
                continue;
            }
            let directory = TreePath::new(&path).map_err(io::Error::other)?.parent().unwrap_or_default();
            if above.directories(image, &directory)? {
                files.insert(path, lower);
            }
        }
    }
    let root = Root::open(at)?;
    above.make(&root)?;
    for (path, lower) in files {
        let (directory, name) = split(&path);
        copy::part(&Root::open(lower)?.directory(directory)?, &root.directory(directory)?, name)?;
    }
    above.set_times(&root)
}

/// What a path lies in, and its last name.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
        path::Path,
    };

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
        let places = Places::of(&Setup::new("a".to_owned(), slipway_oci::Platform::host()));
        let stubs = Stubs::of(&Root::open(&image).expect("a root"), &places).expect("stubs");
        let made = stubs.made.iter().map(|path| String::from_utf8(path.clone()).expect("utf-8"));
        let expected = ["sys", "etc/hostname", "run", "run/resolve", "run/resolve/stub.conf", ".werf", ".werf/stapel"];
        assert_eq!(made.collect::<Vec<_>>(), expected);
        let store =
            Store::open(&home.path().join("store"), &slipway_layers::store::Options { limit: None }).expect("a store");
        let layer = stubs.layer(&store).expect("a layer");
        let looks = |path: &Path| {
            let about = fs::metadata(path).expect("a place");
            (about.mode() & 0o777, about.mtime(), about.mtime_nsec())
        };
        assert_eq!(looks(&layer.diff().join("etc")), looks(&image.join("etc")));
        assert_eq!(looks(&image.join("etc")).0, 0o711);
        assert!(layer.diff().join("etc/hostname").is_file() && layer.diff().join(".werf/stapel").is_dir());
        assert!(!layer.diff().join("dev").exists() && !layer.diff().join("etc/hosts").exists());
        // The next stage has the same.
        let again = Stubs::of(&Root::open(&image).expect("a root"), &places).expect("stubs");
        assert_eq!(again.layer(&store).expect("a layer").diff(), layer.diff());
    }
}
