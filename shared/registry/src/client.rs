//! The client.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use slipway_oci::{
    BlobDigest, ImageAt, Platform, Reference, Repo,
    manifest::{Descriptor, Manifest},
};
use slipway_process::{Clock, SystemClock};

use crate::{
    CopyError, Mirror, RegistryError, Removed, Upload,
    auth::Auth,
    blobs,
    connections::Connections,
    copy,
    credentials::Credentials,
    download::{self, Pieces, Rest},
    held::Held,
    manifests,
    mirrors::Mirrors,
    pages,
    recent::Recent,
    resolve,
    services::{AwsSource, Services},
    transport::Transport,
    uploads,
    vendors::{Deletes, Vendor},
};

/// How a client is set up.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Path of a Docker `config.json`; the usual places when `None` are the caller's to find.
    pub docker_config: Option<std::path::PathBuf>,
    /// Plain HTTP is allowed for every registry; without it only for localhost and 127.0.0.0/8.
    pub insecure: bool,
    /// Certificates are not verified.
    pub skip_tls_verify: bool,
    /// `User-Agent`; the program's name and version when empty.
    pub user_agent: String,
    /// Mirrors, in the order in which they are asked. Only [`Client::pulling`] asks them.
    pub mirrors: Vec<Mirror>,
    /// The services of registries whose hosts do not tell, by `HOST[:PORT]`.
    pub vendors: Vec<(String, Vendor)>,
    /// Where interfaces of services are that are not where they usually are.
    pub interfaces: Vec<(Vendor, url::Url)>,
    /// Where keys of Amazon's services come from: what deletes from ECR is signed with them.
    pub aws: AwsSource,
}

/// A client for all registries, with their tokens. Cheap to clone; clones share connections and tokens.
#[derive(Clone)]
pub struct Client {
    transport: Arc<Transport>,
    recent: Arc<Recent>,
    held: Arc<Held>,
    mirrors: Arc<Mirrors>,
    mirrored: bool,
    vendors: Arc<[(String, Vendor)]>,
    services: Arc<Services>,
}

/// A manifest or index as the registry has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawManifest {
    /// Digest of `bytes`, verified.
    pub digest: BlobDigest,
    /// Media type, from the `Content-Type` header.
    pub media_type: String,
    /// The document, unchanged.
    pub bytes: Bytes,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Client {
    /// A client. Nothing is asked of the network yet.
    ///
    /// # Errors
    /// When the Docker config is there but cannot be read.
    pub fn new(options: Options) -> Result<Self, RegistryError> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new(None));
        let credentials = Credentials::load(options.docker_config.as_deref(), Arc::clone(&clock))?;
        Self::with(options, credentials, clock)
    }

    /// A client with these credentials, whatever the Docker config says.
    pub(crate) fn with(
        options: Options,
        credentials: Credentials,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RegistryError> {
        let connections = Arc::new(Connections::new(&options)?);
        let auth = Auth::new(Arc::clone(&connections), credentials, Arc::clone(&clock));
        let mirrors = Arc::new(Mirrors::new(options.mirrors, Arc::clone(&clock)));
        let services = Arc::new(Services::new(options.interfaces, options.aws, Arc::clone(&clock)));
        let transport = Transport::new(options.insecure, connections, auth, (Arc::clone(&clock), Arc::clone(&mirrors)));
        let (recent, vendors) = (Arc::new(Recent::new(clock)), options.vendors.into());
        let (transport, held) = (Arc::new(transport), Arc::default());
        Ok(Self { transport, recent, held, mirrors, mirrored: false, vendors, services })
    }

    /// The same client for images that are pulled: manifests, blobs and what references name come from the first mirror
    /// that has them, and from the registry itself when none does. A mirror that fails is left alone for five minutes.
    #[must_use]
    pub fn pulling(&self) -> Self {
        Self { mirrored: true, ..self.clone() }
    }

    /// Leaves the mirrors of a repository alone for a while, for bytes that they sent were not what they had to be.
    /// Answers whether that changes where the next ones come from.
    pub fn distrust_mirrors(&self, repo: &Repo, why: &str) -> bool {
        self.mirrored && self.mirrors.rest_all(repo, why)
    }

    /// All tags of a repository, through every page; a repository that is not there has none.
    pub async fn tags(&self, repo: &Repo) -> Result<Vec<String>, RegistryError> {
        pages::tags(self, repo).await
    }

    /// The manifest or index under a tag or digest (`selector`); `None` when there is none. At most 4 MiB, verified.
    pub async fn manifest(&self, repo: &Repo, selector: &str) -> Result<Option<RawManifest>, RegistryError> {
        if self.mirrored {
            let read = |at: Repo| async move { manifests::read(self, &at, selector).await };
            if let Some(found) = self.mirrors.first(repo, read).await {
                return Ok(Some(found));
            }
        }
        manifests::read(self, repo, selector).await
    }

    /// The digest under a tag or digest; `None` when there is none.
    pub async fn head_manifest(&self, repo: &Repo, selector: &str) -> Result<Option<BlobDigest>, RegistryError> {
        manifests::look_up(self, repo, selector).await
    }

    /// Stores a manifest under a tag or its digest; answers its digest.
    pub async fn put_manifest(
        &self,
        repo: &Repo,
        selector: &str,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<BlobDigest, RegistryError> {
        manifests::store(self, repo, selector, media_type, bytes).await
    }

    /// A manifest that this client has stored under its digest within the last minute. The registry took it, and has
    /// seen its blobs then.
    pub fn stored_lately(&self, repo: &Repo, digest: &BlobDigest) -> Option<RawManifest> {
        self.recent.manifest(repo, digest)
    }

    /// Lets [`hold_manifest`](Self::hold_manifest) hold what goes to a repository: who calls this stores it under tags.
    pub fn hold_for(&self, repo: &Repo) {
        self.held.serve(repo);
    }

    /// Holds a manifest in this process until it is stored under a tag; its blobs are in the repository. `false` when that
    /// is nobody's task, or there is no room for it: it is to be stored at once.
    pub fn hold_manifest(&self, repo: &Repo, manifest: RawManifest) -> bool {
        self.held.keep(repo, manifest)
    }

    /// A manifest that this process holds.
    pub fn held_manifest(&self, repo: &Repo, digest: &BlobDigest) -> Option<RawManifest> {
        self.held.get(repo, digest)
    }

    /// Does not hold a manifest any longer: it is stored, or nobody wants it.
    pub fn let_go(&self, repo: &Repo, digest: &BlobDigest) {
        self.held.remove(repo, digest);
    }

    /// Whether this client has stored or seen a blob in a repository within the last minute.
    pub fn seen_lately(&self, repo: &Repo, digest: &BlobDigest) -> bool {
        self.recent.has(repo, digest.as_str())
    }

    /// Forgets that a blob was stored or seen: the registry says that it is not there.
    pub fn unsee(&self, repo: &Repo, digest: &BlobDigest) {
        self.recent.remove(repo, digest);
    }

    /// Deletes a manifest with all its tags; done again, it does nothing.
    pub async fn delete_manifest(&self, repo: &Repo, digest: &BlobDigest) -> Result<(), RegistryError> {
        manifests::delete(self, repo, digest).await
    }

    /// Deletes what a tag or digest (`selector`) names: a digest takes all tags of the manifest along, a tag goes alone.
    /// Not every registry takes both, or either.
    pub async fn remove(&self, repo: &Repo, selector: &str) -> Result<Removed, RegistryError> {
        manifests::remove(self, repo, selector).await
    }

    /// The size of a blob; `None` when it is not in this repository.
    pub async fn head_blob(&self, repo: &Repo, digest: &BlobDigest) -> Result<Option<u64>, RegistryError> {
        blobs::size(self, repo, digest).await
    }

    /// A small blob (at most 8 MiB), verified.
    pub async fn blob(&self, repo: &Repo, digest: &BlobDigest) -> Result<Bytes, RegistryError> {
        if self.mirrored {
            let read = |at: Repo| async move { blobs::read(self, &at, digest).await.map(Some) };
            if let Some(found) = self.mirrors.first(repo, read).await {
                return Ok(found);
            }
        }
        blobs::read(self, repo, digest).await
    }

    /// A blob as a stream with its size; the reader verifies it. A connection that breaks is replaced by another that
    /// goes on where it stopped; the stream has exactly that size or ends in an error, whose inner one is a
    /// [`RegistryError`].
    pub async fn blob_stream(
        &self,
        repo: &Repo,
        digest: &BlobDigest,
    ) -> Result<(u64, BoxStream<'static, std::io::Result<Bytes>>), RegistryError> {
        if self.mirrored {
            let begin = |at: Repo| async move { download::start(self, &at, digest, Some(repo)).await.map(Some) };
            if let Some(begun) = self.mirrors.first(repo, begin).await {
                return Ok(begun);
            }
        }
        download::start(self, repo, digest, None).await
    }

    /// What is left of a blob that was read before.
    pub(crate) async fn blob_rest(
        &self,
        repo: &Repo,
        digest: &BlobDigest,
        rest: Rest,
    ) -> Result<Pieces, RegistryError> {
        if self.mirrored {
            let begin = |at: Repo| async move { download::rest(self, &at, digest, rest).await.map(Some) };
            if let Some(begun) = self.mirrors.first(repo, begin).await {
                return Ok(begun);
            }
        }
        download::rest(self, repo, digest, rest).await
    }

    /// Makes a blob of one repository known in another on the same registry; `false` when the registry would rather
    /// have it uploaded.
    pub async fn mount_blob(&self, from: &Repo, to: &Repo, digest: &BlobDigest) -> Result<bool, RegistryError> {
        blobs::mount(self, from, to, digest).await
    }

    /// Brings a blob of one repository to another, of any registry, unless it is there: mounted where that goes, streamed
    /// on otherwise. What it is copied from is only read.
    ///
    /// # Errors
    /// [`CopyError`] says which side did not do its part.
    pub async fn copy_blob(&self, from: &Repo, to: &Repo, blob: &Descriptor) -> Result<(), CopyError> {
        copy::blob(self, from, to, blob).await
    }

    /// The same without looking whether it is there, or could be mounted.
    ///
    /// # Errors
    /// As [`copy_blob`](Self::copy_blob).
    pub async fn send_blob(&self, from: &Repo, to: &Repo, digest: &BlobDigest) -> Result<(), CopyError> {
        copy::send(self, from, to, digest).await
    }

    /// [`copy_blob`](Self::copy_blob) with the config and all layers of an image; its manifest is for the caller to store.
    ///
    /// # Errors
    /// As [`copy_blob`](Self::copy_blob).
    pub async fn copy_blobs(&self, from: &Repo, to: &Repo, manifest: &Manifest) -> Result<(), CopyError> {
        copy::image(self, from, to, manifest).await
    }

    /// Stores a small blob (at most 8 MiB), unless it is there already.
    pub async fn put_blob(&self, repo: &Repo, bytes: Bytes) -> Result<BlobDigest, RegistryError> {
        blobs::store(self, repo, bytes).await
    }

    /// Begins to store a blob in chunks.
    pub async fn start_upload(&self, repo: &Repo) -> Result<Upload, RegistryError> {
        uploads::start(self, repo).await
    }

    /// The image that a reference names for a platform, through indexes; `None` when there is none. An image that
    /// stands alone, in no index, is taken for any platform. An index without the platform is [`RegistryError::NotFound`].
    pub async fn resolve(&self, reference: &Reference, platform: &Platform) -> Result<Option<ImageAt>, RegistryError> {
        resolve::resolve(self, reference, platform).await
    }

    /// Which service a repository lies at.
    pub(crate) fn vendor(&self, repo: &Repo) -> Vendor {
        let told = self.vendors.iter().find(|(host, _)| *host == repo.host);
        told.map_or_else(|| Vendor::of(&repo.host), |(_, vendor)| *vendor)
    }

    /// How the service deletes that a repository lies at, as far as that is known.
    pub fn deletes(&self, repo: &Repo) -> Deletes {
        self.vendor(repo).deletes()
    }

    pub(crate) fn services(&self) -> &Services {
        &self.services
    }

    pub(crate) fn transport(&self) -> &Transport {
        &self.transport
    }

    pub(crate) fn shared_transport(&self) -> Arc<Transport> {
        Arc::clone(&self.transport)
    }

    pub(crate) fn shared_mirrors(&self) -> Arc<Mirrors> {
        Arc::clone(&self.mirrors)
    }

    pub(crate) fn recent(&self) -> &Recent {
        &self.recent
    }
}
