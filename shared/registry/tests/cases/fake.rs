//! A server that answers as a test says, or passes requests on to a real registry.

use std::sync::{Arc, Mutex};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    response::Response,
};
use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, HeaderName, Method, StatusCode};
use slipway_process::Tasks;

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Requests of the same method and path (without the query) before.
    pub(crate) earlier: usize,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn is(&self, method: &Method, part: &str) -> bool {
        self.method == *method && self.path.contains(part)
    }

    fn place(&self) -> &str {
        self.path.split('?').next().unwrap()
    }
}

/// What the server does with a request.
pub(crate) enum Act {
    Answer(Response),
    /// Passes it on to the registry behind.
    Pass,
    /// Passes it on, but answers something else.
    PassAndSay(StatusCode),
}

type Handler = dyn Fn(&Seen) -> Act + Send + Sync;

struct Shared {
    behind: Option<String>,
    handler: Box<Handler>,
    seen: Mutex<Vec<Seen>>,
    passing: reqwest::Client,
}

/// The server; it stops when this is dropped.
pub(crate) struct Fake {
    pub(crate) host: String,
    shared: Arc<Shared>,
    tasks: Tasks,
}

impl Fake {
    /// A server that stands alone.
    pub(crate) async fn start(handler: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        Self::before(None, handler).await
    }

    /// A server before a registry.
    pub(crate) async fn before(behind: Option<&str>, handler: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        // The client under test installs what TLS needs; this one may come first.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let passing =
            reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let handler: Box<Handler> = Box::new(handler);
        let behind = behind.map(str::to_owned);
        let shared = Arc::new(Shared { behind, handler, seen: Mutex::default(), passing });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let router = Router::new().fallback(serve).with_state(Arc::clone(&shared));
        let tasks = Tasks::new();
        drop(tasks.spawn(async move { axum::serve(listener, router).await }));
        Self { host, shared, tasks }
    }

    /// All requests so far, without those that only ask whether this is a registry.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// How many requests of a method had `part` in their path.
    pub(crate) fn count(&self, method: &Method, part: &str) -> usize {
        self.seen().iter().filter(|seen| seen.is(method, part)).count()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.tasks.token().cancel();
    }
}

async fn serve(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().unwrap().to_string();
    if path == "/v2/" {
        return say(StatusCode::OK, "{}");
    }
    let body = to_bytes(body, usize::MAX).await.unwrap();
    let mut seen = Seen { method: parts.method, path, headers: parts.headers, body, earlier: 0 };
    {
        let mut all = shared.seen.lock().unwrap();
        seen.earlier = all.iter().filter(|old| old.method == seen.method && old.place() == seen.place()).count();
        all.push(seen.clone());
    }
    match (shared.handler)(&seen) {
        Act::Answer(response) => response,
        Act::Pass => pass(&shared, seen).await,
        Act::PassAndSay(status) => {
            pass(&shared, seen).await;
            say(status, "")
        }
    }
}

async fn pass(shared: &Shared, seen: Seen) -> Response {
    let behind = shared.behind.as_ref().expect("there is a registry behind");
    let mut headers = seen.headers;
    // The `Host` stays: the registry makes addresses of it.
    headers.remove("authorization");
    headers.remove("transfer-encoding");
    let request = shared.passing.request(seen.method, format!("http://{behind}{}", seen.path));
    let answer = request.headers(headers).body(seen.body).send().await.unwrap();
    let mut response = Response::builder().status(answer.status());
    *response.headers_mut().unwrap() = answer.headers().clone();
    response.body(Body::from(answer.bytes().await.unwrap())).unwrap()
}

/// An answer with a JSON body.
pub(crate) fn say(status: StatusCode, body: impl Into<Body>) -> Response {
    say_with(status, &[("content-type", "application/json")], body)
}

/// An answer with headers.
pub(crate) fn say_with(status: StatusCode, headers: &[(&str, &str)], body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    for (name, value) in headers {
        response.headers_mut().append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    response
}

/// A body of `announced` bytes that breaks off after those given.
pub(crate) fn broken_off(status: StatusCode, announced: usize, given: Bytes) -> Response {
    let cut = async {
        // What was given is sent while nothing more is there.
        tokio::task::yield_now().await;
        Err(std::io::Error::other("cut"))
    };
    let body = Body::from_stream(futures::stream::iter([Ok(given)]).chain(futures::stream::once(cut)));
    say_with(status, &[("content-length", &announced.to_string())], body)
}
