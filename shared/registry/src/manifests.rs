//! Manifests and indexes: read, looked up, stored, deleted.

use bytes::Bytes;
use http::{
    HeaderValue, Method, StatusCode,
    header::{ACCEPT, CONTENT_TYPE},
};
use slipway_oci::{BlobDigest, Repo};

use crate::{
    Client, RawManifest, RegistryError,
    call::{Call, check_selector},
    retry::{Patience, TRIES_FOR_DOUBT, Trouble},
    transport::content_digest,
};

/// Largest manifest, as registries have it.
const LIMIT: usize = 4 * 1024 * 1024;
/// What we understand: images and indexes, OCI and Docker.
const ACCEPTED: HeaderValue = HeaderValue::from_static(
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, \
     application/vnd.docker.distribution.manifest.v2+json, \
     application/vnd.docker.distribution.manifest.list.v2+json",
);

/// The manifest under a selector; `None` when there is none.
pub(crate) async fn read(client: &Client, repo: &Repo, selector: &str) -> Result<Option<RawManifest>, RegistryError> {
    let (call, digest) = manifest_call(Method::GET, repo, selector, "read")?;
    let call = call.header(ACCEPT, ACCEPTED).expect(&[StatusCode::NOT_FOUND]);
    let mut patience = Patience::default();
    let fetched = loop {
        let fetched = client.transport().fetch(&call, LIMIT, digest.as_ref()).await?;
        if fetched.status != StatusCode::NOT_FOUND {
            break fetched;
        }
        if !worth_waiting(client, &call, selector, &mut patience).await {
            return Ok(None);
        }
    };
    let header = fetched.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = media_type(header, &fetched.body);
    Ok(Some(RawManifest { digest: BlobDigest::of(&fetched.body), media_type, bytes: fetched.body }))
}

/// The digest under a selector; `None` when there is none.
pub(crate) async fn look_up(client: &Client, repo: &Repo, selector: &str) -> Result<Option<BlobDigest>, RegistryError> {
    let (call, digest) = manifest_call(Method::HEAD, repo, selector, "look up")?;
    let call = call.header(ACCEPT, ACCEPTED).expect(&[StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED]);
    let mut patience = Patience::default();
    loop {
        let response = client.transport().send(&call).await?;
        if response.status().is_success() {
            if let Some(found) = digest.or_else(|| content_digest(response.headers())) {
                return Ok(Some(found));
            }
            break;
        }
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            break;
        }
        if !worth_waiting(client, &call, selector, &mut patience).await {
            return Ok(None);
        }
    }
    // The registry does not say; the document does.
    Ok(read(client, repo, selector).await?.map(|manifest| manifest.digest))
}

/// Stores a manifest under a selector.
pub(crate) async fn store(
    client: &Client,
    repo: &Repo,
    selector: &str,
    media_type: &str,
    bytes: Bytes,
) -> Result<BlobDigest, RegistryError> {
    let (call, named) = manifest_call(Method::PUT, repo, selector, "store")?;
    let digest = BlobDigest::of(&bytes);
    if bytes.len() > LIMIT {
        let what = format_args!("it has {} bytes; registries take at most {LIMIT}", bytes.len());
        return Err(RegistryError::Refused(call.say(what)));
    }
    if named.is_some_and(|named| named != digest) {
        return Err(RegistryError::Corrupt(call.say(format_args!("the bytes to store are {digest}"))));
    }
    let kind = HeaderValue::from_str(media_type)
        .map_err(|_| RegistryError::Refused(call.say("its media type cannot stand in a header")))?;
    let call = call.header(CONTENT_TYPE, kind).body(bytes.clone());
    let response = send_manifest(client, &call).await?;
    if let Some(stored) = content_digest(response.headers()).filter(|stored| *stored != digest) {
        let what = format_args!("the registry stored {stored} instead of {digest}");
        return Err(RegistryError::Corrupt(call.say(what)));
    }
    client.recent().add(repo, selector, &digest);
    if selector == digest.as_str() {
        let stored = RawManifest { digest: digest.clone(), media_type: media_type.to_owned(), bytes };
        client.recent().add_manifest(repo, stored);
    }
    Ok(digest)
}

/// Sends a manifest. A registry may not see a blob for a moment while another client uploads the same one.
async fn send_manifest(client: &Client, call: &Call) -> Result<reqwest::Response, RegistryError> {
    let mut patience = Patience::default();
    loop {
        match client.transport().send(call).await {
            Err(error @ RegistryError::NotFound(_)) => {
                patience.wait(Trouble::Passing { error, retry_after: None, tries: TRIES_FOR_DOUBT }).await?;
            }
            answer => return answer,
        }
    }
}

/// Deletes a manifest with all its tags; one that is not there is deleted already.
pub(crate) async fn delete(client: &Client, repo: &Repo, digest: &BlobDigest) -> Result<(), RegistryError> {
    let (call, _) = manifest_call(Method::DELETE, repo, digest.as_str(), "delete")?;
    client.transport().send(&call.expect(&[StatusCode::NOT_FOUND])).await?;
    client.recent().remove(repo, digest);
    Ok(())
}

/// What a registry did when it was asked to delete something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Removed {
    /// It is gone.
    Done,
    /// It was not there.
    Absent,
    /// The registry does not delete what is named so: a manifest by a tag, or anything at all.
    Unsupported,
}

/// Deletes a manifest with all its tags, or a tag alone, as the selector says.
pub(crate) async fn remove(client: &Client, repo: &Repo, selector: &str) -> Result<Removed, RegistryError> {
    let (call, digest) = manifest_call(Method::DELETE, repo, selector, "delete")?;
    let vendor = client.vendor(repo);
    if vendor.deletes_beside() {
        return client.services().remove(client, call, (selector, digest)).await;
    }
    let call = call.expect(&[StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED, StatusCode::BAD_REQUEST]);
    let status = client.transport().send(&call).await?.status();
    match &digest {
        Some(digest) => client.recent().remove(repo, digest),
        None => client.recent().remove_name(repo, selector),
    }
    Ok(match status {
        StatusCode::NOT_FOUND => Removed::Absent,
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::BAD_REQUEST => Removed::Unsupported,
        _ => Removed::Done,
    })
}

fn manifest_call(
    method: Method,
    repo: &Repo,
    selector: &str,
    verb: &str,
) -> Result<(Call, Option<BlobDigest>), RegistryError> {
    let digest = check_selector(selector)
        .map_err(|why| RegistryError::Refused(format!("{verb} a manifest of {repo}: {why}")))?;
    let preposition = if method == Method::PUT { "in" } else { "of" };
    let operation = format!("{verb} manifest `{selector}` {preposition}");
    Ok((Call::new(method, repo, &format!("manifests/{selector}"), &operation)?, digest))
}

/// Waits before another try after a 404, if what was asked for was stored a moment ago.
async fn worth_waiting(client: &Client, call: &Call, selector: &str, patience: &mut Patience) -> bool {
    if !client.recent().has(&call.repo, selector) {
        return false;
    }
    let error = RegistryError::NotFound(call.say("stored a moment ago, but not there"));
    patience.wait(Trouble::Passing { error, retry_after: None, tries: TRIES_FOR_DOUBT }).await.is_ok()
}

/// The media type of a manifest: the header's, or the document's own where the header says nothing useful.
fn media_type(header: &str, document: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        media_type: Option<String>,
    }
    let plain = header.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if plain.starts_with("application/vnd.") {
        return plain;
    }
    let own = serde_json::from_slice::<Typed>(document).ok().and_then(|typed| typed.media_type);
    own.unwrap_or(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types_come_from_the_header_or_the_document() {
        let oci = "application/vnd.oci.image.manifest.v1+json";
        let document = br#"{"mediaType":"application/vnd.oci.image.index.v1+json"}"#;
        assert_eq!(media_type(oci, document), oci);
        assert_eq!(media_type("Application/vnd.OCI.image.manifest.v1+json; charset=utf-8", b""), oci);
        assert_eq!(media_type("application/json", document), "application/vnd.oci.image.index.v1+json");
        assert_eq!(media_type("", document), "application/vnd.oci.image.index.v1+json");
        assert_eq!(media_type("text/plain", b"{}"), "text/plain");
    }
}
