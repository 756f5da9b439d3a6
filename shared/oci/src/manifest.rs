//! Manifests and indexes.
//!
//! Both are read with limits, from OCI and Docker spelling alike. A digest is of the bytes that were read or written:
//! keep them beside the parsed value.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    BlobDigest, Platform,
    config::{LAYERS_LIMIT, brief},
};

/// Media type of an OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an OCI index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of an OCI config.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of an uncompressed OCI layer.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// Media type of a gzipped OCI layer.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// Media type of an OCI layer compressed with zstd.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Media type of a Docker manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Media type of a Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Media type of a Docker config.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Media type of a gzipped Docker layer.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";

/// Annotation of a stored manifest that names the attempt which made it, so that no two attempts share a manifest.
pub const ATTEMPT_ANNOTATION: &str = "io.slipway.attempt";

/// Longest manifest or index that is read, in bytes.
pub const MANIFEST_LIMIT: usize = 4 * 1024 * 1024;
/// Most images that an index may list.
pub const INDEX_LIMIT: usize = 1000;

/// What Docker calls things that OCI calls otherwise.
const OCI_NAMES: [(&str, &str); 8] = [
    (DOCKER_MANIFEST, OCI_MANIFEST),
    (DOCKER_CONFIG, OCI_CONFIG),
    (DOCKER_LAYER_GZIP, OCI_LAYER_GZIP),
    ("application/vnd.docker.image.rootfs.diff.tar", OCI_LAYER),
    ("application/vnd.docker.image.rootfs.diff.tar.zstd", OCI_LAYER_ZSTD),
    (
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
    ),
    ("application/vnd.docker.image.rootfs.foreign.diff.tar", "application/vnd.oci.image.layer.nondistributable.v1.tar"),
    (DOCKER_LIST, OCI_INDEX),
];

/// Bytes that are no manifest or index.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ManifestError {
    /// More bytes than are read.
    #[error("the manifest has {0} bytes, more than the {MANIFEST_LIMIT} that are read")]
    TooLong(usize),
    /// More layers than are taken.
    #[error("the manifest lists {0} layers, more than the {LAYERS_LIMIT} that are taken")]
    TooManyLayers(usize),
    /// More images than are taken.
    #[error("the index lists {0} images, more than the {INDEX_LIMIT} that are taken")]
    TooManyImages(usize),
    /// A format of before 2017, which names no config and no sizes.
    #[error("the manifest is of Docker's old format (schema 1); push the image again with a current client")]
    Schema1,
    /// Another kind of document, named by its media type.
    #[error("`{0}` is neither an image manifest nor an index of images")]
    Unknown(String),
    /// No JSON, or JSON of another form.
    #[error("the manifest cannot be read: {0}")]
    Malformed(String),
}

/// A pointer to bytes: what they are, their name and size.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type of the bytes.
    pub media_type: String,
    /// Their digest.
    pub digest: BlobDigest,
    /// Their size in bytes.
    pub size: u64,
    /// Notes.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// All else (`platform`, `urls`, …).
    #[serde(flatten)]
    pub other: BTreeMap<String, Value>,
}

/// An image manifest, OCI or Docker v2 schema 2.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// Its own media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The config.
    pub config: Descriptor,
    /// Layers, lowest first.
    #[serde(deserialize_with = "null_is_empty")]
    pub layers: Vec<Descriptor>,
    /// Notes.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// An OCI index or a Docker manifest list: one image for several platforms.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// Its own media type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// The images, each with a `platform`.
    #[serde(deserialize_with = "null_is_empty")]
    pub manifests: Vec<Descriptor>,
    /// Notes.
    #[serde(default, deserialize_with = "null_is_empty", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// What lies behind an image reference.
#[derive(Clone, PartialEq, Debug)]
pub enum Document {
    /// One image.
    Manifest(Manifest),
    /// One image for several platforms.
    Index(Index),
}

impl Document {
    /// Reads `bytes`. What they are is said by the document itself, else by `media_type` (a `Content-Type`), else by
    /// the fields it has.
    ///
    /// # Errors
    /// [`ManifestError`] when it is too long, lists too much, or is neither a manifest nor an index.
    pub fn parse(bytes: &[u8], media_type: Option<&str>) -> Result<Self, ManifestError> {
        let probe: Probe = read(bytes)?;
        let header = media_type.and_then(|text| text.split(';').next()).map(str::trim).filter(|text| is_known(text));
        if probe.manifests.is_some() && probe.layers.is_some() {
            return Err(ManifestError::Malformed(
                "it lists both layers and manifests, so it could mean either".to_owned(),
            ));
        }
        match probe.media_type.as_deref().or(header) {
            Some(OCI_MANIFEST | DOCKER_MANIFEST) => Manifest::parse(bytes).map(Self::Manifest),
            Some(OCI_INDEX | DOCKER_LIST) => Index::parse(bytes).map(Self::Index),
            Some(other) => Err(ManifestError::Unknown(other.chars().take(200).collect())),
            None if probe.schema_version == Some(1) => Err(ManifestError::Schema1),
            None if probe.manifests.is_some() => Index::parse(bytes).map(Self::Index),
            None => Manifest::parse(bytes).map(Self::Manifest),
        }
    }
}

impl Descriptor {
    /// A pointer without notes.
    pub fn new(media_type: &str, digest: BlobDigest, size: u64) -> Self {
        Self { media_type: media_type.to_owned(), digest, size, annotations: BTreeMap::new(), other: BTreeMap::new() }
    }

    /// The platform of an index entry; `None` when it names none, or `unknown` as attestations do.
    pub fn platform(&self) -> Option<Platform> {
        let spec = self.other.get("platform")?;
        let part = |name: &str| spec.get(name).and_then(Value::as_str);
        let platform = Platform::from_parts(part("os")?, part("architecture")?, part("variant"))?;
        (platform.os != "unknown" && platform.arch != "unknown").then_some(platform)
    }

    /// The same pointer as an index entry for `platform`.
    #[must_use]
    pub fn with_platform(mut self, platform: &Platform) -> Self {
        let mut spec = serde_json::Map::new();
        spec.insert("architecture".to_owned(), Value::String(platform.arch.clone()));
        spec.insert("os".to_owned(), Value::String(platform.os.clone()));
        if let Some(variant) = &platform.variant {
            spec.insert("variant".to_owned(), Value::String(variant.clone()));
        }
        self.other.insert("platform".to_owned(), Value::Object(spec));
        self
    }

    fn to_oci(&self) -> Self {
        Self { media_type: oci_name(&self.media_type).to_owned(), ..self.clone() }
    }
}

impl Manifest {
    /// Reads the manifest `bytes`.
    ///
    /// # Errors
    /// [`ManifestError`] when it is too long, lists too many layers, or is no image manifest.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self = read(bytes)?;
        if let Some(kind) =
            manifest.media_type.as_deref().filter(|kind| !matches!(*kind, OCI_MANIFEST | DOCKER_MANIFEST))
        {
            return Err(ManifestError::Unknown(kind.chars().take(200).collect()));
        }
        check_version(manifest.schema_version)?;
        if manifest.layers.len() > LAYERS_LIMIT {
            return Err(ManifestError::TooManyLayers(manifest.layers.len()));
        }
        Ok(manifest)
    }

    /// The media type to send it with: its own, else the one its config suggests.
    pub fn media_type(&self) -> &str {
        let guess = if self.config.media_type == DOCKER_CONFIG { DOCKER_MANIFEST } else { OCI_MANIFEST };
        self.media_type.as_deref().unwrap_or(guess)
    }

    /// The document's bytes; equal manifests give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("string keys and plain values always encode")
    }

    /// The same image as an OCI manifest with `annotations` added over its own: the bytes and their media type.
    ///
    /// Docker's media types become OCI's; config and layers stay the same bytes, so nothing is uploaded again. Equal
    /// input gives equal bytes.
    pub fn to_oci_annotated(&self, annotations: &BTreeMap<String, String>) -> (Vec<u8>, &'static str) {
        let mut all = self.annotations.clone();
        all.extend(annotations.clone());
        let manifest = Self {
            schema_version: 2,
            media_type: Some(OCI_MANIFEST.to_owned()),
            config: self.config.to_oci(),
            layers: self.layers.iter().map(Descriptor::to_oci).collect(),
            annotations: all,
        };
        (manifest.to_bytes(), OCI_MANIFEST)
    }
}

impl Index {
    /// An OCI index of `manifests`.
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self { schema_version: 2, media_type: Some(OCI_INDEX.to_owned()), manifests, annotations: BTreeMap::new() }
    }

    /// Reads the index `bytes`.
    ///
    /// # Errors
    /// [`ManifestError`] when it is too long, lists too many images, or is no index.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        let index: Self = read(bytes)?;
        if let Some(kind) = index.media_type.as_deref().filter(|kind| !matches!(*kind, OCI_INDEX | DOCKER_LIST)) {
            return Err(ManifestError::Unknown(kind.chars().take(200).collect()));
        }
        check_version(index.schema_version)?;
        if index.manifests.len() > INDEX_LIMIT {
            return Err(ManifestError::TooManyImages(index.manifests.len()));
        }
        Ok(index)
    }

    /// The document's bytes; equal indexes give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("string keys and plain values always encode")
    }

    /// The image that runs best on `platform`: one of the same system and architecture, with the best variant of
    /// [`Platform::variants`]; of equals the first.
    pub fn select(&self, platform: &Platform) -> Option<&Descriptor> {
        let fits = |variant: &Option<String>, entry: &Descriptor| {
            let named = entry.platform();
            named.is_some_and(|own| {
                own.os == platform.os && own.arch == platform.arch && own.variant.as_ref() == variant.as_ref()
            })
        };
        platform.variants().iter().find_map(|variant| self.manifests.iter().find(|entry| fits(variant, entry)))
    }

    /// The platforms it has images for, in its own order.
    pub fn platforms(&self) -> Vec<Platform> {
        self.manifests.iter().filter_map(Descriptor::platform).collect()
    }
}

/// What tells the kinds of documents apart.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    schema_version: Option<u32>,
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
    layers: Option<serde::de::IgnoredAny>,
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ManifestError> {
    if bytes.len() > MANIFEST_LIMIT {
        return Err(ManifestError::TooLong(bytes.len()));
    }
    serde_json::from_slice(bytes).map_err(|error| ManifestError::Malformed(brief(&error)))
}

fn check_version(version: u32) -> Result<(), ManifestError> {
    match version {
        2 => Ok(()),
        1 => Err(ManifestError::Schema1),
        other => Err(ManifestError::Malformed(format!("schemaVersion is {other}, not 2"))),
    }
}

/// Servers also send `application/json` and the like, which say nothing.
fn is_known(media_type: &str) -> bool {
    matches!(media_type, OCI_MANIFEST | OCI_INDEX | DOCKER_MANIFEST | DOCKER_LIST)
}

fn oci_name(media_type: &str) -> &str {
    OCI_NAMES.iter().find(|(docker, _)| *docker == media_type).map_or(media_type, |(_, oci)| oci)
}

/// Go writes `null` for a list or a map that has never been set.
fn null_is_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests;
