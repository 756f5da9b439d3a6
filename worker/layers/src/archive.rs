//! Images in archives of a project: found, and checked as far as that is possible without reading their layers.
//!
//! What an archive says is taken for hostile: its paths never leave the project, its documents are read with limits and
//! must have the digests that name them. Layers are verified by whoever unpacks them.

mod docker;
mod layout;
#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
    path::Path,
    sync::Arc,
};

use rustix::fs::OFlags;
use slipway_oci::{
    ArchiveForm, ArchiveName, BlobDigest, ImageConfig, Platform,
    manifest::{Descriptor, Manifest},
};

use crate::{
    LayerError,
    error::shown,
    root::{Root, is_missing},
};

/// Most names that a message lists.
const NAMED: usize = 20;

/// An image of an archive.
#[derive(Clone, Debug)]
pub struct ArchivedImage {
    /// Digest of its manifest.
    pub digest: BlobDigest,
    /// Media type of its manifest.
    pub media_type: String,
    /// Its manifest.
    pub manifest: Vec<u8>,
    /// Its config and layers.
    pub parts: Vec<Part>,
}

/// Bytes in an archive.
#[derive(Clone, Debug)]
pub struct Part {
    /// What they must be.
    pub digest: BlobDigest,
    /// How many they are.
    pub size: u64,
    root: Arc<Root>,
    path: Vec<u8>,
    offset: u64,
}

impl Part {
    /// Opens the file that they are in, at their beginning: it may go on behind them.
    ///
    /// # Errors
    /// When the file is not there any more.
    pub fn open(&self) -> io::Result<File> {
        let mut file = File::from(self.root.at(&self.path, READ)?);
        file.seek(SeekFrom::Start(self.offset))?;
        Ok(file)
    }
}

/// How files of an archive are opened. A pipe that somebody put there must not be waited for.
const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK);

/// Finds an image for a platform in an archive below the directory `project`.
///
/// # Errors
/// When there is no such archive or image, or the archive is malformed.
pub fn open(project: &Path, name: &ArchiveName, platform: &Platform) -> Result<ArchivedImage, LayerError> {
    let found = Root::open(project).map_err(|error| LayerError::io("open the project directory", error));
    let found = found.and_then(|root| match name.form {
        ArchiveForm::OciLayout => layout::open(Arc::new(root), name, platform),
        ArchiveForm::DockerArchive => docker::open(Arc::new(root), name, platform),
    });
    found.map_err(|error| match error {
        LayerError::Bad(why) => LayerError::Bad(format!("read the archive {name}: {why}")),
        LayerError::Corrupt(why) => LayerError::Corrupt(format!("read the archive {name}: {why}")),
        LayerError::TooMuch(why) => LayerError::TooMuch(format!("read the archive {name}: {why}")),
        LayerError::Io { doing, error } => LayerError::Io { doing: format!("read the archive {name}: {doing}"), error },
    })
}

/// A regular file below the project, and its size; `None` when there is nothing of that name.
fn file(root: &Root, path: &[u8]) -> Result<Option<(File, u64)>, LayerError> {
    let doing = |error: io::Error| LayerError::io(format!("open `{}`", shown(path)), error);
    let file = match root.at(path, READ) {
        Ok(file) => File::from(file),
        Err(error) if is_missing(&error) => return Ok(None),
        Err(error) => return Err(doing(error)),
    };
    let found = file.metadata().map_err(doing)?;
    if !found.is_file() {
        return Err(LayerError::Bad(format!("`{}` is no regular file", shown(path))));
    }
    Ok(Some((file, found.len())))
}

/// The bytes of a document of `size` bytes.
fn read(file: &mut File, what: &str, size: u64, limit: usize) -> Result<Vec<u8>, LayerError> {
    if size > limit as u64 {
        return Err(LayerError::Bad(format!("its {what} has {size} bytes, more than the {limit} that are read")));
    }
    let mut bytes = Vec::new();
    let doing = |error: io::Error| LayerError::io(format!("read its {what}"), error);
    file.take(size).read_to_end(&mut bytes).map_err(doing)?;
    if bytes.len() as u64 != size {
        return Err(LayerError::Bad(format!("its {what} ends after {} of {size} bytes", bytes.len())));
    }
    Ok(bytes)
}

/// The config's digests of the layers, as many as the manifest has layers.
fn diff_ids(config: &[u8], layers: usize, platform: &Platform) -> Result<Vec<BlobDigest>, LayerError> {
    let config = ImageConfig::parse(config).map_err(|error| LayerError::Bad(error.to_string()))?;
    let fits = |own: &Platform| own.os == platform.os && own.arch == platform.arch;
    if let Some(own) = config.platform().filter(|own| !fits(own)) {
        return Err(LayerError::Bad(format!("its image is for {own}, and what is built is for {platform}")));
    }
    let ids: Result<Vec<BlobDigest>, _> = config.rootfs.diff_ids.iter().map(|id| id.parse()).collect();
    let ids = ids.map_err(|error: slipway_oci::DigestError| LayerError::Bad(format!("its config: {error}")))?;
    if ids.len() != layers {
        return Err(LayerError::Bad(format!("its manifest lists {layers} layers, and its config {}", ids.len())));
    }
    Ok(ids)
}

/// The image of a manifest whose config and layers were found.
fn image(bytes: Vec<u8>, manifest: &Manifest, parts: Vec<Part>) -> ArchivedImage {
    ArchivedImage {
        digest: BlobDigest::of(&bytes),
        media_type: manifest.media_type().to_owned(),
        manifest: bytes,
        parts,
    }
}

/// Config and layers of a manifest, each once.
fn distinct(manifest: &Manifest) -> Vec<&Descriptor> {
    let mut all: Vec<&Descriptor> = Vec::with_capacity(manifest.layers.len() + 1);
    let mut seen = std::collections::BTreeSet::new();
    for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
        if seen.insert(&blob.digest) {
            all.push(blob);
        }
    }
    all
}

/// Names for a message.
fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let all: Vec<String> = names.into_iter().map(|name| format!("`{}`", shown(name.as_bytes()))).collect();
    let more = all.len().saturating_sub(NAMED);
    let text = all[..all.len() - more].join(", ");
    if more == 0 { text } else { format!("{text} and {more} more") }
}
