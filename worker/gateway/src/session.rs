//! One blob on its way from an engine to the repository.
//!
//! Bytes are passed on in chunks; while one chunk is on its way up, the next is gathered. A blob that fits one chunk is
//! held until its digest is known, for then it may turn out to be there already. Dropping a session
//! abandons the upload, and tells the registry so.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::BytesMut;
use futures::StreamExt as _;
use sha2::{Digest as _, Sha256};
use slipway_oci::{BlobDigest, Repo};
use slipway_process::Tasks;
use slipway_registry::{Client, RegistryError, Upload};
use tokio::{runtime::Handle, time::Instant};

use crate::{
    download::is_digest,
    failure::{Failure, Kind},
};

/// How bytes are taken and passed on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// Bytes of a chunk.
    pub(crate) chunk: usize,
    /// Most bytes of a blob.
    pub(crate) limit: u64,
    /// How long the engine may be silent.
    pub(crate) idle: Duration,
}

/// Why bytes were not taken.
#[derive(Debug)]
pub(crate) enum Stopped {
    /// The engine went away or sent nonsense; there is nobody to tell.
    Engine(String),
    /// It is over; the engine is to be told.
    Failed(Failure),
}

impl From<RegistryError> for Stopped {
    fn from(error: RegistryError) -> Self {
        Self::Failed(error.into())
    }
}

/// An upload.
pub(crate) struct Session {
    tasks: Tasks,
    repo: Repo,
    upload: Option<Upload>,
    hash: Sha256,
    gathered: BytesMut,
    received: u64,
    touched: Instant,
}

impl Session {
    /// An upload to `repo`, of which nothing has come yet.
    pub(crate) fn new(tasks: Tasks, repo: Repo) -> Self {
        let (hash, gathered) = (Sha256::new(), BytesMut::new());
        Self { tasks, repo, upload: None, hash, gathered, received: 0, touched: Instant::now() }
    }

    /// Bytes that have come.
    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    /// When bytes came last.
    pub(crate) fn touched(&self) -> Instant {
        self.touched
    }

    /// Takes the bytes of one request. The body is the caller's, who may have to read on after a failure.
    pub(crate) async fn take(
        &mut self,
        client: &Client,
        body: &mut BodyDataStream,
        manner: &Manner,
    ) -> Result<(), Stopped> {
        let Self { repo, upload, hash, gathered, received, touched, .. } = self;
        let mut gathering = Gathering { hash, gathered, received, manner };
        let mut ended = gathering.fill(body).await?;
        while !ended {
            let chunk = gathering.gathered.split().freeze();
            let passing_on = async {
                if upload.is_none() {
                    *upload = Some(client.start_upload(repo).await?);
                }
                match upload {
                    Some(upload) => upload.write(chunk).await.map_err(Stopped::from),
                    None => Ok(()),
                }
            };
            ((), ended) = tokio::try_join!(passing_on, gathering.fill(body))?;
        }
        *touched = Instant::now();
        Ok(())
    }

    /// Whether the bytes that have come have `digest`.
    pub(crate) fn has_digest(&self, digest: &BlobDigest) -> bool {
        is_digest(&self.hash, digest)
    }

    /// Whether bytes have been passed on.
    pub(crate) fn is_under_way(&self) -> bool {
        self.upload.is_some()
    }

    /// Ends the blob: the repository is made to have it, under the digest that it has.
    pub(crate) async fn finish(mut self, client: &Client, digest: &BlobDigest) -> Result<(), RegistryError> {
        let rest = self.gathered.split().freeze();
        let mut upload = match self.upload.take() {
            Some(upload) => upload,
            None => client.start_upload(&self.repo).await?,
        };
        if !rest.is_empty() {
            upload.write(rest).await?;
        }
        upload.finish(digest).await
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Whoever drops it need not be in the runtime any more; registries forget uploads by themselves, some day.
        if let Some(upload) = self.upload.take().filter(|_| Handle::try_current().is_ok()) {
            drop(self.tasks.spawn(upload.cancel()));
        }
    }
}

/// The receiving half of a session.
struct Gathering<'a> {
    hash: &'a mut Sha256,
    gathered: &'a mut BytesMut,
    received: &'a mut u64,
    manner: &'a Manner,
}

impl Gathering<'_> {
    /// Gathers a chunk; answers whether the body has ended.
    async fn fill(&mut self, body: &mut BodyDataStream) -> Result<bool, Stopped> {
        while self.gathered.len() < self.manner.chunk {
            let Ok(next) = tokio::time::timeout(self.manner.idle, body.next()).await else {
                return Err(Stopped::Engine("it sent nothing for too long".to_owned()));
            };
            let Some(bytes) = next else { return Ok(true) };
            let bytes = bytes.map_err(|error| Stopped::Engine(error.to_string()))?;
            *self.received += bytes.len() as u64;
            if *self.received > self.manner.limit {
                let message = format!("a layer has more than {} bytes, which is the limit", self.manner.limit);
                return Err(Stopped::Failed(Failure::new(Kind::Refused, message)));
            }
            self.hash.update(&bytes);
            self.gathered.extend_from_slice(&bytes);
        }
        Ok(false)
    }
}

/// Reads and throws away what an engine still sends, for a while: an engine whose connection is cut while it sends
/// may not read the answer, and tries again.
pub(crate) async fn drain(body: BodyDataStream, limit: Duration) {
    let rest = body.take_while(|bytes| std::future::ready(bytes.is_ok())).for_each(|_| std::future::ready(()));
    if tokio::time::timeout(limit, rest).await.is_err() {
        tracing::debug!("an engine went on sending a refused blob; cut off");
    }
}

/// A body as a stream of bytes.
pub(crate) fn stream_of(body: Body) -> BodyDataStream {
    body.into_data_stream()
}
