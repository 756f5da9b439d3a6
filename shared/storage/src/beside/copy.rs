//! An image from one repository to another: blobs are mounted or streamed, and the manifest tells the attempt.

use std::collections::BTreeMap;

use bytes::Bytes;
use slipway_oci::{
    ATTEMPT_ANNOTATION, BlobDigest, ImageAt, Manifest, Repo,
    manifest::{Document, ManifestError},
};
use slipway_registry::{Client, CopyError, RawManifest, RegistryError};

use crate::index::marker::Marker;

/// An image as it was copied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Copied {
    /// Digest of the manifest that was stored, untagged.
    pub manifest: BlobDigest,
    /// Size of config and layers, in bytes.
    pub size: u64,
}

/// Brings an image to another repository, untagged. Config and layers stay the same bytes; the manifest is our own, as
/// no two attempts share one.
///
/// # Errors
/// [`CopyError`] says which side did not do its part.
pub async fn as_attempt(client: &Client, from: &ImageAt, to: &Repo, attempt: &str) -> Result<Copied, CopyError> {
    let (_, manifest) = read(client, from).await?;
    client.copy_blobs(&from.repo, to, &manifest).await?;
    let annotations = BTreeMap::from([(ATTEMPT_ANNOTATION.to_owned(), attempt.to_owned())]);
    let (bytes, media_type) = manifest.to_oci_annotated(&annotations);
    let digest = BlobDigest::of(&bytes);
    let put = client.put_manifest(to, digest.as_str(), media_type, Bytes::from(bytes)).await;
    let size = manifest.layers.iter().fold(manifest.config.size, |sum, layer| sum.saturating_add(layer.size));
    Ok(Copied { manifest: put.map_err(CopyError::Target)?, size })
}

/// Brings an image to another repository as it is, under `tag` when there is one. Its blobs are read from `blobs`.
///
/// # Errors
/// [`CopyError`] says which side did not do its part.
pub async fn as_it_is(
    client: &Client,
    (image, blobs): (&ImageAt, &Repo),
    to: &Repo,
    tag: Option<&str>,
) -> Result<(), CopyError> {
    let (raw, manifest) = read(client, image).await?;
    client.copy_blobs(blobs, to, &manifest).await?;
    let selector = tag.unwrap_or(raw.digest.as_str());
    let put = client.put_manifest(to, selector, &raw.media_type, raw.bytes.clone()).await;
    put.map_err(CopyError::Target)?;
    match tag {
        // Somebody may keep a listing of that repository.
        Some(_) => Marker::new(client.clone(), to.clone()).announce(false).await.map(drop).map_err(CopyError::Target),
        None => Ok(()),
    }
}

/// The same for what may be an index: then all its images go along, untagged.
///
/// # Errors
/// [`CopyError`] says which side did not do its part.
pub async fn with_platforms(client: &Client, image: &ImageAt, to: &Repo, tag: &str) -> Result<(), CopyError> {
    let raw = raw(client, image).await?;
    let document = Document::parse(&raw.bytes, Some(&raw.media_type)).map_err(|error| corrupt(image, &error))?;
    let Document::Index(index) = document else {
        return as_it_is(client, (image, &image.repo), to, Some(tag)).await;
    };
    for entry in &index.manifests {
        as_it_is(client, (&image.repo.at(entry.digest.clone()), &image.repo), to, None).await?;
    }
    let put = client.put_manifest(to, tag, &raw.media_type, raw.bytes).await;
    put.map(drop).map_err(CopyError::Target)
}

async fn read(client: &Client, image: &ImageAt) -> Result<(RawManifest, Manifest), CopyError> {
    let raw = raw(client, image).await?;
    let manifest = Manifest::parse(&raw.bytes).map_err(|error| corrupt(image, &error))?;
    Ok((raw, manifest))
}

async fn raw(client: &Client, image: &ImageAt) -> Result<RawManifest, CopyError> {
    let found = client.manifest(&image.repo, image.digest.as_str()).await.map_err(CopyError::Source)?;
    found.ok_or_else(|| CopyError::Source(RegistryError::NotFound(format!("{image} is not there"))))
}

fn corrupt(image: &ImageAt, error: &ManifestError) -> CopyError {
    CopyError::Source(RegistryError::Corrupt(format!("read the manifest of {image}: {error}")))
}
