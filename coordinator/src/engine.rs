//! The owner task: it holds all builds and the scheduler, and routes.
//!
//! Everything reaches it as a [`Message`]. It never waits: what takes time is a task that sends its result back.

mod builds;
mod desk;

use std::{collections::HashMap, sync::Arc, time::Duration};

use slipway_config::ImageName;
use slipway_process::Tasks;
use slipway_protocol::{AttemptId, Desired, Job, Outcome, Report};
use slipway_stages::{
    Answer, Build, BuildEvent, Progress, Question, StageKind, Wish,
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
    /// Where log lines of an attempt go.
    LogRoute(AttemptId, oneshot::Sender<Option<LogRoute>>),
    Recorded(BuildId, Result<Vec<BuiltImage>, BuildFailure>),
    Tick,
    Drained(oneshot::Sender<()>),
}

/// Where log lines of an attempt go.
#[derive(Clone)]
pub(crate) struct LogRoute {
    pub(crate) image: ImageName,
    pub(crate) kind: StageKind,
    pub(crate) reader: mpsc::Sender<Event>,
}

/// A handle on the owner task. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    inbox: mpsc::Sender<Message>,
}

impl Engine {
    /// Starts the owner task in `tasks`. `seed` is unlike any other engine's, ever.
    pub fn start(tasks: &Tasks, seed: String) -> Self {
        let (inbox, messages) = mpsc::channel(INBOX);
        let owner = Owner {
            scheduler: Scheduler::new(seed),
            builds: Builds::default(),
            desk: Desk::default(),
            subscribers: HashMap::new(),
            jobs: HashMap::new(),
            drained: Vec::new(),
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
        Self { inbox }
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
    build: BuildId,
    outside: Arc<Outside>,
}

struct Owner {
    scheduler: Scheduler,
    builds: Builds,
    desk: Desk,
    subscribers: HashMap<scheduler::Subscriber, Subscriber>,
    jobs: HashMap<scheduler::Key, JobEntry>,
    drained: Vec<oneshot::Sender<()>>,
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
            Message::Cancel(build) => self.build(build, BuildEvent::Cancelled),
            Message::Answered(build, question, answer) => {
                self.build(build, BuildEvent::Answered(question, answer));
            }
            Message::Unrecorded(build, question) => self.want_checksum(build, question),
            Message::Published(attempt, published) => self.published(attempt, published),
            Message::Sync(report, reply) => {
                let worker = report.worker.clone();
                self.schedule(scheduler::Event::Synced(report));
                let desired = self.desired(&worker);
                self.desk.sync(worker, desired, reply);
            }
            Message::LogRoute(attempt, reply) => drop(reply.send(self.log_route(&attempt))),
            Message::Recorded(build, result) => self.builds.finish(build, result),
            Message::Tick => self.desk.release_all(),
            Message::Drained(reply) => self.drained.push(reply),
        }
    }

    fn submit(&mut self, submission: Submission, reply: oneshot::Sender<(BuildId, mpsc::Receiver<Event>)>) {
        let (reader, events) = mpsc::channel(EVENTS);
        let id = self.builds.add(submission, reader, &self.tasks);
        drop(reply.send((id, events)));
        self.build(id, BuildEvent::Started);
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
                Wish::Tell(progress) => self.builds.tell(id, Event::Progress(progress)),
                Wish::Finished(result) => self.finish(id, result),
            }
        }
    }

    fn ask(&self, build: BuildId, question: Question) {
        let Some(outside) = self.builds.outside(build) else { return };
        let inbox = self.inbox.clone();
        let tasks = self.tasks.clone();
        self.tasks.spawn(async move {
            let message = match answer::answer(&outside, &tasks, &question).await {
                Ok(Some(answer)) => Message::Answered(build, question, Ok(answer)),
                Ok(None) => Message::Unrecorded(build, question),
                Err(why) => Message::Answered(build, question, Err(why)),
            };
            let _ = inbox.send(message).await;
        });
    }

    fn want_checksum(&mut self, build: BuildId, question: Question) {
        let Question::Imported { content, input, .. } = &question else { return };
        let key = JobKey(format!("import-{:?}", ImportKey::new(*content, input)));
        let job = Job::Checksum(input.clone());
        self.want(build, &key, job, usize::MAX, Subscriber::Question(build, question));
    }

    fn want(&mut self, build: BuildId, key: &JobKey, job: Job, rank: usize, subscriber: Subscriber) {
        let Some(outside) = self.builds.outside(build) else { return };
        let key = self.builds.scheduler_key(build, key);
        let number = self.builds.next_number();
        self.subscribers.insert(number, subscriber);
        self.jobs.entry(key.clone()).or_insert(JobEntry { job, build, outside });
        self.schedule(scheduler::Event::Wanted { key, rank, subscriber: number });
    }

    fn drop_job(&mut self, build: BuildId, key: &JobKey) {
        let is_it = |subscriber: &Subscriber| matches!(subscriber, Subscriber::Build(b, k) if *b == build && k == key);
        let found = self.subscribers.iter().find(|(_, subscriber)| is_it(subscriber)).map(|(number, _)| *number);
        if let Some(subscriber) = found {
            self.subscribers.remove(&subscriber);
            let key = self.builds.scheduler_key(build, key);
            self.schedule(scheduler::Event::Dropped { key, subscriber });
        }
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
        let (outside, inbox, tasks) = (Arc::clone(&entry.outside), self.inbox.clone(), self.tasks.clone());
        self.tasks.spawn(async move {
            let published = effect::publish(&outside, &tasks, &plan, &attempt, uploaded).await;
            let _ = inbox.send(Message::Published(attempt, published)).await;
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
        for number in subscribers {
            match self.subscribers.remove(number) {
                Some(Subscriber::Build(build, key)) => {
                    self.build(build, BuildEvent::JobEnded(key, effect::job_end(end)));
                }
                Some(Subscriber::Question(build, question)) => {
                    let answer = effect::summed(end);
                    if let (Ok(Answer::Imported(sum)), Some(entry)) = (&answer, &entry) {
                        self.remember_import(&question, *sum, &entry.outside);
                    }
                    self.build(build, BuildEvent::Answered(question, answer));
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
        let recorded = self.builds.outside(id).filter(|outside| outside.history.is_some());
        let (Ok(images), Some(outside)) = (result.clone(), recorded) else { return self.builds.finish(id, result) };
        let inbox = self.inbox.clone();
        self.tasks.spawn(async move {
            let result = effect::record(&outside, &images).await.map(|()| images);
            let _ = inbox.send(Message::Recorded(id, result)).await;
        });
    }

    fn desired(&self, worker: &str) -> Desired {
        let orders = self.scheduler.orders(worker);
        let assignment = |attempt: AttemptId| {
            let entry = self.jobs.get(&attempt.job)?;
            let push_to = entry.outside.push_to.clone();
            Some(slipway_protocol::Assignment { attempt, job: entry.job.clone(), push_to })
        };
        let settled: Vec<(AttemptId, Outcome)> = orders.settled;
        Desired { run: orders.run.into_iter().filter_map(assignment).collect(), settled, drain: false }
    }

    fn log_route(&self, attempt: &AttemptId) -> Option<LogRoute> {
        let entry = self.jobs.get(&attempt.job)?;
        self.builds.log_route(entry.build, &attempt.job)
    }
}
