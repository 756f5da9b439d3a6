//! What the tests stand on: a backend with a store of its own, a base, and images with any config.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use slipway_backend::{
    ImageBuilder as _, LocalImage, Setup,
    conformance::{Harness, MakeBase, archive, directory, file},
};
use slipway_native::{
    Addresses, Compression, NativeBackend, NativeOptions,
    driver::{self, Driver},
    limits::Limits,
    network::Commands,
    probe::probe,
    runtime::{Kind, Runtime},
};
use slipway_oci::{
    BlobDigest, ConfigChange, ImageAt, ImageConfig, Platform, Repo,
    config::{RootFs, RunConfig},
    manifest::{Descriptor, Manifest, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST},
};
use slipway_parts::Registry;
use slipway_process::{Environment, SystemClock};
use slipway_registry::{Client, Options};
use slipway_toolbox::{Places, Source};

/// A backend of its own.
pub(crate) struct Native {
    pub(crate) backend: NativeBackend,
    pub(crate) base: LocalImage,
    home: tempfile::TempDir,
}

/// Names the way that layers lie on each other.
pub(crate) const DRIVER: &str = "SLIPWAY_TEST_STORAGE_DRIVER";
/// Names the runtime that sandboxes are handed to.
pub(crate) const RUNTIME: &str = "SLIPWAY_TEST_RUNTIME";

/// The program that is started as a sandbox.
pub(crate) fn program() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_slipway-sandbox"))
}

/// The runtime that sandboxes are handed to in this run of the tests.
fn runtime() -> Option<Runtime> {
    let environment = Environment::from_process();
    environment.get(RUNTIME).map(|name| Runtime::find(name).expect("a runtime"))
}

/// Whether that is gVisor: its kernel is another one than this machine's.
pub(crate) fn is_gvisor() -> bool {
    runtime().is_some_and(|runtime| runtime.kind() == Kind::Runsc)
}

/// A client for loopback registries.
pub(crate) fn client() -> Client {
    Client::new(Options { user_agent: "test".to_owned(), ..Options::default() }).expect("a client")
}

impl Native {
    /// A backend with an empty store; `None`, said aloud, where sandboxes cannot run.
    pub(crate) async fn start() -> Option<Self> {
        Self::with(None).await
    }

    /// The same with a limit of its store.
    pub(crate) async fn with(limit: Option<u64>) -> Option<Self> {
        Self::of(limit, Commands::Own).await
    }

    /// The same for commands of whoever.
    pub(crate) async fn of(limit: Option<u64>, commands: Commands) -> Option<Self> {
        Self::within(limit, commands, Limits::default()).await
    }

    /// The same with limits of what commands use.
    pub(crate) async fn within(limit: Option<u64>, commands: Commands, limits: Limits) -> Option<Self> {
        Self::made(limit, commands, limits, Addresses::Far).await
    }

    /// The same for Dockerfiles that may fetch from these addresses.
    pub(crate) async fn made(
        limit: Option<u64>,
        commands: Commands,
        limits: Limits,
        addresses: Addresses,
    ) -> Option<Self> {
        let home = tempfile::tempdir().expect("a directory");
        let wanted = Environment::from_process().get(DRIVER).map(str::to_owned);
        let driver = driver::find(wanted.as_deref(), &home.path().join("store"));
        let driver = driver.map_err(|why| slipway_parts::skip("native", &why)).ok()?;
        if let Err(why) = probe(&home.path().join("store"), wanted.as_deref()) {
            slipway_parts::skip("native", &why);
            return None;
        }
        let options = options(home.path().join("store"), (limit, driver), commands, limits, addresses);
        let backend = NativeBackend::open(options).await.expect("a backend");
        let setup = Setup {
            attempt: "base".to_owned(),
            platform: Platform::host(),
            network: None,
            to: None,
            mounts: Vec::new(),
            secrets: slipway_backend::Secrets::none(),
        };
        let mut workspace = backend.open(None, setup).await.expect("a workspace");
        let tree = [directory("bin"), directory("etc"), file("etc/passwd", "root:x:0:0::/root:/bin/sh\n")];
        workspace.extract(archive(&tree), "/", None, None).await.expect("files go in");
        let base = workspace.commit(ConfigChange::default()).await.expect("a base");
        Some(Self { backend, base, home })
    }

    /// Another backend on the same store, as in another process.
    pub(crate) async fn again(&self) -> NativeBackend {
        self.again_by(program()).await
    }

    /// The same, whose sandboxes are started from this program.
    pub(crate) async fn again_by(&self, program: PathBuf) -> NativeBackend {
        let wanted = Environment::from_process().get(DRIVER).map(str::to_owned);
        let driver = driver::find(wanted.as_deref(), &self.store()).expect("a driver");
        let of = (None, driver);
        let options = options(self.store(), of, Commands::Own, Limits::default(), Addresses::Far);
        NativeBackend::open(NativeOptions { program, ..options }).await.expect("a backend")
    }

    /// Where the store is.
    pub(crate) fn store(&self) -> PathBuf {
        self.home.path().join("store")
    }

    /// Bytes of all files of the store.
    pub(crate) fn size(&self) -> u64 {
        let mut bytes = 0;
        let mut places = vec![self.store()];
        while let Some(place) = places.pop() {
            for found in std::fs::read_dir(&place).expect("a listing") {
                let found = found.expect("an entry");
                let about = found.path().symlink_metadata().expect("a file");
                if about.is_dir() {
                    places.push(found.path());
                } else if about.is_file() {
                    bytes += about.len();
                }
            }
        }
        bytes
    }

    /// Waits until what was given up is gone.
    pub(crate) async fn emptied(&self) {
        let work = self.store().join("work");
        while std::fs::read_dir(&work).expect("a listing").count() > 0 {
            tokio::task::yield_now().await;
        }
    }

    /// Checks that nothing is left but what was made.
    pub(crate) async fn end(self) {
        self.backend.shut_down().await.expect("an end");
        let left = std::fs::read_dir(self.store().join("work")).expect("a listing").count();
        assert_eq!(left, 0, "directories of builds are left");
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
        assert!(!mounts.contains(&*self.home.path().to_string_lossy()), "mounts are left");
    }
}

fn options(
    store: PathBuf,
    (limit, driver): (Option<u64>, Driver),
    commands: Commands,
    limits: Limits,
    addresses: Addresses,
) -> NativeOptions {
    NativeOptions {
        store,
        limit,
        client: client(),
        toolbox: Source::Own(Places::new(Vec::new())),
        compression: Compression::Gzip,
        program: program(),
        commands,
        limits,
        driver,
        runtime: runtime(),
        addresses,
        clock: Arc::new(SystemClock::new(None)),
    }
}

/// Images with any config: made in a registry, and pulled.
pub(crate) struct Bases {
    client: Client,
    repo: Repo,
}

impl Bases {
    pub(crate) fn new(registry: &Registry) -> Self {
        Self { client: client(), repo: Repo { host: registry.host().to_owned(), path: "bases".to_owned() } }
    }
}

#[async_trait]
impl MakeBase for Bases {
    async fn make(&self, harness: &Harness<'_>, _dockerfile: &str, config: RunConfig) -> LocalImage {
        let layer = tar_of_f();
        let platform = Platform::host();
        let document = ImageConfig {
            architecture: platform.arch,
            os: platform.os,
            config,
            rootfs: RootFs { kind: "layers".to_owned(), diff_ids: vec![BlobDigest::of(&layer).to_string()] },
            ..ImageConfig::default()
        };
        let bytes = document.to_bytes();
        let of = |kind: &str, bytes: &[u8]| Descriptor::new(kind, BlobDigest::of(bytes), bytes.len() as u64);
        let manifest = Manifest {
            schema_version: 2,
            media_type: Some(OCI_MANIFEST.to_owned()),
            config: of(OCI_CONFIG, &bytes),
            layers: vec![of(OCI_LAYER, &layer)],
            annotations: Default::default(),
        };
        for blob in [bytes, layer] {
            self.client.put_blob(&self.repo, blob.into()).await.expect("a blob");
        }
        let bytes = manifest.to_bytes();
        let digest = BlobDigest::of(&bytes);
        let stored = self.client.put_manifest(&self.repo, digest.as_str(), OCI_MANIFEST, bytes.into());
        stored.await.expect("a manifest");
        let at = ImageAt { repo: self.repo.clone(), digest };
        harness.backend.pull(&at).await.expect("a pull")
    }
}

/// An archive with a file `f`.
fn tar_of_f() -> Vec<u8> {
    let mut header = vec![0_u8; 512];
    header[0] = b'f';
    for (at, text) in
        [(100, "0000644\0"), (108, "0000000\0"), (116, "0000000\0"), (124, "00000000000\0"), (136, "00000000000\0")]
    {
        header[at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    header[156] = b'0';
    header[257..265].copy_from_slice(b"ustar\x0000");
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header.extend([0; 1024]);
    header
}
