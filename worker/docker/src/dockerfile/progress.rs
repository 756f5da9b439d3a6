//! What the engine tells while it builds: lines for the log, the step it is at, the image it made.

use std::collections::{HashMap, HashSet};

use bollard::moby::buildkit::v1::{StatusResponse, Vertex};
use bollard::models::{BuildInfo, BuildInfoAux};
use slipway_backend::{
    Logs, Secrets,
    output::{Output, Stream},
    scrub::Masks,
};

/// Steps that are remembered, so that each is announced once.
const MAX_STEPS: usize = 100_000;

/// A build under way.
pub(super) struct Progress {
    logs: Logs,
    masks: Masks,
    output: Output,
    started: HashSet<String>,
    /// The output of steps that run, each on its own: they run beside each other, and a secret or a line may come in
    /// pieces.
    steps: HashMap<String, Output>,
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
    /// Progress to `logs`, cleaned of secrets.
    pub(super) fn new(logs: Logs, secrets: &Secrets) -> Self {
        let masks = Masks::of(secrets);
        let output = Output::new(logs.clone(), None, &masks);
        Self { logs, masks, output, started: HashSet::new(), steps: HashMap::new(), ended: Ended::default() }
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
        for vertex in &status.vertexes {
            if vertex.started.is_some() && self.started.len() < MAX_STEPS && self.started.insert(vertex.digest.clone())
            {
                let line = format!("{}{}\n", vertex.name, if vertex.cached { " (cached)" } else { "" });
                self.output.push(Stream::Out, line.as_bytes()).await;
            }
        }
        for log in status.logs {
            let from = if log.stream == 2 { Stream::Err } else { Stream::Out };
            let (logs, masks) = (&self.logs, &self.masks);
            let output = self.steps.entry(log.vertex).or_insert_with(|| Output::new(logs.clone(), None, masks));
            output.push(from, &log.msg).await;
        }
        for vertex in status.vertexes.into_iter().filter(|vertex| vertex.completed.is_some()) {
            self.complete(vertex).await;
        }
    }

    /// A step is over.
    async fn complete(&mut self, vertex: Vertex) {
        let tail = match self.steps.remove(&vertex.digest) {
            Some(output) => output.finish().await.1,
            None => Vec::new(),
        };
        // Steps that ran beside the one that failed are cancelled, which is no failure of theirs.
        if !vertex.error.is_empty() && !vertex.error.contains("context canceled") {
            self.ended.failed = Some(vertex.name);
            self.ended.tail = tail;
        }
    }

    pub(super) async fn finish(mut self) -> Ended {
        for (_, output) in self.steps.drain() {
            output.finish().await;
        }
        let (_, tail) = self.output.finish().await;
        if self.ended.tail.is_empty() {
            self.ended.tail = tail;
        }
        self.ended
    }
}

/// The number in `Step 3/7 : RUN …`.
fn step_number(text: &str) -> Option<usize> {
    let (number, _) = text.strip_prefix("Step ")?.split_once('/')?;
    number.parse().ok()
}
