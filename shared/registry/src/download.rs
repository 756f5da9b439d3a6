//! A blob as a stream. When the connection breaks, the stream goes on where it stopped.

use std::{io, sync::Arc};

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt as _, try_unfold};
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{CONTENT_RANGE, RANGE},
};
use reqwest::Response;
use slipway_oci::{BlobDigest, Repo};

use crate::{
    Client, RegistryError,
    answer::{ReadError, next_piece},
    blobs::{blob_call, content_length},
    call::Call,
    mirrors::Mirrors,
    retry::{Patience, Trouble},
    transport::Transport,
};

struct Download {
    transport: Arc<Transport>,
    call: Call,
    response: Response,
    size: u64,
    /// Bytes handed on.
    position: u64,
    /// Bytes of the current answer that were handed on already by an earlier one.
    skip: u64,
    patience: Patience,
    /// The registry that this one mirrors, as the call that goes on there, should this one fail.
    origin: Option<(Call, Arc<Mirrors>)>,
}

/// The bytes of a blob: exactly so many, or an error.
pub(crate) type Pieces = BoxStream<'static, io::Result<Bytes>>;

/// Where a stream begins in a blob whose size is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rest {
    pub(crate) size: u64,
    pub(crate) position: u64,
}

/// The size of a blob and its bytes: exactly so many, or an error. `origin` is where to go on when `repo` is in a mirror
/// that fails.
pub(crate) async fn start(
    client: &Client,
    repo: &Repo,
    digest: &BlobDigest,
    origin: Option<&Repo>,
) -> Result<(u64, Pieces), RegistryError> {
    let call = blob_call(Method::GET, repo, digest, "read")?;
    let response = client.transport().send(&call).await?;
    let size = match content_length(response.headers()) {
        Some(size) => size,
        None => crate::blobs::size(client, repo, digest)
            .await?
            .ok_or_else(|| RegistryError::NotFound(call.say("it has vanished")))?,
    };
    let origin = origin.map(|origin| blob_call(Method::GET, origin, digest, "read")).transpose()?;
    let origin = origin.map(|call| (call, client.shared_mirrors()));
    let transport = client.shared_transport();
    let patience = Patience::default();
    let download = Download { transport, call, response, size, position: 0, skip: 0, patience, origin };
    Ok((size, download.pieces()))
}

/// The bytes of a blob from some position on, of the registry itself.
pub(crate) async fn rest(
    client: &Client,
    repo: &Repo,
    digest: &BlobDigest,
    Rest { size, position }: Rest,
) -> Result<Pieces, RegistryError> {
    let call = blob_call(Method::GET, repo, digest, "read")?;
    let from_there = from(&call, position)?;
    let response = client.transport().send(&from_there).await?;
    let skip = before(&call, &response, position)?;
    let transport = client.shared_transport();
    let patience = Patience::default();
    Ok(Download { transport, call, response, size, position, skip, patience, origin: None }.pieces())
}

/// A call that asks for what comes from a position on.
fn from(call: &Call, position: u64) -> Result<Call, RegistryError> {
    let range = HeaderValue::from_str(&format!("bytes={position}-"))
        .map_err(|_| RegistryError::Refused(call.say("its position cannot stand in a header")))?;
    Ok(call.clone().header(RANGE, range))
}

/// How many bytes an answer has before the position that was asked for.
fn before(call: &Call, response: &Response, position: u64) -> Result<u64, RegistryError> {
    let first = first_byte(response, position);
    position.checked_sub(first).ok_or_else(|| {
        let what = format_args!("asked from byte {position} on, it went on at {first}");
        RegistryError::Corrupt(call.say(what))
    })
}

impl Download {
    fn pieces(self) -> Pieces {
        let pieces = try_unfold(self, |mut download| async move {
            match download.next().await {
                Ok(Some(piece)) => Ok(Some((piece, download))),
                Ok(None) => Ok(None),
                Err(error) => Err(io::Error::other(error)),
            }
        });
        pieces.boxed()
    }

    async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            if self.position == self.size {
                return Ok(None);
            }
            let broken = match next_piece(&mut self.response).await {
                Ok(Some(piece)) => match self.take(piece)? {
                    Some(piece) => return Ok(Some(piece)),
                    None => continue,
                },
                Ok(None) => "it ended too early".to_owned(),
                Err(ReadError::Broken(why)) => why,
                Err(ReadError::TooLarge) => "it is too large".to_owned(),
            };
            self.resume(&broken).await?;
        }
    }

    /// The part of a piece that is new.
    fn take(&mut self, mut piece: Bytes) -> Result<Option<Bytes>, RegistryError> {
        let old = self.skip.min(length(&piece));
        self.skip -= old;
        let piece = piece.split_off(usize::try_from(old).unwrap_or(usize::MAX).min(piece.len()));
        if piece.is_empty() {
            return Ok(None);
        }
        self.position += length(&piece);
        if self.position > self.size {
            let what = format_args!("more than the announced {} bytes came", self.size);
            return Err(RegistryError::Corrupt(self.call.say(what)));
        }
        // Progress: trouble that comes later has all its tries again.
        self.patience = Patience::default();
        Ok(Some(piece))
    }

    async fn resume(&mut self, broken: &str) -> Result<(), RegistryError> {
        let mut trouble = self.trouble(broken);
        if let Some((origin, mirrors)) = self.origin.take() {
            mirrors.rest(self.call.host(), &self.call.say(broken));
            self.call = origin;
            // Nothing has failed there yet.
            trouble = match self.go_on().await {
                Ok(()) => return Ok(()),
                Err(trouble) => trouble,
            };
        }
        loop {
            self.patience.wait(trouble).await?;
            match self.go_on().await {
                Ok(()) => return Ok(()),
                Err(next) => trouble = next,
            }
        }
    }

    /// Asks for the rest, once.
    async fn go_on(&mut self) -> Result<(), Trouble> {
        let response = self.transport.attempt(&from(&self.call, self.position)?).await?;
        self.skip = before(&self.call, &response, self.position)?;
        self.response = response;
        Ok(())
    }

    fn trouble(&self, why: &str) -> Trouble {
        let what = format_args!("broke off after {} of {} bytes ({why})", self.position, self.size);
        Trouble::passing(RegistryError::Unavailable(self.call.say(what)))
    }
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Where an answer begins in the blob: at what was `asked` for if the registry knows ranges, else at the start.
fn first_byte(response: &Response, asked: u64) -> u64 {
    if response.status() == StatusCode::PARTIAL_CONTENT { range_start(response.headers()).unwrap_or(asked) } else { 0 }
}

/// The first position in `Content-Range: bytes FIRST-LAST/SIZE`.
fn range_start(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    text.trim().strip_prefix("bytes")?.trim_start().split('-').next()?.parse().ok()
}
