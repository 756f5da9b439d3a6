//! The spans of jobs: `run`, and `upload` of what that made. Both are part of the coordinator's `attempt`.

use slipway_protocol::{Assignment, Failure, Job};
use slipway_telemetry::{Span, SpanContext, Tracer};

/// Begins spans for one worker.
pub(crate) struct Traces {
    tracer: Tracer,
    worker: String,
    backend: String,
}

impl Traces {
    pub(crate) fn new(tracer: &Tracer, worker: &str, backend: &str) -> Self {
        let tracer = tracer.scoped("slipway-worker");
        Self { tracer, worker: worker.to_owned(), backend: backend.to_owned() }
    }

    /// A part of an attempt begins.
    pub(crate) fn begin(&self, name: &'static str, assignment: &Assignment) -> Span {
        let parent = assignment.traceparent.as_deref().and_then(|text| text.parse::<SpanContext>().ok());
        let span = self.tracer.child(name, parent);
        let span = span.with("slipway.worker", &self.worker).with("slipway.backend", &self.backend);
        let span = span.with("slipway.attempt", &assignment.attempt.id);
        match &assignment.job {
            Job::Stage(plan) => {
                let span = span.with("slipway.project", &plan.project).with("slipway.stage", plan.kind.name());
                span.with("slipway.digest", &plan.digest.to_string())
            }
            Job::Checksum(_) => span.with("slipway.stage", "checksum"),
            Job::Deliver(delivery) => {
                let span = span.with("slipway.stage", "deliver");
                span.with("slipway.digest", delivery.tag.split('-').next().unwrap_or_default())
            }
        }
    }
}

/// It has ended, with this failure or well.
pub(crate) fn end(mut span: Span, failure: Option<&Failure>) {
    if let Some(failure) = failure {
        span.fail();
        failure.exit.into_iter().for_each(|exit| span.set_number("slipway.exit_code", exit));
    }
}
