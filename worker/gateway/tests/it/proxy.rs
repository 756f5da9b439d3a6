//! A proxy that counts requests and answers some of them itself.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
};

use axum::{body::Body, response::Response};
use http::{Method, Request, StatusCode, header};
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use slipway_process::Tasks;
use tokio::net::TcpListener;

type Rule = Box<dyn FnMut(&Method, &str) -> Option<(StatusCode, &'static str)> + Send>;

/// The proxy; dropping it leaves it running until the test ends.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) address: String,
    state: Arc<State>,
}

struct State {
    upstream: String,
    client: reqwest::Client,
    log: Mutex<Vec<(Method, String)>>,
    rule: Mutex<Rule>,
}

impl Proxy {
    pub(crate) async fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let state = Arc::new(State {
            upstream: upstream.to_owned(),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            log: Mutex::default(),
            rule: Mutex::new(Box::new(|_, _| None)),
        });
        let proxy = Self { address: listener.local_addr().unwrap().to_string(), state: Arc::clone(&state) };
        let tasks = Tasks::new();
        let own = tasks.clone();
        drop(tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&state);
                let service = service_fn(move |request| {
                    let state = Arc::clone(&state);
                    async move { Ok::<_, Infallible>(state.pass(request).await) }
                });
                drop(own.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service)));
            }
        }));
        proxy
    }

    /// Answers requests (method, path with query) itself where `rule` says so.
    pub(crate) fn set_rule(
        &self,
        rule: impl FnMut(&Method, &str) -> Option<(StatusCode, &'static str)> + Send + 'static,
    ) {
        *self.state.rule.lock().unwrap() = Box::new(rule);
    }

    /// Requests so far that `wanted` chooses.
    pub(crate) fn count(&self, wanted: impl Fn(&Method, &str) -> bool) -> usize {
        self.state.log.lock().unwrap().iter().filter(|(method, path)| wanted(method, path)).count()
    }

    /// Forgets what was counted.
    pub(crate) fn reset(&self) {
        self.state.log.lock().unwrap().clear();
    }
}

impl State {
    async fn pass(&self, request: Request<hyper::body::Incoming>) -> Response {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().unwrap().to_string();
        self.log.lock().unwrap().push((parts.method.clone(), path.clone()));
        let ruled = (self.rule.lock().unwrap())(&parts.method, &path);
        if let Some((status, text)) = ruled {
            // Real servers read on, too; else the sender may not see the answer.
            let _ = axum::body::to_bytes(Body::new(body), usize::MAX).await;
            let mut answer = Response::new(Body::from(text));
            *answer.status_mut() = status;
            answer.headers_mut().insert(header::RETRY_AFTER, "0".parse().unwrap());
            return answer;
        }
        let mut headers = parts.headers;
        headers.remove(header::HOST);
        let stream = Body::new(body).into_data_stream();
        let mut outgoing = self
            .client
            .request(parts.method.clone(), format!("http://{}{path}", self.upstream))
            .headers(headers.clone());
        if headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING) {
            outgoing = outgoing.body(reqwest::Body::wrap_stream(stream));
        }
        let incoming = match outgoing.send().await {
            Ok(incoming) => incoming,
            Err(_) => {
                let mut answer = Response::new(Body::empty());
                *answer.status_mut() = StatusCode::BAD_GATEWAY;
                return answer;
            }
        };
        let mut answer = Response::new(Body::empty());
        *answer.status_mut() = incoming.status();
        *answer.headers_mut() = incoming.headers().clone();
        answer.headers_mut().remove(header::TRANSFER_ENCODING);
        answer.headers_mut().remove(header::CONNECTION);
        if parts.method != Method::HEAD {
            *answer.body_mut() = Body::from_stream(incoming.bytes_stream());
        }
        answer
    }
}
