//! A blob from one registry to another: each request reads the source while it is sent, and nothing is kept.
//!
//! Requests grow while all goes well, for a registry does some work at the end of each. When one breaks off, the registry is
//! asked how far it came, and the source is read again from there; a registry that has lost the upload gets a new one.

use bytes::Bytes;
use http::{
    HeaderValue, Method,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
};
use reqwest::Response;
use slipway_oci::{BlobDigest, Repo};

use super::{
    Delivery, OCTETS, Upload,
    feed::{Feed, Source},
    number, start,
};
use crate::{
    Client, CopyError, RegistryError,
    call::{Call, STORING},
    download::{Pieces, Rest},
    retry::{Patience, Trouble},
};

/// How much larger a request is than the one before it.
const GROWTH: u64 = 4;

/// How a blob came to the other registry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Relayed {
    Stored,
    /// It does not: the registry refuses requests of this form, and may take smaller ones that can be repeated.
    Refused,
}

/// What became of one request.
enum Sent {
    /// The upload came further, or stayed where it was and may be tried again.
    On,
    /// The upload is gone.
    Lost,
    Refused,
}

struct Relay<'r> {
    client: &'r Client,
    from: &'r Repo,
    digest: &'r BlobDigest,
    size: u64,
    upload: Upload,
    /// The blob, from where the upload is; `None` when it is to be read from there again.
    source: Option<Source>,
    /// Bytes of the next request.
    length: u64,
    patience: Patience,
    /// Where the registry last wanted another proof of who we are.
    denied_at: Option<u64>,
}

/// Brings a blob that is read as `bytes` to the repository `to`.
pub(crate) async fn relay(
    client: &Client,
    (from, to): (&Repo, &Repo),
    digest: &BlobDigest,
    (size, bytes): (u64, Pieces),
) -> Result<Relayed, CopyError> {
    let upload = start(client, to).await.map_err(CopyError::Target)?;
    let mut relay = Relay {
        client,
        from,
        digest,
        size,
        length: upload.first(),
        upload,
        source: Some(Source::new(bytes, 0)),
        patience: Patience::default(),
        denied_at: None,
    };
    let relayed = relay.run().await;
    if matches!(relayed, Err(CopyError::Source(_)) | Ok(Relayed::Refused)) {
        relay.upload.cancel().await;
    }
    relayed
}

impl Upload {
    /// Bytes of the first request of a blob that lies elsewhere.
    fn first(&self) -> u64 {
        let chunk = u64::try_from(self.chunk).unwrap_or(u64::MAX);
        if self.vendor.takes_chunks() { chunk.saturating_mul(GROWTH).min(self.most()) } else { u64::MAX }
    }

    /// Bytes of a request at most.
    fn most(&self) -> u64 {
        self.vendor.largest().max(u64::try_from(self.chunk).unwrap_or(u64::MAX))
    }
}

impl Relay<'_> {
    async fn run(&mut self) -> Result<Relayed, CopyError> {
        loop {
            while self.upload.sent < self.size {
                match self.send().await? {
                    Sent::On => {}
                    Sent::Lost => self.begin_again().await?,
                    Sent::Refused => return Ok(Relayed::Refused),
                }
            }
            let closed = self.upload.close(Bytes::new(), self.digest, &mut self.patience).await;
            match closed.map_err(CopyError::Target)? {
                Delivery::Done => {
                    self.client.recent().add(&self.upload.repo, self.digest.as_str(), self.digest);
                    return Ok(Relayed::Stored);
                }
                Delivery::Lost => self.begin_again().await?,
            }
        }
    }

    async fn begin_again(&mut self) -> Result<(), CopyError> {
        self.upload.reopen().await.map_err(CopyError::Target)?;
        self.source = None;
        self.length = self.upload.first();
        Ok(())
    }

    /// Sends one request.
    async fn send(&mut self) -> Result<Sent, CopyError> {
        let start = self.upload.sent;
        let end = start.saturating_add(self.length).min(self.size);
        let source = self.source_at(start).await.map_err(CopyError::Source)?;
        let call = self.call(start, end).map_err(CopyError::Target)?;
        let feed = Feed::default();
        let body = feed.body(source, end - start);
        let answer = tokio::select! {
            answer = self.client.transport().stream(&call, body) => answer,
            () = feed.stalled() => {
                let what = format_args!("nothing was taken for {} s", STORING.as_secs());
                Err(Trouble::passing(RegistryError::Unavailable(call.say(what))))
            }
        };
        self.source = feed.end().map_err(CopyError::Source)?;
        match answer {
            Ok(response) if response.status().is_success() => {
                self.taken(&call, &response, start, end).await.map_err(CopyError::Target)
            }
            Ok(_) => Ok(Sent::Lost),
            Err(Trouble::Final(RegistryError::Refused(why))) if self.may_be_smaller(start, end) => {
                tracing::debug!(%why, "a request as large as this is refused");
                Ok(Sent::Refused)
            }
            Err(trouble) => self.recover(trouble, start, end).await.map_err(CopyError::Target),
        }
    }

    fn may_be_smaller(&self, start: u64, end: u64) -> bool {
        self.upload.vendor.takes_chunks() && end - start > u64::try_from(self.upload.chunk).unwrap_or(u64::MAX)
    }

    async fn source_at(&mut self, position: u64) -> Result<Source, RegistryError> {
        match self.source.take() {
            Some(source) if source.position == position => Ok(source),
            _ => {
                let rest = Rest { size: self.size, position };
                Ok(Source::new(self.client.blob_rest(self.from, self.digest, rest).await?, position))
            }
        }
    }

    fn call(&self, start: u64, end: u64) -> Result<Call, RegistryError> {
        let upload = &self.upload;
        let call = if upload.vendor.takes_chunks() {
            upload.chunk(start, end)?
        } else {
            let call = Call::new(Method::PATCH, &upload.repo, "", "upload a blob to")?.at(&upload.session);
            call.header(CONTENT_TYPE, OCTETS)
        };
        let length: HeaderValue = number(&call, (end - start).to_string())?;
        Ok(call.header(CONTENT_LENGTH, length))
    }

    async fn taken(&mut self, call: &Call, response: &Response, start: u64, end: u64) -> Result<Sent, RegistryError> {
        let Some(reached) = self.upload.went_on(call, response, start, end)? else { return Ok(Sent::Lost) };
        self.reach(start, reached);
        if reached < end {
            let partly = RegistryError::Unavailable(call.say("the registry took only part of a chunk"));
            self.patience.wait(Trouble::passing(partly)).await?;
            return Ok(Sent::On);
        }
        self.length = self.length.saturating_mul(GROWTH).min(self.upload.most());
        Ok(Sent::On)
    }

    /// Finds out where to go on after trouble.
    async fn recover(&mut self, trouble: Trouble, start: u64, end: u64) -> Result<Sent, RegistryError> {
        match trouble {
            // Asking for the progress shows a new proof, which the next request brings along.
            Trouble::Final(RegistryError::Denied(_)) if self.denied_at != Some(start) => self.denied_at = Some(start),
            trouble => self.patience.wait(trouble).await?,
        }
        if !self.upload.vendor.takes_chunks() {
            return Ok(Sent::Lost);
        }
        let Some(reached) = self.upload.progress(start, end).await? else { return Ok(Sent::Lost) };
        self.reach(start, reached);
        Ok(Sent::On)
    }

    fn reach(&mut self, start: u64, reached: u64) {
        self.upload.sent = reached;
        if reached > start {
            // Progress: trouble that comes later has all its tries again.
            self.patience = Patience::default();
        }
    }
}
