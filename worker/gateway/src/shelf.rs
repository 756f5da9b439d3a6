//! A registry of this process on loopback: what is pushed there lies in a directory, and nobody else knows its name.
//!
//! By it an image of an engine, or of this host's own store, is read as one of a registry: one way out for all.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use axum::{
    Router,
    body::Body,
    extract::{Path as Segments, RawQuery, State},
    response::Response,
    routing::{get, patch, post},
};
use futures::TryStreamExt as _;
use http::{StatusCode, header};
use sha2::{Digest as _, Sha256};
use slipway_oci::{BlobDigest, Repo, manifest::OCI_MANIFEST};
use slipway_process::{Tasks, random_id};
use tokio::{
    fs::{self, File},
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use tokio_util::{
    io::ReaderStream,
    sync::{CancellationToken, DropGuard},
};

use crate::answer;

/// Longest manifest that is taken, in bytes.
const MANIFEST_LIMIT: usize = 4 << 20;

/// A running registry; it ends when it is dropped. Its directory is its maker's to remove.
#[derive(Debug)]
pub struct Shelf {
    repo: Repo,
    _stop: DropGuard,
}

#[derive(Debug)]
struct Shared {
    directory: PathBuf,
    name: String,
}

type Shelved = State<Arc<Shared>>;

impl Shelf {
    /// Starts it; blobs lie in `directory`, which exists.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(directory: &Path, tasks: &Tasks) -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let name = random_id();
        let repo = Repo { host: listener.local_addr()?.to_string(), path: name.clone() };
        let shared = Arc::new(Shared { directory: directory.to_owned(), name });
        let router = Router::new()
            .route("/v2/{name}/blobs/uploads/", post(begin))
            .route("/v2/{name}/blobs/uploads/{id}", patch(add).put(end).get(progress).delete(abandon))
            .route("/v2/{name}/blobs/{digest}", get(blob))
            .route("/v2/{name}/manifests/{selector}", get(manifest).put(put_manifest))
            .with_state(shared);
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tasks.spawn(async move {
            let served = axum::serve(listener, router).with_graceful_shutdown(stopped.cancelled_owned());
            if let Err(error) = served.await {
                tracing::debug!(%error, "the shelf ended");
            }
        });
        Ok(Self { repo, _stop: stop.drop_guard() })
    }

    /// The repository that images are pushed to and read from.
    pub fn repo(&self) -> &Repo {
        &self.repo
    }
}

impl Shared {
    fn blob(&self, digest: &BlobDigest) -> PathBuf {
        self.directory.join(digest.as_str().trim_start_matches("sha256:"))
    }

    /// The file of an upload; `None` = no such upload can be.
    fn upload(&self, name: &str, id: &str) -> Option<PathBuf> {
        let plain = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
        (self.is_own(name) && plain).then(|| self.directory.join(format!("{id}.part")))
    }

    fn is_own(&self, name: &str) -> bool {
        name == self.name
    }

    /// Where an upload goes on, and how far it is.
    fn session(&self, status: StatusCode, id: &str, size: u64) -> Response {
        let mut found = answer::empty(status);
        answer::set(&mut found, header::LOCATION.as_str(), &format!("/v2/{}/blobs/uploads/{id}", self.name));
        answer::set(&mut found, header::RANGE.as_str(), &format!("0-{}", size.saturating_sub(1)));
        found
    }
}

fn failed(error: &io::Error) -> Response {
    answer::error(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", &error.to_string())
}

async fn begin(State(shared): Shelved, Segments(name): Segments<String>) -> Response {
    let id = random_id();
    let Some(path) = shared.upload(&name, &id) else { return answer::nothing_here() };
    match File::create_new(path).await {
        Ok(_) => shared.session(StatusCode::ACCEPTED, &id, 0),
        Err(error) => failed(&error),
    }
}

async fn add(State(shared): Shelved, Segments((name, id)): Segments<(String, String)>, body: Body) -> Response {
    let Some(path) = shared.upload(&name, &id) else { return answer::nothing_here() };
    match append(&path, body).await {
        Ok(size) => shared.session(StatusCode::ACCEPTED, &id, size),
        Err(error) => failed(&error),
    }
}

async fn progress(State(shared): Shelved, Segments((name, id)): Segments<(String, String)>) -> Response {
    let Some(path) = shared.upload(&name, &id) else { return answer::nothing_here() };
    match fs::metadata(path).await {
        Ok(found) => shared.session(StatusCode::NO_CONTENT, &id, found.len()),
        Err(_) => answer::nothing_here(),
    }
}

async fn abandon(State(shared): Shelved, Segments((name, id)): Segments<(String, String)>) -> Response {
    let Some(path) = shared.upload(&name, &id) else { return answer::nothing_here() };
    match fs::remove_file(path).await {
        Ok(()) => answer::empty(StatusCode::NO_CONTENT),
        Err(_) => answer::nothing_here(),
    }
}

async fn end(
    State(shared): Shelved,
    Segments((name, id)): Segments<(String, String)>,
    RawQuery(query): RawQuery,
    body: Body,
) -> Response {
    let Some(path) = shared.upload(&name, &id) else { return answer::nothing_here() };
    let query = query.unwrap_or_default();
    let named = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == "digest");
    let Some(digest) = named.and_then(|(_, value)| value.parse::<BlobDigest>().ok()) else {
        return answer::error(StatusCode::BAD_REQUEST, "DIGEST_INVALID", "the digest is missing");
    };
    let finish = async {
        append(&path, body).await?;
        let found = digest_of(&path).await?;
        if found != digest {
            return Ok(Err(found));
        }
        fs::rename(&path, shared.blob(&digest)).await.map(Ok)
    };
    match finish.await {
        Ok(Ok(())) => answer::created(&format!("/v2/{name}/blobs/{digest}"), &digest),
        Ok(Err(found)) => {
            answer::error(StatusCode::BAD_REQUEST, "DIGEST_INVALID", &format!("the bytes are {found}, not {digest}"))
        }
        Err(error) => failed(&error),
    }
}

/// Adds bytes to a file; answers how many it has.
async fn append(path: &Path, body: Body) -> io::Result<u64> {
    let mut file = File::options().append(true).open(path).await?;
    let mut pieces = body.into_data_stream().map_err(io::Error::other);
    while let Some(piece) = pieces.try_next().await? {
        file.write_all(&piece).await?;
    }
    file.flush().await?;
    Ok(file.metadata().await?.len())
}

async fn digest_of(path: &Path) -> io::Result<BlobDigest> {
    let mut file = File::open(path).await?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = file.read(&mut buffer).await?;
        if count == 0 {
            let text = format!("sha256:{}", hex::encode(hasher.finalize()));
            return text.parse().map_err(io::Error::other);
        }
        hasher.update(&buffer[..count]);
    }
}

async fn blob(State(shared): Shelved, Segments((name, digest)): Segments<(String, String)>) -> Response {
    let Ok(digest) = digest.parse::<BlobDigest>() else { return answer::no_blob() };
    if !shared.is_own(&name) {
        return answer::nothing_here();
    }
    let Ok(file) = File::open(shared.blob(&digest)).await else { return answer::no_blob() };
    let size = match file.metadata().await {
        Ok(found) => found.len(),
        Err(error) => return failed(&error),
    };
    let mut found = answer::blob_head(&digest, size);
    found.headers_mut().remove(header::ACCEPT_RANGES);
    *found.body_mut() = Body::from_stream(ReaderStream::with_capacity(file, 256 * 1024));
    found
}

async fn manifest(State(shared): Shelved, Segments((name, selector)): Segments<(String, String)>) -> Response {
    let Ok(digest) = selector.parse::<BlobDigest>() else { return answer::no_manifest() };
    if !shared.is_own(&name) {
        return answer::nothing_here();
    }
    let Ok(bytes) = fs::read(shared.blob(&digest)).await else { return answer::no_manifest() };
    let mut found = answer::empty(StatusCode::OK);
    answer::set(&mut found, header::CONTENT_TYPE.as_str(), OCI_MANIFEST);
    answer::set(&mut found, "docker-content-digest", digest.as_str());
    *found.body_mut() = Body::from(bytes);
    found
}

async fn put_manifest(
    State(shared): Shelved,
    Segments((name, selector)): Segments<(String, String)>,
    body: Body,
) -> Response {
    if !shared.is_own(&name) {
        return answer::nothing_here();
    }
    let bytes = match axum::body::to_bytes(body, MANIFEST_LIMIT).await {
        Ok(bytes) => bytes,
        Err(error) => return failed(&io::Error::other(error)),
    };
    let digest = BlobDigest::of(&bytes);
    if selector != digest.as_str() {
        return answer::error(StatusCode::BAD_REQUEST, "DIGEST_INVALID", "manifests are kept by their digest here");
    }
    match fs::write(shared.blob(&digest), bytes).await {
        Ok(()) => answer::created(&format!("/v2/{name}/manifests/{digest}"), &digest),
        Err(error) => failed(&error),
    }
}
