//! What lies in a store, kind by kind, and making room on demand.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::SystemTime,
};

use slipway_oci::{BlobDigest, ImageConfig};

use super::{ChainId, Store, lease, room::Evicted, shared::Share, steps::STEPS};
use crate::LayerError;

/// How many, and how much.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Tally {
    /// How many.
    pub number: u64,
    /// Bytes of all.
    pub bytes: u64,
}

impl Tally {
    fn add(&mut self, bytes: u64) {
        self.number += 1;
        self.bytes += bytes;
    }
}

/// What lies in a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Inventory {
    /// Layers.
    pub layers: Tally,
    /// Those of them that somebody uses now.
    pub used: Tally,
    /// Directories that builds share from one to the next, as they were last measured.
    pub shared: Tally,
    /// Configs of images.
    pub images: Tally,
    /// Notes about images and layers in registries.
    pub notes: Tally,
    /// Stages of the local storage; their files are those of images.
    pub stages: u64,
    /// Stages that have lost a layer, so that they are built again.
    pub broken: u64,
    /// Directories in which somebody makes something now.
    pub building: Tally,
    /// Directories that dead processes left.
    pub leftovers: Tally,
    /// Bytes that are promised to what is being made.
    pub reserved: u64,
    /// Bytes that may be taken by layers and shared directories.
    pub limit: u64,
}

/// What went, or would go.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reclaimed {
    /// Layers, the longest unused first.
    pub layers: Tally,
    /// Directories that builds share, in one order with the layers.
    pub shared: Tally,
    /// Directories that dead processes left.
    pub leftovers: Tally,
    /// Stages of the local storage that had lost a layer, or lose one now.
    pub stages: u64,
}

/// A layer as the order of eviction sees it.
struct Candidate {
    below: Option<String>,
    used: SystemTime,
    size: u64,
    /// Somebody uses it.
    held: bool,
}

impl Store {
    /// What lies in the store now.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn inventory(&self) -> Result<Inventory, LayerError> {
        let doing = |error: io::Error| LayerError::io("look through the store of layers", error);
        let usage = self.usage()?;
        let mut found = Inventory { reserved: usage.reserved, limit: usage.limit, ..Inventory::default() };
        let candidates = self.candidates().map_err(doing)?;
        for candidate in candidates.values() {
            found.layers.add(candidate.size);
            if candidate.held {
                found.used.add(candidate.size);
            }
        }
        for share in self.shares().map_err(doing)? {
            found.shared.add(share.size);
        }
        found.images = files(&self.path("images")).map_err(doing)?;
        for notes in ["known", STEPS] {
            let tally = files(&self.path(notes)).map_err(doing)?;
            found.notes.number += tally.number;
            found.notes.bytes += tally.bytes;
        }
        self.each_stage(&BTreeSet::new(), |_, whole| {
            found.stages += 1;
            found.broken += u64::from(!whole);
            Ok(())
        })
        .map_err(doing)?;
        self.each_work(|path, alive| {
            let tally = if alive { &mut found.building } else { &mut found.leftovers };
            tally.add(size_of(path));
        })
        .map_err(doing)?;
        Ok(found)
    }

    /// Removes what dead processes left, the longest unused layers until all take at most `keep` bytes (with the directories that builds share), and stages that
    /// lack a layer then. What is in use stays, whatever it takes. With `dry_run` nothing goes, and what would is told.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub fn reclaim(&self, keep: u64, dry_run: bool) -> Result<Reclaimed, LayerError> {
        let doing = |error: io::Error| LayerError::io("make room in the store of layers", error);
        let mut gone = Reclaimed::default();
        self.each_work(|path, alive| {
            if !alive {
                gone.leftovers.add(size_of(path));
            }
        })
        .map_err(doing)?;
        if !dry_run {
            self.sweep()?;
        }
        let mut without = BTreeSet::new();
        {
            let _turn = self.turn().map_err(doing)?;
            let mut candidates = self.candidates().map_err(doing)?;
            let mut shares = self.shares().map_err(doing)?;
            let taken: u64 = candidates.values().map(|candidate| candidate.size).sum();
            let taken = taken + shares.iter().map(|share| share.size).sum::<u64>();
            let mut excess = taken.saturating_sub(keep);
            while excess > 0 {
                let next = if dry_run { pick(&candidates, &shares) } else { self.evict_one().map_err(doing)? };
                let Some((evicted, size)) = next else { break };
                excess = excess.saturating_sub(size);
                match evicted {
                    Evicted::Layer(chain) => {
                        candidates.remove(&chain);
                        gone.layers.add(size);
                        if dry_run {
                            without.insert(chain);
                        }
                    }
                    Evicted::Shared(path) => {
                        shares.retain(|share| share.path != path);
                        gone.shared.add(size);
                    }
                }
            }
        }
        self.each_stage(&without, |path, whole| {
            if whole {
                return Ok(());
            }
            gone.stages += 1;
            if dry_run { Ok(()) } else { remove_stage(path) }
        })
        .map_err(doing)?;
        Ok(gone)
    }

    fn candidates(&self) -> io::Result<BTreeMap<ChainId, Candidate>> {
        let mut candidates = BTreeMap::new();
        for chain in self.chains()? {
            let path = self.path("layers").join(chain.hex());
            // One that cannot be read is being evicted by another process.
            let (Ok(about), Ok(lease)) = (self.about(&chain), fs::metadata(path.join(lease::FILE))) else { continue };
            let held = lease::alone(&path)?.is_none();
            let used = lease.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            candidates.insert(chain, Candidate { below: about.below, used, size: about.size, held });
        }
        Ok(candidates)
    }

    /// Shows every stage of the local storage, and whether all of its layers are there, `without` left out. They are
    /// looked for after the stage was seen: a build names a stage when its layers are there.
    fn each_stage(
        &self,
        without: &BTreeSet<ChainId>,
        mut see: impl FnMut(&Path, bool) -> io::Result<()>,
    ) -> io::Result<()> {
        let is_there = |chain: &ChainId| !without.contains(chain) && self.path("layers").join(chain.hex()).exists();
        for project in listed(&self.path("stages"))? {
            for digest in listed(&self.path("stages").join(project.clone()))? {
                let directory = self.path("stages").join(&project).join(digest);
                for stamp in listed(&directory)? {
                    let path = directory.join(stamp);
                    let Ok(bytes) = fs::read(&path) else { continue };
                    see(&path, stacks(&bytes).is_some_and(|stacks| stacks.iter().all(is_there)))?;
                }
            }
        }
        Ok(())
    }

    /// Shows every directory below `work`, and whether its owner is alive.
    fn each_work(&self, mut see: impl FnMut(&Path, bool)) -> io::Result<()> {
        for name in listed(&self.path("work"))? {
            let path = self.path("work").join(name);
            // One that has vanished since it was listed is nobody's.
            let dead = self.dead(&path)?.is_some();
            if dead || path.exists() {
                see(&path, !dead);
            }
        }
        Ok(())
    }
}

/// What goes next: the longest unused of the layers that nothing stands on and of the shared directories, if nobody uses
/// it; taken as gone by whoever asks.
fn pick(candidates: &BTreeMap<ChainId, Candidate>, shares: &[Share]) -> Option<(Evicted, u64)> {
    let below: BTreeSet<&str> = candidates.values().filter_map(|candidate| candidate.below.as_deref()).collect();
    let free = candidates.iter().filter(|(chain, candidate)| !candidate.held && !below.contains(chain.hex()));
    let next = free.min_by(|left, right| (left.1.used, left.0).cmp(&(right.1.used, right.0)));
    let share = shares.iter().filter(|share| !share.held).min_by_key(|share| share.used);
    match (next, share) {
        (Some((chain, layer)), share) if share.is_none_or(|share| layer.used < share.used) => {
            Some((Evicted::Layer(chain.clone()), layer.size))
        }
        (_, share) => share.map(|share| (Evicted::Shared(share.path.clone()), share.size)),
    }
}

/// The stacks that the image of a stage stands on; `None` when its config cannot be read.
fn stacks(config: &[u8]) -> Option<Vec<ChainId>> {
    let config = ImageConfig::parse(config).ok()?;
    let ids: Result<Vec<BlobDigest>, _> = config.rootfs.diff_ids.iter().map(|id| id.parse()).collect();
    ids.ok().map(|ids| ChainId::stacks(&ids))
}

/// Removes the name of a stage, and directories that are empty then.
fn remove_stage(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    for directory in path.ancestors().skip(1).take(2) {
        // One that is not empty stays. A build that is about to name a stage in it makes it again.
        if fs::remove_dir(directory).is_err() {
            break;
        }
    }
    Ok(())
}

fn listed(directory: &Path) -> io::Result<Vec<OsString>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| Ok(entry?.file_name())).collect(),
        // It was removed since it was listed itself.
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn files(directory: &Path) -> io::Result<Tally> {
    let mut tally = Tally::default();
    for name in listed(directory)? {
        if let Ok(about) = fs::symlink_metadata(directory.join(name)) {
            tally.add(about.blocks() * 512);
        }
    }
    Ok(tally)
}

/// Bytes on the disk of a directory with all that is in it; what vanishes meanwhile, or cannot be read, counts nothing.
pub fn size_of(path: &Path) -> u64 {
    let mut seen = BTreeSet::new();
    let mut total = 0;
    let mut waiting = vec![path.to_owned()];
    while let Some(path) = waiting.pop() {
        let Ok(about) = fs::symlink_metadata(&path) else { continue };
        // A file with several names is one.
        if about.nlink() > 1 && !about.is_dir() && !seen.insert((about.dev(), about.ino())) {
            continue;
        }
        total += about.blocks() * 512;
        if about.is_dir() {
            waiting.extend(listed(&path).unwrap_or_default().into_iter().map(|name| path.join(name)));
        }
    }
    total
}
