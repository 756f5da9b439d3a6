//! A coordinator that says what a test wants.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::Request,
    response::Response,
};
use slipway_client::{Addresses, Client, Token};
use slipway_process::{SystemClock, Tasks};
use slipway_protocol::{Code, Refusal};
use tokio::net::TcpListener;

/// What came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    /// With its query.
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    pub(crate) body: Bytes,
}

/// What is answered.
pub(crate) enum Say {
    /// A status and a body.
    Body(u16, Vec<u8>),
    /// These chunks, then the connection breaks off.
    Broken(Vec<Vec<u8>>),
    /// Nothing, ever.
    Nothing,
}

impl Say {
    pub(crate) fn json(value: &impl serde::Serialize) -> Self {
        Self::Body(200, serde_json::to_vec(value).expect("JSON"))
    }

    pub(crate) fn refuse(code: Code, leader: Option<&str>) -> Self {
        let refusal = Refusal { code, message: "said no".to_owned(), leader: leader.map(str::to_owned) };
        Self::Body(code.status(), serde_json::to_vec(&refusal).expect("JSON"))
    }
}

/// A running one. `/livez` is always answered, but by a deaf one.
pub(crate) struct Script {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    says: Arc<Mutex<VecDeque<Say>>>,
    _tasks: Tasks,
}

impl Script {
    /// One that gives these answers in turn; a call beyond them is never answered.
    pub(crate) async fn new(says: Vec<Say>) -> Self {
        Self::start(says, true).await
    }

    /// One that takes connections and answers nothing at all, as a stopped process does.
    pub(crate) async fn deaf() -> Self {
        Self::start(Vec::new(), false).await
    }

    async fn start(says: Vec<Say>, lives: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        let (asked, says) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(VecDeque::from(says))));
        let (heard, script) = (Arc::clone(&asked), Arc::clone(&says));
        let handler = move |request: Request| answer(request, Arc::clone(&heard), Arc::clone(&script), lives);
        let tasks = Tasks::new();
        let serve = axum::serve(listener, Router::new().fallback(handler));
        tasks.spawn(async move { serve.await });
        Self { url, asked, says, _tasks: tasks }
    }

    /// What came so far, signs of life excepted.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.path).collect()
    }

    /// One more answer.
    pub(crate) fn say(&self, say: Say) {
        self.says.lock().unwrap_or_else(PoisonError::into_inner).push_back(say);
    }
}

async fn answer(
    request: Request,
    asked: Arc<Mutex<Vec<Asked>>>,
    says: Arc<Mutex<VecDeque<Say>>>,
    lives: bool,
) -> Response {
    let (head, body) = request.into_parts();
    if head.uri.path() == "/livez" && lives {
        return Response::new(Body::from("ok"));
    }
    let body = to_bytes(body, 1 << 20).await.expect("a body");
    let authorization = head.headers.get("authorization").map(|value| value.to_str().expect("text").to_owned());
    let (method, path) = (head.method.to_string(), head.uri.to_string());
    asked.lock().unwrap_or_else(PoisonError::into_inner).push(Asked { method, path, authorization, body });
    let say = says.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    match say.unwrap_or(Say::Nothing) {
        Say::Body(status, body) => Response::builder().status(status).body(Body::from(body)).expect("a response"),
        Say::Broken(chunks) => {
            let chunks = chunks.into_iter().map(Ok::<_, std::io::Error>);
            let broken = std::iter::once(Err(std::io::Error::other("broken off")));
            Response::new(Body::from_stream(Chunks { left: chunks.chain(broken).collect(), paused: false }))
        }
        Say::Nothing => std::future::pending().await,
    }
}

/// Chunks as a stream with a pause after each, in which it is sent.
struct Chunks {
    left: VecDeque<Result<Vec<u8>, std::io::Error>>,
    paused: bool,
}

impl futures::Stream for Chunks {
    type Item = Result<Vec<u8>, std::io::Error>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.paused = !self.paused;
        if self.paused {
            context.waker().wake_by_ref();
            return std::task::Poll::Pending;
        }
        std::task::Poll::Ready(self.left.pop_front())
    }
}

/// A client of these coordinators, with the token `hush`.
pub(crate) fn client(urls: &[&str]) -> Client {
    let addresses = Addresses::new(urls).expect("addresses");
    let token = Token::new("hush").expect("a token");
    Client::new(addresses, Some(token), Arc::new(SystemClock::new(None))).expect("a client")
}
