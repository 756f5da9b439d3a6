//! A real registry, started for one test, and stages in it.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    net::TcpListener,
    path::PathBuf,
    process::{Child, Stdio},
    sync::Arc,
};

use async_trait::async_trait;
use bytes::Bytes;
use slipway_digest::{Millis, StageId};
use slipway_oci::{
    BlobDigest, Descriptor, ImageAt, ImageConfig, Manifest, Repo,
    config::RunConfig,
    manifest::{OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST},
};
use slipway_process::{Environment, child};
use slipway_registry::{Client, Options};
use slipway_stages::{StageRecord, labels, labels::StageLabels};
use slipway_storage::{RepoStorage, StageStorage, conformance::Lab};

/// A registry process; it ends with the test.
pub(crate) struct Registry {
    process: Child,
    pub(crate) address: String,
    directory: tempfile::TempDir,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Registry {
    /// Starts one; `None`, said aloud, when none is installed.
    pub(crate) fn start() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}, delete: {{enabled: true}}}}\n\
             http: {{addr: '{address}'}}\n",
            directory.path().display()
        );
        let file = directory.path().join("config.yml");
        std::fs::write(&file, config).unwrap();
        let started = child::command("docker-registry")
            .arg("serve")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut process) = started else {
            let required = Environment::from_process();
            let required = required.get("SLIPWAY_TEST_REQUIRE").unwrap_or_default();
            assert!(!required.split(',').any(|part| part == "registry"), "docker-registry cannot be started");
            drop(std::io::Write::write_fmt(
                &mut std::io::stderr(),
                format_args!("skipped: docker-registry is not installed\n"),
            ));
            return None;
        };
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains("listening on")), "the registry did not start");
        // What it says later must go somewhere, or it would wait for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Some(Self { process, address, directory })
    }

    pub(crate) fn lab(&self, path: &str) -> RegistryLab {
        RegistryLab::new(&self.address, path)
    }

    /// Makes a repository forget a blob, as a careless garbage collection does.
    pub(crate) fn forget_blob(&self, path: &str, blob: &BlobDigest) {
        let hex = blob.as_str().strip_prefix("sha256:").unwrap();
        let link: PathBuf = ["docker/registry/v2/repositories", path, "_layers/sha256", hex, "link"].iter().collect();
        std::fs::remove_file(self.directory.path().join(link)).unwrap();
    }
}

/// One repository of a registry.
#[derive(Clone)]
pub(crate) struct RegistryLab {
    pub(crate) client: Client,
    pub(crate) repo: Repo,
}

impl RegistryLab {
    pub(crate) fn new(host: &str, path: &str) -> Self {
        let options = Options { user_agent: "slipway-test".to_owned(), ..Options::default() };
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
