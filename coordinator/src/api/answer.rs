//! Bodies that come, answers that go.

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    response::Response,
};
use futures::StreamExt as _;
use http::{HeaderValue, StatusCode, header};
use serde::{Serialize, de::DeserializeOwned};
use slipway_protocol::{Code, Refusal};

/// How long a body may pause on its way here.
const PAUSE: Duration = Duration::from_secs(60);

/// A refusal in these words.
pub(crate) fn refuse(code: Code, message: impl Into<String>) -> Refusal {
    Refusal { code, message: message.into(), leader: None }
}

/// What is answered to who is refused.
pub(crate) fn refused(refusal: &Refusal) -> Response {
    let mut answer = json(refusal);
    *answer.status_mut() = StatusCode::from_u16(refusal.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    match refusal.code {
        Code::Unauthenticated => {
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        Code::Busy | Code::NotLeader | Code::Unavailable => {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        // The rest of the body is not read: no other request can come on this connection, and the client is to know.
        Code::TooLarge => {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Code::Invalid | Code::Forbidden | Code::NotFound | Code::Conflict | Code::Internal => {}
    }
    answer
}

/// A value as JSON.
pub(crate) fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(text) => typed("application/json", Body::from(text)),
        Err(error) => {
            tracing::error!("write an answer as JSON: {error}");
            let mut answer = Response::new(Body::empty());
            *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            answer
        }
    }
}

/// A body of a type.
pub(crate) fn typed(content_type: &'static str, body: Body) -> Response {
    let mut answer = Response::new(body);
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

/// A success with nothing to say.
pub(crate) fn nothing() -> Response {
    let mut answer = Response::new(Body::empty());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}

/// Reads a JSON body of at most `limit` bytes.
///
/// # Errors
/// When it is longer, stops coming, or is no such value.
pub(crate) async fn read<T: DeserializeOwned>(body: Body, limit: usize) -> Result<T, Refusal> {
    let bytes = bytes(body, limit).await?;
    serde_json::from_slice(&bytes).map_err(|error| refuse(Code::Invalid, format!("the body cannot be read: {error}")))
}

async fn bytes(body: Body, limit: usize) -> Result<Vec<u8>, Refusal> {
    let mut pieces = body.into_data_stream();
    let mut bytes = Vec::new();
    loop {
        match tokio::time::timeout(PAUSE, pieces.next()).await {
            Ok(None) => return Ok(bytes),
            Ok(Some(Ok(piece))) => add(&mut bytes, &piece, limit)?,
            Ok(Some(Err(error))) => return Err(refuse(Code::Invalid, format!("the body broke off: {error}"))),
            Err(_) => return Err(refuse(Code::Invalid, "the body stopped coming")),
        }
    }
}

fn add(bytes: &mut Vec<u8>, piece: &Bytes, limit: usize) -> Result<(), Refusal> {
    if bytes.len() + piece.len() > limit {
        return Err(refuse(Code::TooLarge, format!("the body is longer than {limit} bytes")));
    }
    bytes.extend_from_slice(piece);
    Ok(())
}
