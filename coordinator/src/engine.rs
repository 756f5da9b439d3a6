//! The owner task: it holds all builds and the scheduler, and routes.
//!
//! Everything reaches it as a message. It never waits: what takes time is a task that sends its result back.

mod builds;
mod desk;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use slipway_config::ImageName;
use slipway_oci::ImageAt;
use slipway_process::{Tasks, caught};
use slipway_protocol::{AttemptId, Desired, Failure, Job, Outcome, Report};
use slipway_stages::{
    Answer, Build, BuildEvent, Progress, Question, StageKind, StageRecord, Wish,
    build::{BuildFailure, BuiltImage, JobKey},
};
use slipway_storage::ImportKey;
use tokio::sync::{mpsc, oneshot};

use crate::{
    answer,
    effect::{self, Published},
    engine::{builds::Builds, desk::Desk},
    outside::Outside,
    scheduler::{self, Effect, Scheduler},
};

/// How many messages may wait for the engine; senders wait when it is full.
const INBOX: usize = 1024;
/// How many events may wait for a reader of a build; log lines wait when it is full.
const EVENTS: usize = 1024;
/// How long a worker's sync is held when there is no news.
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
        /// The line, without its end.
        line: Vec<u8>,
    },
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
    Sync(Report, oneshot::Sender<Desired>),
    /// Where log lines of an attempt go: to every build that waits for it.
    LogRoutes(AttemptId, oneshot::Sender<Vec<LogRoute>>),
    Recorded(BuildId, Result<Vec<BuiltImage>, BuildFailure>),
    /// A lost stage was marked as not to be used, or could not be.
    Rejected(BuildId, ImageAt, Result<(), String>),
    Tick,
    Drained(oneshot::Sender<()>),
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
    /// Starts the owner task in `tasks`. `seed` is unlike any other engine's, ever.
    pub fn start(tasks: &Tasks, seed: String) -> Self {
        let (inbox, messages) = mpsc::channel(INBOX);
        let routes = Arc::new(AtomicU64::new(0));
        let owner = Owner {
            scheduler: Scheduler::new(seed),
            builds: Builds::default(),
            desk: Desk::default(),
            subscribers: HashMap::new(),
            jobs: HashMap::new(),
            drained: Vec::new(),
            routes: Arc::clone(&routes),
            inbox: inbox.clone(),
            tasks: tasks.clone(),
        };
        tasks.spawn(owner.run(messages));
        let ticks = inbox.clone();
        tasks.spawn(async move {
            loop {
                tokio::time::sleep(HOLD).await;
                if ticks.send(Message::Tick).await.is_err() {
                    return;
                }
            }
        });
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
}

/// A job's content, for workers and for its commit.
struct JobEntry {
    job: Job,
    outside: Arc<Outside>,
}

struct Owner {
    scheduler: Scheduler,
    builds: Builds,
    desk: Desk,
    subscribers: HashMap<scheduler::Subscriber, Subscriber>,
    jobs: HashMap<scheduler::Key, JobEntry>,
    drained: Vec<oneshot::Sender<()>>,
    routes: Arc<AtomicU64>,
    inbox: mpsc::Sender<Message>,
    tasks: Tasks,
}

impl Owner {
    async fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        while let Some(message) = messages.recv().await {
            self.handle(message);
            if self.scheduler.is_idle() {
                for waiting in self.drained.drain(..) {
                    // Who no longer waits need not know.
                    let _ = waiting.send(());
                }
            }
        }
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
            Message::Sync(report, reply) => {
                let worker = report.worker.clone();
                let held = report.attempts.iter().map(|(attempt, _)| attempt.clone()).collect();
                self.schedule(scheduler::Event::Synced(report));
                let desired = self.desired(&worker);
                self.desk.sync(worker, held, desired, reply);
            }
            Message::LogRoutes(attempt, reply) => drop(reply.send(self.log_routes(&attempt))),
            Message::Recorded(build, result) => self.builds.finish(build, result),
            Message::Rejected(build, at, result) => self.build(build, BuildEvent::Rejected(at, result)),
            Message::Tick => self.desk.release_all(),
            Message::Drained(reply) => self.drained.push(reply),
        }
    }

    fn submit(&mut self, submission: Submission, reply: oneshot::Sender<(BuildId, mpsc::Receiver<Event>)>) {
        let (reader, events) = mpsc::channel(EVENTS);
        let id = self.builds.add(submission, reader, &self.tasks);
        match reply.send((id, events)) {
            Ok(()) => self.build(id, BuildEvent::Started),
            // Nobody knows of the build: nobody could follow or cancel it.
            Err(_) => self.builds.finish(id, Err(BuildFailure::Cancelled)),
        }
    }

    fn cancel(&mut self, id: BuildId) {
        if self.builds.is_recording(id) {
            // All is built and tagged; what is not recorded now is recorded by the next build.
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
        for wish in self.builds.apply(id, event) {
            match wish {
                Wish::Ask(question) => self.ask(id, question),
                Wish::Run { key, plan, rank } => {
                    self.want(id, &key, Job::Stage(plan), rank, Subscriber::Build(id, key.clone()));
                }
                Wish::Drop(key) => self.drop_job(id, &key),
                Wish::Reject { image, record, why } => self.reject(id, &image, *record, why),
                Wish::Tell(progress) => self.builds.tell(id, Event::Progress(progress)),
                Wish::Finished(result) => self.finish(id, result),
            }
        }
    }

    fn ask(&self, build: BuildId, question: Question) {
        let Some(outside) = self.builds.outside(build) else { return };
        let (tasks, asked) = (self.tasks.clone(), question.clone());
        let work = async move {
            match answer::answer(&outside, &tasks, &question).await {
                Ok(Some(answer)) => Message::Answered(build, question, Ok(answer)),
                Ok(None) => Message::Unrecorded(build, question),
                Err(why) => Message::Answered(build, question, Err(why)),
            }
        };
        self.later(work, move |why| Message::Answered(build, asked, Err(why)));
    }

    fn reject(&self, build: BuildId, image: &ImageName, record: StageRecord, why: String) {
        let Some(outside) = self.builds.outside(build) else { return };
        tracing::warn!("the stage {} of image {image} is lost and is built again: {why}", record.id);
        let at = record.at.clone();
        let work = async move {
            let result = effect::reject(&outside, &record, &why).await;
            Message::Rejected(build, record.at, result)
        };
        self.later(work, move |why| Message::Rejected(build, at, Err(why)));
    }

    fn want_checksum(&mut self, build: BuildId, question: Question) {
        let Question::Imported { input, .. } = &question else { return };
        let Some(key) = checksum_key(&question) else { return };
        let job = Job::Checksum(input.clone());
        self.want(build, &key, job, usize::MAX, Subscriber::Question(build, question));
    }

    fn want(&mut self, build: BuildId, key: &JobKey, job: Job, rank: usize, subscriber: Subscriber) {
        let Some(outside) = self.builds.outside(build) else { return };
        let key = self.builds.scheduler_key(build, key);
        let number = self.builds.next_number();
        self.subscribers.insert(number, subscriber);
        self.jobs.entry(key.clone()).or_insert(JobEntry { job, outside });
        self.rerouted();
        self.schedule(scheduler::Event::Wanted { key, rank, subscriber: number });
    }

    fn drop_job(&mut self, build: BuildId, key: &JobKey) {
        let is_it = |subscriber: &Subscriber| matches!(subscriber, Subscriber::Build(b, k) if *b == build && k == key);
        let found = self.subscribers.iter().find(|(_, subscriber)| is_it(subscriber)).map(|(number, _)| *number);
        if let Some(subscriber) = found {
            self.unsubscribe(build, subscriber, key);
        }
    }

    /// The questions of a build that is over need no answers: nobody waits for the jobs that were to give them.
    fn drop_questions(&mut self, build: BuildId) {
        let of_build = |(number, subscriber): (&scheduler::Subscriber, &Subscriber)| match subscriber {
            Subscriber::Question(asking, question) if *asking == build => Some((*number, checksum_key(question)?)),
            Subscriber::Question(..) | Subscriber::Build(..) => None,
        };
        let dropped: Vec<(scheduler::Subscriber, JobKey)> = self.subscribers.iter().filter_map(of_build).collect();
        dropped.iter().for_each(|(subscriber, key)| self.unsubscribe(build, *subscriber, key));
    }

    fn unsubscribe(&mut self, build: BuildId, subscriber: scheduler::Subscriber, key: &JobKey) {
        self.subscribers.remove(&subscriber);
        self.rerouted();
        let key = self.builds.scheduler_key(build, key);
        self.schedule(scheduler::Event::Dropped { key: key.clone(), subscriber });
        // Who wants the job again may want it done otherwise, on another base.
        if !self.scheduler.knows(&key) {
            self.jobs.remove(&key);
        }
    }

    /// Who waits for which job has changed: log lines may have to go elsewhere.
    fn rerouted(&self) {
        self.routes.fetch_add(1, Ordering::Release);
    }

    fn schedule(&mut self, event: scheduler::Event) {
        for effect in self.scheduler.apply(event) {
            match effect {
                Effect::Commit(attempt, uploaded) => self.commit(attempt, uploaded),
                Effect::Deliver(subscribers, key, end) => self.deliver(&subscribers, &key, &end),
                Effect::Wake(worker) => {
                    let desired = self.desired(&worker);
                    self.desk.news(&worker, desired);
                }
            }
        }
    }

    fn commit(&self, attempt: AttemptId, uploaded: slipway_protocol::Uploaded) {
        let Some(entry) = self.jobs.get(&attempt.job) else { return };
        let Job::Stage(plan) = entry.job.clone() else { return };
        let (outside, tasks, broken) = (Arc::clone(&entry.outside), self.tasks.clone(), attempt.clone());
        let doing = format!("publish stage {}", plan.digest);
        let work = async move {
            let published = effect::publish(&outside, &tasks, &plan, &attempt, uploaded).await;
            Message::Published(attempt, published)
        };
        self.later(work, move |why| {
            let why = format!("{doing}: {why}");
            let failure = Failure { retryable: false, why, exit: None, line: None, tail: Vec::new(), lost: None };
            Message::Published(broken, Published::Failed(failure))
        });
    }

    fn published(&mut self, attempt: AttemptId, published: Published) {
        match published {
            Published::Settled(outcome) => self.schedule(scheduler::Event::Settled(attempt, outcome)),
            Published::Failed(failure) => self.schedule(scheduler::Event::Unpublished(attempt, failure)),
        }
    }

    /// A job is over: those who wanted it are told.
    fn deliver(&mut self, subscribers: &[scheduler::Subscriber], key: &scheduler::Key, end: &scheduler::End) {
        let entry = self.jobs.remove(key);
        self.rerouted();
        for number in subscribers {
            match self.subscribers.remove(number) {
                Some(Subscriber::Build(build, key)) => {
                    self.build(build, BuildEvent::JobEnded(key, effect::job_end(end)));
                }
                Some(Subscriber::Question(build, question)) => {
                    if let (scheduler::End::Summed(sum), Some(entry)) = (end, &entry) {
                        self.remember_import(&question, *sum, &entry.outside);
                    }
                    self.build(build, effect::summed(question, end));
                }
                None => {}
            }
        }
    }

    fn remember_import(&self, question: &Question, sum: slipway_digest::Checksum, outside: &Arc<Outside>) {
        if let Question::Imported { stage, content, input } = question {
            let (stage, key, outside) = (*stage, ImportKey::new(*content, input), Arc::clone(outside));
            self.tasks.spawn(async move {
                // Without the record the files are read again next time.
                if let Err(error) = outside.records.add_import(key, stage, sum).await {
                    tracing::warn!("the checksum of an import is not recorded: {error}");
                }
            });
        }
    }

    /// A build is over. What cleanup will need is recorded before anybody is told that it succeeded.
    fn finish(&mut self, id: BuildId, result: Result<Vec<BuiltImage>, BuildFailure>) {
        self.drop_questions(id);
        let recorded = self.builds.outside(id).filter(|outside| outside.history.is_some());
        let (Ok(images), Some(outside)) = (result.clone(), recorded) else { return self.builds.finish(id, result) };
        let first = images.iter().find_map(|image| image.names.first()).cloned();
        let Some(image) = first else { return self.builds.finish(id, result) };
        self.builds.recording(id);
        let work = async move {
            let result = effect::record(&outside, &images).await.map(|()| images);
            Message::Recorded(id, result)
        };
        self.later(work, move |why| Message::Recorded(id, Err(BuildFailure::Unanswered { image, why })));
    }

    fn desired(&self, worker: &str) -> Desired {
        let orders = self.scheduler.orders(worker);
        let assignment = |attempt: AttemptId| {
            let entry = self.jobs.get(&attempt.job)?;
            let push_to = entry.outside.push_to.clone();
            Some(slipway_protocol::Assignment { attempt, job: entry.job.clone(), push_to, deadline: None })
        };
        let settled: Vec<(AttemptId, Outcome)> = orders.settled;
        Desired { run: orders.run.into_iter().filter_map(assignment).collect(), settled, ..Desired::default() }
    }

    /// Every build that waits for the job of an attempt: they share its output.
    fn log_routes(&self, attempt: &AttemptId) -> Vec<LogRoute> {
        let route = |subscriber: &Subscriber| match subscriber {
            Subscriber::Build(build, key) if self.builds.scheduler_key(*build, key) == attempt.job => {
                self.builds.log_route(*build, &attempt.job)
            }
            Subscriber::Build(..) | Subscriber::Question(..) => None,
        };
        self.subscribers.values().filter_map(route).collect()
    }
}

/// The key of the job that answers a question about imported content.
fn checksum_key(question: &Question) -> Option<JobKey> {
    match question {
        Question::Imported { content, input, .. } => {
            Some(JobKey(format!("import-{:?}", ImportKey::new(*content, input))))
        }
        Question::File { .. }
        | Question::Tree { .. }
        | Question::Changes { .. }
        | Question::Ancestor { .. }
        | Question::Stored { .. }
        | Question::Base { .. } => None,
    }
}
