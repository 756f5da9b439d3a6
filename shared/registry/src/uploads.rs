//! Blobs on their way up.
//!
//! `POST` opens a session, `PATCH` adds a chunk, `PUT` with the digest ends it. What may go wrong on the way:
//!
//! - a chunk's answer is lost: the session is asked how far it came, and the rest of the chunk is sent;
//! - the session is lost (a registry restarted, or took half a chunk and disowned it): a new one is opened if the bytes
//!   sent so far are still at hand, which holds for the first [`REPLAY_LIMIT`] bytes of a blob;
//! - the last answer is lost: the blob is there, or it is not, and then it is sent again in the same ways.
//!
//! A blob that lies at another registry is never at hand: [`relay`] reads it again from there instead.

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE},
};
use reqwest::Response;
use slipway_oci::{BlobDigest, Repo};
use url::Url;

use crate::{
    Client, RegistryError, blobs,
    call::{Call, STORING},
    retry::{Patience, Trouble},
    scheme::follow,
    stream::Stream,
    transport::content_digest,
    vendors::Vendor,
};

pub(crate) mod feed;
pub(crate) mod relay;

/// What a chunk has at most, even when the registry asks for more.
const MAX_CHUNK: usize = 16 * 1024 * 1024;
/// Bytes of a blob that are kept to be sent again.
const REPLAY_LIMIT: usize = 16 * 1024 * 1024;
/// New sessions that one blob may need.
const MAX_RESTARTS: u32 = 6;

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
/// Answers that mean that the session is not (or no longer) what we think.
const LOST: &[StatusCode] = &[StatusCode::NOT_FOUND, StatusCode::RANGE_NOT_SATISFIABLE];

/// A blob on its way up, in chunks. Dropping it abandons the upload.
pub struct Upload {
    client: Client,
    repo: Repo,
    session: Url,
    chunk: usize,
    /// Bytes that wait to become a chunk.
    buffer: BytesMut,
    /// Bytes that the session has.
    sent: u64,
    /// The chunks it has, while they are few.
    replay: Option<Vec<Bytes>>,
    restarts: u32,
    vendor: Vendor,
    /// The one request that has all of it, where the registry takes no chunks.
    stream: Option<Box<Stream>>,
}

/// What became of a chunk or of the end of a session.
enum Delivery {
    Done,
    /// The session is gone.
    Lost,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upload").field("repo", &self.repo).field("sent", &self.sent).finish_non_exhaustive()
    }
}

/// Opens a session.
pub(crate) async fn start(client: &Client, repo: &Repo) -> Result<Upload, RegistryError> {
    let (session, chunk) = open(client, repo).await?;
    Ok(Upload {
        client: client.clone(),
        repo: repo.clone(),
        session,
        chunk,
        buffer: BytesMut::new(),
        sent: 0,
        replay: Some(Vec::new()),
        restarts: 0,
        vendor: client.vendor(repo),
        stream: None,
    })
}

/// The session's address and the size of its chunks.
async fn open(client: &Client, repo: &Repo) -> Result<(Url, usize), RegistryError> {
    let call = Call::new(Method::POST, repo, "blobs/uploads/", "begin an upload to")?;
    let response = client.transport().send(&call).await?;
    let session = location(&call, &response)?
        .ok_or_else(|| RegistryError::Refused(call.say("the registry does not say where to send the blob")))?;
    let least = response.headers().get("oci-chunk-min-length").and_then(|value| value.to_str().ok());
    let chunk = client.vendor(repo).chunk();
    let least = least.and_then(|text| text.trim().parse().ok()).unwrap_or(chunk);
    Ok((session, least.clamp(chunk, MAX_CHUNK)))
}

impl Upload {
    /// Sends one chunk. Small ones are gathered until they are worth a request.
    ///
    /// # Errors
    /// When the registry did not take it; the whole blob is to be uploaded again then, if at all.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), RegistryError> {
        let mut rest = chunk;
        while self.buffer.len() + rest.len() >= self.chunk {
            let piece = if self.buffer.is_empty() {
                rest.split_to(self.chunk)
            } else {
                self.buffer.extend_from_slice(&rest.split_to(self.chunk - self.buffer.len()));
                self.buffer.split().freeze()
            };
            self.send(piece).await?;
        }
        self.buffer.extend_from_slice(&rest);
        Ok(())
    }

    /// Ends the blob; the registry verifies `digest`.
    ///
    /// # Errors
    /// When the registry did not take it, or found other bytes.
    pub async fn finish(mut self, digest: &BlobDigest) -> Result<(), RegistryError> {
        let last = self.buffer.split().freeze();
        self.end(last, digest).await
    }

    /// Ends the blob with all of its bytes, of which none was sent before, in one request.
    pub(crate) async fn finish_with(mut self, bytes: Bytes, digest: &BlobDigest) -> Result<(), RegistryError> {
        self.end(bytes, digest).await
    }

    /// Abandons the upload, telling the registry so. It may not be able to care; then nothing happens.
    pub async fn cancel(self) {
        if let Ok(call) = Call::new(Method::DELETE, &self.repo, "", "abandon an upload to") {
            let _ = self.client.transport().attempt(&call.at(&self.session).for_push()).await;
        }
    }

    async fn end(&mut self, last: Bytes, digest: &BlobDigest) -> Result<(), RegistryError> {
        // A blob that fits one request needs no chunk.
        let whole = if self.sent == 0 { last } else { self.send_rest(last).await? };
        let mut patience = Patience::default();
        while let Delivery::Lost = self.close(whole.clone(), digest, &mut patience).await? {
            self.restart().await?;
        }
        self.client.recent().add(&self.repo, digest.as_str(), digest);
        Ok(())
    }

    /// Sends what is left of a blob in chunks; what is left for the last request is nothing.
    async fn send_rest(&mut self, last: Bytes) -> Result<Bytes, RegistryError> {
        if !last.is_empty() {
            self.send(last).await?;
        }
        if let Some(stream) = self.stream.take() {
            let response = Box::pin(stream.finish()).await?;
            let call = Call::new(Method::PATCH, &self.repo, "", "upload a blob to")?;
            self.session = location(&call, &response)?.unwrap_or_else(|| self.session.clone());
        }
        Ok(Bytes::new())
    }

    /// Sends a chunk, if need be after opening a new session.
    async fn send(&mut self, piece: Bytes) -> Result<(), RegistryError> {
        if !self.vendor.takes_chunks() {
            return Box::pin(self.send_on(piece)).await;
        }
        while let Delivery::Lost = self.deliver(&piece).await? {
            self.restart().await?;
        }
        let kept: usize = self.replay.iter().flatten().map(Bytes::len).sum();
        if kept + piece.len() > REPLAY_LIMIT {
            self.replay = None;
        }
        self.replay.iter_mut().for_each(|pieces| pieces.push(piece.clone()));
        Ok(())
    }

    /// Sends a piece of a blob that goes in one request.
    async fn send_on(&mut self, piece: Bytes) -> Result<(), RegistryError> {
        // What is sent is gone.
        self.replay = None;
        self.sent += length(&piece);
        if self.stream.is_none() {
            let call = Call::new(Method::PATCH, &self.repo, "", "upload a blob to")?.at(&self.session);
            self.stream = Some(Box::new(Stream::begin(&self.client, call.header(CONTENT_TYPE, OCTETS))));
        }
        match &mut self.stream {
            Some(stream) => stream.send(piece).await,
            None => Ok(()),
        }
    }

    /// Opens a new session and sends again what the lost one had.
    async fn restart(&mut self) -> Result<(), RegistryError> {
        let Some(pieces) = self.replay.clone() else { return Err(self.lost("")) };
        let lost_again = self.lost(", and again");
        self.reopen().await?;
        for piece in &pieces {
            match self.deliver(piece).await? {
                Delivery::Done => {}
                Delivery::Lost => return Err(lost_again),
            }
        }
        Ok(())
    }

    /// Opens a new session, which has nothing yet, unless that was done too often.
    async fn reopen(&mut self) -> Result<(), RegistryError> {
        self.restarts += 1;
        if self.restarts > MAX_RESTARTS {
            return Err(self.lost(", more than once"));
        }
        tracing::debug!(repo = %self.repo, sent = self.sent, "upload is begun again");
        (self.session, self.chunk) = open(&self.client, &self.repo).await?;
        self.sent = 0;
        Ok(())
    }

    fn lost(&self, why: &str) -> RegistryError {
        RegistryError::Unavailable(format!(
            "upload a blob to {}: the registry lost the upload after {} bytes{why}; upload the blob again",
            self.repo, self.sent
        ))
    }

    /// Adds a chunk to the session, going on where it stopped when an answer was lost.
    async fn deliver(&mut self, piece: &Bytes) -> Result<Delivery, RegistryError> {
        let end = self.sent + length(piece);
        let mut position = self.sent;
        let mut patience = Patience::default();
        while position < end {
            let rest = piece.slice(offset(position - self.sent, piece)..);
            let call = self.patch(position, rest)?;
            let trouble = match self.client.transport().attempt(&call).await {
                Ok(response) if response.status().is_success() => {
                    match self.went_on(&call, &response, position, end)? {
                        Some(taken) => position = taken,
                        None => return Ok(Delivery::Lost),
                    }
                    if position == end {
                        break;
                    }
                    Trouble::passing(RegistryError::Unavailable(call.say("the registry took only part of a chunk")))
                }
                Ok(_) => return Ok(Delivery::Lost),
                Err(trouble) => trouble,
            };
            let lost_answer = matches!(&trouble, Trouble::Passing { .. });
            patience.wait(trouble).await?;
            if lost_answer {
                match self.progress(position, end).await? {
                    Some(reached) => position = reached,
                    None => return Ok(Delivery::Lost),
                }
            }
        }
        self.sent = end;
        Ok(Delivery::Done)
    }

    fn patch(&self, position: u64, bytes: Bytes) -> Result<Call, RegistryError> {
        Ok(self.chunk(position, position + length(&bytes))?.body(bytes))
    }

    /// A call that sends the bytes from `start` to `end`, which it does not have yet.
    fn chunk(&self, start: u64, end: u64) -> Result<Call, RegistryError> {
        let call = Call::new(Method::PATCH, &self.repo, "", "upload a blob to")?.at(&self.session).expect(LOST);
        let range = number(&call, format!("{start}-{}", end - 1))?;
        Ok(call.header(CONTENT_TYPE, OCTETS).header(CONTENT_RANGE, range))
    }

    /// How far a chunk that was taken has brought the session; `None` when out of bounds.
    fn went_on(
        &mut self,
        call: &Call,
        response: &Response,
        start: u64,
        end: u64,
    ) -> Result<Option<u64>, RegistryError> {
        self.session = location(call, response)?.unwrap_or_else(|| self.session.clone());
        Ok(if self.vendor.tells_progress() { taken(response.headers(), start, end) } else { Some(end) })
    }

    /// How far the session came, between `start` and `end`; `None` when it is gone or elsewhere.
    async fn progress(&mut self, start: u64, end: u64) -> Result<Option<u64>, RegistryError> {
        let call = Call::new(Method::GET, &self.repo, "", "ask for the progress of an upload to")?;
        let call = call.at(&self.session).for_push().expect(LOST);
        let response = match self.client.transport().send(&call).await {
            Ok(response) if response.status().is_success() => response,
            // A registry that cannot tell leaves a new session as the only way.
            Ok(_) | Err(RegistryError::Refused(_) | RegistryError::NotFound(_)) => return Ok(None),
            Err(error @ (RegistryError::Denied(_) | RegistryError::Corrupt(_) | RegistryError::Unavailable(_))) => {
                return Err(error);
            }
        };
        self.session = location(&call, &response)?.unwrap_or_else(|| self.session.clone());
        let reached = range_end(response.headers()).unwrap_or(0);
        // `0-0` is said of one byte and of none; a single byte more or less would be found by the digest.
        let reached = if reached == 1 && start != 1 { 0 } else { reached };
        Ok((start..=end).contains(&reached).then_some(reached))
    }

    /// Ends the session; `whole` is the blob if no chunk was sent before, else empty.
    async fn close(
        &mut self,
        whole: Bytes,
        digest: &BlobDigest,
        patience: &mut Patience,
    ) -> Result<Delivery, RegistryError> {
        loop {
            let call = self.put(whole.clone(), digest)?;
            let trouble = match self.client.transport().attempt(&call).await {
                Ok(response) if response.status().is_success() => return confirm(&call, &response, digest),
                Ok(_) => None,
                Err(Trouble::Final(error)) => return Err(error),
                Err(trouble @ Trouble::Passing { .. }) => Some(trouble),
            };
            let session_is_gone = trouble.is_none();
            if let Some(trouble) = trouble {
                patience.wait(trouble).await?;
            }
            // The registry may have stored it, and only its answer was lost.
            if blobs::size(&self.client, &self.repo, digest).await?.is_some() {
                return Ok(Delivery::Done);
            }
            // A session that got part of a body would append to it.
            if session_is_gone || !whole.is_empty() {
                return Ok(Delivery::Lost);
            }
        }
    }

    fn put(&self, whole: Bytes, digest: &BlobDigest) -> Result<Call, RegistryError> {
        let mut session = self.session.clone();
        session.query_pairs_mut().append_pair("digest", digest.as_str());
        let call = Call::new(Method::PUT, &self.repo, "", &format!("store blob {digest} in"))?;
        Ok(call.at(&session).expect(LOST).header(CONTENT_TYPE, OCTETS).body(whole).patience(STORING))
    }
}

fn confirm(call: &Call, response: &Response, digest: &BlobDigest) -> Result<Delivery, RegistryError> {
    match content_digest(response.headers()) {
        Some(stored) if stored != *digest => {
            Err(RegistryError::Corrupt(call.say(format_args!("the registry stored {stored} instead"))))
        }
        Some(_) | None => Ok(Delivery::Done),
    }
}

/// Where the registry wants the session to go on.
fn location(call: &Call, response: &Response) -> Result<Option<Url>, RegistryError> {
    let Some(value) = response.headers().get(LOCATION) else { return Ok(None) };
    let refuse = |why: String| RegistryError::Refused(call.say(format_args!("the upload is not followed: {why}")));
    let text = value.to_str().map_err(|_| refuse("its address is no text".to_owned()))?;
    follow(response.url(), text).map(Some).map_err(refuse)
}

/// How far a successful `PATCH` came: as it says, or to the end if it does not say. `None` when out of bounds.
fn taken(headers: &HeaderMap, start: u64, end: u64) -> Option<u64> {
    match range_end(headers) {
        // Nothing sensible: some registries always answer `0-0`.
        None | Some(0 | 1) => Some(end),
        Some(reached) => (start..=end).contains(&reached).then_some(reached),
    }
}

/// The number of bytes in `Range: 0-LAST`.
fn range_end(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(RANGE)?.to_str().ok()?.trim();
    let last: u64 = text.strip_prefix("bytes=").unwrap_or(text).strip_prefix("0-")?.parse().ok()?;
    last.checked_add(1)
}

/// A number, or some, as the value of a header.
fn number(call: &Call, text: String) -> Result<HeaderValue, RegistryError> {
    HeaderValue::try_from(text).map_err(|_| RegistryError::Refused(call.say("its position cannot stand in a header")))
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

fn offset(position: u64, piece: &Bytes) -> usize {
    usize::try_from(position).unwrap_or(usize::MAX).min(piece.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranged(text: &str) -> HeaderMap {
        HeaderMap::from_iter([(RANGE, text.parse().unwrap())])
    }

    #[test]
    fn ranges_are_read() {
        let cases = [("0-0", Some(1)), ("0-99", Some(100)), ("bytes=0-99", Some(100)), ("5-9", None), ("x", None)];
        for (text, expected) in cases {
            assert_eq!(range_end(&ranged(text)), expected, "{text}");
        }
        assert_eq!(range_end(&ranged(&format!("0-{}", u64::MAX))), None);
    }

    #[test]
    fn what_a_chunk_came_to() {
        assert_eq!(taken(&HeaderMap::new(), 10, 20), Some(20));
        assert_eq!(taken(&ranged("0-19"), 10, 20), Some(20));
        assert_eq!(taken(&ranged("0-14"), 10, 20), Some(15));
        assert_eq!(taken(&ranged("0-0"), 10, 20), Some(20));
        assert_eq!(taken(&ranged("0-4"), 10, 20), None);
        assert_eq!(taken(&ranged("0-29"), 10, 20), None);
    }
}
