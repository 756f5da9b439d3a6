//! Stages of the local storage: names of images. A stage is a hard link to its image's config, so that it says by itself
//! which image it is, and an image says whether anything names it.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::PathBuf};

use slipway_oci::BlobDigest;

use super::{Store, names::hex_of, settle::Thing};
use crate::LayerError;

/// A stage as it is found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamedImage {
    /// What tells it from others of its digest.
    pub stamp: String,
    /// The image.
    pub image: BlobDigest,
    /// The image's config, byte for byte.
    pub config: Vec<u8>,
}

impl Store {
    /// Names an image; `false` when another image has the name already.
    ///
    /// # Errors
    /// When the image is not there, or the store cannot be written.
    pub fn tag(&self, project: &str, digest: &str, stamp: &str, image: &BlobDigest) -> Result<bool, LayerError> {
        let directory = self.stages_of(project, digest)?;
        let name = directory.join(part(stamp)?);
        let doing = |error: io::Error| LayerError::io(format!("name the image {image} in the store"), error);
        self.announce(Thing::Stage, &format!("{project}:{digest}:{stamp}")).map_err(doing)?;
        let config = self.path("images").join(hex_of(image));
        let link = || fs::create_dir_all(&directory).and_then(|()| fs::hard_link(&config, &name));
        // A cleanup may remove the directory, empty as it is, in between.
        let again = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound if config.exists() => link(),
            _ => Err(error),
        };
        match link().or_else(again) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let bytes = fs::read(&name).map_err(doing)?;
                Ok(BlobDigest::of(&bytes) == *image)
            }
            Err(error) => Err(doing(error)),
        }
    }

    /// The stages of a digest, in the order of their names.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn stages(&self, project: &str, digest: &str) -> Result<Vec<NamedImage>, LayerError> {
        let directory = self.stages_of(project, digest)?;
        let doing = |error: io::Error| LayerError::io(format!("list {}", directory.display()), error);
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(doing(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry.map_err(doing)?;
            let Ok(stamp) = entry.file_name().into_string() else { continue };
            let config = match fs::read(entry.path()) {
                Ok(config) => config,
                // It was removed since it was listed.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(doing(error)),
            };
            found.push(NamedImage { stamp, image: BlobDigest::of(&config), config });
        }
        found.sort_by(|left, right| left.stamp.cmp(&right.stamp));
        Ok(found)
    }

    /// Whether a stage names an image.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn is_named(&self, image: &BlobDigest) -> Result<bool, LayerError> {
        let path = self.path("images").join(hex_of(image));
        match fs::metadata(&path) {
            Ok(found) => Ok(found.nlink() > 1),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(LayerError::io(format!("look at {}", path.display()), error)),
        }
    }

    fn stages_of(&self, project: &str, digest: &str) -> Result<PathBuf, LayerError> {
        Ok(self.path("stages").join(part(project)?).join(part(digest)?))
    }
}

/// A text as one segment of a path.
fn part(text: &str) -> Result<&str, LayerError> {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if plain && !text.starts_with('.') && !text.is_empty() && text.len() <= 255 {
        Ok(text)
    } else {
        Err(LayerError::Bad(format!("`{}` cannot name anything in the store", text.escape_debug())))
    }
}
