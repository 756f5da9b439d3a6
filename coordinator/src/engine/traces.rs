//! The spans of jobs: what builds wait for, and what the attempts at it do.
//!
//! ```text
//! stage                 a build wants a stage, until that is stored
//! ├─ queue              it waits for a worker
//! └─ attempt            a worker has it, until it is over
//!    ├─ wait            until the worker says that it has it
//!    ├─ run, upload     by the worker, to which the attempt's context travels
//!    └─ commit          it is published
//! ```
//!
//! A job that several builds want belongs to the trace of the first; the others' `stage` links to its.

use std::{collections::HashMap, time::Duration};

use slipway_protocol::{AttemptId, Outcome};
use slipway_telemetry::{Span, SpanContext, Tracer};

use crate::{
    effect::Published,
    scheduler::{End, Key, Step, Subscriber, Why},
};

/// Names of attributes.
pub(super) mod keys {
    pub(crate) const IMAGE: &str = "slipway.image";
    pub(crate) const STAGE: &str = "slipway.stage";
    pub(crate) const DIGEST: &str = "slipway.digest";
    pub(crate) const PLATFORM: &str = "slipway.platform";
    pub(super) const WORKER: &str = "slipway.worker";
    pub(super) const ATTEMPT: &str = "slipway.attempt";
    pub(super) const WHY: &str = "slipway.why";
    pub(super) const OUTCOME: &str = "slipway.outcome";
    pub(super) const EXIT: &str = "slipway.exit_code";
}

/// The spans of everything that is under way. Without a trace there are none.
pub(super) struct Traces {
    tracer: Tracer,
    stages: HashMap<Subscriber, Span>,
    jobs: HashMap<Key, JobTrace>,
    /// By id.
    attempts: HashMap<String, AttemptTrace>,
}

struct JobTrace {
    /// Of the `stage` that wanted it first.
    context: SpanContext,
    /// Since when it waits for a worker.
    since: Duration,
}

struct AttemptTrace {
    span: Span,
    wait: Option<Span>,
}

impl Traces {
    pub(super) fn new(tracer: Tracer) -> Self {
        Self {
            tracer: tracer.scoped("slipway-coordinator"),
            stages: HashMap::new(),
            jobs: HashMap::new(),
            attempts: HashMap::new(),
        }
    }

    /// A build, which belongs to the span `parent`, wants a job.
    pub(super) fn wanted(
        &mut self,
        number: Subscriber,
        key: &Key,
        parent: Option<SpanContext>,
        about: Vec<(&'static str, String)>,
    ) {
        let mut span = self.tracer.child("stage", parent);
        let Some(context) = span.context() else { return };
        about.iter().for_each(|(name, value)| span.set(name, value));
        match self.jobs.get(key) {
            Some(job) => span.link(job.context),
            None => drop(self.jobs.insert(key.clone(), JobTrace { context, since: self.tracer.now() })),
        }
        self.stages.insert(number, span);
    }

    /// Attempts have gone on.
    pub(super) fn follow(&mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Given { attempt, worker, why } => self.given(&attempt, &worker, why),
                Step::Accepted(attempt) => {
                    if let Some(known) = self.attempts.get_mut(&attempt.id) {
                        known.wait = None;
                    }
                }
                Step::Over(attempt) => {
                    self.attempts.remove(&attempt.id);
                    if let Some(job) = self.jobs.get_mut(attempt.job.as_str()) {
                        job.since = self.tracer.now();
                    }
                }
            }
        }
    }

    fn given(&mut self, attempt: &AttemptId, worker: &str, why: Why) {
        let Some(job) = self.jobs.get(attempt.job.as_str()) else { return };
        let parent = Some(job.context);
        if !matches!(why, Why::Doubled | Why::Adopted | Why::Again) {
            drop(self.tracer.child("queue", parent).since(job.since));
        }
        // Named after the attempt: a coordinator that takes it over goes on with the same span.
        let span = self.tracer.child("attempt", parent).named(&attempt.id);
        let span = span.with(keys::ATTEMPT, &attempt.id).with(keys::WORKER, worker).with(keys::WHY, why.name());
        let wait = self.tracer.child("wait", span.context()).with(keys::WORKER, worker);
        self.attempts.insert(attempt.id.clone(), AttemptTrace { span, wait: Some(wait) });
    }

    /// What the worker of an attempt is to name as its parent.
    pub(super) fn parent_of(&self, attempt: &AttemptId) -> Option<String> {
        self.attempts.get(&attempt.id).and_then(|known| known.span.traceparent())
    }

    /// The result of an attempt is being published, as long as the span lives.
    pub(super) fn commit(&self, attempt: &AttemptId) -> Span {
        let parent = self.attempts.get(&attempt.id).and_then(|known| known.span.context());
        self.tracer.child("commit", parent).with(keys::ATTEMPT, &attempt.id)
    }

    /// A job has ended for all who want it.
    pub(super) fn ended(&mut self, subscribers: &[Subscriber], key: &Key, end: &End) {
        self.forget(key);
        for number in subscribers {
            let Some(mut span) = self.stages.remove(number) else { continue };
            match end {
                End::Settled(outcome, _) => span.set(keys::OUTCOME, outcome_name(outcome)),
                End::Summed(_) => span.set(keys::OUTCOME, "summed"),
                End::Delivered => span.set(keys::OUTCOME, "delivered"),
                End::Failed(failure) => {
                    span.fail();
                    span.set(keys::OUTCOME, if failure.lost.is_some() { "lost" } else { "failed" });
                    failure.exit.into_iter().for_each(|exit| span.set_number(keys::EXIT, exit));
                }
            }
        }
    }

    /// A build no longer wants a job.
    pub(super) fn dropped(&mut self, number: Subscriber) {
        if let Some(mut span) = self.stages.remove(&number) {
            span.set(keys::OUTCOME, "dropped");
        }
    }

    /// A job is over.
    pub(super) fn forget(&mut self, key: &Key) {
        self.jobs.remove(key);
    }
}

/// How publishing ended.
pub(super) fn published(span: &mut Span, published: &Published) {
    match published {
        Published::Settled(outcome) => span.set(keys::OUTCOME, outcome_name(outcome)),
        Published::Ahead(..) => span.set(keys::OUTCOME, "committed"),
        Published::Vanished(_) => {
            span.fail();
            span.set(keys::OUTCOME, "vanished");
        }
        Published::Failed(_) => {
            span.fail();
            span.set(keys::OUTCOME, "failed");
        }
    }
}

fn outcome_name(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Committed(_) => "committed",
        Outcome::Superseded(_) => "superseded",
        Outcome::Dropped => "dropped",
    }
}
