//! The client.

use bytes::Bytes;
use futures::stream::BoxStream;
use slipway_oci::{BlobDigest, ImageAt, Platform, Reference, Repo};

use crate::RegistryError;

/// How a client is set up.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Path of a Docker `config.json`; the usual places when `None` are the caller's to find.
    pub docker_config: Option<std::path::PathBuf>,
    /// Plain HTTP is allowed for every registry; without it only for localhost and 127.0.0.0/8.
    pub insecure: bool,
    /// Certificates are not verified.
    pub skip_tls_verify: bool,
    /// `User-Agent`.
    pub user_agent: String,
}

/// A client for all registries, with their tokens. Cheap to clone; clones share connections and tokens.
#[derive(Clone, Debug)]
pub struct Client {}

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

/// A blob on its way up, in chunks. Dropping it abandons the upload.
#[derive(Debug)]
pub struct Upload {}

#[expect(unused_variables, clippy::unimplemented, reason = "seam")]
impl Client {
    /// A client.
    ///
    /// # Errors
    /// When the Docker config is there but cannot be read.
    pub fn new(options: Options) -> Result<Self, RegistryError> {
        unimplemented!()
    }

    /// All tags of a repository, through every page; a repository that is not there has none.
    pub async fn tags(&self, repo: &Repo) -> Result<Vec<String>, RegistryError> {
        unimplemented!()
    }

    /// The manifest or index under a tag or digest (`selector`); `None` when there is none. At most 4 MiB, verified.
    pub async fn manifest(&self, repo: &Repo, selector: &str) -> Result<Option<RawManifest>, RegistryError> {
        unimplemented!()
    }

    /// The digest under a tag or digest; `None` when there is none.
    pub async fn head_manifest(&self, repo: &Repo, selector: &str) -> Result<Option<BlobDigest>, RegistryError> {
        unimplemented!()
    }

    /// Stores a manifest under a tag or its digest; answers its digest.
    pub async fn put_manifest(
        &self,
        repo: &Repo,
        selector: &str,
        media_type: &str,
        bytes: Bytes,
    ) -> Result<BlobDigest, RegistryError> {
        unimplemented!()
    }

    /// Deletes a manifest with all its tags; done again, it does nothing.
    pub async fn delete_manifest(&self, repo: &Repo, digest: &BlobDigest) -> Result<(), RegistryError> {
        unimplemented!()
    }

    /// The size of a blob; `None` when it is not in this repository.
    pub async fn head_blob(&self, repo: &Repo, digest: &BlobDigest) -> Result<Option<u64>, RegistryError> {
        unimplemented!()
    }

    /// A small blob (at most 8 MiB), verified.
    pub async fn blob(&self, repo: &Repo, digest: &BlobDigest) -> Result<Bytes, RegistryError> {
        unimplemented!()
    }

    /// A blob as a stream with its size; the reader verifies it.
    pub async fn blob_stream(
        &self,
        repo: &Repo,
        digest: &BlobDigest,
    ) -> Result<(u64, BoxStream<'static, std::io::Result<Bytes>>), RegistryError> {
        unimplemented!()
    }

    /// Makes a blob of one repository known in another on the same registry; `false` when the registry would rather
    /// have it uploaded.
    pub async fn mount_blob(&self, from: &Repo, to: &Repo, digest: &BlobDigest) -> Result<bool, RegistryError> {
        unimplemented!()
    }

    /// Stores a small blob, unless it is there already.
    pub async fn put_blob(&self, repo: &Repo, bytes: Bytes) -> Result<BlobDigest, RegistryError> {
        unimplemented!()
    }

    /// Begins to store a blob in chunks.
    pub async fn start_upload(&self, repo: &Repo) -> Result<Upload, RegistryError> {
        unimplemented!()
    }

    /// The image that a reference names for a platform, through indexes; `None` when there is none.
    pub async fn resolve(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> Result<Option<ImageAt>, RegistryError> {
        unimplemented!()
    }
}

#[expect(unused_variables, clippy::unimplemented, reason = "seam")]
impl Upload {
    /// Sends one chunk.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), RegistryError> {
        unimplemented!()
    }

    /// Ends the blob; the registry verifies `digest`.
    pub async fn finish(self, digest: &BlobDigest) -> Result<(), RegistryError> {
        unimplemented!()
    }
}
