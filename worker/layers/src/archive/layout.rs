//! A directory in the form of the OCI's image layout.

use std::{collections::BTreeSet, sync::Arc};

use slipway_oci::{
    ArchiveName, BlobDigest, Document, Index, Manifest, Platform, Which,
    config::CONFIG_LIMIT,
    manifest::{DOCKER_LIST, Descriptor, MANIFEST_LIMIT, OCI_INDEX},
};

use super::{ArchivedImage, Part, diff_ids, distinct, file, image, listed, read};
use crate::{LayerError, root::Root};

/// The annotation that names an image of a layout.
const NAME: &str = "org.opencontainers.image.ref.name";
/// Longest file that says that a directory is a layout, in bytes.
const MARK_LIMIT: usize = 4096;
/// Indexes within indexes.
const MAX_DEPTH: usize = 4;

/// A layout.
struct Layout {
    root: Arc<Root>,
    /// Its directory, from the root.
    path: String,
}

pub(super) fn open(root: Arc<Root>, name: &ArchiveName, platform: &Platform) -> Result<ArchivedImage, LayerError> {
    let layout = Layout { root, path: name.path.clone() };
    layout.check()?;
    let (mut digest, mut media_type) = match &name.which {
        Which::Digest(digest) => (digest.clone(), None),
        Which::Only => layout.entry(None, platform)?,
        Which::Named(tag) => layout.entry(Some(tag), platform)?,
    };
    for _ in 0..MAX_DEPTH {
        let bytes = layout.document(&digest, "manifest", MANIFEST_LIMIT)?;
        let document = Document::parse(&bytes, media_type.as_deref());
        match document.map_err(|error| LayerError::Bad(error.to_string()))? {
            Document::Manifest(manifest) => return layout.image(bytes, &manifest, platform),
            Document::Index(index) => (digest, media_type) = choose(&index, platform)?,
        }
    }
    Err(LayerError::Bad(format!("more than {MAX_DEPTH} indexes within each other")))
}

impl Layout {
    fn inside(&self, name: &str) -> Vec<u8> {
        format!("{}/{name}", self.path).into_bytes()
    }

    fn blob(&self, digest: &BlobDigest) -> Vec<u8> {
        self.inside(&format!("blobs/sha256/{}", digest.as_str().trim_start_matches("sha256:")))
    }

    /// Whether it is a layout, of the one version that there is.
    fn check(&self) -> Result<(), LayerError> {
        let Some((mut mark, size)) = file(&self.root, &self.inside("oci-layout"))? else {
            let why = format!("`{}` of the project directory is no OCI layout: it has no file `oci-layout`", self.path);
            return Err(LayerError::Bad(why));
        };
        let bytes = read(&mut mark, "file `oci-layout`", size, MARK_LIMIT)?;
        let version: Option<serde_json::Value> = serde_json::from_slice(&bytes).ok();
        let version = version.as_ref().and_then(|mark| mark.get("imageLayoutVersion")?.as_str());
        match version {
            Some(version) if version.starts_with("1.") => Ok(()),
            other => Err(LayerError::Bad(format!(
                "its file `oci-layout` says the version `{}`; 1.0.0 is read",
                other.unwrap_or("none").escape_debug()
            ))),
        }
    }

    /// What its index lists under a name, or at all.
    fn entry(&self, tag: Option<&str>, platform: &Platform) -> Result<(BlobDigest, Option<String>), LayerError> {
        let missing = || LayerError::Bad("it has no file `index.json`".to_owned());
        let (mut index, size) = file(&self.root, &self.inside("index.json"))?.ok_or_else(missing)?;
        let bytes = read(&mut index, "file `index.json`", size, MANIFEST_LIMIT)?;
        let index = Index::parse(&bytes).map_err(|error| LayerError::Bad(format!("its `index.json`: {error}")))?;
        let name = |entry: &Descriptor| entry.annotations.get(NAME).cloned();
        let names: BTreeSet<Option<String>> = index.manifests.iter().map(name).collect();
        let known = || listed(names.iter().flatten().map(String::as_str));
        let entries: Vec<Descriptor> = match tag {
            Some(tag) => index.manifests.iter().filter(|entry| name(entry).as_deref() == Some(tag)).cloned().collect(),
            None if names.len() > 1 => {
                return Err(LayerError::Bad(format!("it holds several images; name one as `:TAG`: {}", known())));
            }
            None => index.manifests.clone(),
        };
        match (entries.as_slice(), tag) {
            ([], Some(tag)) => Err(LayerError::Bad(format!("it has no image `{tag}`; it has: {}", known()))),
            ([], None) => Err(LayerError::Bad("it holds no image".to_owned())),
            ([one], _) => Ok((one.digest.clone(), Some(one.media_type.clone()))),
            (several, _) => choose(&Index::new(several.to_vec()), platform),
        }
    }

    /// A document of its blobs, verified.
    fn document(&self, digest: &BlobDigest, what: &str, limit: usize) -> Result<Vec<u8>, LayerError> {
        let Some((mut blob, size)) = file(&self.root, &self.blob(digest))? else { return Err(lost(what, digest)) };
        let bytes = read(&mut blob, what, size, limit)?;
        let found = BlobDigest::of(&bytes);
        if found == *digest {
            return Ok(bytes);
        }
        Err(LayerError::Corrupt(format!("its {what} {digest} has the digest {found}: the archive is damaged")))
    }

    fn image(&self, bytes: Vec<u8>, manifest: &Manifest, platform: &Platform) -> Result<ArchivedImage, LayerError> {
        let config = self.document(&manifest.config.digest, "config", CONFIG_LIMIT)?;
        diff_ids(&config, manifest.layers.len(), platform)?;
        let parts: Result<Vec<Part>, LayerError> = distinct(manifest).into_iter().map(|blob| self.part(blob)).collect();
        Ok(image(bytes, manifest, parts?))
    }

    fn part(&self, blob: &Descriptor) -> Result<Part, LayerError> {
        let path = self.blob(&blob.digest);
        let Some((_, size)) = file(&self.root, &path)? else { return Err(lost("blob", &blob.digest)) };
        if size != blob.size {
            let (digest, promised) = (&blob.digest, blob.size);
            let why =
                format!("its blob {digest} has {size} bytes, and {promised} were promised: the archive is damaged");
            return Err(LayerError::Corrupt(why));
        }
        Ok(Part { digest: blob.digest.clone(), size, root: Arc::clone(&self.root), path, offset: 0 })
    }
}

fn lost(what: &str, digest: &BlobDigest) -> LayerError {
    LayerError::Bad(format!("its {what} {digest} is not in `blobs/sha256`"))
}

/// The image for a platform; an index within an index, which says no platform, is looked into if nothing else fits.
fn choose(index: &Index, platform: &Platform) -> Result<(BlobDigest, Option<String>), LayerError> {
    let is_index = |entry: &&Descriptor| {
        entry.platform().is_none() && matches!(entry.media_type.as_str(), OCI_INDEX | DOCKER_LIST)
    };
    let nested = || index.manifests.iter().find(is_index);
    let Some(found) = index.select(platform).or_else(nested) else {
        let has: Vec<String> = index.platforms().iter().map(ToString::to_string).collect();
        let has = listed(has.iter().map(String::as_str));
        return Err(LayerError::Bad(format!("it has no image for {platform}; it has images for: {has}")));
    };
    Ok((found.digest.clone(), Some(found.media_type.clone())))
}
