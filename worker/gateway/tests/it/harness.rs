//! A gateway in front of a counting proxy in front of a registry.

use std::time::Duration;

use bytes::Bytes;
use slipway_gateway::{Gateway, Options};
use slipway_oci::{BlobDigest, Descriptor, ImageAt, Manifest, Repo, manifest};
use slipway_parts::{Registry, registry::Setup};
use slipway_process::{Tasks, random_id};
use slipway_registry::Client;

use crate::proxy::Proxy;

/// Everything of a test. Dropped together.
pub(crate) struct Scene {
    pub(crate) gateway: Gateway,
    pub(crate) proxy: Proxy,
    /// The registry without the gateway, nor the proxy.
    pub(crate) registry: Client,
    pub(crate) tasks: Tasks,
    pub(crate) http: reqwest::Client,
    pub(crate) cache: tempfile::TempDir,
    direct: String,
    _upstream: Registry,
}

impl Scene {
    /// A scene; `None` (said aloud) when this machine has no registry.
    pub(crate) async fn new() -> Option<Self> {
        Self::with(Options::default()).await
    }

    pub(crate) async fn with(options: Options) -> Option<Self> {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let upstream = Registry::with(Setup { relative: true, ..Setup::default() })?;
        let proxy = Proxy::start(upstream.host()).await;
        let cache = tempfile::tempdir().unwrap();
        let empty = cache.path().join("config.json");
        std::fs::write(&empty, "{}").unwrap();
        let client = || {
            let options = slipway_registry::Options {
                docker_config: Some(empty.clone()),
                user_agent: "slipway-test".to_owned(),
                ..slipway_registry::Options::default()
            };
            Client::new(options).unwrap()
        };
        let tasks = Tasks::new();
        let blobs = cache.path().join("blobs");
        let gateway = Gateway::start(client(), tasks.clone(), blobs, options).await.unwrap();
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap();
        let (registry, direct) = (client(), upstream.host().to_owned());
        Some(Self { gateway, proxy, registry, tasks, http, cache, direct, _upstream: upstream })
    }

    /// A repository as the gateway is told of it.
    pub(crate) fn repo(&self, path: &str) -> Repo {
        Repo { host: self.proxy.address.clone(), path: path.to_owned() }
    }

    /// The same repository, behind the proxy.
    pub(crate) fn direct(&self, path: &str) -> Repo {
        Repo { host: self.direct.clone(), path: path.to_owned() }
    }

    /// Stores an image of the given layers, without the gateway. The bytes are no archives; nobody here unpacks them.
    pub(crate) async fn store(&self, path: &str, layers: &[Vec<u8>]) -> (ImageAt, Manifest) {
        let repo = self.direct(path);
        let mut put = Vec::new();
        for layer in layers {
            let bytes = Bytes::from(layer.clone());
            let digest = self.registry.put_blob(&repo, bytes).await.unwrap();
            put.push(Descriptor::new(manifest::OCI_LAYER_GZIP, digest, layer.len() as u64));
        }
        let config = format!("{{\"id\":\"{}\"}}", random_id());
        let digest = self.registry.put_blob(&repo, Bytes::from(config.clone())).await.unwrap();
        let document = Manifest {
            schema_version: 2,
            media_type: Some(manifest::OCI_MANIFEST.to_owned()),
            config: Descriptor::new(manifest::OCI_CONFIG, digest, config.len() as u64),
            layers: put,
            annotations: Default::default(),
        };
        let bytes = Bytes::from(document.to_bytes());
        let digest = BlobDigest::of(&bytes);
        self.registry.put_manifest(&repo, digest.as_str(), manifest::OCI_MANIFEST, bytes).await.unwrap();
        (ImageAt { repo: self.repo(path), digest }, document)
    }

    /// `http://ADDRESS/v2/TOKEN/NAME` of a door's reference.
    pub(crate) fn url(reference: &str) -> String {
        let (address, rest) = reference.split_once('/').unwrap();
        let name = rest.split(['@', ':']).next().unwrap();
        format!("http://{address}/v2/{name}")
    }

    /// Resolves a `Location` answer.
    pub(crate) fn location(answer: &reqwest::Response) -> reqwest::Url {
        answer.url().join(answer.headers()["location"].to_str().unwrap()).unwrap()
    }
}
