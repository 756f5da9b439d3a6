//! Which images are not whole: layers may be lost below a manifest that still stands.

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use slipway_oci::{BlobDigest, Descriptor, ImageAt};

use super::{AT_ONCE, MAX_REMEMBERED, RepoStorage, parse};
use crate::StorageError;

impl RepoStorage {
    /// Keeps the layers of a manifest that was read, so that it need not be read again.
    pub(super) fn remember_layers(&self, manifest: &BlobDigest, layers: &[Descriptor]) {
        let mut known = self.layers();
        if known.len() >= MAX_REMEMBERED {
            known.clear();
        }
        known.insert(manifest.clone(), layers.to_vec());
    }

    /// The images that are not whole, with what is missing of each. A layer of several images is looked for once.
    pub(super) async fn find_lost(&self, images: &[ImageAt]) -> Result<Vec<(ImageAt, String)>, StorageError> {
        let mut lost = Vec::new();
        let mut standing = Vec::new();
        for image in images {
            match said(self.layers_of(image).await)? {
                Ok(layers) => standing.push((image, layers)),
                Err(why) => lost.push((image.clone(), why)),
            }
        }
        let pairs =
            standing.iter().flat_map(|(image, layers)| layers.iter().map(|layer| ((*image).clone(), layer.clone())));
        // Of one layer in many images, one image is named.
        let distinct: BTreeMap<BlobDigest, (ImageAt, Descriptor)> =
            pairs.map(|(image, layer)| (layer.digest.clone(), (image, layer))).collect();
        let checks = stream::iter(distinct).map(|(digest, (image, layer))| async move {
            Ok::<_, StorageError>((digest, said(self.verify_blob(&image, &layer).await)?))
        });
        let checked: BTreeMap<BlobDigest, Result<(), String>> = checks.buffer_unordered(AT_ONCE).try_collect().await?;
        for (image, layers) in standing {
            let why = layers.iter().find_map(|layer| checked.get(&layer.digest)?.as_ref().err());
            lost.extend(why.map(|why| (image.clone(), why.clone())));
        }
        Ok(lost)
    }

    async fn layers_of(&self, image: &ImageAt) -> Result<Vec<Descriptor>, StorageError> {
        let known = self.layers().get(&image.digest).cloned();
        if let Some(layers) = known.filter(|_| image.repo == self.repo) {
            return Ok(layers);
        }
        let raw = self.get(image).await?;
        let manifest = parse(&raw).map_err(|why| StorageError::Broken { what: image.to_string(), why })?;
        self.remember_layers(&image.digest, &manifest.layers);
        Ok(manifest.layers)
    }
}

/// A look that was answered: with what was looked for, or with why it is not there.
fn said<T>(looked: Result<T, StorageError>) -> Result<Result<T, String>, StorageError> {
    match looked {
        Ok(found) => Ok(Ok(found)),
        Err(error @ (StorageError::Gone(_) | StorageError::Broken { .. })) => Ok(Err(error.to_string())),
        Err(error @ (StorageError::Denied(_) | StorageError::Fenced(_) | StorageError::Unavailable(_))) => Err(error),
    }
}
