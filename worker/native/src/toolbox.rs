//! The toolbox, unpacked in the store on first use.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use futures::TryStreamExt as _;
use slipway_backend::{BackendError, ByteStream, Tools};
use slipway_layers::{
    Store,
    copy::Names,
    root::Root,
    tar::{Limits, TarReader},
    unpack::{Purpose, unpack},
};
use slipway_oci::{ImageAt, Platform, Reference};
use slipway_process::random_id;
use slipway_toolbox::{Places, REQUIRED, archive, complaint};
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::{Shared, driver::copy, error, files, pull};

/// Where it is mounted.
pub const MOUNT: &str = "/.werf/stapel";
/// Directory of the archive that is mounted.
const INNER: &str = ".werf/stapel";

/// The directory to mount; made when it is missing. Blocks.
///
/// # Errors
/// When there are no programs, or the store cannot be written.
pub fn directory(store: &Store, places: &Places) -> Result<PathBuf, BackendError> {
    let all = store.root().join("toolbox");
    let known = places.name().map(|name| all.join(name));
    if let Some(place) = known.as_ref().filter(|place| place.exists()) {
        return Ok(place.join(INNER));
    }
    let programs = places.load().map_err(|error| BackendError::Refused(error.to_string()))?;
    let packed = archive(&programs).map_err(|error| BackendError::Engine(error.to_string()))?;
    let place = known.unwrap_or_else(|| all.join(&packed.version));
    if !place.exists() {
        make(store, &place, packed.bytes.as_slice(), "")?;
    }
    Ok(place.join(INNER))
}

/// The same of an image that the user names.
pub(crate) async fn of_image(shared: &Arc<Shared>, name: &str, version: &str) -> Result<PathBuf, BackendError> {
    let image = format!("{name}:{version}");
    let doing = format!("take the toolbox image {image} (WERF_STAPEL_IMAGE_NAME)");
    let refused = |why: String| BackendError::Refused(format!("{doing}: {why}"));
    let reference: Reference = image.parse().map_err(|error| refused(format!("{error}")))?;
    let found = shared.client.resolve(&reference, &Platform::host()).await;
    let found = found.map_err(|error| BackendError::Engine(format!("{doing}: {error}")))?;
    let at = found.ok_or_else(|| refused("its registry does not have it for this machine".to_owned()))?;
    let place = place_of(&shared.store, &at);
    if !place.exists() {
        let local = pull::pull(shared, &at).await?;
        let files = files::files(shared, &local, MOUNT).await;
        let (store, tar) = (shared.store.clone(), of_files(&image, files.map(|(_, tar)| tar))?);
        return shared.tasks.blocking(move || unpacked(&store, &at, &image, tar)).await;
    }
    checked(&image, place.join(INNER))
}

/// Where the toolbox of an image is unpacked.
fn place_of(store: &Store, at: &ImageAt) -> PathBuf {
    store.root().join("toolbox").join(format!("image-{}", at.digest.short()))
}

/// The toolbox of an image that was unpacked before; `None` = it was not.
///
/// # Errors
/// When it lacks programs.
pub fn known(store: &Store, at: &ImageAt, image: &str) -> Option<Result<PathBuf, BackendError>> {
    let place = place_of(store, at);
    place.exists().then(|| checked(image, place.join(INNER)))
}

/// The files below [`MOUNT`] of an image that the user calls `image`.
///
/// # Errors
/// What came of reading them; that there are none is the image's fault.
pub fn of_files(image: &str, files: Result<ByteStream, BackendError>) -> Result<ByteStream, BackendError> {
    files.map_err(|error| match error {
        BackendError::Refused(_) => BackendError::Refused(format!(
            "take the toolbox image {image} (WERF_STAPEL_IMAGE_NAME): it has no {MOUNT}, so it is no toolbox"
        )),
        other => other,
    })
}

/// Unpacks them. Blocks.
///
/// # Errors
/// When the store cannot be written, or the toolbox lacks programs.
pub fn unpacked(store: &Store, at: &ImageAt, image: &str, tar: ByteStream) -> Result<PathBuf, BackendError> {
    let place = place_of(store, at);
    make(store, &place, SyncIoBridge::new(StreamReader::new(tar.map_err(io::Error::other))), INNER)?;
    checked(image, place.join(INNER))
}

fn checked(image: &str, directory: PathBuf) -> Result<PathBuf, BackendError> {
    let lacks = |program: &&str| fs::symlink_metadata(directory.join("embedded/bin").join(program)).is_err();
    let missing: Vec<&str> = REQUIRED.into_iter().filter(lacks).collect();
    match complaint(image, &missing) {
        None => Ok(directory),
        Some(complaint) => Err(BackendError::Refused(complaint)),
    }
}

/// The toolbox with tools beside it in a directory of their own, where no overlay of the kernel lays one over the other.
/// Blocks.
///
/// # Errors
/// When the store cannot be written.
pub fn joined(store: &Store, toolbox: &Path, tools: &Tools) -> Result<PathBuf, BackendError> {
    let Some(root) = &tools.root else { return Ok(toolbox.to_owned()) };
    let doing = "lay tools beside the toolbox";
    let system = |error: io::Error| error::system(doing, error);
    let name = toolbox.strip_prefix(store.root().join("toolbox")).unwrap_or(toolbox).components().next();
    let mut joined = name.map(|name| name.as_os_str().to_owned()).unwrap_or_default();
    joined.push(format!("-{}", tools.version));
    let place = store.root().join("toolbox").join(joined);
    if !place.exists() {
        let work = store.work(&format!("toolbox-{}", random_id())).map_err(|error| error::layers(doing, error))?;
        let aside = work.path().join("root");
        copy(&[root.clone(), toolbox.to_owned()], &aside, Names::Kept).map_err(system)?;
        settle(&aside, &place).map_err(system)?;
    }
    Ok(place)
}

/// Unpacks a tar whose entries go below `inner`, aside first.
fn make(store: &Store, place: &Path, tar: impl io::Read, inner: &str) -> Result<(), BackendError> {
    let doing = "unpack the toolbox";
    let work = store.work(&format!("toolbox-{}", random_id())).map_err(|error| error::layers(doing, error))?;
    let aside = work.path().join("root");
    let system = |error: io::Error| error::system(doing, error);
    fs::create_dir_all(aside.join(inner)).map_err(system)?;
    fs::create_dir_all(place.parent().unwrap_or(place)).map_err(system)?;
    let root = Root::open(&aside.join(inner)).map_err(system)?;
    unpack(&mut TarReader::new(tar, Limits::default()), &root, &Purpose::Layer)
        .map_err(|error| error::layers(doing, error))?;
    settle(&aside, place).map_err(system)
}

/// Puts a directory that was made aside to its place.
fn settle(aside: &Path, place: &Path) -> io::Result<()> {
    match fs::rename(aside, place) {
        // Another process was faster.
        Err(error) if !place.exists() => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}
