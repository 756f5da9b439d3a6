//! Blobs from one repository to another: mounted where that goes, streamed on where it does not.

use futures::{StreamExt as _, TryStreamExt as _, stream as streams};
use slipway_oci::{
    BlobDigest, Repo,
    manifest::{Descriptor, Manifest},
};

use crate::{
    Client, RegistryError,
    download::Pieces,
    uploads::{
        feed::read_error,
        relay::{Relayed, relay},
    },
};

/// Blobs of one image that are on their way at once.
const AT_ONCE: usize = 4;

/// What stopped a copy: which side is to be looked at.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// What is copied cannot be read, or is not what its digest says.
    #[error("{0}")]
    Source(RegistryError),
    /// The repository that it goes to does not take it.
    #[error("{0}")]
    Target(RegistryError),
}

impl CopyError {
    /// What the registry said, of whichever side.
    pub fn into_inner(self) -> RegistryError {
        match self {
            Self::Source(error) | Self::Target(error) => error,
        }
    }

    /// Whether what is copied is not there any more, or is broken for good.
    pub fn source_is_lost(&self) -> bool {
        matches!(self, Self::Source(RegistryError::NotFound(_) | RegistryError::Corrupt(_)))
    }
}

/// Brings the config and all layers of an image to another repository; a blob that is there stays as it is.
pub(crate) async fn image(client: &Client, from: &Repo, to: &Repo, manifest: &Manifest) -> Result<(), CopyError> {
    let blobs: Vec<Descriptor> = std::iter::once(&manifest.config).chain(&manifest.layers).cloned().collect();
    let copies = streams::iter(blobs).map(|found| async move { blob(client, from, to, &found).await });
    copies.buffer_unordered(AT_ONCE).try_collect().await
}

/// Brings a blob to another repository.
pub(crate) async fn blob(client: &Client, from: &Repo, to: &Repo, blob: &Descriptor) -> Result<(), CopyError> {
    if client.head_blob(to, &blob.digest).await.map_err(CopyError::Target)? == Some(blob.size) {
        return Ok(());
    }
    // A registry that would rather have the bytes, or cannot say, gets them.
    if from.host == to.host && matches!(client.mount_blob(from, to, &blob.digest).await, Ok(true)) {
        return Ok(());
    }
    send(client, from, to, &blob.digest).await
}

/// Brings a blob to a repository that lacks it.
pub(crate) async fn send(client: &Client, from: &Repo, to: &Repo, digest: &BlobDigest) -> Result<(), CopyError> {
    let (size, bytes) = client.blob_stream(from, digest).await.map_err(CopyError::Source)?;
    let sent = if size > client.vendor(to).one_request() {
        match relay(client, (from, to), digest, (size, bytes)).await {
            Ok(Relayed::Stored) => Ok(()),
            Ok(Relayed::Refused) => {
                let (_, bytes) = client.blob_stream(from, digest).await.map_err(CopyError::Source)?;
                in_chunks(client, to, digest, bytes).await
            }
            Err(error) => Err(error),
        }
    } else {
        in_chunks(client, to, digest, bytes).await
    };
    sent.map_err(|error| match error {
        // Other bytes than it was told of: they were read so.
        CopyError::Target(RegistryError::Corrupt(why)) => {
            let why = format!("copy blob {digest} of {from}: it is not what its digest says: {why}");
            CopyError::Source(RegistryError::Corrupt(why))
        }
        error => error,
    })
}

/// Sends a blob in pieces that are held until the registry has them, the last of which may be all.
async fn in_chunks(client: &Client, to: &Repo, digest: &BlobDigest, mut bytes: Pieces) -> Result<(), CopyError> {
    let mut upload = client.start_upload(to).await.map_err(CopyError::Target)?;
    loop {
        match bytes.try_next().await {
            Ok(Some(piece)) => upload.write(piece).await.map_err(CopyError::Target)?,
            Ok(None) => return upload.finish(digest).await.map_err(CopyError::Target),
            Err(error) => {
                upload.cancel().await;
                return Err(CopyError::Source(read_error(error)));
            }
        }
    }
}
