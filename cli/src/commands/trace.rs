//! The span of a build as its user sees it: from the start of the command to its end.

use slipway_oci::Repo;
use slipway_process::{Environment, random_id};
use slipway_stages::{Graph, Settings};
use slipway_telemetry::{Span, SpanContext, Tracer, context::TRACEPARENT};

use crate::failure::{Exit, Failure};

/// Begins it: as a part of what the environment names, or as a trace of its own.
pub(super) fn begin(tracer: &Tracer, environment: &Environment) -> Span {
    let parent = environment.non_empty(TRACEPARENT).and_then(|text| match text.parse::<SpanContext>() {
        Ok(parent) => Some(parent),
        Err(error) => {
            tracing::warn!("{TRACEPARENT}: {error}; it is ignored");
            None
        }
    });
    match parent {
        Some(parent) => tracer.child("slipway build", Some(parent)),
        None => tracer.root("slipway build", &random_id()),
    }
}

/// Says what is built.
pub(super) fn describe(span: &mut Span, (settings, graph): (&Settings, &Graph), repo: Option<&Repo>) {
    let platforms: Vec<String> = graph.platforms().iter().map(ToString::to_string).collect();
    span.set("slipway.project", &settings.project);
    span.set("slipway.commit", &settings.commit.to_string());
    span.set("slipway.platform", &platforms.join(","));
    if let Some(repo) = repo {
        span.set("slipway.repo", &repo.to_string());
    }
}

/// Ends it, with this failure or well.
pub(super) fn end(mut span: Span, failure: Option<&Failure>) {
    let (code, outcome) = match failure {
        None => (0, "succeeded"),
        Some(failure) => {
            span.fail();
            let outcome = if matches!(failure.exit, Exit::Interrupted) { "cancelled" } else { "failed" };
            (failure.exit.code(), outcome)
        }
    };
    span.set_number("slipway.exit_code", i64::from(code));
    span.set("slipway.outcome", outcome);
}
