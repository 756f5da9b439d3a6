//! What the engine tells while it builds: lines for the log, the step it is at, the image it made.

use std::collections::HashSet;

use bollard::moby::buildkit::v1::StatusResponse;
use bollard::models::{BuildInfo, BuildInfoAux};
use slipway_backend::{
    Logs,
    output::{Output, Stream},
    scrub::Masks,
};

/// Steps that are remembered, so that each is announced once.
const MAX_STEPS: usize = 100_000;

/// A build under way.
pub(super) struct Progress {
    output: Output,
    started: HashSet<String>,
    ended: Ended,
}

/// How far a build came.
#[derive(Default)]
pub(super) struct Ended {
    /// The image, when there is one.
    pub(super) image: Option<String>,
    /// Number of the last step of the classic builder, from 1.
    pub(super) step: Option<usize>,
    /// Name of the step that failed in BuildKit.
    pub(super) failed: Option<String>,
    /// The last lines of output.
    pub(super) tail: Vec<String>,
}

impl Progress {
    pub(super) fn new(logs: Logs) -> Self {
        Self { output: Output::new(logs, None, &Masks::default()), started: HashSet::new(), ended: Ended::default() }
    }

    pub(super) async fn take(&mut self, info: BuildInfo) {
        if let Some(text) = info.stream {
            if let Some(step) = step_number(&text) {
                self.ended.step = Some(step);
            }
            self.output.push(Stream::Out, text.as_bytes()).await;
        }
        match info.aux {
            Some(BuildInfoAux::Default(image)) => self.ended.image = image.id.or(self.ended.image.take()),
            Some(BuildInfoAux::BuildKit(status)) => self.take_status(status).await,
            None => {}
        }
    }

    async fn take_status(&mut self, status: StatusResponse) {
        for vertex in status.vertexes {
            if vertex.started.is_some() && self.started.len() < MAX_STEPS && self.started.insert(vertex.digest) {
                let line = format!("{}{}\n", vertex.name, if vertex.cached { " (cached)" } else { "" });
                self.output.push(Stream::Out, line.as_bytes()).await;
            }
            // Steps that ran beside the one that failed are cancelled, which is no failure of theirs.
            if !vertex.error.is_empty() && !vertex.error.contains("context canceled") {
                self.ended.failed = Some(vertex.name);
            }
        }
        for log in status.logs {
            let from = if log.stream == 2 { Stream::Err } else { Stream::Out };
            self.output.push(from, &log.msg).await;
        }
    }

    pub(super) async fn finish(mut self) -> Ended {
        let (_, tail) = self.output.finish().await;
        self.ended.tail = tail;
        self.ended
    }
}

/// The number in `Step 3/7 : RUN …`.
fn step_number(text: &str) -> Option<usize> {
    let (number, _) = text.strip_prefix("Step ")?.split_once('/')?;
    number.parse().ok()
}
