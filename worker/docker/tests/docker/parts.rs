//! A backend on the engine of this host, a base image, and doors straight to a registry.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use async_trait::async_trait;
use bollard::{
    Docker,
    query_parameters::{
        CreateImageOptions, ListContainersOptions, ListImagesOptions, RemoveContainerOptions, RemoveImageOptions,
        TagImageOptions,
    },
};
use futures::TryStreamExt as _;
use slipway_backend::{BackendError, Door, ImageBuilder as _, ImageLink, LocalImage, Pushed, Setup, SpoolDir};
use slipway_digest::{Millis, StageId};
use slipway_docker::{BuilderChoice, DockerBackend, DockerOptions};
use slipway_oci::{ConfigChange, ImageAt, Platform, Repo};
use slipway_parts::{Part, Registry, require};
use slipway_process::random_id;
use slipway_stages::{StageRecord, labels::StageLabels};
use slipway_storage::{StageStorage, conformance::Lab};
use slipway_toolbox::{Places, Source};

/// The project of the storage suite.
const PROJECT: &str = "slipway-storage-suite";

/// A name that no other run uses.
pub(crate) fn unique() -> String {
    random_id()
}

pub(crate) struct Engine {
    pub(crate) backend: DockerBackend,
    pub(crate) docker: Docker,
    pub(crate) base: LocalImage,
    home: tempfile::TempDir,
    doors: Arc<AtomicU32>,
    name: String,
}

impl Engine {
    pub(crate) async fn start(builder: BuilderChoice) -> Option<Self> {
        Self::start_with(builder, Source::Own(Places::new(Vec::new()))).await
    }

    pub(crate) async fn start_with(builder: BuilderChoice, toolbox: Source) -> Option<Self> {
        Self::start_at(builder, toolbox, (None, None)).await
    }

    /// On the engine of this host, spoken to at an address, with the certificates of a directory.
    pub(crate) async fn start_at(
        builder: BuilderChoice,
        toolbox: Source,
        (host, certificates): (Option<String>, Option<PathBuf>),
    ) -> Option<Self> {
        if !require(&[Part::Docker, Part::Busybox]) {
            return None;
        }
        let home = tempfile::tempdir().expect("a directory");
        let doors = Arc::new(AtomicU32::new(0));
        let options = DockerOptions {
            host,
            certificates,
            link: Arc::new(Direct { doors: Arc::clone(&doors) }),
            spool: SpoolDir(home.path().join("spool")),
            attempts: home.path().join("attempts"),
            uses: home.path().join("used"),
            toolbox,
            builder,
        };
        let backend = DockerBackend::connect(options).await.expect("the engine answers");
        let docker = Docker::connect_with_unix("/var/run/docker.sock", 60, bollard::API_DEFAULT_VERSION);
        let docker = docker.expect("a client").negotiate_version().await.expect("the engine answers");
        let name = format!("slipway-test-{}", random_id());
        let base = import_base(&docker, &name).await;
        Some(Self { backend, docker, base, home, doors, name })
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// How many doors were opened.
    pub(crate) fn doors(&self) -> u32 {
        self.doors.load(Ordering::SeqCst)
    }

    pub(crate) fn base_name(&self) -> String {
        format!("{}:latest", self.name)
    }

    pub(crate) async fn tags(&self, image: &LocalImage) -> Vec<String> {
        let found = self.docker.inspect_image(image.id.as_str()).await.expect("an image");
        let mut tags = found.repo_tags.unwrap_or_default();
        tags.sort();
        assert!(found.repo_digests.unwrap_or_default().iter().all(|digest| !digest.starts_with("127.0.0.1:")));
        tags
    }

    pub(crate) async fn untag(&self, reference: &str) {
        let options = RemoveImageOptions { force: false, noprune: true, platforms: None };
        self.docker.remove_image(reference, Some(options), None).await.expect("the name goes");
    }

    pub(crate) async fn tag_image(&self, image: &str, repo: &str, tag: &str) {
        let options = TagImageOptions { repo: Some(repo.to_owned()), tag: Some(tag.to_owned()) };
        self.docker.tag_image(image, Some(options)).await.expect("a tag");
    }

    pub(crate) async fn remove_container(&self, name: &str) {
        let options = RemoveContainerOptions { force: true, v: true, link: false };
        self.docker.remove_container(name, Some(options)).await.expect("the container goes");
    }

    /// The image of the toolbox that the backend made.
    pub(crate) async fn toolbox_image(&self) -> (String, String) {
        let images = self.docker.list_images(None::<ListImagesOptions>).await.expect("a list");
        let tag = images.iter().flat_map(|image| &image.repo_tags).find(|tag| tag.starts_with("slipway-toolbox:"));
        let (name, version) = tag.expect("a toolbox").split_once(':').expect("a tag");
        (name.to_owned(), version.to_owned())
    }

    /// Removes what the test made and checks that the backend left nothing running.
    pub(crate) async fn end(self) {
        self.backend.shut_down().await;
        let left = std::fs::read_dir(self.home.path().join("attempts")).map(|entries| entries.count()).unwrap_or(0);
        assert_eq!(left, 0, "attempts are left");
        let all = ListContainersOptions { all: true, ..ListContainersOptions::default() };
        let containers = self.docker.list_containers(Some(all)).await.expect("a list");
        let own = containers.iter().filter(|container| container.image_id.as_deref() == Some(self.base.id.as_str()));
        assert_eq!(own.count(), 0, "containers are left");
        self.remove_images().await;
    }

    /// Removes the base and all that stands on it, the youngest first.
    async fn remove_images(&self) {
        let all = ListImagesOptions { all: true, ..ListImagesOptions::default() };
        let images = self.docker.list_images(Some(all)).await.expect("a list");
        let mut own = vec![self.base.id.to_string()];
        let mut next = 0;
        while next < own.len() {
            let parent = own[next].clone();
            own.extend(images.iter().filter(|image| image.parent_id == parent).map(|image| image.id.clone()));
            next += 1;
        }
        for id in own.iter().rev() {
            let options = RemoveImageOptions { force: true, noprune: true, platforms: None };
            // Gone with its last name already, or held by what the builder remembers.
            let _ = self.docker.remove_image(id, Some(options), None).await;
        }
    }
}

/// A base of the host's static busybox.
async fn import_base(docker: &Docker, name: &str) -> LocalImage {
    let busybox = std::fs::read("/bin/busybox").expect("busybox");
    let mut builder = tar::Builder::new(Vec::new());
    let header = |size: usize, mode: u32, kind| {
        let mut header = tar::Header::new_gnu();
        header.set_size(size as u64);
        header.set_mode(mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_entry_type(kind);
        header
    };
    let passwd = b"root:x:0:0:root:/:/bin/sh\n".as_slice();
    // Differs between tests, so that each has an image of its own.
    let mark = name.as_bytes();
    for (path, mode, bytes) in
        [("bin/busybox", 0o755, busybox.as_slice()), ("etc/passwd", 0o644, passwd), ("mark", 0o644, mark)]
    {
        let mut header = header(bytes.len(), mode, tar::EntryType::Regular);
        builder.append_data(&mut header, path, bytes).expect("an archive");
    }
    for applet in ["sh", "echo", "cat"] {
        let mut header = header(0, 0o777, tar::EntryType::Symlink);
        builder.append_link(&mut header, format!("bin/{applet}"), "busybox").expect("an archive");
    }
    let archive = builder.into_inner().expect("an archive");
    let options = CreateImageOptions {
        from_src: Some("-".to_owned()),
        repo: Some(name.to_owned()),
        tag: Some("latest".to_owned()),
        ..CreateImageOptions::default()
    };
    let body = bollard::body_full(archive.into());
    docker.create_image(Some(options), Some(body), None).try_for_each(|_| async { Ok(()) }).await.expect("an import");
    let found = docker.inspect_image(name).await.expect("the base");
    LocalImage { id: found.id.expect("an id").parse().expect("a digest") }
}

/// `HOST/PATH` in two.
pub(crate) fn repo(name: &str) -> Repo {
    let (host, path) = name.split_once('/').expect("a host");
    Repo { host: host.to_owned(), path: path.to_owned() }
}

/// A repository of a registry of the test's own.
pub(crate) fn door_repo(registry: &Registry) -> Repo {
    repo(&format!("{}/slipway-docker-test/app", registry.host()))
}

/// Doors that are the registry itself.
struct Direct {
    doors: Arc<AtomicU32>,
}

#[async_trait]
impl ImageLink for Direct {
    async fn pull_door(&self, image: &ImageAt) -> Result<Box<dyn Door>, BackendError> {
        self.doors.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(DirectDoor { reference: image.to_string(), host: String::new(), path: String::new() }))
    }

    async fn push_door(&self, repo: &Repo, attempt: &str) -> Result<Box<dyn Door>, BackendError> {
        self.doors.fetch_add(1, Ordering::SeqCst);
        let path = format!("/v2/{}/manifests/{attempt}", repo.path);
        Ok(Box::new(DirectDoor { reference: format!("{repo}:{attempt}"), host: repo.host.clone(), path }))
    }
}

struct DirectDoor {
    reference: String,
    host: String,
    path: String,
}

#[async_trait]
impl Door for DirectDoor {
    fn reference(&self) -> String {
        self.reference.clone()
    }

    async fn pushed(&self) -> Result<Pushed, BackendError> {
        let mut stream = TcpStream::connect(&self.host).expect("the registry answers");
        let accept = "application/vnd.docker.distribution.manifest.v2+json";
        let (host, path) = (&self.host, &self.path);
        let request = format!("HEAD {path} HTTP/1.0\r\nHost: {host}\r\nAccept: {accept}\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let digest = answer.lines().find_map(|line| line.strip_prefix("Docker-Content-Digest: ")).expect(&answer);
        Ok(Pushed { manifest: digest.trim().parse().expect("a digest"), size: 1 })
    }
}

/// The storage of an engine, under test.
pub(crate) struct StorageLab<'a> {
    engine: &'a Engine,
    made: std::sync::Mutex<Vec<LocalImage>>,
}

impl<'a> StorageLab<'a> {
    pub(crate) fn new(engine: &'a Engine) -> Self {
        Self { engine, made: std::sync::Mutex::default() }
    }

    /// Removes all that the suite made.
    pub(crate) async fn end(self) {
        for image in self.made.into_inner().expect("not poisoned") {
            let options = RemoveImageOptions { force: true, noprune: false, platforms: None };
            let _ = self.engine.docker.remove_image(image.id.as_str(), Some(options), None).await;
        }
    }
}

#[async_trait]
impl Lab for StorageLab<'_> {
    async fn open(&self) -> Arc<dyn StageStorage> {
        Arc::new(self.engine.backend.stage_storage(PROJECT))
    }

    async fn upload(&self, labels: &StageLabels, salt: &str) -> StageRecord {
        let setup = Setup {
            attempt: random_id(),
            platform: Platform::host(),
            network: None,
            to: None,
            mounts: Vec::new(),
            secrets: slipway_backend::Secrets::none(),
        };
        let workspace = self.engine.backend.open(Some(&self.engine.base), setup).await.expect("a workspace");
        let mut change = ConfigChange { labels: slipway_stages::labels::write(labels), ..ConfigChange::default() };
        change.env.insert("SALT".to_owned(), salt.to_owned());
        let image = workspace.commit(change).await.expect("an image");
        self.made.lock().expect("not poisoned").push(image.clone());
        let found = self.engine.docker.inspect_image(image.id.as_str()).await.expect("the image");
        let size = u64::try_from(found.size.expect("a size")).expect("a size");
        let at = ImageAt { repo: Repo { host: String::new(), path: PROJECT.to_owned() }, digest: image.id.clone() };
        let id = StageId { digest: labels.digest, stamp: Millis(0) };
        slipway_stages::labels::record(labels.clone(), id, at, image.id, size)
    }

    async fn lose(&self, image: &ImageAt) {
        let options = RemoveImageOptions { force: true, noprune: true, platforms: None };
        self.engine.docker.remove_image(image.digest.as_str(), Some(options), None).await.expect("it goes");
    }
}
