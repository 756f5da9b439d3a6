//! Answers in the words of the distribution API.

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use slipway_oci::BlobDigest;

/// An error with a code of the API and a message for the user.
pub(crate) fn error(status: StatusCode, code: &str, message: &str) -> Response {
    let document = serde_json::json!({ "errors": [{ "code": code, "message": message }] });
    let mut answer = empty(status);
    *answer.body_mut() = Body::from(document.to_string());
    set(&mut answer, header::CONTENT_TYPE.as_str(), "application/json");
    answer
}

/// What every closed, unknown or mistaken address is answered: nothing tells them apart.
pub(crate) fn nothing_here() -> Response {
    error(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "nothing is served at this address (it may have been closed)")
}

/// A verb that an address does not take.
pub(crate) fn wrong_method() -> Response {
    error(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "this address does not take requests of this kind")
}

/// A blob that is not there.
pub(crate) fn no_blob() -> Response {
    error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "the blob is not there")
}

/// A manifest that is not there.
pub(crate) fn no_manifest() -> Response {
    error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "the manifest is not there")
}

/// A status without a body.
pub(crate) fn empty(status: StatusCode) -> Response {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = status;
    answer
}

/// `201` for the blob or manifest `digest` at `location`.
pub(crate) fn created(location: &str, digest: &BlobDigest) -> Response {
    let mut answer = empty(StatusCode::CREATED);
    set(&mut answer, header::LOCATION.as_str(), location);
    set(&mut answer, "docker-content-digest", digest.as_str());
    answer
}

/// `200` for a blob of `size` bytes whose bytes are not asked for.
pub(crate) fn blob_head(digest: &BlobDigest, size: u64) -> Response {
    let mut answer = empty(StatusCode::OK);
    set(&mut answer, header::CONTENT_TYPE.as_str(), "application/octet-stream");
    set(&mut answer, header::CONTENT_LENGTH.as_str(), &size.to_string());
    set(&mut answer, header::ACCEPT_RANGES.as_str(), "bytes");
    set(&mut answer, "docker-content-digest", digest.as_str());
    answer
}

/// `200` for a manifest. `HEAD` loses the body on its way out.
pub(crate) fn manifest(digest: &BlobDigest, media_type: &str, bytes: &Bytes) -> Response {
    let mut answer = empty(StatusCode::OK);
    set(&mut answer, header::CONTENT_TYPE.as_str(), media_type);
    set(&mut answer, header::CONTENT_LENGTH.as_str(), &bytes.len().to_string());
    set(&mut answer, "docker-content-digest", digest.as_str());
    *answer.body_mut() = Body::from(bytes.clone());
    answer
}

/// Sets a header. A value with bytes that no header may hold is left out.
pub(crate) fn set(answer: &mut Response, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        answer.headers_mut().insert(name, value);
    }
}
