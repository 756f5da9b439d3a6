//! Layers mounted over each other as a [`Driver`] says, or copied.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Mutex,
};

use rustix::{
    fs::CWD,
    mount::{MountAttrFlags, OpenTreeFlags, open_tree},
};
pub use slipway_backend::driver::{Driver, NAMES};
use slipway_layers::{
    Store,
    changes::{self, Before},
    copy::{Names, lay_all, lay_over},
    root::{Dir, Root},
    store::{Options, Work},
};
use slipway_process::random_id;

use crate::{fuse::Fuse, overlay};

/// What was found to work.
struct Found {
    asked: Option<String>,
    root: PathBuf,
    driver: Driver,
}

/// The driver that is asked for, or the first that works in the store at `root`: overlays of the kernel, then those of
/// fuse-overlayfs. Copies are made only when they are asked for. Blocks for some milliseconds.
///
/// # Errors
/// Why it does not work, and what to do about it.
pub fn find(asked: Option<&str>, root: &Path) -> Result<Driver, String> {
    // A program asks first whether it can build here, and then builds.
    static FOUND: Mutex<Vec<Found>> = Mutex::new(Vec::new());
    let mut all = FOUND.lock().map_err(|_| "a thread died while it tried to mount".to_owned())?;
    let known = all.iter().find(|found| found.root == root && found.asked.as_deref() == asked);
    if let Some(known) = known {
        return Ok(known.driver.clone());
    }
    let driver = sought(asked, root)?;
    all.push(Found { asked: asked.map(str::to_owned), root: root.to_owned(), driver: driver.clone() });
    Ok(driver)
}

fn sought(asked: Option<&str>, root: &Path) -> Result<Driver, String> {
    let other = |error: String| {
        format!(
            "{error}; choose a home directory on a file system that overlay can stand on (not another overlay or a \
             network's) with --home-dir, or another way for layers to lie on each other with \
             --native-storage-driver fuse-overlayfs or, slow but everywhere, vfs; or use --backend docker"
        )
    };
    match asked {
        Some("vfs") => tried(Driver::Vfs, root),
        Some("fuse-overlayfs") => tried(fuse()?, root),
        Some("overlay") => tried(Driver::Overlay, root).map_err(other),
        Some(name) => Err(format!("`{name}` is none of: {}", NAMES.join(", "))),
        None => tried(Driver::Overlay, root).or_else(|kernel| {
            let fuse = fuse().and_then(|fuse| tried(fuse, root));
            fuse.map_err(|fuse| other(format!("{kernel}; {fuse}")))
        }),
    }
}

/// fuse-overlayfs, as it is installed.
fn fuse() -> Result<Driver, String> {
    Ok(Driver::FuseOverlayfs(Fuse::find()?))
}

/// Mounts it over nothing.
fn tried(driver: Driver, root: &Path) -> Result<Driver, String> {
    let attempt = || -> io::Result<()> {
        let store = Store::open(root, &Options { limit: None }).map_err(io::Error::other)?;
        let work = store.work(&format!("probe-{}", random_id())).map_err(io::Error::other)?;
        let (upper, scratch) = (work.path().join("upper"), work.path().join("scratch"));
        fs::create_dir(&upper)?;
        fs::create_dir(&scratch)?;
        let writable = overlay::Writable { upper: &upper, work: &scratch };
        let tree = match &driver {
            // Anybody can copy.
            Driver::Vfs => return Ok(()),
            _ => mount(&driver, &store.empty(), Some(writable))?,
        };
        // Asks the program behind it, if there is one.
        tree.root.directory(b"")?.make(b"file", &slipway_layers::entry::Kind::Directory)
    };
    match attempt() {
        Ok(()) => Ok(driver),
        Err(error) => Err(format!("mount an overlay by {driver} in {}: {error}", root.display())),
    }
}

/// Mounts directories over each other, the topmost first; without a writable part two are needed. Not for copies.
pub(crate) fn mount(driver: &Driver, lowers: &[PathBuf], writable: Option<overlay::Writable<'_>>) -> io::Result<Tree> {
    // Nodes of devices are files of an image, and nothing that a command opens: it might be the host's disk.
    let attributes =
        if writable.is_some() { MountAttrFlags::MOUNT_ATTR_NODEV } else { MountAttrFlags::MOUNT_ATTR_RDONLY };
    match driver {
        Driver::FuseOverlayfs(program) => {
            let (mount, fuse) = Fuse::mount(program, lowers, writable, attributes)?;
            let lowers = lowers.iter().map(|lower| Root::open(lower)).collect::<io::Result<_>>()?;
            Ok(Tree { root: Root::of(mount), below: Below::Fuse(fuse, lowers) })
        }
        Driver::Overlay | Driver::Vfs => {
            let mount = overlay::mount(lowers, writable, attributes)?;
            Ok(Tree { root: Root::of(mount), below: Below::Kernel })
        }
    }
}

/// What directories of layers look like together, to be read only; the topmost comes first. Blocks.
pub(crate) fn look(driver: &Driver, store: &Store, lowers: &[PathBuf]) -> io::Result<Tree> {
    if *driver != Driver::Vfs {
        return mount(driver, lowers, None);
    }
    let work = store.work(&format!("look-{}", random_id())).map_err(io::Error::other)?;
    let tree = work.path().join("tree");
    lay_all(lowers, &tree, Names::Kept)?;
    Ok(Tree { root: Root::open(&tree)?, below: Below::Looked { _work: work } })
}

/// A root as it is seen, with what it stands on. What it stands on goes after it.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) root: Root,
    below: Below,
}

/// What a root stands on.
#[derive(Debug)]
pub(crate) enum Below {
    /// The kernel.
    Kernel,
    /// A program, over these directories.
    Fuse(Fuse, Vec<Root>),
    /// A copy that is only read.
    Looked { _work: Work },
    /// A copy, and what it was like.
    Copied(PathBuf, Before),
}

impl Tree {
    /// A copy of directories in the empty place `tree`, to be changed. What is copied to it by `more` is not taken for a
    /// change.
    pub(crate) fn copied(
        lowers: &[PathBuf],
        tree: &Path,
        more: impl FnOnce(&Root) -> io::Result<PathBuf>,
    ) -> io::Result<Self> {
        lay_all(lowers, tree, Names::Parted)?;
        let root = Root::open(tree)?;
        let more = more(&root)?;
        lay_over(&directory(&more)?, &root.directory(b"")?, Names::Parted)?;
        let before = changes::note(&root.directory(b"")?, &tree.with_extension("probe"))?;
        Ok(Self { root: Root::of(cloned(tree)?), below: Below::Copied(tree.to_owned(), before) })
    }

    /// The same root, to be mounted once more; what is no copy is made anew when it is gone.
    pub(crate) fn again(self, anew: impl FnOnce() -> io::Result<Self>) -> io::Result<Self> {
        let (root, below) = self.parts();
        drop(root);
        match below {
            Below::Copied(tree, before) => {
                Ok(Self { root: Root::of(cloned(&tree)?), below: Below::Copied(tree, before) })
            }
            Below::Fuse(fuse, _) => fuse.end().and_then(|()| anew()),
            Below::Kernel | Below::Looked { .. } => anew(),
        }
    }

    /// Parts the root and what it stands on: the root goes first.
    pub(crate) fn parts(self) -> (Root, Below) {
        (self.root, self.below)
    }
}

impl Below {
    /// Brings the changes to `upper`, as the kernel's overlay has them. The root must be gone.
    pub(crate) fn settle(self, upper: &Path) -> io::Result<()> {
        match self {
            Self::Kernel | Self::Looked { .. } => Ok(()),
            Self::Fuse(fuse, lowers) => {
                fuse.end()?;
                changes::settle(&directory(upper)?, &lowers)
            }
            Self::Copied(tree, before) => changes::part(&directory(&tree)?, &before, &directory(upper)?),
        }
    }
}

/// A mount of a directory. Where it is placed, nodes of devices are told not to open.
fn cloned(tree: &Path) -> io::Result<OwnedFd> {
    Ok(open_tree(CWD, tree, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?)
}

fn directory(path: &Path) -> io::Result<Dir> {
    Root::open(path)?.directory(b"")
}
