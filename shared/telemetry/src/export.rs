//! Sends spans to the collector, many at once. What cannot be sent waits a little, and is left out then.

use std::{
    error::Error as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use prost::Message as _;
use reqwest::{Client, StatusCode, header::CONTENT_TYPE};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout_at},
};

use crate::{
    otlp::{self, Request, Resource, ResourceSpans, Scope, ScopeSpans, Value, attribute},
    settings::Settings,
};

/// How long a span waits for others to be sent with.
const LINGER: Duration = Duration::from_secs(1);
/// How many are sent without waiting for more.
const BATCH: usize = 512;
/// How many are kept while the collector is away.
const KEPT: usize = 4096;
/// Pause after a call that failed.
const PAUSE: Duration = Duration::from_secs(5);
/// How long a collector may take to take a connection.
const CONNECT: Duration = Duration::from_secs(3);

/// What reaches the exporter.
pub(crate) enum Item {
    /// A span of this part of the program has ended.
    Span(&'static str, Box<otlp::Span>),
    /// Send what there is, and answer.
    Flush(oneshot::Sender<()>),
}

/// What exporter and tracers know of each other.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// Spans that were left out.
    pub(crate) lost: AtomicU64,
    /// Whether it was said that the collector is away: it is said once in the life of a process.
    pub(crate) warned: AtomicBool,
}

/// A call that failed.
struct Trouble {
    why: String,
    /// Whether the same spans may be taken later.
    again: bool,
}

pub(crate) struct Exporter {
    settings: Settings,
    client: Client,
    batch: Vec<(&'static str, otlp::Span)>,
    /// When the batch is sent, should nothing hurry it.
    due: Instant,
    /// Whether the last call failed.
    away: bool,
    known: Arc<Known>,
}

impl Exporter {
    pub(crate) fn new(settings: Settings, known: Arc<Known>) -> Result<Self, String> {
        // Another part of the program may have installed one already: any will do.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let is_here = settings.endpoint.host_str().is_some_and(|host| {
            let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
            host == "localhost" || address.is_ok_and(|address| address.is_loopback())
        });
        let builder = || {
            let builder = Client::builder()
                .user_agent(concat!("slipway/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(CONNECT)
                .timeout(settings.timeout)
                .redirect(reqwest::redirect::Policy::none());
            if is_here { builder.no_proxy() } else { builder }
        };
        // A machine without any certificates can still talk plain HTTP; HTTPS will say that nothing is trusted.
        let client = builder().build().or_else(|_| builder().tls_certs_only([]).build());
        let client = client.map_err(|error| cause(&error))?;
        Ok(Self { settings, client, batch: Vec::new(), due: Instant::now(), away: false, known })
    }

    /// Sends what comes until nobody is left who could send more.
    pub(crate) async fn run(mut self, mut items: mpsc::Receiver<Item>) {
        loop {
            let next =
                if self.batch.is_empty() { Ok(items.recv().await) } else { timeout_at(self.due, items.recv()).await };
            match next {
                Ok(Some(Item::Span(scope, span))) => self.add(scope, *span).await,
                Ok(Some(Item::Flush(reply))) => {
                    self.send().await;
                    // Who no longer waits need not know.
                    let _ = reply.send(());
                }
                Ok(None) => return self.send().await,
                Err(_) => self.send().await,
            }
        }
    }

    async fn add(&mut self, scope: &'static str, span: otlp::Span) {
        if self.batch.len() >= KEPT {
            self.known.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        if self.batch.is_empty() {
            self.due = Instant::now() + LINGER;
        }
        self.batch.push((scope, span));
        if self.batch.len() >= BATCH && !self.away {
            self.send().await;
        }
    }

    async fn send(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        match self.call().await {
            Ok(()) => {
                self.batch.clear();
                if std::mem::take(&mut self.away) {
                    let lost = self.known.lost.swap(0, Ordering::Relaxed);
                    tracing::info!("traces are sent to {} again; {lost} spans were left out", self.settings.place());
                }
            }
            Err(trouble) => {
                self.away = true;
                self.due = Instant::now() + PAUSE;
                let text = format!("traces are not sent to {}: {}", self.settings.place(), trouble.why);
                if self.known.warned.swap(true, Ordering::Relaxed) {
                    tracing::debug!("{text}");
                } else {
                    tracing::warn!("{text}; builds go on without them");
                }
                if !trouble.again {
                    self.known.lost.fetch_add(self.batch.len() as u64, Ordering::Relaxed);
                    self.batch.clear();
                }
            }
        }
    }

    async fn call(&self) -> Result<(), Trouble> {
        let body = request(&self.settings.resource, &self.batch).encode_to_vec();
        let mut call = self.client.post(self.settings.endpoint.clone()).header(CONTENT_TYPE, "application/x-protobuf");
        for (name, value) in &self.settings.headers {
            call = call.header(name, value);
        }
        let answer = call.body(body).send().await.map_err(|error| Trouble { why: cause(&error), again: true })?;
        let status = answer.status();
        let again = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        );
        if status.is_success() { Ok(()) } else { Err(Trouble { why: format!("it answers {status}"), again }) }
    }
}

fn request(resource: &[(String, String)], batch: &[(&'static str, otlp::Span)]) -> Request {
    let attributes = resource.iter().map(|(key, value)| attribute(key, Value::Text(value.clone()))).collect();
    let mut scopes: Vec<ScopeSpans> = Vec::new();
    for (scope, span) in batch {
        let is_it = |known: &&mut ScopeSpans| known.scope.as_ref().is_some_and(|known| known.name == *scope);
        match scopes.iter_mut().find(is_it) {
            Some(known) => known.spans.push(span.clone()),
            None => {
                let name = Scope { name: (*scope).to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
                scopes.push(ScopeSpans { scope: Some(name), spans: vec![span.clone()] });
            }
        }
    }
    Request { resource_spans: vec![ResourceSpans { resource: Some(Resource { attributes }), scope_spans: scopes }] }
}

/// The innermost reason: what a user can do something about.
fn cause(error: &reqwest::Error) -> String {
    let mut inner = error.source();
    let mut text = None;
    while let Some(error) = inner {
        text = Some(error.to_string());
        inner = error.source();
    }
    text.unwrap_or_else(|| if error.is_timeout() { "it takes too long".to_owned() } else { "it failed".to_owned() })
}
