//! A registry in memory that counts what it is asked.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::to_bytes,
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use slipway_oci::BlobDigest;
use slipway_process::Tasks;

/// Answers from memory, and writes down every request.
#[derive(Clone, Default)]
pub(crate) struct Fake {
    state: Arc<Mutex<Counted>>,
}

#[derive(Default)]
struct Counted {
    tags: BTreeMap<String, Vec<u8>>,
    blobs: BTreeMap<String, Vec<u8>>,
    requests: Vec<String>,
    refusal: Option<StatusCode>,
    immutable: bool,
    deletes: Deleting,
}

/// What it deletes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Deleting {
    #[default]
    Everything,
    Nothing,
    /// Nothing for the moment: it may be asked again at once.
    NothingNow(StatusCode),
    /// Tags, and manifests that have none.
    WhatHasNoTags,
}

impl Fake {
    /// Serves it until the tasks are dropped; answers its address.
    pub(crate) async fn serve(&self, tasks: &Tasks) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let router = Router::new().fallback(answer).with_state(self.clone());
        tasks.spawn(async move { axum::serve(listener, router).await });
        address
    }

    pub(crate) fn put_blob(&self, bytes: Vec<u8>) -> BlobDigest {
        let digest = BlobDigest::of(&bytes);
        self.state.lock().unwrap().blobs.insert(digest.to_string(), bytes);
        digest
    }

    pub(crate) fn put_tag(&self, tag: &str, manifest: Vec<u8>) {
        self.state.lock().unwrap().tags.insert(tag.to_owned(), manifest);
    }

    /// From now on, a tag cannot be moved.
    pub(crate) fn make_immutable(&self) {
        self.state.lock().unwrap().immutable = true;
    }

    /// From now on, nothing can be deleted.
    pub(crate) fn keep_all(&self) {
        self.state.lock().unwrap().deletes = Deleting::Nothing;
    }

    /// Nothing can be deleted for the moment, and this is answered; `None` = it can again.
    pub(crate) fn be_busy(&self, answer: Option<StatusCode>) {
        self.state.lock().unwrap().deletes = answer.map_or(Deleting::Everything, Deleting::NothingNow);
    }

    /// From now on, tags can be deleted, and manifests that have none.
    pub(crate) fn keep_tagged(&self) {
        self.state.lock().unwrap().deletes = Deleting::WhatHasNoTags;
    }

    /// Takes a tag away, as other programs do.
    pub(crate) fn delete_tag(&self, tag: &str) {
        self.state.lock().unwrap().tags.remove(tag);
    }

    /// The digests of all manifests, sorted.
    pub(crate) fn manifests(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let all = state.tags.values().map(|manifest| BlobDigest::of(manifest).to_string());
        all.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
    }

    /// All tags, sorted.
    pub(crate) fn tags(&self) -> Vec<String> {
        self.state.lock().unwrap().tags.keys().cloned().collect()
    }

    /// From now on, every request is answered with this.
    pub(crate) fn refuse(&self, status: StatusCode) {
        self.state.lock().unwrap().refusal = Some(status);
    }

    /// How many requests were made of a kind: what the method begins with, and what the path
    /// contains.
    pub(crate) fn count(&self, method: &str, part: &str) -> usize {
        let state = self.state.lock().unwrap();
        let is_one = |line: &&String| line.starts_with(method) && line.contains(part);
        state.requests.iter().filter(is_one).count()
    }

    pub(crate) fn all(&self) -> usize {
        self.state.lock().unwrap().requests.len()
    }
}

impl Counted {
    fn delete(&mut self, name: &str) -> StatusCode {
        let is_of = |manifest: &Vec<u8>| BlobDigest::of(manifest).as_str() == name;
        let has_tags = self.tags.iter().any(|(tag, manifest)| !tag.contains(':') && is_of(manifest));
        let before = self.tags.len();
        match self.deletes {
            Deleting::Nothing => return StatusCode::METHOD_NOT_ALLOWED,
            Deleting::NothingNow(answer) => return answer,
            Deleting::WhatHasNoTags if has_tags => return StatusCode::BAD_REQUEST,
            Deleting::WhatHasNoTags | Deleting::Everything => {
                self.tags.retain(|other, manifest| other != name && !is_of(manifest));
            }
        }
        if self.tags.len() < before { StatusCode::ACCEPTED } else { StatusCode::NOT_FOUND }
    }
}

async fn answer(State(fake): State<Fake>, request: Request) -> Response {
    // Others get a chance to ask the same in the meantime.
    tokio::task::yield_now().await;
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let sent = to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let mut state = fake.state.lock().unwrap();
    state.requests.push(format!("{method} {path}"));
    if let Some(status) = state.refusal {
        return status.into_response();
    }
    let (rest, last) = path.rsplit_once('/').unwrap_or_default();
    if method == Method::DELETE {
        let status = state.delete(last);
        return (status, [(header::RETRY_AFTER, "0")]).into_response();
    }
    if method == Method::POST {
        return (StatusCode::ACCEPTED, [(header::LOCATION, format!("{path}1"))]).into_response();
    }
    if method == Method::PUT {
        let digest = BlobDigest::of(&sent).to_string();
        let immutable = state.immutable && state.tags.get(last).is_some_and(|held| *held != sent);
        if rest.ends_with("/manifests") && immutable {
            return StatusCode::BAD_REQUEST.into_response();
        }
        let kept = if rest.ends_with("/manifests") { &mut state.tags } else { &mut state.blobs };
        let name = if rest.ends_with("/manifests") { last } else { &digest };
        kept.insert(name.to_owned(), sent.to_vec());
        return StatusCode::CREATED.into_response();
    }
    let body = match rest.rsplit_once('/').map(|(_, kind)| kind) {
        Some("tags") => {
            let tags: Vec<&String> = state.tags.keys().filter(|name| !name.contains(':')).collect();
            Some(serde_json::to_vec(&serde_json::json!({ "name": "shop", "tags": tags })).unwrap())
        }
        Some("manifests") => state.tags.get(last).cloned(),
        Some("blobs") => state.blobs.get(last).cloned(),
        _ => Some(Vec::new()),
    };
    let Some(body) = body else { return StatusCode::NOT_FOUND.into_response() };
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, slipway_oci::manifest::OCI_MANIFEST.parse().unwrap());
    headers.insert("Docker-Content-Digest", BlobDigest::of(&body).as_str().parse().unwrap());
    if method == Method::HEAD {
        headers.insert(header::CONTENT_LENGTH, body.len().into());
        return (headers, ()).into_response();
    }
    (headers, body).into_response()
}
