//! The toolbox, unpacked in the store on first use.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use slipway_backend::BackendError;
use slipway_layers::{
    Store,
    root::Root,
    tar::{Limits, TarReader},
    unpack::{Purpose, unpack},
};
use slipway_process::random_id;
use slipway_toolbox::{Places, archive};

use crate::error;

/// Where it is mounted.
pub(crate) const MOUNT: &str = "/.werf/stapel";
/// Directory of the archive that is mounted.
const INNER: &str = ".werf/stapel";

/// The directory to mount; made when it is missing. Blocks.
pub(crate) fn directory(store: &Store, places: &Places) -> Result<PathBuf, BackendError> {
    let all = store.root().join("toolbox");
    let known = places.name().map(|name| all.join(name));
    if let Some(place) = known.as_ref().filter(|place| place.exists()) {
        return Ok(place.join(INNER));
    }
    let programs = places.load().map_err(|error| BackendError::Refused(error.to_string()))?;
    let packed = archive(&programs).map_err(|error| BackendError::Engine(error.to_string()))?;
    let place = known.unwrap_or_else(|| all.join(&packed.version));
    if !place.exists() {
        make(store, &all, &place, &packed.bytes)?;
    }
    Ok(place.join(INNER))
}

fn make(store: &Store, all: &Path, place: &Path, bytes: &[u8]) -> Result<(), BackendError> {
    let doing = "unpack the toolbox";
    let work = store.work(&format!("toolbox-{}", random_id())).map_err(|error| error::layers(doing, error))?;
    let aside = work.path().join("root");
    let system = |error: io::Error| error::system(doing, error);
    fs::create_dir(&aside).map_err(system)?;
    fs::create_dir_all(all).map_err(system)?;
    let root = Root::open(&aside).map_err(system)?;
    unpack(&mut TarReader::new(bytes, Limits::default()), &root, &Purpose::Layer)
        .map_err(|error| error::layers(doing, error))?;
    match fs::rename(&aside, place) {
        // Another process was faster.
        Err(error) if !place.exists() => Err(system(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}
