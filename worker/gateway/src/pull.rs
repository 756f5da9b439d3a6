//! A pull door: one image can be read through it.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex},
};

use axum::{body::Body, response::Response};
use futures::{FutureExt as _, StreamExt as _};
use http::{HeaderMap, Method, StatusCode, header, request::Parts};
use slipway_backend::BackendError;
use slipway_oci::{BlobDigest, ImageAt, manifest::Document};
use slipway_registry::RawManifest;
use tokio_util::sync::CancellationToken;

use crate::{
    answer,
    download::Source,
    failure::{Failure, Kind},
    gateway::Shared,
    locked::locked,
    range::{Wanted, wanted},
    route::Place,
};

/// The door.
pub(crate) struct Pull {
    shared: Arc<Shared>,
    image: ImageAt,
    manifest: RawManifest,
    /// Sizes of the blobs that the manifest names.
    blobs: HashMap<BlobDigest, u64>,
    closed: CancellationToken,
    /// Why the pull cannot succeed, or did not when last tried.
    failure: Arc<Mutex<Option<Failure>>>,
}

impl Pull {
    /// A door to `image`, whose manifest is read now.
    pub(crate) async fn open(
        shared: Arc<Shared>,
        image: ImageAt,
        closed: CancellationToken,
    ) -> Result<Self, BackendError> {
        let (manifest, blobs) = read_manifest(&shared, &image).await?;
        Ok(Self { shared, image, manifest, blobs, closed, failure: Arc::default() })
    }

    /// Answers a request.
    pub(crate) async fn answer(&self, parts: &Parts, place: Place<'_>) -> Response {
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            return answer::wrong_method();
        }
        match place {
            Place::Manifest(digest) if digest == self.image.digest => {
                answer::manifest(&digest, &self.manifest.media_type, &self.manifest.bytes)
            }
            Place::Manifest(_) | Place::Tag(_) => answer::no_manifest(),
            Place::Blob(digest) => match self.blobs.get(&digest) {
                Some(&size) if parts.method == Method::HEAD => answer::blob_head(&digest, size),
                Some(&size) => self.blob(digest, size, &parts.headers).await,
                None => answer::no_blob(),
            },
            Place::Uploads | Place::Upload(_) => answer::nothing_here(),
        }
    }

    /// Why the engine could not pull.
    pub(crate) fn failure(&self) -> BackendError {
        let remembered = locked(&self.failure).clone();
        remembered.map_or_else(
            || BackendError::Engine(format!("pull {}: the registry reported no error", self.image)),
            BackendError::from,
        )
    }

    async fn blob(&self, digest: BlobDigest, size: u64, headers: &HeaderMap) -> Response {
        if let Some(failure) = locked(&self.failure).clone().filter(|failure| !failure.is_passing()) {
            return failure.response();
        }
        let range = match wanted(headers.get(header::RANGE).and_then(|value| value.to_str().ok()), size) {
            Wanted::Whole => None,
            Wanted::Part(range) => Some(range),
            Wanted::Beyond => {
                let mut answer = answer::empty(StatusCode::RANGE_NOT_SATISFIABLE);
                answer::set(&mut answer, "content-range", &format!("bytes */{size}"));
                return answer;
            }
        };
        let reading = async {
            let mut reading = self.shared.cache.get(self.source(digest.clone(), size)).await?;
            reading.ready().await.map(|()| reading)
        };
        let reading = match reading.await {
            Ok(reading) => reading,
            Err(failure) => {
                self.distrusting()(&failure);
                return locked(&self.failure).insert(failure).response();
            }
        };
        let mut answer = answer::blob_head(&digest, size);
        if let Some(range) = &range {
            *answer.status_mut() = StatusCode::PARTIAL_CONTENT;
            answer::set(&mut answer, "content-length", &(range.end - range.start).to_string());
            let told = format!("bytes {}-{}/{size}", range.start, range.end - 1);
            answer::set(&mut answer, "content-range", &told);
        }
        let (failure, door) = (Arc::clone(&self.failure), self.distrusting());
        let bytes = reading.bytes(range.unwrap_or(0..size)).map(move |bytes| {
            bytes.map_err(|why| {
                let error = io::Error::other(why.message.clone());
                door(&why);
                *locked(&failure) = Some(why);
                error
            })
        });
        *answer.body_mut() = Body::from_stream(bytes.take_until(self.closed.clone().cancelled_owned()));
        answer
    }

    /// What to do with a failure of a blob: one that is not what it must be may be a mirror's.
    fn distrusting(&self) -> impl Fn(&Failure) + Send + 'static {
        let (client, repo) = (self.shared.client.pulling(), self.image.repo.clone());
        move |failure| {
            if failure.kind == Kind::Broken {
                client.distrust_mirrors(&repo, &failure.message);
            }
        }
    }

    fn source(&self, digest: BlobDigest, size: u64) -> Source {
        let (client, repo, wanted) = (self.shared.client.pulling(), self.image.repo.clone(), digest.clone());
        let fetch = move || {
            let (client, repo, digest) = (client.clone(), repo.clone(), wanted.clone());
            async move { client.blob_stream(&repo, &digest).await }.boxed()
        };
        Source { digest, size, fetch: Arc::new(fetch) }
    }
}

async fn read_manifest(
    shared: &Shared,
    image: &ImageAt,
) -> Result<(RawManifest, HashMap<BlobDigest, u64>), BackendError> {
    let read = shared.client.pulling().manifest(&image.repo, image.digest.as_str()).await.map_err(Failure::from)?;
    let manifest = read.ok_or_else(|| BackendError::Gone(image.to_string()))?;
    let refuse = |why: &str| Failure::new(Kind::Refused, format!("pull {image}: {why}"));
    let document = Document::parse(&manifest.bytes, Some(&manifest.media_type));
    let parsed = match document.map_err(|error| refuse(&error.to_string()))? {
        Document::Manifest(parsed) => parsed,
        Document::Index(_) => Err(refuse("it is an index of several images; name the one for the platform"))?,
    };
    let blobs: HashMap<_, _> =
        std::iter::once(&parsed.config).chain(&parsed.layers).map(|blob| (blob.digest.clone(), blob.size)).collect();
    for (digest, size) in &blobs {
        shared.known.see(&image.repo, digest, *size);
    }
    Ok((manifest, blobs))
}
