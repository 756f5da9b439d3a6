//! A push door: one image goes through it into one repository.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http::{HeaderMap, Method, StatusCode, header, request::Parts};
use slipway_backend::{BackendError, Pushed};
use slipway_oci::{
    BlobDigest, Descriptor, Manifest, Repo,
    manifest::{DOCKER_MANIFEST, Document, MANIFEST_LIMIT},
};

use crate::{
    answer,
    failure::{Failure, Kind},
    gateway::{ATTEMPT_ANNOTATION, Shared},
    locked::locked,
    route::Place,
    session::{Session, Stopped, drain, stream_of},
};

/// Most uploads of one door that are under way at once; engines use five.
const SESSIONS_LIMIT: usize = 64;
/// Most blobs of which it is remembered that they are not there.
const ABSENT_LIMIT: usize = 1000;
/// How long an upload may rest between two requests, when others wish to begin.
const SESSION_REST: Duration = Duration::from_secs(10 * 60);
/// Most repositories that a blob is tried to be mounted from.
const MOUNTS_LIMIT: usize = 3;
/// Blobs that are asked for at once when an image is verified.
const VERIFIED_AT_ONCE: usize = 8;
/// How long an engine may go on sending what was refused.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);

/// The door.
pub(crate) struct Push {
    shared: Arc<Shared>,
    /// `/v2/TOKEN/NAME`.
    base: String,
    repo: Repo,
    attempt: String,
    sessions: Mutex<HashMap<String, Session>>,
    /// Blobs that were found not to be there: they are uploaded without asking again.
    absent: Mutex<HashSet<BlobDigest>>,
    result: Mutex<Outcome>,
}

/// What has come of the push so far.
#[derive(Default)]
struct Outcome {
    manifest: Option<Received>,
    /// Why it cannot succeed any more: every further request is refused with it.
    failure: Option<Failure>,
}

/// The manifest that the engine stored.
#[derive(Clone)]
struct Received {
    digest: BlobDigest,
    media_type: String,
    bytes: Bytes,
    manifest: Manifest,
}

impl Push {
    pub(crate) fn new(shared: Arc<Shared>, base: String, repo: Repo, attempt: String) -> Self {
        let (sessions, absent, result) = Default::default();
        Self { shared, base, repo, attempt, sessions, absent, result }
    }

    /// Answers a request.
    pub(crate) async fn answer(&self, parts: &Parts, place: Place<'_>, body: Body) -> Response {
        if let Some(failure) = self.failure().filter(|_| parts.method != Method::HEAD) {
            return self.refuse_rest(failure.response(), body);
        }
        match (place, &parts.method) {
            (Place::Blob(digest), &Method::HEAD) => self.head_blob(&digest).await,
            (Place::Uploads, &Method::POST) => self.start(parts, body).await,
            (Place::Upload(id), &Method::PATCH) => self.send(id, &parts.headers, body).await,
            (Place::Upload(id), &Method::PUT) => self.end(id, parts, body).await,
            (Place::Upload(id), &Method::GET) => self.status(id),
            (Place::Upload(id), &Method::DELETE) => self.cancel(id),
            (Place::Tag(_), &Method::PUT) => self.take_manifest(None, &parts.headers, body).await,
            (Place::Manifest(digest), &Method::PUT) => self.take_manifest(Some(digest), &parts.headers, body).await,
            (Place::Tag(_), &Method::GET | &Method::HEAD) => self.manifest(None),
            (Place::Manifest(digest), &Method::GET | &Method::HEAD) => self.manifest(Some(&digest)),
            (Place::Blob(_), &Method::GET) => answer::no_blob(),
            (Place::Tag(_) | Place::Manifest(_) | Place::Blob(_) | Place::Uploads | Place::Upload(_), _) => {
                answer::wrong_method()
            }
        }
    }

    /// Stores the manifest that came through, once all its blobs answer.
    pub(crate) async fn pushed(&self) -> Result<Pushed, BackendError> {
        let received = {
            let result = locked(&self.result);
            match (&result.failure, &result.manifest) {
                (Some(failure), _) => return Err(failure.clone().into()),
                (None, Some(received)) => received.clone(),
                (None, None) => {
                    let message = format!("push an image to {}: the container engine sent no manifest", self.repo);
                    return Err(BackendError::Engine(message));
                }
            }
        };
        self.store(&received.manifest).await.map_err(|failure| match failure.kind {
            // What is missing was there before: the next try uploads it again.
            Kind::Gone => BackendError::Engine(failure.message),
            Kind::Denied | Kind::Refused | Kind::Broken | Kind::Unavailable | Kind::NoSpace => failure.into(),
        })
    }

    async fn store(&self, manifest: &Manifest) -> Result<Pushed, Failure> {
        let blobs = std::iter::once(&manifest.config).chain(&manifest.layers);
        let checks = stream::iter(blobs.clone().map(|blob| self.check(blob)).collect::<Vec<_>>());
        checks.buffer_unordered(VERIFIED_AT_ONCE).try_collect::<()>().await?;
        let annotations = [(ATTEMPT_ANNOTATION.to_owned(), self.attempt.clone())].into();
        let (bytes, media_type) = manifest.to_oci_annotated(&annotations);
        let digest = BlobDigest::of(&bytes);
        let stored = self.shared.client.put_manifest(&self.repo, digest.as_str(), media_type, bytes.into()).await?;
        if stored != digest {
            let message = format!("store manifest {digest} in {}: the registry calls it {stored}", self.repo);
            return Err(Failure::new(Kind::Refused, message));
        }
        let there = self.shared.client.head_manifest(&self.repo, digest.as_str()).await?;
        if there.as_ref() != Some(&digest) {
            let message = format!("manifest {digest} was stored in {}, but is not there", self.repo);
            return Err(Failure::new(Kind::Gone, message));
        }
        Ok(Pushed { manifest: digest, size: blobs.map(|blob| blob.size).fold(0, u64::saturating_add) })
    }

    /// Asks the registry itself for a blob, whatever is remembered.
    async fn check(&self, blob: &Descriptor) -> Result<(), Failure> {
        let size = self.shared.client.head_blob(&self.repo, &blob.digest).await?;
        let Some(size) = size else {
            self.shared.known.forget(&self.repo, &blob.digest);
            let message = format!("{} has no blob {}, which was pushed to it", self.repo, blob.digest);
            return Err(Failure::new(Kind::Gone, message));
        };
        self.shared.known.confirm(&self.repo, &blob.digest, size);
        if size == blob.size {
            return Ok(());
        }
        let (digest, said) = (&blob.digest, blob.size);
        let message =
            format!("the pushed manifest says that blob {digest} has {said} bytes, but in {} it has {size}", self.repo);
        Err(Failure::new(Kind::Refused, message))
    }

    /// An answer to `HEAD` has no room for a reason. So a failed door says of what it does not know that it is absent:
    /// the reason is the answer to the upload that follows.
    async fn head_blob(&self, digest: &BlobDigest) -> Response {
        let found = match self.failure() {
            Some(_) => Ok(self.shared.known.confirmed(&self.repo, digest)),
            None => self.find(digest).await.or_else(|failure| failure.unless_unavailable()),
        };
        match found {
            Ok(Some(size)) => answer::blob_head(digest, size),
            Ok(None) => answer::no_blob(),
            Err(failure) => {
                drop(self.fail(failure));
                answer::no_blob()
            }
        }
    }

    /// The size of a blob if the repository has it, or can be made to have it by a mount.
    async fn find(&self, digest: &BlobDigest) -> Result<Option<u64>, Failure> {
        let Shared { client, known, .. } = &*self.shared;
        if let Some(size) = known.confirmed(&self.repo, digest) {
            return Ok(Some(size));
        }
        if let Some(size) = client.head_blob(&self.repo, digest).await? {
            known.confirm(&self.repo, digest, size);
            return Ok(Some(size));
        }
        for (from, _) in known.elsewhere(&self.repo, digest).into_iter().take(MOUNTS_LIMIT) {
            match client.mount_blob(&from, &self.repo, digest).await {
                Ok(true) => {
                    let size = client.head_blob(&self.repo, digest).await?;
                    if let Some(size) = size {
                        known.confirm(&self.repo, digest, size);
                        return Ok(Some(size));
                    }
                }
                Ok(false) => known.forget(&from, digest),
                Err(error) => tracing::debug!(%digest, %from, %error, "a blob was not mounted; it will be uploaded"),
            }
        }
        let mut absent = locked(&self.absent);
        if absent.len() < ABSENT_LIMIT {
            absent.insert(digest.clone());
        }
        Ok(None)
    }

    /// `POST blobs/uploads/`: mounts, stores at once, or starts a session.
    async fn start(&self, parts: &Parts, body: Body) -> Response {
        if let Some(digest) = query_digest(parts, "mount") {
            // Where from is ours to know: the name that the engine gives is that of a door long closed.
            match self.find(&digest).await.or_else(|failure| failure.unless_unavailable()) {
                Ok(Some(_)) => return answer::created(&self.blob_path(&digest), &digest),
                Ok(None) => {}
                Err(failure) => return self.fail(failure),
            }
        }
        let session = Session::new(self.shared.tasks.clone(), self.repo.clone());
        if let Some(digest) = query_digest(parts, "digest") {
            return self.finish(session, &digest, body).await;
        }
        let id = slipway_process::random_id();
        let mut sessions = locked(&self.sessions);
        sessions.retain(|_, session| session.touched().elapsed() < SESSION_REST);
        if sessions.len() >= SESSIONS_LIMIT {
            return answer::error(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", "too many uploads at once");
        }
        sessions.insert(id.clone(), session);
        self.accepted(&id, 0, StatusCode::ACCEPTED)
    }

    /// `PATCH`: bytes.
    async fn send(&self, id: &str, headers: &HeaderMap, body: Body) -> Response {
        // Taken out while it is worked on: an engine that goes away in the middle takes the session with it.
        let Some(mut session) = locked(&self.sessions).remove(id) else { return no_upload() };
        if first_of_range(headers).is_some_and(|first| first != session.received()) {
            let answer = self.accepted(id, session.received(), StatusCode::RANGE_NOT_SATISFIABLE);
            locked(&self.sessions).insert(id.to_owned(), session);
            return answer;
        }
        let mut body = stream_of(body);
        match session.take(&self.shared.client, &mut body, &self.shared.manner).await {
            Ok(()) => {
                let received = session.received();
                locked(&self.sessions).insert(id.to_owned(), session);
                self.accepted(id, received, StatusCode::ACCEPTED)
            }
            Err(stopped) => {
                let answer = self.stopped(stopped);
                self.refuse_rest_of(answer, body)
            }
        }
    }

    /// `PUT`: the last bytes and the digest.
    async fn end(&self, id: &str, parts: &Parts, body: Body) -> Response {
        let Some(digest) = query_digest(parts, "digest") else {
            let message = "the digest is missing or is not of the form sha256:…";
            return self.refuse_rest(answer::error(StatusCode::BAD_REQUEST, "DIGEST_INVALID", message), body);
        };
        let Some(session) = locked(&self.sessions).remove(id) else { return no_upload() };
        self.finish(session, &digest, body).await
    }

    async fn finish(&self, mut session: Session, digest: &BlobDigest, body: Body) -> Response {
        let mut body = stream_of(body);
        if let Err(stopped) = session.take(&self.shared.client, &mut body, &self.shared.manner).await {
            let answer = self.stopped(stopped);
            return self.refuse_rest_of(answer, body);
        }
        if !session.has_digest(digest) {
            let message = "the bytes that came have another digest";
            return answer::error(StatusCode::BAD_REQUEST, "DIGEST_INVALID", message);
        }
        match self.store_blob(session, digest).await {
            Ok(()) => answer::created(&self.blob_path(digest), digest),
            Err(failure) => self.fail(failure),
        }
    }

    /// Makes the repository have a blob that has come whole: an engine need not have asked whether it is there.
    async fn store_blob(&self, session: Session, digest: &BlobDigest) -> Result<(), Failure> {
        let is_news = session.is_under_way() || locked(&self.absent).contains(digest);
        let found = if is_news {
            self.shared.known.confirmed(&self.repo, digest)
        } else {
            self.find(digest).await.or_else(|failure| failure.unless_unavailable())?
        };
        if found.is_none() {
            let size = session.received();
            session.finish(&self.shared.client, digest).await?;
            self.shared.known.confirm(&self.repo, digest, size);
        }
        Ok(())
    }

    fn status(&self, id: &str) -> Response {
        let received = locked(&self.sessions).get(id).map(Session::received);
        received.map_or_else(no_upload, |received| self.accepted(id, received, StatusCode::NO_CONTENT))
    }

    fn cancel(&self, id: &str) -> Response {
        let session = locked(&self.sessions).remove(id);
        session.map_or_else(no_upload, |_| answer::empty(StatusCode::NO_CONTENT))
    }

    /// `PUT manifests/…`: kept until it is asked for.
    async fn take_manifest(&self, named: Option<BlobDigest>, headers: &HeaderMap, body: Body) -> Response {
        let invalid = |message: &str| answer::error(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", message);
        let read = axum::body::to_bytes(body, MANIFEST_LIMIT);
        let Ok(Ok(bytes)) = tokio::time::timeout(self.shared.manner.idle, read).await else {
            return invalid("the manifest is longer than 4 MiB, or did not come whole");
        };
        let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let manifest = match Document::parse(&bytes, media_type) {
            Ok(Document::Manifest(manifest)) => manifest,
            Ok(Document::Index(_)) => return invalid("one image is taken here, not an index of several"),
            Err(error) => return invalid(&error.to_string()),
        };
        let digest = BlobDigest::of(&bytes);
        if named.is_some_and(|named| named != digest) {
            let message = format!("the manifest has the digest {digest}, not the one it is stored under");
            return answer::error(StatusCode::BAD_REQUEST, "DIGEST_INVALID", &message);
        }
        let media_type =
            manifest.media_type.clone().unwrap_or_else(|| media_type.unwrap_or(DOCKER_MANIFEST).to_owned());
        let mut result = locked(&self.result);
        if result.manifest.as_ref().is_some_and(|before| before.digest != digest) {
            return answer::error(StatusCode::FORBIDDEN, "DENIED", "another image was pushed to this address before");
        }
        let location = format!("{}/manifests/{digest}", self.base);
        let answer = answer::created(&location, &digest);
        result.manifest = Some(Received { digest, media_type, bytes, manifest });
        answer
    }

    fn manifest(&self, digest: Option<&BlobDigest>) -> Response {
        let result = locked(&self.result);
        let received = result.manifest.as_ref().filter(|received| digest.is_none_or(|it| *it == received.digest));
        received.map_or_else(answer::no_manifest, |received| {
            answer::manifest(&received.digest, &received.media_type, &received.bytes)
        })
    }

    fn failure(&self) -> Option<Failure> {
        locked(&self.result).failure.clone()
    }

    /// Ends the push: what failed first is what is told from now on.
    fn fail(&self, failure: Failure) -> Response {
        tracing::debug!(repo = %self.repo, kind = ?failure.kind, message = failure.message, "a push failed");
        locked(&self.result).failure.get_or_insert(failure).response()
    }

    fn stopped(&self, stopped: Stopped) -> Response {
        match stopped {
            Stopped::Failed(failure) => self.fail(failure),
            Stopped::Engine(why) => {
                tracing::debug!(repo = %self.repo, why, "an engine broke off an upload");
                answer::error(StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", "the upload broke off")
            }
        }
    }

    fn refuse_rest(&self, answer: Response, body: Body) -> Response {
        self.refuse_rest_of(answer, stream_of(body))
    }

    /// Answers now, and reads on in the background.
    fn refuse_rest_of(&self, answer: Response, body: axum::body::BodyDataStream) -> Response {
        drop(self.shared.tasks.spawn(drain(body, DRAIN_LIMIT)));
        answer
    }

    fn accepted(&self, id: &str, received: u64, status: StatusCode) -> Response {
        let mut answer = answer::empty(status);
        answer::set(&mut answer, "location", &format!("{}/blobs/uploads/{id}", self.base));
        answer::set(&mut answer, "docker-upload-uuid", id);
        answer::set(&mut answer, "range", &format!("0-{}", received.saturating_sub(1)));
        answer
    }

    fn blob_path(&self, digest: &BlobDigest) -> String {
        format!("{}/blobs/{digest}", self.base)
    }
}

fn no_upload() -> Response {
    answer::error(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "no such upload is under way")
}

fn query_digest(parts: &Parts, name: &str) -> Option<BlobDigest> {
    let query = parts.uri.query().unwrap_or_default();
    let mut pairs = url::form_urlencoded::parse(query.as_bytes());
    pairs.find(|(key, _)| key == name)?.1.parse().ok()
}

/// The first byte that a chunk says it is of.
fn first_of_range(headers: &HeaderMap) -> Option<u64> {
    let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    text.strip_prefix("bytes ").unwrap_or(text).split('-').next()?.trim().parse().ok()
}
