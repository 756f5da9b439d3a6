//! Archives of layers as they came, kept beside the unpacked files.
//!
//! A layer that a registry has is had from there again. One that came from a file of a project is not: packed anew by us,
//! the bytes of another packer need not come out, and the layer could not be stored anywhere.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use slipway_oci::manifest::Descriptor;

use super::{Claim, Layer};
use crate::LayerError;

/// Directory of it, beside the files of a layer.
pub(super) const DIRECTORY: &str = "kept";
const BLOB: &str = "blob";
const DESCRIPTOR: &str = "descriptor.json";

/// An archive that is kept.
#[derive(Clone, PartialEq, Debug)]
pub struct Kept {
    /// What it is.
    pub descriptor: Descriptor,
    /// Where its bytes are, as long as the layer is in use.
    pub path: PathBuf,
}

impl Claim {
    /// A file that takes the archive while it is unpacked.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn keep(&self) -> io::Result<File> {
        let directory = self.aside().join(DIRECTORY);
        fs::create_dir(&directory)?;
        File::create_new(directory.join(BLOB))
    }

    /// Says what was kept, once it is known to be that.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn kept(&self, descriptor: &Descriptor) -> io::Result<()> {
        fs::write(self.aside().join(DIRECTORY).join(DESCRIPTOR), serde_json::to_vec(descriptor)?)
    }
}

impl Layer {
    /// The archive that it came as, if that was kept.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn kept(&self) -> Result<Option<Kept>, LayerError> {
        read(&self.path().join(DIRECTORY)).map_err(|error| LayerError::io("look for a layer's archive", error))
    }
}

fn read(directory: &Path) -> io::Result<Option<Kept>> {
    let bytes = match fs::read(directory.join(DESCRIPTOR)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(Some(Kept { descriptor: serde_json::from_slice(&bytes)?, path: directory.join(BLOB) }))
}
