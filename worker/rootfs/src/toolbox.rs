//! The toolbox that commands see: a directory in a store, made on first use.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use futures::TryStreamExt as _;
use slipway_backend::{BackendError, ByteStream, Tools};
use slipway_layers::{
    Store,
    copy::{Names, lay_all},
    root::Root,
    tar::{Limits, TarReader},
    unpack::{Purpose, unpack},
};
use slipway_oci::{ImageAt, Platform, Reference};
use slipway_process::{Tasks, random_id};
use slipway_registry::Client;
use slipway_toolbox::{Places, REQUIRED, Source, archive, complaint};
use tokio::sync::OnceCell;
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::error;

/// Where it is mounted.
pub const MOUNT: &str = "/.werf/stapel";
/// Directory of the archive that is mounted.
const INNER: &str = ".werf/stapel";

/// Makes it.
pub struct Toolbox {
    source: Source,
    store: Store,
    client: Client,
    tasks: Tasks,
    ready: OnceCell<PathBuf>,
}

impl Toolbox {
    /// One that is made in `store`; `client` asks registries for one that the user names.
    pub fn new(source: Source, store: Store, client: Client, tasks: Tasks) -> Self {
        Self { source, store, client, tasks, ready: OnceCell::new() }
    }

    /// Its directory; `files` reads those below [`MOUNT`] of an image of a repository.
    ///
    /// # Errors
    /// When it cannot be had, or lacks programs.
    pub async fn directory<F>(&self, files: impl Fn(ImageAt) -> F + Send) -> Result<PathBuf, BackendError>
    where
        F: Future<Output = Result<ByteStream, BackendError>> + Send,
    {
        let make = || async {
            let (name, version) = match &self.source {
                Source::Image { name, version } => (name, version),
                Source::Own(places) => {
                    let (store, places) = (self.store.clone(), places.clone());
                    return self.tasks.blocking(move || directory(&store, &places)).await;
                }
            };
            self.of_image(&format!("{name}:{version}"), files).await
        };
        self.ready.get_or_try_init(make).await.cloned()
    }

    /// The same with tools laid beside it.
    ///
    /// # Errors
    /// Also when it is one that the user names.
    pub async fn with<F>(
        &self,
        tools: Option<&Tools>,
        files: impl Fn(ImageAt) -> F + Send,
    ) -> Result<PathBuf, BackendError>
    where
        F: Future<Output = Result<ByteStream, BackendError>> + Send,
    {
        let plain = self.directory(files).await?;
        let Some(tools) = tools.filter(|tools| tools.root.is_some()) else { return Ok(plain) };
        if let Source::Image { name, .. } = &self.source {
            return Err(BackendError::Refused(format!(
                "nothing can be laid beside the tools of the toolbox image {name}: name none, or one that has them"
            )));
        }
        let (store, tools) = (self.store.clone(), tools.clone());
        self.tasks.blocking(move || joined(&store, &plain, &tools)).await
    }

    /// Of an image that the user names.
    async fn of_image<F>(&self, image: &str, files: impl Fn(ImageAt) -> F + Send) -> Result<PathBuf, BackendError>
    where
        F: Future<Output = Result<ByteStream, BackendError>> + Send,
    {
        let doing = format!("take the toolbox image {image} (WERF_STAPEL_IMAGE_NAME)");
        let refused = |why: String| BackendError::Refused(format!("{doing}: {why}"));
        let reference: Reference = image.parse().map_err(|error| refused(format!("{error}")))?;
        let found = self.client.resolve(&reference, &Platform::host()).await;
        let found = found.map_err(|error| BackendError::Engine(format!("{doing}: {error}")))?;
        let at = found.ok_or_else(|| refused("its registry does not have it for this machine".to_owned()))?;
        let place = self.store.root().join("toolbox").join(format!("image-{}", at.digest.short()));
        if place.exists() {
            return checked(image, place.join(INNER));
        }
        let tar = of_files(image, files(at).await)?;
        let (store, image) = (self.store.clone(), image.to_owned());
        let unpacked = move || {
            make(&store, &place, SyncIoBridge::new(StreamReader::new(tar.map_err(io::Error::other))), INNER)?;
            checked(&image, place.join(INNER))
        };
        self.tasks.blocking(unpacked).await
    }
}

/// The directory to mount; made when it is missing. Blocks.
fn directory(store: &Store, places: &Places) -> Result<PathBuf, BackendError> {
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

/// The files below [`MOUNT`] of an image that the user calls `image`: that there are none is its own fault.
fn of_files(image: &str, files: Result<ByteStream, BackendError>) -> Result<ByteStream, BackendError> {
    files.map_err(|error| match error {
        BackendError::Refused(_) => BackendError::Refused(format!(
            "take the toolbox image {image} (WERF_STAPEL_IMAGE_NAME): it has no {MOUNT}, so it is no toolbox"
        )),
        other => other,
    })
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
        lay_all(&[root.clone(), toolbox.to_owned()], &aside, Names::Kept).map_err(system)?;
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
