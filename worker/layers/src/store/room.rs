//! Room: how much the store takes, and who goes when it is too much.

use std::{
    collections::{BTreeSet, HashMap},
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use slipway_process::random_id;

use super::{ChainId, Store, lease};
use crate::LayerError;

/// Share of the volume that the store may take when nobody says how much, in percent.
pub(super) const SHARE: u64 = 70;

/// What is promised to work of which nobody knows how much it will make, in bytes: no more than this,
const BEGINNING: u64 = 64 << 20;
/// and no more than this part of what the store may take.
const BEGINNING_PART: u64 = 64;

/// Sizes of layers that were looked at; a layer never changes.
#[derive(Debug, Default)]
pub(super) struct Sizes(Mutex<HashMap<ChainId, u64>>);

/// What a store takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Usage {
    /// Number of layers.
    pub layers: u64,
    /// Bytes of all layers.
    pub bytes: u64,
    /// Bytes of the directories that builds share, as they were last measured.
    pub shared: u64,
    /// Bytes that are promised to what is being made.
    pub reserved: u64,
    /// Bytes that may be taken.
    pub limit: u64,
}

impl Usage {
    fn taken(&self) -> u64 {
        self.bytes + self.shared + self.reserved
    }
}

/// What went to make room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Evicted {
    /// A layer.
    Layer(ChainId),
    /// A directory that builds share.
    Shared(PathBuf),
}

/// Room that is promised to something being made. Given back when it is dropped, or when its process ends.
#[derive(Debug)]
pub struct Reservation {
    path: PathBuf,
    /// Holds the lock.
    _file: File,
    /// How many bytes.
    pub bytes: u64,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        // One that stays counts no more: nobody holds its lock.
        let _ = fs::remove_file(&self.path);
    }
}

impl Store {
    /// What the store takes.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn usage(&self) -> Result<Usage, LayerError> {
        let doing = |error: io::Error| LayerError::io("measure the store of layers", error);
        let chains = self.chains().map_err(doing)?;
        let layers = chains.len() as u64;
        let bytes = chains.iter().map(|chain| self.size(chain)).sum();
        let (shared, reserved) = (self.shared_bytes().map_err(doing)?, self.reserved().map_err(doing)?);
        Ok(Usage { layers, bytes, shared, reserved, limit: self.0.limit })
    }

    /// Bytes that it may take.
    pub fn limit(&self) -> u64 {
        self.0.limit
    }

    /// Promises room for `bytes`; evicts what is not in use, the longest unused first, until there is room.
    ///
    /// # Errors
    /// [`LayerError::TooMuch`] when all that is left is in use.
    pub fn admit(&self, bytes: u64) -> Result<Reservation, LayerError> {
        let doing = |error: io::Error| LayerError::io("make room in the store of layers", error);
        let _turn = self.turn().map_err(doing)?;
        let mut usage = self.usage()?;
        if usage.taken() + bytes > usage.limit {
            self.evict(usage.taken() + bytes - usage.limit).map_err(doing)?;
            usage = self.usage()?;
        }
        if usage.taken() + bytes > usage.limit {
            return Err(LayerError::TooMuch(format!(
                "the store of layers in {} may take {} bytes; {} are in use, {} promised, and {bytes} more are needed: \
                 free some space or allow more",
                self.0.root.display(),
                usage.limit,
                usage.bytes + usage.shared,
                usage.reserved
            )));
        }
        self.reserve(bytes).map_err(doing)
    }

    /// Promises a little room to work that is about to begin, so that a store that is full of what is in use says so before
    /// commands run, not after.
    ///
    /// # Errors
    /// As [`admit`](Self::admit).
    pub fn admit_beginning(&self) -> Result<Reservation, LayerError> {
        self.admit(BEGINNING.min(self.0.limit / BEGINNING_PART))
    }

    /// Evicts until at least `bytes` are free, or nothing can go; answers how many bytes went.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn evict_bytes(&self, bytes: u64) -> Result<u64, LayerError> {
        let doing = |error: io::Error| LayerError::io("make room in the store of layers", error);
        let _turn = self.turn().map_err(doing)?;
        self.evict(bytes).map_err(doing)
    }

    pub(super) fn turn(&self) -> io::Result<File> {
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(self.path("locks/room"))?;
        lock.lock()?;
        Ok(lock)
    }

    pub(super) fn size(&self, chain: &ChainId) -> u64 {
        let mut sizes = self.0.sizes.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(size) = sizes.get(chain) {
            return *size;
        }
        // One that is being evicted takes nothing any more.
        let Ok(about) = self.about(chain) else { return 0 };
        sizes.insert(chain.clone(), about.size);
        about.size
    }

    fn reserve(&self, bytes: u64) -> io::Result<Reservation> {
        let path = self.path("reserved").join(format!("{}.{bytes}", random_id()));
        let file = OpenOptions::new().create_new(true).write(true).open(&path)?;
        file.try_lock().map_err(io::Error::from)?;
        Ok(Reservation { path, _file: file, bytes })
    }

    /// What the living have reserved.
    fn reserved(&self) -> io::Result<u64> {
        let mut total = 0;
        for found in fs::read_dir(self.path("reserved"))? {
            let path = found?.path();
            let bytes = path.extension().and_then(|text| text.to_str()).and_then(|text| text.parse::<u64>().ok());
            let Ok(file) = File::open(&path) else { continue };
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => total += bytes.unwrap_or(0),
                // Its owner is dead.
                Ok(()) => drop(fs::remove_file(&path)),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Ok(total)
    }

    fn evict(&self, wanted: u64) -> io::Result<u64> {
        let mut freed = 0;
        while freed < wanted {
            let Some((_, size)) = self.evict_one()? else { break };
            freed += size;
        }
        Ok(freed)
    }

    /// Evicts what is longest unused of the layers that nothing stands on and of the shared directories, if nobody uses
    /// it; answers what, and its size.
    pub(super) fn evict_one(&self) -> io::Result<Option<(Evicted, u64)>> {
        let chains = self.chains()?;
        let below: BTreeSet<String> = chains.iter().filter_map(|chain| self.about(chain).ok()?.below).collect();
        let mut leaves: Vec<(SystemTime, ChainId)> = Vec::new();
        let mut shares = self.shares()?;
        shares.sort_by_key(|share| share.used);
        let mut shares = shares.into_iter().peekable();
        for chain in chains.into_iter().filter(|chain| !below.contains(chain.hex())) {
            let used = fs::metadata(self.layer_path(&chain).join(lease::FILE)).and_then(|found| found.modified());
            leaves.push((used.unwrap_or(SystemTime::UNIX_EPOCH), chain));
        }
        leaves.sort();
        for (used, chain) in leaves {
            while let Some(share) = shares.next_if(|share| share.used <= used) {
                if self.evict_share(&share.path)? {
                    return Ok(Some((Evicted::Shared(share.path), share.size)));
                }
            }
            let path = self.layer_path(&chain);
            let Some(_alone) = lease::alone(&path)? else { continue };
            let size = self.size(&chain);
            // First out of sight, then gone.
            let work = self.work(&format!("evicted-{}", random_id())).map_err(io::Error::from)?;
            fs::rename(&path, work.path().join("layer"))?;
            self.0.sizes.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&chain);
            return Ok(Some((Evicted::Layer(chain), size)));
        }
        for share in shares {
            if self.evict_share(&share.path)? {
                return Ok(Some((Evicted::Shared(share.path), share.size)));
            }
        }
        Ok(None)
    }

    fn layer_path(&self, chain: &ChainId) -> PathBuf {
        self.path("layers").join(chain.hex())
    }
}

/// So many percent of the volume that a path is on, or will be on; 0 when nobody knows.
pub fn share_of_volume(path: &Path, percent: u64) -> u64 {
    let volume = path.ancestors().find_map(|path| rustix::fs::statvfs(path).ok());
    volume.map_or(0, |volume| volume.f_blocks.saturating_mul(volume.f_frsize) / 100 * percent)
}
