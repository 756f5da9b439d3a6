//! What the tests stand on: a backend with a storage of its own, and a base.

use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _, path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use slipway_backend::{
    ByteStream, ImageBuilder as _, LocalImage, Setup, SpoolDir,
    conformance::{archive, directory, file},
    limits::ProcessLimit,
};
use slipway_buildah::{BuildahBackend, BuildahOptions, Room, mode};
use slipway_gateway::Gateway;
use slipway_layers::codec::Compression;
use slipway_native::{driver::find, rootless};
use slipway_oci::{ConfigChange, Platform};
use slipway_process::{Environment, SystemClock, Tasks};
use slipway_registry::{Client, Options};
use slipway_toolbox::{Places, Source};

/// Names the way that layers lie on each other.
pub(crate) const DRIVER: &str = "SLIPWAY_TEST_STORAGE_DRIVER";
/// Names how commands are kept from the host.
pub(crate) const MODE: &str = "SLIPWAY_TEST_BUILDAH_MODE";
/// Names the runtime of `native-rootless`.
pub(crate) const RUNTIME: &str = "SLIPWAY_TEST_RUNTIME";

/// Stumbles once over each kind of request.
const STUMBLING: &str = r#"#!/bin/sh
for word; do case $word in from|mount|run|commit|push|pull|tag) kind=$word; break ;; esac; done
if [ -n "$kind" ] && mkdir "$0-$kind" 2>/dev/null; then
    echo 'Error: sealing memfd copy: Device or resource busy' >&2
    exit 1
fi
exec buildah "$@"
"#;

/// A backend of its own.
pub(crate) struct Buildah {
    pub(crate) backend: BuildahBackend,
    pub(crate) base: LocalImage,
    gateway: Arc<Gateway>,
    home: tempfile::TempDir,
}

impl Buildah {
    /// A backend with an empty storage; `None`, said aloud, where there is no buildah.
    pub(crate) async fn start() -> Option<Self> {
        Self::within("").await
    }

    /// The same with limits of the processes of commands.
    pub(crate) async fn within(limits: &str) -> Option<Self> {
        Self::by("buildah", limits).await
    }

    /// The same by a program that stumbles when it is asked for something for the first time, as buildah does now and then.
    pub(crate) async fn stumbling() -> Option<(Self, tempfile::TempDir)> {
        let place = tempfile::tempdir().expect("a directory");
        let program = place.path().join("stumbling");
        let mut file = std::fs::File::options();
        let file = file.write(true).create_new(true).mode(0o755).open(&program);
        file.and_then(|mut file| file.write_all(STUMBLING.as_bytes())).expect("a script");
        Some((Self::by(program.to_str().expect("a UTF-8 path"), "").await?, place))
    }

    async fn by(program: &str, limits: &str) -> Option<Self> {
        let home = tempfile::tempdir().expect("a directory");
        match Self::at(program, home.path().to_owned(), limits).await {
            Ok((backend, gateway)) => {
                let base = base(&backend).await;
                Some(Self { backend, base, gateway, home })
            }
            Err(why) => {
                slipway_parts::skip("buildah", &why);
                None
            }
        }
    }

    async fn at(program: &str, home: PathBuf, limits: &str) -> Result<(BuildahBackend, Arc<Gateway>), String> {
        let environment = Environment::from_process();
        if rootless::is_needed() {
            return Err("only root, or a user in a namespace, can mount".to_owned());
        }
        let place = mode::Place {
            as_root: !rootless::is_inside(),
            container: None,
            runtime: environment.get(RUNTIME).map(str::to_owned),
        };
        let (mode, _) = mode::choose(environment.get(MODE), &place)?;
        let driver = find(environment.get(DRIVER), &home.join("store"))?;
        let client = Client::new(Options { user_agent: "test".to_owned(), ..Options::default() });
        let client = client.map_err(|error| error.to_string())?;
        let tasks = Tasks::new();
        // Also a small layer is on its way up before it has come whole.
        let options = slipway_gateway::Options { chunk_bytes: 4096, ..slipway_gateway::Options::default() };
        let gateway = Gateway::start(client.clone(), tasks, home.join("blobs"), options).await;
        let gateway = Arc::new(gateway.map_err(|error| error.to_string())?);
        let options = BuildahOptions {
            program: PathBuf::from(program),
            mode,
            driver,
            room: Some(Room { root: home.join("root"), run: home.join("run") }),
            link: Arc::clone(&gateway) as Arc<dyn slipway_backend::ImageLink>,
            client,
            toolbox: Source::Own(Places::new(Vec::new())),
            store: home.join("store"),
            spool: SpoolDir(home.join("spool")),
            attempts: home.join("attempts"),
            compression: Compression::Gzip,
            limits: ProcessLimit::parse_all(limits)?,
            strangers: false,
            environment,
            clock: Arc::new(SystemClock::new(None)),
        };
        let backend = BuildahBackend::open(options).await.map_err(|error| error.to_string())?;
        Ok((backend, gateway))
    }

    /// Another process on the same storage, whose gateway is elsewhere.
    pub(crate) async fn again(&self) -> (BuildahBackend, Arc<Gateway>) {
        Self::at("buildah", self.home.path().to_owned(), "").await.expect("another process")
    }

    /// The program's own list of its containers.
    pub(crate) fn containers(&self) -> String {
        let [root, run] = ["root", "run"].map(|name| self.home.path().join(name));
        let mut list = slipway_process::child::command("buildah");
        list.arg("--root").arg(root).arg("--runroot").arg(run);
        if let Some(driver) = Environment::from_process().get(DRIVER) {
            list.args(["--storage-driver", driver]);
        }
        let output = list.args(["containers", "--noheading"]).output().expect("a list");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Checks that nothing is left but what was made.
    pub(crate) async fn end(self) {
        self.backend.shut_down().await;
        self.gateway.shut_down().await;
        let left = |name: &str| -> Vec<_> {
            let all = std::fs::read_dir(self.home.path().join(name)).expect("a listing");
            all.map(|found| found.expect("an entry").file_name()).collect()
        };
        assert!(left("attempts").is_empty(), "attempts are left: {:?}", left("attempts"));
        let mut spool = left("spool");
        spool.sort();
        assert_eq!(spool, ["policy.json", "registries.conf"], "files of builds are left");
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("mounts");
        let own = format!("{}/", self.home.path().display());
        let left: Vec<&str> = mounts.lines().filter(|line| line.contains(&own) && line.contains("merged")).collect();
        assert!(left.is_empty(), "mounts are left: {left:?}");
        // What the storage itself is mounted on.
        let storage = self.home.path().join("root/overlay");
        if mounts.contains(&*storage.to_string_lossy()) {
            let mut umount = slipway_process::child::command("umount");
            assert!(umount.arg(storage).status().expect("umount").success());
        }
    }
}

/// A context of one program.
pub(crate) fn context(name: &str, program: &[u8]) -> ByteStream {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(program.len() as u64);
    builder.append_data(&mut header, name, program).expect("an archive in memory");
    let bytes = Bytes::from(builder.into_inner().expect("an archive in memory"));
    stream::iter([Ok(bytes)]).boxed()
}

async fn base(backend: &BuildahBackend) -> LocalImage {
    let mut workspace = backend.open(None, Setup::new("base".to_owned(), Platform::host())).await.expect("a workspace");
    let tree = [directory("bin"), directory("etc"), file("etc/passwd", "root:x:0:0::/root:/bin/sh\n")];
    workspace.extract(archive(&tree), "/", None, None).await.expect("files go in");
    workspace.commit(ConfigChange::default()).await.expect("a base")
}
