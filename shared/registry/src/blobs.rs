//! Blobs: looked up, read, mounted from another repository, stored whole.

use bytes::Bytes;
use http::{
    HeaderMap, Method, StatusCode,
    header::{CONTENT_LENGTH, LOCATION},
};
use slipway_oci::{BlobDigest, Repo};

use crate::{Client, RegistryError, call::Call, scheme::follow, uploads};

/// Largest blob that is read into memory.
const LIMIT: usize = 8 * 1024 * 1024;

/// The size of a blob; `None` when it is not in this repository.
pub(crate) async fn size(client: &Client, repo: &Repo, digest: &BlobDigest) -> Result<Option<u64>, RegistryError> {
    let call = blob_call(Method::HEAD, repo, digest, "look up")?.expect(&[StatusCode::NOT_FOUND]);
    let response = client.transport().send(&call).await?;
    if response.status() == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    let size = content_length(response.headers());
    client.recent().add(repo, digest.as_str(), digest);
    size.map(Some).ok_or_else(|| RegistryError::Refused(call.say("the registry does not say how large it is")))
}

/// A small blob, verified.
pub(crate) async fn read(client: &Client, repo: &Repo, digest: &BlobDigest) -> Result<Bytes, RegistryError> {
    let call = blob_call(Method::GET, repo, digest, "read")?;
    Ok(client.transport().fetch(&call, LIMIT, Some(digest)).await?.body)
}

/// Stores a small blob, unless it is there.
pub(crate) async fn store(client: &Client, repo: &Repo, bytes: Bytes) -> Result<BlobDigest, RegistryError> {
    let digest = BlobDigest::of(&bytes);
    if bytes.len() > LIMIT {
        let what = format!("it has {} bytes; blobs over {LIMIT} are to be uploaded in chunks", bytes.len());
        return Err(RegistryError::Refused(format!("store blob {digest} in {repo}: {what}")));
    }
    if size(client, repo, &digest).await?.is_none() {
        uploads::start(client, repo).await?.finish_with(bytes, &digest).await?;
    }
    Ok(digest)
}

/// Makes a blob of one repository known in another; `false` when the registry would rather have it uploaded.
pub(crate) async fn mount(client: &Client, from: &Repo, to: &Repo, digest: &BlobDigest) -> Result<bool, RegistryError> {
    if from.host != to.host {
        return Ok(false);
    }
    let tail = format!("blobs/uploads/?mount={digest}&from={}", from.path.replace('/', "%2F"));
    let operation = format!("mount blob {digest} of {from} into");
    let call = Call::new(Method::POST, to, &tail, &operation)?.also_on(&from.path, "pull");
    match client.transport().send(&call).await {
        Ok(response) if response.status() == StatusCode::CREATED => {
            client.recent().add(to, digest.as_str(), digest);
            Ok(true)
        }
        Ok(response) => {
            abandon(client, to, &response).await;
            Ok(false)
        }
        Err(error @ RegistryError::Unavailable(_)) => Err(error),
        // Whatever it has against the mount, it may still take the bytes; if not, the upload will say why.
        Err(
            error @ (RegistryError::NotFound(_)
            | RegistryError::Denied(_)
            | RegistryError::Refused(_)
            | RegistryError::Corrupt(_)),
        ) => {
            tracing::debug!(%error, "the blob is not mounted");
            Ok(false)
        }
    }
}

/// Ends the upload that a registry began instead of a mount. It would go away by itself, some day.
async fn abandon(client: &Client, repo: &Repo, response: &reqwest::Response) {
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let Some(Ok(url)) = location.map(|location| follow(response.url(), location)) else { return };
    if let Ok(call) = Call::new(Method::DELETE, repo, "", "abandon an upload to") {
        let _ = client.transport().attempt(&call.at(&url).for_push()).await;
    }
}

/// A call for a blob.
pub(crate) fn blob_call(method: Method, repo: &Repo, digest: &BlobDigest, verb: &str) -> Result<Call, RegistryError> {
    Call::new(method, repo, &format!("blobs/{digest}"), &format!("{verb} blob {digest} of"))
}

/// `Content-Length`, also of an answer to `HEAD`.
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}
