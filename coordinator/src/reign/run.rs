//! One build from its beginning to its end.

use std::{sync::Arc, time::Duration};

use slipway_config::ImageName;
use slipway_digest::CommitId;
use slipway_git::GitView;
use slipway_protocol::{BuildEvent, BuildState, BuildSummary, SubmitRequest};
use slipway_stages::{
    Graph, Invalid,
    build::{BuildFailure, BuiltImage},
};
use slipway_telemetry::{Span, SpanContext};
use tokio::sync::mpsc;

use super::{Entry, Reign};
use crate::{
    engine::{BuildId, Event, Submission},
    outside::Outside,
    places::Place,
    ready,
    spool::Writer,
    store::StoreError,
};

/// Events that are written at once.
const BATCH: usize = 512;
/// Pause before something is tried again that should have worked.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a build that waits for commits looks again, should it miss the push.
const LOOK_EVERY: Duration = Duration::from_secs(15);
/// How long the end of a build is kept from its followers while it cannot be stored.
const STORING: Duration = Duration::from_secs(5);

/// What is built, read and checked.
pub(super) struct Work {
    pub(super) request: SubmitRequest,
    pub(super) graph: Graph,
}

/// A build that the engine can take.
struct Prepared {
    submission: Submission,
    place: Arc<Place>,
    span: Span,
}

type Ending = Result<Vec<BuiltImage>, BuildFailure>;

impl Reign {
    /// Runs a build to its end, and writes down what happens.
    pub(super) async fn run(&self, entry: Arc<Entry>, work: Option<Work>, mut writer: Writer) {
        let resumed = work.is_none();
        let Some(ending) = self.build(&entry, work, &mut writer).await else { return };
        let summary = ended(entry.summary(), &ending, self.parts.clock.unix_millis());
        tracing::info!(build = %entry.name(), resumed, state = ?summary.state, "a build is over");
        self.parts.metrics.build_ended(summary.state);
        // Of a large build it is long: it is made once, and nothing else of the build is kept beside it.
        let text = Arc::new(serde_json::to_string(&ending).unwrap_or_default());
        drop(ending);
        // A build whose end is not stored is run again by the next leader, which finds all of it done.
        let mut storing = std::pin::pin!(self.store_end(&entry, &summary, &text));
        let stored = tokio::time::timeout(STORING, &mut storing).await;
        entry.ended(summary.clone());
        finish(&mut writer, Arc::clone(&text)).await;
        writer.close();
        if stored.is_err() {
            storing.await;
        }
    }

    /// The build itself; `None` when the term ended first.
    async fn build(&self, entry: &Entry, work: Option<Work>, writer: &mut Writer) -> Option<Ending> {
        let prepared = tokio::select! {
            biased;
            () = entry.cancelled() => return Some(Err(BuildFailure::Cancelled)),
            prepared = self.prepare(entry, work, writer) => prepared,
        };
        let Prepared { submission, place, mut span } = match prepared {
            Ok(prepared) => prepared,
            Err(failure) => return Some(Err(failure)),
        };
        // A cleanup waits for it, and so the stages that it uses stay.
        let (ledger, name) = (place.shared().ledger(), entry.name().as_str());
        if let Err(error) = ledger.mark_live(name, &format!("build {name} of a cluster")).await {
            let why = format!("note that the build runs: {error}");
            return Some(Err(BuildFailure::Unanswered { image: nameless(), why }));
        }
        let (id, events) = self.engine.submit(submission).await?;
        entry.runs_as(id);
        let ending = self.write_events(entry, id, events, writer).await;
        // Without an ending, the next leader goes on with it.
        if ending.is_some()
            && let Err(error) = ledger.end_live(name).await
        {
            tracing::warn!("note that build {name} has ended: {error}; a cleanup waits until `live/{name}` is removed");
        }
        drop(place);
        if let Some(ending) = &ending {
            note(&mut span, ending);
        }
        ending
    }

    async fn write_events(
        &self,
        entry: &Entry,
        id: BuildId,
        mut events: mpsc::Receiver<Event>,
        writer: &mut Writer,
    ) -> Option<Ending> {
        let (mut batch, mut given_up) = (Vec::new(), false);
        loop {
            tokio::select! {
                received = events.recv_many(&mut batch, BATCH) => {
                    if received == 0 {
                        return None;
                    }
                    let (told, ending) = tell(batch.drain(..));
                    writer.append(told).await;
                    if ending.is_some() {
                        return ending;
                    }
                }
                () = entry.cancelled(), if !given_up => {
                    given_up = true;
                    self.engine.cancel(id).await;
                }
                () = tokio::time::sleep(PAUSE), if writer.is_behind() => writer.append([]).await,
            }
        }
    }

    /// Everything that a build needs before the engine takes it.
    async fn prepare(&self, entry: &Entry, work: Option<Work>, writer: &mut Writer) -> Result<Prepared, BuildFailure> {
        let started = self.parts.tracer.now();
        let work = match work {
            Some(work) => work,
            None => self.read_again(entry).await?,
        };
        let mut span = self.span(entry, &work.request).since(started);
        let image = work.request.images.first().cloned().unwrap_or_else(nameless);
        let unanswered = |why: String| BuildFailure::Unanswered { image: image.clone(), why };
        let opened = async {
            self.wait_for_commits(entry, &work.request, writer).await?;
            let place = self.parts.places.open(&work.request.repo).await?;
            let outside = self.outside(&work.request, &place)?;
            let secrets = self.wait_for_secrets(entry, (&work.graph, work.request.ssh_keys), writer).await?;
            Ok((place, outside, secrets))
        };
        let (place, outside, secrets) = opened.await.map_err(unanswered).inspect_err(|_| span.fail())?;
        let graph = self.with_parts(&work, Arc::clone(&outside.git)).await.inspect_err(|_| span.fail())?;
        let build = ready::build(&work.request, graph, entry.name());
        let requires = work.request.requires.clone();
        let commands = work.request.commands.clone();
        let submission = Submission { build, outside, trace: span.context(), requires, commands, secrets };
        Ok(Prepared { submission, place, span })
    }

    /// The images of a build, now that the commits are here which say what staged Dockerfiles are made of.
    async fn with_parts(&self, work: &Work, git: Arc<dyn GitView>) -> Result<Graph, BuildFailure> {
        let (request, graph) = (work.request.clone(), work.graph.clone());
        let apart = self.tasks.blocking(move || ready::with_parts(&request, &graph, git.as_ref())).await;
        apart.map_err(|error| BuildFailure::Invalid {
            image: error.image,
            invalid: Invalid { message: error.why, line: Some(error.line) },
        })
    }

    /// The span of a build: part of what its client does, when that says so.
    fn span(&self, entry: &Entry, request: &SubmitRequest) -> Span {
        let parent = request.traceparent.as_deref().and_then(|text| text.parse::<SpanContext>().ok());
        let tracer = self.parts.tracer.scoped("slipway-coordinator");
        let span = match parent {
            Some(parent) => tracer.child("build", Some(parent)),
            // Named after the build: every coordinator that goes on with it goes on with its trace.
            None => tracer.root("build", entry.name().as_str()),
        };
        let commit = request.commit.to_string();
        let span = span.with("slipway.build", entry.name().as_str()).with("slipway.project", &request.project);
        span.with("slipway.commit", &commit).with("slipway.repo", &request.repo.to_string())
    }

    /// What was submitted to an earlier leader.
    async fn read_again(&self, entry: &Entry) -> Result<Work, BuildFailure> {
        let unanswered = |why: String| BuildFailure::Unanswered { image: nameless(), why };
        let text = loop {
            match self.parts.store.request(entry.name()).await {
                Ok(text) => break text,
                Err(error) => {
                    tracing::warn!("read what was submitted as build {}: {error}", entry.name());
                    tokio::time::sleep(PAUSE).await;
                }
            }
        };
        if let Err(error) = self.parts.store.revive(entry.name()).await {
            tracing::warn!("mark the build {} as alive: {error}", entry.name());
        }
        let read = move || {
            let request: SubmitRequest =
                serde_json::from_str(&text).map_err(|error| format!("read what was submitted: {error}"))?;
            let graph = ready::graph(&request)?;
            Ok(Work { request, graph })
        };
        self.tasks.blocking(read).await.map_err(unanswered)
    }

    /// Waits until all commits of a build are here. After a change of leader they may have to be pushed again.
    async fn wait_for_commits(
        &self,
        entry: &Entry,
        request: &SubmitRequest,
        writer: &mut Writer,
    ) -> Result<(), String> {
        let commits = ready::commits(request);
        let limits = &self.parts.limits;
        // A client that follows pushes again by itself.
        let patience = if request.detached { limits.detached_sources } else { limits.sources };
        let deadline = self.parts.clock.monotonic() + patience;
        let mut told = false;
        loop {
            let pushed = self.pushed.notified();
            let missing = self.parts.mirrors.missing(&request.project, &commits).await;
            let missing = missing.map_err(|error| error.to_string())?;
            entry.waits_for(&missing);
            let Some(first) = missing.first() else { return Ok(()) };
            if self.parts.clock.monotonic() >= deadline {
                return Err(format!(
                    "commit {first} is not on this coordinator, and nobody has pushed it within {} s: the build was \
                     submitted to another coordinator, which is gone; run `slipway build` again",
                    patience.as_secs()
                ));
            }
            if !std::mem::replace(&mut told, true) {
                let how = format!("; `slipway attach {}` in a clone that has it does so", entry.name());
                let how = if request.detached { how } else { String::new() };
                let within = patience.as_secs();
                let notice =
                    format!("the leader has changed: waiting {within} s for commit {first} to be pushed again{how}");
                writer.append([BuildEvent::Notice(notice)]).await;
            }
            // Either way it looks again.
            let _ = tokio::time::timeout(LOOK_EVERY.min(patience), pushed).await;
        }
    }

    fn outside(&self, request: &SubmitRequest, place: &Place) -> Result<Outside, String> {
        let repository = self.parts.mirrors.repository(&request.project);
        let repository = repository.map_err(|error| format!("open the mirror of the project: {error}"))?;
        Ok(Outside {
            git: Arc::new(repository),
            primary: Arc::clone(&place.stages),
            local: None,
            images: None,
            beside: self.parts.places.beside(&request.others),
            custom_tags: self.parts.places.custom_tags(request),
            bases: Arc::clone(&self.parts.places.bases),
            records: place.records(&request.project),
            history: history(request),
            publisher: Arc::clone(&place.publisher),
            push_to: Some(request.repo.clone()),
        })
    }

    /// Stores how a build ended, however long that takes.
    async fn store_end(&self, entry: &Entry, summary: &BuildSummary, text: &str) {
        loop {
            match self.parts.store.finish(&entry.kept(), summary.clone(), text).await {
                Ok(kept) => return entry.stored(kept),
                Err(StoreError::Deposed) => return,
                Err(StoreError::Unavailable(why)) => {
                    tracing::warn!("store the end of build {}: {why}; it is tried again", entry.name());
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// The commits that a build is recorded under: that of a virtual merge is in no history, the one that it brings is.
fn history(request: &SubmitRequest) -> Vec<CommitId> {
    let merged = request.virtual_merge.map(|merge| merge.from);
    if request.dev { Vec::new() } else { std::iter::once(request.commit).chain(merged).collect() }
}

/// Writes the last event, which must not be left out.
async fn finish(writer: &mut Writer, ending: Arc<String>) {
    writer.finish(ending).await;
    while writer.is_behind() {
        tokio::time::sleep(PAUSE).await;
        writer.append([]).await;
    }
}

/// Events as they are told, and the end, if it is among them.
fn tell(events: impl Iterator<Item = Event>) -> (Vec<BuildEvent>, Option<Ending>) {
    let (mut told, mut ending) = (Vec::new(), None);
    for event in events {
        match event {
            Event::Progress(progress) => told.push(BuildEvent::Progress(progress)),
            Event::Log { image, kind, attempt, offset, line } => {
                let line = String::from_utf8_lossy(&line).into_owned();
                told.push(BuildEvent::Log { image, kind, attempt, offset, line });
            }
            Event::Notice(text) => told.push(BuildEvent::Notice(text)),
            Event::Finished(result) => ending = Some(result),
        }
    }
    (told, ending)
}

fn note(span: &mut Span, ending: &Ending) {
    let outcome = match ending {
        Ok(_) => "succeeded",
        Err(BuildFailure::Cancelled) => "cancelled",
        Err(_) => {
            span.fail();
            "failed"
        }
    };
    span.set("slipway.outcome", outcome);
}

fn ended(summary: BuildSummary, ending: &Ending, now: u64) -> BuildSummary {
    let state = match ending {
        Ok(_) => BuildState::Succeeded,
        Err(BuildFailure::Cancelled) => BuildState::Cancelled,
        Err(_) => BuildState::Failed,
    };
    let failure = ending.as_ref().err().map(|failure| {
        let text = text(failure);
        text.lines().next().unwrap_or_default().chars().take(500).collect()
    });
    BuildSummary { state, ended: Some(now), failure, waits_for: Vec::new(), ..summary }
}

fn text(failure: &BuildFailure) -> String {
    match failure {
        BuildFailure::Stage { image, kind, failure } => format!("stage {kind} of image {image}: {}", failure.why),
        BuildFailure::Invalid { image, invalid } => format!("image {image}: {invalid}"),
        BuildFailure::Unanswered { image, why } => format!("image {image}: {why}"),
        BuildFailure::StageRequired { image, kind, .. } => {
            format!("stage {kind} of image {image} is not stored, and none may be built")
        }
        BuildFailure::Cancelled => "it was cancelled".to_owned(),
    }
}

fn nameless() -> ImageName {
    ImageName(String::new())
}
