//! Stages in a real registry.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use slipway_digest::{Millis, StageId};
use slipway_oci::{
    BlobDigest, Descriptor, ImageAt, ImageConfig, Manifest, Repo,
    config::RunConfig,
    manifest::{OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST},
};
use slipway_parts::Registry;
use slipway_registry::{Client, Options, RawManifest, Vendor};
use slipway_stages::{StageRecord, labels, labels::StageLabels};
use slipway_storage::{RepoStorage, StageStorage, conformance::Lab};

/// A repository of a registry that a test started.
pub(crate) fn lab(registry: &Registry, path: &str) -> RegistryLab {
    RegistryLab::new(registry.host(), path)
}

/// Makes a repository forget a blob, as a careless garbage collection does.
pub(crate) fn forget_blob(registry: &Registry, path: &str, blob: &BlobDigest) {
    let hex = blob.as_str().strip_prefix("sha256:").unwrap();
    let link: PathBuf = ["docker/registry/v2/repositories", path, "_layers/sha256", hex, "link"].iter().collect();
    std::fs::remove_file(registry.data().join(link)).unwrap();
}

/// One repository of a registry.
#[derive(Clone)]
pub(crate) struct RegistryLab {
    pub(crate) client: Client,
    pub(crate) repo: Repo,
}

impl RegistryLab {
    pub(crate) fn new(host: &str, path: &str) -> Self {
        Self::of(Vec::new(), host, path)
    }

    /// The same at a service that is said to be one of these.
    pub(crate) fn of(vendors: Vec<(String, Vendor)>, host: &str, path: &str) -> Self {
        let options = Options { user_agent: "slipway-test".to_owned(), vendors, ..Options::default() };
        let repo = Repo { host: host.to_owned(), path: path.to_owned() };
        Self { client: Client::new(options).unwrap(), repo }
    }

    pub(crate) fn storage(&self) -> RepoStorage {
        RepoStorage::new(self.client.clone(), self.repo.clone())
    }

    /// Stores an image with these labels, untagged; answers its manifest's digest and the manifest.
    pub(crate) async fn image(&self, labels: BTreeMap<String, String>, salt: &str) -> (BlobDigest, Manifest) {
        let config = ImageConfig {
            os: "linux".to_owned(),
            architecture: "amd64".to_owned(),
            config: RunConfig { labels: Some(labels), ..RunConfig::default() },
            ..ImageConfig::default()
        };
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(OCI_MANIFEST.to_owned()),
            config: self.blob(OCI_CONFIG, serde_json::to_vec(&config).unwrap()).await,
            layers: vec![self.blob(OCI_LAYER_GZIP, format!("layer {salt}").into_bytes()).await],
            annotations: BTreeMap::from([("attempt".to_owned(), salt.to_owned())]),
        };
        let bytes = Bytes::from(serde_json::to_vec(&manifest).unwrap());
        let digest = BlobDigest::of(&bytes);
        let media_type = OCI_MANIFEST.to_owned();
        let raw = RawManifest { digest: digest.clone(), media_type, bytes: bytes.clone() };
        if self.client.hold_manifest(&self.repo, raw) {
            return (digest, manifest);
        }
        let stored = self.client.put_manifest(&self.repo, digest.as_str(), OCI_MANIFEST, bytes).await.unwrap();
        assert_eq!(stored, digest);
        (digest, manifest)
    }

    async fn blob(&self, media_type: &str, bytes: Vec<u8>) -> Descriptor {
        let size = bytes.len() as u64;
        Descriptor {
            media_type: media_type.to_owned(),
            digest: self.client.put_blob(&self.repo, bytes.into()).await.unwrap(),
            size,
            annotations: BTreeMap::new(),
            other: BTreeMap::new(),
        }
    }

    /// Puts an image's manifest under a tag.
    pub(crate) async fn tag(&self, digest: &BlobDigest, tag: &str) {
        let raw = self.client.manifest(&self.repo, digest.as_str()).await.unwrap().unwrap();
        self.client.put_manifest(&self.repo, tag, &raw.media_type, raw.bytes).await.unwrap();
    }
}

#[async_trait]
impl Lab for RegistryLab {
    async fn open(&self) -> Arc<dyn StageStorage> {
        Arc::new(self.storage())
    }

    async fn upload(&self, labels: &StageLabels, salt: &str) -> StageRecord {
        let (digest, manifest) = self.image(labels::write(labels), salt).await;
        let size = manifest.config.size + manifest.layers[0].size;
        let id = StageId { digest: labels.digest, stamp: Millis(0) };
        let at = ImageAt { repo: self.repo.clone(), digest };
        labels::record(labels.clone(), id, at, manifest.config.digest, size)
    }

    async fn lose(&self, image: &ImageAt) {
        self.client.delete_manifest(&self.repo, &image.digest).await.unwrap();
    }
}
