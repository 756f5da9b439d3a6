//! The layers and images of a host.
//!
//! Everything lies below one directory that several processes share:
//!
//! | path | what |
//! |---|---|
//! | `layers/CHAIN/` | an unpacked layer: `diff/`, a lower directory of overlay; `about.json`; `lease`; `kept/`, its archive as it came, when no registry has it |
//! | `images/ID` | the config of an image, byte for byte |
//! | `known/MANIFEST` | which image a manifest is of, and where its layers are in registries |
//! | `mounts/NAME/` | a directory that builds share from one to the next: `data/`, `lease`, `size` |
//! | `steps/KEY` | what an instruction of a Dockerfile made: the layer, by its diffID |
//! | `stages/PROJECT/DIGEST/STAMP` | a stage of the local storage: another name of its image's config |
//! | `work/NAME/` | what somebody is making; its owner holds the lock on `work/NAME/lock` |
//! | `locks/` | one maker of a layer, one puller of an image, one who does an instruction, one admission at a time |
//! | `unsettled/BOOT/` | names of what the disk may not have yet |
//!
//! Things are made aside and appear by a rename, so that nothing half-made is ever seen. They are not flushed one by
//! one: what appeared since the last [`Store::settle`] is named in `unsettled` before it appears, and if the machine
//! stops before it is settled, it is thrown away at the next start, which another boot id tells.
//!
//! A layer that is used is *leased*: a shared lock on its `lease` file. What is evicted is leaf first, the longest unused
//! first, and only when its lease can be locked alone.

mod images;
mod inventory;
mod kept;
mod layers;
mod lease;
mod names;
mod prune;
mod room;
mod settle;
mod shared;
mod stages;
mod steps;
#[cfg(test)]
mod tests;
mod work;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::LayerError;

pub use self::{
    images::{Known, Place},
    inventory::{Inventory, Reclaimed, Tally, size_of},
    kept::Kept,
    layers::{About, Claim, Claimed, Layer},
    names::ChainId,
    room::{Reservation, Usage, share_of_volume},
    shared::SharedDirectory,
    stages::NamedImage,
    steps::{StepNote, StepTurn},
    work::Work,
};

/// How a store is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes that it may take; `None` = 70 % of the volume.
    pub limit: Option<u64>,
}

/// A store. Cheap to clone; clones are one.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    limit: u64,
    boot: String,
    leases: lease::Leases,
    sizes: room::Sizes,
}

impl Store {
    /// Opens the store in a directory, which is made when it is missing; throws away what a stop of the machine may have
    /// spoiled and what dead processes left half-made.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub fn open(root: &Path, options: &Options) -> Result<Self, LayerError> {
        let doing = |error: io::Error| LayerError::io(format!("open the store of layers in {}", root.display()), error);
        make_private(root).map_err(doing)?;
        for directory in [
            "layers",
            "images",
            "known",
            "stages",
            "work",
            "locks",
            "unsettled",
            "mounts",
            "empty/0",
            "empty/1",
            "reserved",
            steps::STEPS,
        ] {
            fs::create_dir_all(root.join(directory)).map_err(doing)?;
        }
        let root = fs::canonicalize(root).map_err(doing)?;
        let limit = options.limit.unwrap_or_else(|| share_of_volume(&root, room::SHARE));
        let boot = settle::boot_id();
        let store = Self(Arc::new(Inner { root, limit, boot, leases: Default::default(), sizes: Default::default() }));
        store.drop_unsettled()?;
        Ok(store)
    }

    /// The directory that it lies in.
    pub fn root(&self) -> &Path {
        &self.0.root
    }

    /// Two empty directories: lower ones for images that have too few, since overlay takes none twice.
    pub fn empty(&self) -> [PathBuf; 2] {
        [self.path("empty/0"), self.path("empty/1")]
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.root.join(name)
    }
}

/// Nobody else may look in: layers hold setuid programs and other people's files.
fn make_private(root: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    if let Some(parent) = root.parent() {
        fs::create_dir_all(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(root) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes a small file aside and moves it to its place.
fn write_whole(directory: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let aside = directory.join(format!(".{}", slipway_process::random_id()));
    let written = fs::write(&aside, bytes).and_then(|()| fs::rename(&aside, directory.join(name)));
    if written.is_err() {
        // What cannot be removed either is hidden by its name.
        let _ = fs::remove_file(&aside);
    }
    written
}
