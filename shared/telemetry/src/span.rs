//! One span: a piece of work with a beginning and an end.

use std::time::Duration;

use crate::{
    context::SpanContext,
    otlp::{self, Value, attribute},
    tracer::Tracer,
};

/// Longest text of an attribute, in characters.
const LONGEST: usize = 500;

/// A piece of work under way. It ends when it is dropped. Without a collector it records nothing and only passes on
/// what it belongs to.
#[derive(Debug, Default)]
pub struct Span {
    context: Option<SpanContext>,
    recorded: Option<Box<Recorded>>,
}

#[derive(Debug)]
struct Recorded {
    tracer: Tracer,
    name: &'static str,
    parent: Option<SpanContext>,
    start: Duration,
    attributes: Vec<otlp::KeyValue>,
    links: Vec<otlp::Link>,
    failed: bool,
}

impl Span {
    /// A span that is recorded from now on.
    pub(crate) fn begin(tracer: Tracer, name: &'static str, own: SpanContext, parent: Option<SpanContext>) -> Self {
        let start = tracer.now();
        let recorded =
            Recorded { tracer, name, parent, start, attributes: Vec::new(), links: Vec::new(), failed: false };
        Self { context: Some(own), recorded: Some(Box::new(recorded)) }
    }

    /// A span that is not recorded: what belongs to it belongs to its parent.
    pub(crate) fn silent(parent: Option<SpanContext>) -> Self {
        Self { context: parent, recorded: None }
    }

    /// What other spans name as their parent; `None` = there is no trace.
    pub fn context(&self) -> Option<SpanContext> {
        self.context
    }

    /// The same as text, for other processes.
    pub fn traceparent(&self) -> Option<String> {
        self.context.map(|context| context.to_string())
    }

    /// Gives it the id that `seed` names, so that another process can know it.
    #[must_use]
    pub fn named(mut self, seed: &str) -> Self {
        if self.recorded.is_some() {
            self.context = self.context.map(|context| context.named(seed));
        }
        self
    }

    /// Says that it began earlier, by [`Tracer::now`].
    #[must_use]
    pub fn since(mut self, start: Duration) -> Self {
        if let Some(recorded) = &mut self.recorded {
            recorded.start = start;
        }
        self
    }

    /// Adds an attribute.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: &str) -> Self {
        self.set(key, value);
        self
    }

    /// Adds an attribute. Never of free text: it may hold a secret.
    pub fn set(&mut self, key: &'static str, value: &str) {
        if let Some(recorded) = &mut self.recorded {
            let text = value.chars().take(LONGEST).collect();
            recorded.attributes.push(attribute(key, Value::Text(text)));
        }
    }

    /// Adds an attribute that is a number.
    pub fn set_number(&mut self, key: &'static str, value: i64) {
        if let Some(recorded) = &mut self.recorded {
            recorded.attributes.push(attribute(key, Value::Number(value)));
        }
    }

    /// Points at a span elsewhere that does the work.
    pub fn link(&mut self, other: SpanContext) {
        if let Some(recorded) = &mut self.recorded {
            recorded.links.push(otlp::Link { trace_id: other.trace.to_vec(), span_id: other.span.to_vec() });
        }
    }

    /// Says that it failed.
    pub fn fail(&mut self) {
        if let Some(recorded) = &mut self.recorded {
            recorded.failed = true;
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let (Some(recorded), Some(context)) = (self.recorded.take(), self.context) else { return };
        let Recorded { tracer, name, parent, start, attributes, links, failed } = *recorded;
        let end = tracer.now();
        let span = otlp::Span {
            trace_id: context.trace.to_vec(),
            span_id: context.span.to_vec(),
            parent_span_id: parent.map(|parent| parent.span.to_vec()).unwrap_or_default(),
            name: name.to_owned(),
            kind: otlp::INTERNAL,
            start: tracer.unix_nanos(start),
            end: tracer.unix_nanos(end),
            attributes,
            links,
            status: failed.then_some(otlp::Status { code: otlp::ERROR }),
        };
        tracer.take(span);
    }
}
