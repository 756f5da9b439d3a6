//! A registry of this process on loopback that shows images which lie in files: nobody else knows its name.
//!
//! By it an image in an archive is pulled as one of a registry, by any backend.

use std::{
    collections::HashMap,
    fmt,
    fs::File,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    extract::{Path as Segments, State},
    response::Response,
    routing::get,
};
use bytes::Bytes;
use http::{StatusCode, header};
use slipway_oci::{BlobDigest, ImageAt, Repo};
use slipway_process::{Tasks, random_id};
use tokio::{io::AsyncReadExt as _, net::TcpListener};
use tokio_util::{
    io::ReaderStream,
    sync::{CancellationToken, DropGuard},
};

use crate::{answer, locked::locked};

/// Bytes that are read at once.
const PIECE: usize = 256 * 1024;

/// A running stand; it ends when it is dropped.
#[derive(Debug)]
pub struct Stand {
    repo: Repo,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

/// A manifest that is shown.
#[derive(Clone, Debug)]
pub struct ShownManifest {
    /// Its digest.
    pub digest: BlobDigest,
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Bytes,
}

/// A blob that is shown. Who reads it verifies it.
pub struct ShownBlob {
    /// Its digest.
    pub digest: BlobDigest,
    /// How many bytes of the file it is.
    pub size: u64,
    /// Opens the file, at the blob's first byte.
    pub open: Box<dyn Fn() -> io::Result<File> + Send + Sync>,
}

struct Shared {
    name: String,
    tasks: Tasks,
    manifests: Mutex<HashMap<BlobDigest, ShownManifest>>,
    blobs: Mutex<HashMap<BlobDigest, Arc<ShownBlob>>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shared")
    }
}

type Shown = State<Arc<Shared>>;

impl Stand {
    /// Starts it, with nothing to show.
    ///
    /// # Errors
    /// When no port can be had.
    pub async fn start(tasks: &Tasks) -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let name = random_id();
        let repo = Repo::passing(listener.local_addr()?.to_string(), &name);
        let shared =
            Arc::new(Shared { name, tasks: tasks.clone(), manifests: Mutex::default(), blobs: Mutex::default() });
        let router = Router::new()
            .route("/v2/_passing/{name}/blobs/{digest}", get(blob))
            .route("/v2/_passing/{name}/manifests/{selector}", get(manifest))
            .with_state(Arc::clone(&shared));
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        tasks.spawn(async move {
            let served = axum::serve(listener, router).with_graceful_shutdown(stopped.cancelled_owned());
            if let Err(error) = served.await {
                tracing::debug!(%error, "the stand ended");
            }
        });
        Ok(Self { repo, shared, _stop: stop.drop_guard() })
    }

    /// Shows an image from now on; answers where it is pulled from.
    pub fn show(&self, manifest: ShownManifest, blobs: impl IntoIterator<Item = ShownBlob>) -> ImageAt {
        let at = self.repo.at(manifest.digest.clone());
        let mut shown = locked(&self.shared.blobs);
        shown.extend(blobs.into_iter().map(|blob| (blob.digest.clone(), Arc::new(blob))));
        drop(shown);
        locked(&self.shared.manifests).insert(manifest.digest.clone(), manifest);
        at
    }
}

async fn manifest(State(shared): Shown, Segments((name, selector)): Segments<(String, String)>) -> Response {
    if name != shared.name {
        return answer::nothing_here();
    }
    let digest = selector.parse::<BlobDigest>().ok();
    let found = digest.and_then(|digest| locked(&shared.manifests).get(&digest).cloned());
    let Some(ShownManifest { digest, media_type, bytes }) = found else { return answer::no_manifest() };
    answer::manifest(&digest, &media_type, &bytes)
}

async fn blob(State(shared): Shown, Segments((name, digest)): Segments<(String, String)>) -> Response {
    if name != shared.name {
        return answer::nothing_here();
    }
    let digest = digest.parse::<BlobDigest>().ok();
    let found = digest.and_then(|digest| locked(&shared.blobs).get(&digest).cloned());
    let Some(blob) = found else { return answer::no_blob() };
    let opened = Arc::clone(&blob);
    match shared.tasks.blocking(move || (opened.open)()).await {
        Ok(file) => {
            let mut found = answer::blob_head(&blob.digest, blob.size);
            found.headers_mut().remove(header::ACCEPT_RANGES);
            let bytes = tokio::fs::File::from_std(file).take(blob.size);
            *found.body_mut() = Body::from_stream(ReaderStream::with_capacity(bytes, PIECE));
            found
        }
        Err(error) => answer::error(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", &format!("open the file of it: {error}")),
    }
}
