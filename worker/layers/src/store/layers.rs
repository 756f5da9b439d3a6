//! Layers: found, claimed, made.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use slipway_oci::BlobDigest;
use slipway_process::random_id;

use super::{ChainId, Store, Work, lease, names::hex_of, settle::Thing};
use crate::LayerError;

/// Name of the file with what is known of a layer.
const ABOUT: &str = "about.json";

/// What is known of a layer beside its files.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct About {
    /// Digest of its archive, uncompressed.
    pub diff_id: BlobDigest,
    /// Hexadecimal digits of the stack below it; `None` = it is the lowest.
    pub below: Option<String>,
    /// Bytes that it takes.
    pub size: u64,
}

/// A layer in the store, in use as long as this lives.
#[derive(Clone, Debug)]
pub struct Layer {
    /// The stack that it is the top of.
    pub chain: ChainId,
    /// What is known of it.
    pub about: About,
    path: PathBuf,
    _lease: Arc<lease::Lease>,
}

impl Layer {
    /// Its files, as a lower directory of overlay.
    pub fn diff(&self) -> PathBuf {
        self.path.join("diff")
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

/// The right to make a layer, and the directory to do it in.
#[derive(Debug)]
pub struct Claim {
    store: Store,
    chain: ChainId,
    work: Work,
    /// Holds the lock.
    _lock: File,
}

/// What became of a claim.
#[derive(Debug)]
pub enum Claimed {
    /// It is there.
    There(Layer),
    /// It is ours to make.
    Ours(Claim),
}

impl Store {
    /// The layer on top of a stack; `None` when it is not there.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn layer(&self, chain: &ChainId) -> Result<Option<Layer>, LayerError> {
        let path = self.path("layers").join(chain.hex());
        let doing = |error: io::Error| LayerError::io(format!("open the layer {}", path.display()), error);
        let Some(lease) = self.0.leases.take(chain, &path).map_err(doing)? else { return Ok(None) };
        let about = read_about(&path).map_err(doing)?;
        Ok(Some(Layer { chain: chain.clone(), about, path, _lease: lease }))
    }

    /// All layers of an image, lowest first; `None` when one is missing.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn stack(&self, diff_ids: &[BlobDigest]) -> Result<Option<Vec<Layer>>, LayerError> {
        ChainId::stacks(diff_ids).iter().map(|chain| self.layer(chain)).collect()
    }

    /// Bytes that all layers of an image take; `None` when one is missing. Only the topmost is marked as used: those below
    /// are not evicted before it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn stack_size(&self, diff_ids: &[BlobDigest]) -> Result<Option<u64>, LayerError> {
        let chains = ChainId::stacks(diff_ids);
        let Some((top, below)) = chains.split_last() else { return Ok(Some(0)) };
        let Some(top) = self.layer(top)? else { return Ok(None) };
        let mut bytes = top.about.size;
        for chain in below {
            if !self.path("layers").join(chain.hex()).join(lease::FILE).exists() {
                return Ok(None);
            }
            bytes += self.size(chain);
        }
        Ok(Some(bytes))
    }

    /// Asks to make a layer: waits while another process makes it.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn claim(&self, chain: &ChainId) -> Result<Claimed, LayerError> {
        if let Some(layer) = self.layer(chain)? {
            return Ok(Claimed::There(layer));
        }
        let lock = self.lock(chain.hex())?;
        if let Some(layer) = self.layer(chain)? {
            return Ok(Claimed::There(layer));
        }
        let work = self.work(&format!("layer-{}", random_id()))?;
        let doing = |error: io::Error| LayerError::io(format!("make the layer {chain}"), error);
        for directory in ["diff", "layer"] {
            fs::create_dir(work.path().join(directory)).map_err(doing)?;
        }
        Ok(Claimed::Ours(Claim { store: self.clone(), chain: chain.clone(), work, _lock: lock }))
    }

    /// Waits until no other process of this host pulls the image of a manifest; none does while the answer lives.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn pulling(&self, manifest: &BlobDigest) -> Result<File, LayerError> {
        self.lock(&format!("pull-{}", hex_of(manifest)))
    }

    fn lock(&self, name: &str) -> Result<File, LayerError> {
        let path = self.path("locks").join(name);
        let doing = |error: io::Error| LayerError::io(format!("lock {}", path.display()), error);
        loop {
            let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(doing)?;
            lock.lock().map_err(doing)?;
            if lease::is_same(&lock, &path).map_err(doing)? {
                return Ok(lock);
            }
        }
    }

    /// Takes a directory of files over as a layer. Another process may have made the same one meanwhile: then that is
    /// taken. The directory must lie in the store's own file system, below `work`.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn adopt(&self, chain: &ChainId, diff: &Path, about: &About) -> Result<Layer, LayerError> {
        if let Some(layer) = self.layer(chain)? {
            return Ok(layer);
        }
        let _lock = self.lock(chain.hex())?;
        if let Some(layer) = self.layer(chain)? {
            return Ok(layer);
        }
        // Beside it: whoever made it removes what is left there.
        let aside = diff.with_file_name(format!("layer-{}", chain.hex()));
        fs::create_dir(&aside)
            .map_err(|error| LayerError::io(format!("make the directory {}", aside.display()), error))?;
        self.appear(chain, diff, &aside, about)
    }

    /// Makes a layer of its files and of the directory `aside`, which becomes it. Its lock is held.
    fn appear(&self, chain: &ChainId, diff: &Path, aside: &Path, about: &About) -> Result<Layer, LayerError> {
        let place = self.path("layers").join(chain.hex());
        let appear = || -> io::Result<()> {
            fs::rename(diff, aside.join("diff"))?;
            fs::write(aside.join(lease::FILE), b"")?;
            fs::write(aside.join(ABOUT), serde_json::to_vec(about)?)?;
            self.announce(Thing::Layer, chain.hex())?;
            fs::rename(aside, &place)
        };
        appear().map_err(|error| LayerError::io(format!("store the layer {chain}"), error))?;
        let gone = || LayerError::io(format!("store the layer {chain}"), io::Error::from(io::ErrorKind::NotFound));
        self.layer(chain)?.ok_or_else(gone)
    }

    /// Names of all layers that are there.
    pub(super) fn chains(&self) -> io::Result<Vec<ChainId>> {
        let names = fs::read_dir(self.path("layers"))?.map(|found| Ok(found?.file_name()));
        let names = names.collect::<io::Result<Vec<_>>>()?;
        Ok(names.iter().filter_map(|name| ChainId::from_name(name.to_str()?)).collect())
    }

    pub(super) fn about(&self, chain: &ChainId) -> io::Result<About> {
        read_about(&self.path("layers").join(chain.hex()))
    }
}

impl Claim {
    /// The directory for its files: empty, and moved to its place by [`finish`](Self::finish).
    pub fn diff(&self) -> PathBuf {
        self.work.path().join("diff")
    }

    /// The directory that becomes the layer's, but for its files.
    pub(super) fn aside(&self) -> PathBuf {
        self.work.path().join("layer")
    }

    /// Makes the layer appear.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn finish(self, about: &About) -> Result<Layer, LayerError> {
        self.store.appear(&self.chain, &self.diff(), &self.aside(), about)
    }
}

fn read_about(path: &Path) -> io::Result<About> {
    Ok(serde_json::from_slice(&fs::read(path.join(ABOUT))?)?)
}
