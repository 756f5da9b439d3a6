//! Images: configs, and what registries know of them.

use std::{fs, io};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use slipway_oci::{BlobDigest, ImageConfig, Repo, manifest::Descriptor};

use super::{Store, names::hex_of, settle::Thing, write_whole};
use crate::LayerError;

/// An image that a registry has, by its manifest.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Known {
    /// Digest of its config.
    pub image: BlobDigest,
    /// The repository that it is in.
    pub repo: Repo,
    /// Its layers as they are there, lowest first.
    pub layers: Vec<Descriptor>,
}

/// Where a layer is in a registry.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Place {
    /// The repository.
    pub repo: Repo,
    /// The blob.
    pub descriptor: Descriptor,
}

/// Most places of one layer that are remembered: the newest ones.
const MAX_PLACES: usize = 16;

impl Store {
    /// The config of an image; `None` when it is not there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn image(&self, id: &BlobDigest) -> Result<Option<ImageConfig>, LayerError> {
        let Some(bytes) = self.image_bytes(id)? else { return Ok(None) };
        ImageConfig::parse(&bytes).map(Some).map_err(|error| LayerError::Bad(format!("read the image {id}: {error}")))
    }

    /// The config of an image, byte for byte; `None` when it is not there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn image_bytes(&self, id: &BlobDigest) -> Result<Option<Vec<u8>>, LayerError> {
        let path = self.path("images").join(hex_of(id));
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(LayerError::io(format!("read {}", path.display()), error)),
        };
        if BlobDigest::of(&bytes) != *id {
            // As good as gone: it is fetched or built again.
            let _ = fs::remove_file(&path);
            return Ok(None);
        }
        Ok(Some(bytes))
    }

    /// Keeps a config; answers the image's id.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_image(&self, bytes: &[u8]) -> Result<BlobDigest, LayerError> {
        let id = BlobDigest::of(bytes);
        let name = hex_of(&id);
        let doing = |error: io::Error| LayerError::io(format!("store the image {id}"), error);
        // Stages are further names of the same file: it is not replaced by an equal one.
        if self.image_bytes(&id)?.is_some() {
            return Ok(id);
        }
        self.announce(Thing::Image, name).map_err(doing)?;
        write_whole(&self.path("images"), name, bytes).map_err(doing)?;
        Ok(id)
    }

    /// Forgets an image. Its layers stay until they are evicted. Does nothing when it is not there.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn forget(&self, id: &BlobDigest) -> Result<(), LayerError> {
        match fs::remove_file(self.path("images").join(hex_of(id))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(LayerError::io(format!("remove the image {id}"), error))
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// What is known of a manifest.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn known(&self, manifest: &BlobDigest) -> Result<Option<Known>, LayerError> {
        self.read_json(hex_of(manifest))
    }

    /// Remembers a manifest.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_known(&self, manifest: &BlobDigest, known: &Known) -> Result<(), LayerError> {
        self.write_json(hex_of(manifest), known)
    }

    /// Where a layer is in registries, newest first.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn places(&self, diff_id: &BlobDigest) -> Result<Vec<Place>, LayerError> {
        Ok(self.read_json(&format!("layer-{}", hex_of(diff_id)))?.unwrap_or_default())
    }

    /// Remembers where a layer is.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put_place(&self, diff_id: &BlobDigest, place: Place) -> Result<(), LayerError> {
        let mut places = self.places(diff_id)?;
        if places.first() == Some(&place) {
            return Ok(());
        }
        // Of one repository the newest is enough. Two writers at once lose one note: it costs an upload.
        places.retain(|known| known.repo != place.repo);
        places.insert(0, place);
        places.truncate(MAX_PLACES);
        self.write_json(&format!("layer-{}", hex_of(diff_id)), &places)
    }

    fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, LayerError> {
        let path = self.path("known").join(name);
        match fs::read(&path) {
            // Notes that cannot be read are as good as none.
            Ok(bytes) => Ok(serde_json::from_slice(&bytes).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(LayerError::io(format!("read {}", path.display()), error)),
        }
    }

    fn write_json(&self, name: &str, value: &impl Serialize) -> Result<(), LayerError> {
        let doing = |error: io::Error| LayerError::io(format!("write known/{name} in the store"), error);
        let bytes = serde_json::to_vec(value).map_err(|error| doing(error.into()))?;
        self.announce(Thing::Known, name).map_err(doing)?;
        write_whole(&self.path("known"), name, &bytes).map_err(doing)
    }
}
