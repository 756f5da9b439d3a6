//! The owner task: it holds all builds and the scheduler, and routes.
//!
//! Everything reaches it as a message. It never waits: what takes time is a task that sends its result back.

mod ahead;
mod builds;
mod commits;
mod deliveries;
mod desk;
mod jobs;
mod settled;
mod traces;
mod views;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use slipway_config::ImageName;
use slipway_oci::{ImageAt, Platform};
use slipway_process::{Clock, Tasks, caught};
use slipway_protocol::{AttemptId, Desired, HandedSecret, Hidden, Job, Report, Requirements, SecretValues};
use slipway_stages::{
    Answer, Build, BuildEvent, Progress, Question, StageKind, StageRecord, Wish,
    build::{BuildFailure, BuiltImage, Fall, JobKey},
};
use slipway_telemetry::{SpanContext, Tracer};
use tokio::sync::{mpsc, oneshot};

use crate::{
    answer,
    effect::{self, Published, Undelivered},
    engine::{
        ahead::Ahead, builds::Builds, commits::Commits, desk::Desk, jobs::WantedStage, settled::Settled, traces::Traces,
    },
    outside::Outside,
    scheduler::{
        self, Effect, Scheduler,
        estimates::{Class, Estimates},
    },
};

pub use views::{EngineSnapshot, JobView};

/// How many messages may wait for the engine; senders wait when it is full.
const INBOX: usize = 1024;
/// How many events may wait for a reader of a build; log lines wait when it is full.
const EVENTS: usize = 1024;
/// How long a worker's sync is held when there is no news, and workers have no leases; else it is a third of the lease.
const HOLD: Duration = Duration::from_secs(20);

/// Names a build within its engine.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct BuildId(pub u64);

/// A build to be run.
pub struct Submission {
    /// What is built.
    pub build: Build,
    /// What it asks and commits to.
    pub outside: Outside,
    /// The span that it belongs to; `None` = it is not traced.
    pub trace: Option<SpanContext>,
    /// What each of its jobs needs of a worker, beside its platform.
    pub requires: Requirements,
    /// Platforms whose programs its commands are, each with an image that has such. Nothing is begun while no connected worker
    /// runs them; empty = nothing is looked for.
    pub commands: Vec<(ImageName, Platform)>,
    /// What its commands may read, by the keys that plans name. Kept in memory only.
    pub secrets: SecretValues,
}

/// What an engine is made of.
pub struct EngineOptions {
    /// Unlike any other engine's, ever.
    pub seed: String,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// How patient its scheduler is.
    pub scheduler: scheduler::Options,
    /// How long jobs have taken so far.
    pub estimates: Estimates,
    /// Where the spans of its jobs go.
    pub tracer: Tracer,
}

/// What a build tells its reader.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// Something went on.
    Progress(Progress),
    /// A line of output of a stage.
    Log {
        /// Of which image.
        image: ImageName,
        /// Which stage.
        kind: StageKind,
        /// Which attempt said it.
        attempt: String,
        /// The number of the line in the output of its attempt, from 0.
        offset: u64,
        /// The line, without its end.
        line: Vec<u8>,
    },
    /// Something that whoever waits should know: nobody can take a job, say.
    Notice(String),
    /// The build is over; the last event.
    Finished(Result<Vec<BuiltImage>, BuildFailure>),
}

/// What reaches the owner.
pub(crate) enum Message {
    Submit(Box<Submission>, oneshot::Sender<(BuildId, mpsc::Receiver<Event>)>),
    Cancel(BuildId),
    Answered(BuildId, Question, Result<Answer, String>),
    /// No record answers the question: a worker must read the files.
    Unrecorded(BuildId, Question),
    Published(AttemptId, Published),
    /// A stage that was committed before stands, or does not.
    Risen(ImageAt, Result<(), Fall>),
    Sync(Report, oneshot::Sender<Desired>),
    /// Where log lines of an attempt go: to every build that waits for it. `None` = that is not known yet.
    LogRoutes(AttemptId, oneshot::Sender<Option<Vec<LogRoute>>>),
    Recorded(BuildId, Result<Vec<BuiltImage>, BuildFailure>),
    /// What the final repository lacks.
    Undelivered(BuildId, Result<(Vec<BuiltImage>, Undelivered), BuildFailure>),
    /// The images have their further tags.
    Tagged(BuildId, Result<Vec<BuiltImage>, BuildFailure>),
    /// A lost stage was marked as not to be used, or could not be.
    Rejected(BuildId, ImageAt, Result<(), String>),
    Drained(oneshot::Sender<()>),
    Explain(BuildId, oneshot::Sender<Vec<JobView>>),
    Snapshot(oneshot::Sender<EngineSnapshot>),
    Learned(oneshot::Sender<Vec<(Class, Duration)>>),
}

/// One build that log lines of an attempt go to.
#[derive(Clone)]
pub(crate) struct LogRoute {
    pub(crate) image: ImageName,
    pub(crate) kind: StageKind,
    /// Weak: who remembers a route does not keep the events of a build from ending.
    pub(crate) reader: mpsc::WeakSender<Event>,
}

/// A handle on the owner task. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inbox: mpsc::Sender<Message>,
    /// Grows when log lines may have to go elsewhere than before.
    routes: Arc<AtomicU64>,
}

impl Engine {
    /// Starts the owner task in `tasks`.
    pub fn start(tasks: &Tasks, options: EngineOptions) -> Self {
        let EngineOptions { seed, clock, scheduler, estimates, tracer } = options;
        let (inbox, messages) = mpsc::channel(INBOX);
        let routes = Arc::new(AtomicU64::new(0));
        let owner = Owner {
            hold: scheduler.lease.map_or(HOLD, |lease| lease / 3),
            scheduler: Scheduler::new(seed, scheduler, estimates),
            started: clock.monotonic(),
            clock,
            wake: None,
            builds: Builds::default(),
            desk: Desk::default(),
            subscribers: HashMap::new(),
            jobs: HashMap::new(),
            settled: Settled::default(),
            ahead: Ahead::default(),
            commits: Commits::default(),
            traces: Traces::new(tracer),
            drained: Vec::new(),
            routes: Arc::clone(&routes),
            inbox: inbox.clone(),
            tasks: tasks.clone(),
        };
        tasks.spawn(owner.run(messages));
        Self { inbox, routes }
    }

    /// Runs a build. Its events end with [`Event::Finished`]; `None` when the engine has been stopped.
    pub async fn submit(&self, submission: Submission) -> Option<(BuildId, mpsc::Receiver<Event>)> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(Message::Submit(Box::new(submission), reply)).await.ok()?;
        answer.await.ok()
    }

    /// Gives a build up. It ends with [`BuildFailure::Cancelled`].
    pub async fn cancel(&self, build: BuildId) {
        // An engine that has stopped has no builds.
        let _ = self.inbox.send(Message::Cancel(build)).await;
    }

    /// Waits until no job is left and every worker has heard how its attempts ended.
    pub async fn drained(&self) {
        let (reply, answer) = oneshot::channel();
        if self.inbox.send(Message::Drained(reply)).await.is_ok() {
            let _ = answer.await;
        }
    }

    /// Why each job of a build runs where it runs, or waits.
    pub async fn explain(&self, build: BuildId) -> Vec<JobView> {
        self.ask(|reply| Message::Explain(build, reply)).await.unwrap_or_default()
    }

    /// Everything in numbers; `None` when the engine has been stopped.
    pub async fn snapshot(&self) -> Option<EngineSnapshot> {
        self.ask(Message::Snapshot).await
    }

    /// How long jobs have taken since this was last asked: to be kept for later engines.
    pub async fn learned(&self) -> Vec<(Class, Duration)> {
        self.ask(Message::Learned).await.unwrap_or_default()
    }

    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Message) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.inbox.send(question(reply)).await.ok()?;
        answer.await.ok()
    }

    /// A number that is another one when log lines may have to go elsewhere than before.
    pub(crate) fn routes_version(&self) -> u64 {
        self.routes.load(Ordering::Acquire)
    }

    pub(crate) fn inbox(&self) -> &mpsc::Sender<Message> {
        &self.inbox
    }
}

/// What stands behind a subscriber number of the scheduler.
enum Subscriber {
    Build(BuildId, JobKey),
    Question(BuildId, Question),
    /// With an image that is delivered.
    Delivery(BuildId, JobKey, ImageName),
}

/// A job's content, for workers and for its commit.
struct JobEntry {
    job: Job,
    outside: Arc<Outside>,
    secrets: Vec<HandedSecret>,
    ssh_keys: Vec<Hidden>,
}

struct Owner {
    scheduler: Scheduler,
    clock: Arc<dyn Clock>,
    /// When the engine was started, by the clock.
    started: Duration,
    /// How long syncs are held.
    hold: Duration,
    /// When the scheduler wants to be asked again, by the clock.
    wake: Option<Duration>,
    builds: Builds,
    desk: Desk,
    subscribers: HashMap<scheduler::Subscriber, Subscriber>,
    jobs: HashMap<scheduler::Key, JobEntry>,
    settled: Settled,
    ahead: Ahead,
    commits: Commits,
    traces: Traces,
    drained: Vec<oneshot::Sender<()>>,
    routes: Arc<AtomicU64>,
    inbox: mpsc::Sender<Message>,
    tasks: Tasks,
}

impl Owner {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        while let Some(message) = self.next(&mut messages).await {
            if let Some(message) = message {
                self.handle(message);
            }
            self.look_at_clock();
            if self.scheduler.is_idle() && self.ahead.is_empty() {
                for waiting in self.drained.drain(..) {
                    // Who no longer waits need not know.
                    let _ = waiting.send(());
                }
            }
        }
    }

    /// The next message; `Some(None)` when it is time to look at the clock first, `None` when there will be no more.
    async fn next(&self, messages: &mut mpsc::Receiver<Message>) -> Option<Option<Message>> {
        let Some(next) = self.wake.into_iter().chain(self.desk.next()).min() else {
            return messages.recv().await.map(Some);
        };
        let wait = next.saturating_sub(self.clock.monotonic());
        match tokio::time::timeout(wait, messages.recv()).await {
            Ok(message) => message.map(Some),
            Err(_) => Some(None),
        }
    }

    /// Does what is due.
    fn look_at_clock(&mut self) {
        let now = self.clock.monotonic();
        if self.wake.is_some_and(|wake| wake <= now) {
            self.wake = None;
            self.schedule(scheduler::Event::Tick);
        }
        self.desk.release(now);
    }

    fn handle(&mut self, message: Message) {
        match message {
            Message::Submit(submission, reply) => self.submit(*submission, reply),
            Message::Cancel(build) => self.cancel(build),
            Message::Answered(build, question, answer) => {
                self.builds.note_answer(build, &answer);
                self.build(build, BuildEvent::Answered(question, answer));
            }
            Message::Unrecorded(build, question) => self.want_checksum(build, question),
            Message::Published(attempt, published) => self.published(attempt, published),
            Message::Risen(at, risen) => self.risen(&at, &risen),
            Message::Sync(report, reply) => {
                let worker = report.worker.clone();
                let held = report.attempts.iter().map(|(attempt, _)| attempt.clone()).collect();
                self.schedule(scheduler::Event::Synced(report));
                let desired = self.desired(&worker);
                let until = self.clock.monotonic() + self.hold;
                self.desk.sync(worker, held, desired, reply, until);
            }
            Message::LogRoutes(attempt, reply) => drop(reply.send(self.log_routes(&attempt))),
            Message::Recorded(build, result) => {
                self.builds.tell_troubles(build);
                self.bring_to_run(build, result);
            }
            Message::Undelivered(build, found) => self.undelivered(build, found),
            Message::Tagged(build, result) => self.builds.finish(build, result),
            Message::Rejected(build, at, result) => self.build(build, BuildEvent::Rejected(at, result)),
            Message::Drained(reply) => self.drained.push(reply),
            // Who no longer waits needs no answer.
            Message::Explain(build, reply) => drop(reply.send(self.explain(build))),
            Message::Snapshot(reply) => drop(reply.send(self.snapshot())),
            Message::Learned(reply) => drop(reply.send(self.scheduler.learned())),
        }
    }

    fn submit(&mut self, mut submission: Submission, reply: oneshot::Sender<(BuildId, mpsc::Receiver<Event>)>) {
        let (reader, events) = mpsc::channel(EVENTS);
        let project = submission.build.project().to_owned();
        let known = self.scheduler.estimates();
        submission.build.expect(&|image, kind| known.mean(&project, &image.0, kind.name()));
        let id = self.builds.add(submission, reader, &self.tasks);
        match reply.send((id, events)) {
            Ok(()) => self.build(id, BuildEvent::Started),
            // Nobody knows of the build: nobody could follow or cancel it.
            Err(_) => self.builds.finish(id, Err(BuildFailure::Cancelled)),
        }
    }

    fn cancel(&mut self, id: BuildId) {
        if self.builds.is_recording(id) {
            // All is built and tagged; what is not recorded or delivered now is by the next build.
            self.drop_deliveries(id);
            return self.builds.finish(id, Err(BuildFailure::Cancelled));
        }
        self.build(id, BuildEvent::Cancelled);
    }

    /// Runs what takes time as a task whose result comes back as a message. Should it break off, there is one too.
    fn later(
        &self,
        work: impl Future<Output = Message> + Send + 'static,
        broken: impl FnOnce(String) -> Message + Send + 'static,
    ) {
        let inbox = self.inbox.clone();
        self.tasks.spawn(async move {
            let message = caught(work).await.unwrap_or_else(|panicked| broken(panicked.to_string()));
            // An engine that has stopped needs no results.
            let _ = inbox.send(message).await;
        });
    }

    /// Lets a build take what happened, and does what it wishes for.
    fn build(&mut self, id: BuildId, event: BuildEvent) {
        self.builds.tell_troubles(id);
        for wish in self.builds.apply(id, event) {
            match wish {
                Wish::Ask(question) => self.ask(id, question),
                Wish::Run { key, image, plan, rank, base_size } => {
                    self.want_stage(id, WantedStage { key, image, plan, rank, base_size });
                }
                Wish::Drop(key) => self.drop_job(id, &key),
                Wish::Reject { image, record, why } => self.reject(id, &image, record, why),
                Wish::Tell(progress) => self.builds.tell(id, Event::Progress(progress)),
                Wish::Finished(result) => self.finish(id, result),
            }
        }
    }

    fn ask(&self, build: BuildId, question: Question) {
        let Some((outside, turns)) = self.builds.asking(build) else { return };
        let (tasks, asked) = (self.tasks.clone(), question.clone());
        let work = async move {
            // What waits here is small: the answering itself is made when its turn comes.
            let _turn = turns.acquire().await;
            match Box::pin(answer::answer(&outside, &tasks, &question)).await {
                Ok(Some(answer)) => Message::Answered(build, question, Ok(answer)),
                Ok(None) => Message::Unrecorded(build, question),
                Err(why) => Message::Answered(build, question, Err(why)),
            }
        };
        self.later(work, move |why| Message::Answered(build, asked, Err(why)));
    }

    fn reject(&mut self, build: BuildId, image: &ImageName, record: Arc<StageRecord>, why: String) {
        let Some(outside) = self.builds.outside(build) else { return };
        tracing::warn!("the stage {} of image {image} is lost and is built again: {why}", record.id);
        let at = record.at.clone();
        self.settled.lose(&at);
        let work = async move {
            let result = effect::reject(&outside, &record, &why).await;
            Message::Rejected(build, record.at.clone(), result)
        };
        self.later(work, move |why| Message::Rejected(build, at, Err(why)));
    }

    /// Who waits for which job has changed: log lines may have to go elsewhere.
    fn rerouted(&self) {
        self.routes.fetch_add(1, Ordering::Release);
    }

    fn schedule(&mut self, event: scheduler::Event) {
        let effects = self.scheduler.apply(event, self.clock.monotonic());
        self.traces.follow(self.scheduler.steps());
        for effect in effects {
            match effect {
                Effect::Commit(attempt, uploaded) => self.commit(attempt, uploaded),
                Effect::Deliver(subscribers, key, end) => self.deliver(&subscribers, &key, &end),
                Effect::Notice(subscribers, text) => self.notice(&subscribers, &text),
                Effect::Wake(worker) if self.desk.holds(&worker) => {
                    let desired = self.desired(&worker);
                    self.desk.news(&worker, desired);
                }
                // It is told when it reports.
                Effect::Wake(_) => {}
                Effect::WakeAt(at) => self.wake = Some(at),
            }
        }
    }

    /// A build is over. What cleanup will need is recorded before anybody is told that it succeeded.
    fn finish(&mut self, id: BuildId, result: Result<Vec<BuiltImage>, BuildFailure>) {
        self.drop_questions(id);
        let recorded = self.builds.outside(id).filter(|outside| !outside.history.is_empty());
        let Some(outside) = recorded else { return self.bring_to_run(id, result) };
        let images = match result {
            Ok(images) => images,
            failed @ Err(_) => return self.builds.finish(id, failed),
        };
        let first = images.iter().find_map(|image| image.names.first()).cloned();
        let Some(image) = first else { return self.builds.finish(id, Ok(images)) };
        self.builds.recording(id);
        let work = async move {
            let result = effect::record(&outside, &images).await.map(|()| images);
            Message::Recorded(id, result)
        };
        self.later(work, move |why| Message::Recorded(id, Err(BuildFailure::Unanswered { image, why })));
    }
}
