//! Begins spans, and hands those that have ended to the exporter.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use slipway_process::{Clock, Environment, Tasks};
use tokio::sync::{mpsc, oneshot};

use crate::{
    context::SpanContext,
    export::{Exporter, Item, Known},
    otlp,
    settings::Settings,
    span::Span,
};

/// Spans that may wait for the exporter; more are left out.
const WAITING: usize = 8192;
/// How long the end of a process may be held up by spans that are not sent yet.
const FLUSH: Duration = Duration::from_secs(2);

/// Begins spans. Cheap to clone. Without a collector, which is the default, it records nothing.
#[derive(Clone, Default)]
pub struct Tracer {
    inner: Option<Arc<Inner>>,
    scope: &'static str,
}

struct Inner {
    items: mpsc::Sender<Item>,
    clock: Arc<dyn Clock>,
    /// Nanoseconds from the Unix epoch to the beginning of the clock.
    origin: u64,
    known: Arc<Known>,
}

impl Tracer {
    /// A tracer for the program part `service` that sends to the collector that the environment names; says in the log
    /// why it does not when that is wrong.
    pub fn open(environment: &Environment, service: &'static str, clock: Arc<dyn Clock>) -> Self {
        match Settings::new(environment, service) {
            Ok(None) => Self::default(),
            Ok(Some(settings)) => Self::start(settings, clock),
            Err(error) => {
                tracing::warn!("no traces are sent: {error}");
                Self::default()
            }
        }
    }

    /// A tracer that sends to this collector.
    pub fn start(settings: Settings, clock: Arc<dyn Clock>) -> Self {
        let known = Arc::new(Known::default());
        let exporter = match Exporter::new(settings, Arc::clone(&known)) {
            Ok(exporter) => exporter,
            Err(why) => {
                tracing::warn!("no traces are sent: {why}");
                return Self::default();
            }
        };
        let (items, waiting) = mpsc::channel(WAITING);
        // It ends with the last tracer.
        drop(Tasks::new().spawn(exporter.run(waiting)));
        let origin = (clock.unix_millis() * 1_000_000).saturating_sub(nanos(clock.monotonic()));
        Self { inner: Some(Arc::new(Inner { items, clock, origin, known })), scope: "slipway" }
    }

    /// The same for another part of the program.
    #[must_use]
    pub fn scoped(&self, scope: &'static str) -> Self {
        Self { scope, ..self.clone() }
    }

    /// Whether anything is recorded.
    pub fn is_on(&self) -> bool {
        self.inner.is_some()
    }

    /// The first span of a trace. The same seed is the same trace, whoever begins it.
    pub fn root(&self, name: &'static str, seed: &str) -> Span {
        if self.inner.is_none() {
            return Span::default();
        }
        Span::begin(self.clone(), name, SpanContext::root(seed), None)
    }

    /// A span that belongs to another; without one it is no span.
    pub fn child(&self, name: &'static str, parent: Option<SpanContext>) -> Span {
        match parent {
            Some(parent) if self.is_on() && parent.sampled => {
                Span::begin(self.clone(), name, parent.sibling(), Some(parent))
            }
            other => Span::silent(other),
        }
    }

    /// The time, for [`Span::since`].
    pub fn now(&self) -> Duration {
        self.inner.as_ref().map(|inner| inner.clock.monotonic()).unwrap_or_default()
    }

    /// Waits, for a short while at most, until all spans that have ended are sent.
    pub async fn flush(&self) {
        let Some(inner) = &self.inner else { return };
        let (reply, sent) = oneshot::channel();
        let flushed = async {
            if inner.items.send(Item::Flush(reply)).await.is_ok() {
                let _ = sent.await;
            }
        };
        let late = tokio::time::timeout(FLUSH, flushed).await.is_err();
        if late && !inner.known.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!("the collector of traces does not answer: the last spans are not sent");
        }
    }

    pub(crate) fn unix_nanos(&self, moment: Duration) -> u64 {
        self.inner.as_ref().map_or(0, |inner| inner.origin.saturating_add(nanos(moment)))
    }

    pub(crate) fn take(&self, span: otlp::Span) {
        let Some(inner) = &self.inner else { return };
        if inner.items.try_send(Item::Span(self.scope, Box::new(span))).is_err() {
            inner.known.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl fmt::Debug for Tracer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tracer({}, {})", self.scope, if self.is_on() { "on" } else { "off" })
    }
}
