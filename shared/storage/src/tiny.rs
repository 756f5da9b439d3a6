//! Images without layers: a tag and some labels is all they are.

use std::collections::BTreeMap;

use bytes::Bytes;
use slipway_oci::{
    BlobDigest, Descriptor, ImageConfig, Manifest, Repo,
    config::{RootFs, RunConfig},
    manifest::{OCI_CONFIG, OCI_MANIFEST},
};
use slipway_registry::{Client, RegistryError};

/// Where a tiny image says which tag it was made for. It makes every one of them unique: registries delete by digest,
/// and equal manifests under two tags would go together.
const TAG_ANNOTATION: &str = "slipway.record";

/// Stores a tiny image under a tag. The same tag and labels are always the same bytes.
pub(crate) async fn put(
    client: &Client,
    repo: &Repo,
    tag: &str,
    labels: BTreeMap<String, String>,
) -> Result<(), RegistryError> {
    let (config, manifest) = labelled(tag, labels);
    store(client, repo, tag, (config, manifest)).await.map(drop)
}

/// Stores a config and a manifest. A config that the repository had a moment ago is not asked for: should it be gone, the
/// manifest is refused.
async fn store(
    client: &Client,
    repo: &Repo,
    tag: &str,
    (config, manifest): (Bytes, Bytes),
) -> Result<BlobDigest, RegistryError> {
    let digest = BlobDigest::of(&config);
    if client.seen_lately(repo, &digest) {
        match client.put_manifest(repo, tag, OCI_MANIFEST, manifest.clone()).await {
            Err(RegistryError::NotFound(_)) => client.unsee(repo, &digest),
            done => return done,
        }
    }
    client.put_blob(repo, config).await?;
    client.put_manifest(repo, tag, OCI_MANIFEST, manifest).await
}

/// The digest of the manifest of such an image.
pub(crate) fn digest(tag: &str, labels: BTreeMap<String, String>) -> BlobDigest {
    BlobDigest::of(&labelled(tag, labels).1)
}

/// Its config and its manifest.
fn labelled(tag: &str, labels: BTreeMap<String, String>) -> (Bytes, Bytes) {
    let config = encode(&config(labels));
    let manifest = encode(&manifest(tag, BlobDigest::of(&config), config.len() as u64));
    (config, manifest)
}

/// Stores a tiny image without labels under a tag; what tells it from others stands in its manifest.
pub(crate) async fn put_marked(
    client: &Client,
    repo: &Repo,
    tag: &str,
    marks: &BTreeMap<String, String>,
) -> Result<BlobDigest, RegistryError> {
    let (bytes, _) = marked(tag, marks);
    store(client, repo, tag, (encode(&config(BTreeMap::new())), bytes)).await
}

/// The manifest of such an image, and its digest.
pub(crate) fn marked(tag: &str, marks: &BTreeMap<String, String>) -> (Bytes, BlobDigest) {
    let config = encode(&config(BTreeMap::new()));
    let mut manifest = manifest(tag, BlobDigest::of(&config), config.len() as u64);
    manifest.annotations.extend(marks.clone());
    let bytes = encode(&manifest);
    let digest = BlobDigest::of(&bytes);
    (bytes, digest)
}

/// The labels of the image under a tag; `None` when there is no such tag.
pub(crate) async fn labels(
    client: &Client,
    repo: &Repo,
    tag: &str,
) -> Result<Option<BTreeMap<String, String>>, RegistryError> {
    let Some(raw) = client.manifest(repo, tag).await? else { return Ok(None) };
    let unreadable = |why: serde_json::Error| RegistryError::Corrupt(format!("read the record {repo}:{tag}: {why}"));
    let manifest: Manifest = serde_json::from_slice(&raw.bytes).map_err(unreadable)?;
    let bytes = client.blob(repo, &manifest.config.digest).await?;
    let config: ImageConfig = serde_json::from_slice(&bytes).map_err(unreadable)?;
    Ok(Some(config.config.labels.unwrap_or_default()))
}

fn config(labels: BTreeMap<String, String>) -> ImageConfig {
    ImageConfig {
        architecture: "amd64".to_owned(),
        os: "linux".to_owned(),
        config: RunConfig { labels: Some(labels), ..RunConfig::default() },
        rootfs: RootFs { kind: "layers".to_owned(), diff_ids: Vec::new() },
        ..ImageConfig::default()
    }
}

fn manifest(tag: &str, config: BlobDigest, size: u64) -> Manifest {
    let config = Descriptor {
        media_type: OCI_CONFIG.to_owned(),
        digest: config,
        size,
        annotations: BTreeMap::new(),
        other: BTreeMap::new(),
    };
    Manifest {
        schema_version: 2,
        media_type: Some(OCI_MANIFEST.to_owned()),
        config,
        layers: Vec::new(),
        annotations: BTreeMap::from([(TAG_ANNOTATION.to_owned(), tag.to_owned())]),
    }
}

fn encode(document: &impl serde::Serialize) -> Bytes {
    Bytes::from(serde_json::to_vec(document).expect("maps with text keys can be written as JSON"))
}
