//! A file per kind of server or trouble.

mod access;
mod aws;
mod deletes;
mod fake;
mod faults;
mod mirrors;
mod pages;
mod real;
mod relay;
mod transfers;
mod vendors;

use bytes::Bytes;
use slipway_oci::{BlobDigest, Repo};
use slipway_registry::{Client, Options, RegistryError};

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &[u8] = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;

fn client() -> Client {
    Client::new(Options::default()).unwrap()
}

fn repo(host: &str, path: &str) -> Repo {
    Repo { host: host.to_owned(), path: path.to_owned() }
}

/// A manifest whose config is [`CONFIG`], made different from others by a note.
fn manifest(note: &str) -> Bytes {
    let digest = BlobDigest::of(CONFIG);
    let size = CONFIG.len();
    let kind = "application/vnd.oci.image.config.v1+json";
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{{"mediaType":"{kind}","digest":"{digest}","size":{size}}},"layers":[],"annotations":{{"note":"{note}"}}}}"#
    )
    .into()
}

/// Bytes that differ from place to place, so that a piece in the wrong place is found.
fn noise(size: usize) -> Bytes {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes.into()
}

async fn upload(client: &Client, repo: &Repo, bytes: &Bytes) -> Result<BlobDigest, RegistryError> {
    let digest = BlobDigest::of(bytes);
    let mut upload = client.start_upload(repo).await?;
    for piece in bytes.chunks(700_000) {
        upload.write(Bytes::copy_from_slice(piece)).await?;
    }
    upload.finish(&digest).await?;
    Ok(digest)
}

async fn download(client: &Client, repo: &Repo, digest: &BlobDigest) -> Result<Bytes, String> {
    use futures::StreamExt as _;
    let (size, mut stream) = client.blob_stream(repo, digest).await.map_err(|error| error.to_string())?;
    let mut all = Vec::new();
    while let Some(piece) = stream.next().await {
        all.extend_from_slice(&piece.map_err(|error| error.to_string())?);
    }
    assert_eq!(all.len() as u64, size);
    Ok(all.into())
}
