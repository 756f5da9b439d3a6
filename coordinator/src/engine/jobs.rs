//! The jobs of builds: how they are wanted, given out, published and delivered.

use std::{sync::Arc, time::Duration};

use slipway_config::ImageName;
use slipway_digest::Encoder;
use slipway_oci::{ImageAt, Platform};
use slipway_protocol::{Assignment, AttemptId, Desired, Failure, Job, Outcome, Requirements};
use slipway_stages::{
    Answer, BuildEvent, PlanBase, Question, StageBody, StagePlan,
    build::{Effort, JobEnd, JobKey, StageFailure},
};
use slipway_storage::ImportKey;

use super::{
    BuildId, JobEntry, LogRoute, Message, Owner, Subscriber,
    traces::{self, keys},
};
use crate::{
    effect::{self, Published},
    outside::Outside,
    scheduler::{self, Near, Want, estimates::Class},
};

/// The network that commands see unless something else is asked for.
const DEFAULT_NETWORK: &str = "default";

/// A stage that a build wants.
pub(super) struct WantedStage {
    pub(super) key: JobKey,
    pub(super) image: ImageName,
    pub(super) plan: Arc<StagePlan>,
    pub(super) rank: Duration,
    pub(super) base_size: u64,
}

/// A job as a build wants it.
pub(super) struct Wanted {
    pub(super) job: Job,
    pub(super) want: Want,
    pub(super) subscriber: Subscriber,
    /// What its span says of it.
    pub(super) about: Vec<(&'static str, String)>,
}

impl Owner {
    pub(super) fn want_stage(&mut self, build: BuildId, stage: WantedStage) {
        let WantedStage { key, image, plan, rank, base_size } = stage;
        let name = self.builds.scheduler_key(build, &key);
        let just = self.settled.find(&name, self.clock.monotonic()).filter(|_| !self.scheduler.knows(&name));
        if let Some(record) = just {
            let record = Arc::clone(record);
            let stands = self.ahead.leans(build, &record.at);
            let end = JobEnd::Stored { record, stands, adopted: true, effort: Effort::default() };
            return self.build(build, BuildEvent::JobEnded(key, end));
        }
        if let Some(why) = self.runs_nowhere(build) {
            return self.build(build, BuildEvent::JobEnded(key, JobEnd::Failed(StageFailure::of(why))));
        }
        let about = vec![
            (keys::IMAGE, image.to_string()),
            (keys::STAGE, plan.kind.to_string()),
            (keys::DIGEST, plan.digest.to_string()),
            (keys::PLATFORM, plan.platform.to_string()),
        ];
        let class = Class { project: plan.project.clone(), image: image.0, kind: plan.kind.name().to_owned() };
        let requires = requirements(&plan, self.builds.requires(build));
        let want = Want { rank, class, requires, near: near(&plan, base_size) };
        let subscriber = Subscriber::Build(build, key.clone());
        self.want(build, &key, Wanted { job: Job::Stage(plan), want, subscriber, about });
    }

    /// Why nothing of a build need be begun: some of its commands are programs that no worker runs.
    fn runs_nowhere(&self, build: BuildId) -> Option<String> {
        let nobody = |(_, platform): &&(ImageName, Platform)| self.scheduler.nobody_runs(&platform.to_string());
        let (image, platform) = self.builds.commands(build).iter().find(nobody)?;
        let binfmt = platform.binfmt().map(|name| format!(" {name}")).unwrap_or_default();
        Some(format!(
            "image {image} for {platform} runs commands, and no connected worker runs programs of {platform}: start one on such \
             a machine, or register the interpreter{binfmt} in binfmt_misc on the host of a worker (Debian's package \
             qemu-user-static does) and start the worker again"
        ))
    }

    /// Nothing is known of a question's answer: a worker is to read the files.
    pub(super) fn want_checksum(&mut self, build: BuildId, question: Question) {
        let Question::Imported { input, .. } = &question else { return };
        let Some(key) = checksum_key(&question) else { return };
        let job = Job::Checksum(input.clone());
        let class = Class { project: self.builds.project(build), image: String::new(), kind: "checksum".to_owned() };
        let near = input.image.at().map(|at| Near { image: at.digest.clone(), bytes: 0 }).into_iter().collect();
        // It is short, and a whole image waits for it.
        let want = Want { rank: Duration::MAX, class, requires: Requirements::default(), near };
        let about = vec![(keys::STAGE, "checksum".to_owned())];
        let subscriber = Subscriber::Question(build, question);
        self.want(build, &key, Wanted { job, want, subscriber, about });
    }

    pub(super) fn want(&mut self, build: BuildId, key: &JobKey, wanted: Wanted) {
        let Wanted { job, want, subscriber, about } = wanted;
        let Some(outside) = self.builds.outside(build) else { return };
        let key = self.builds.scheduler_key(build, key);
        let number = self.builds.next_number();
        self.subscribers.insert(number, subscriber);
        let (secrets, ssh_keys) = self.builds.hidden(build, &job);
        self.jobs.entry(key.clone()).or_insert(JobEntry { job, outside, secrets, ssh_keys });
        self.rerouted();
        self.traces.wanted(number, &key, self.builds.trace(build), about);
        self.schedule(scheduler::Event::Wanted { key, want, subscriber: number });
    }

    pub(super) fn drop_job(&mut self, build: BuildId, key: &JobKey) {
        let is_it = |number: &&scheduler::Subscriber| matches!(self.subscribers.get(number), Some(Subscriber::Build(by, _)) if *by == build);
        let waiting = self.scheduler.subscribers(&self.builds.scheduler_key(build, key));
        if let Some(subscriber) = waiting.iter().find(is_it).copied() {
            self.unsubscribe(build, subscriber, key);
        }
    }

    /// The questions of a build that is over need no answers: nobody waits for the jobs that were to give them.
    pub(super) fn drop_questions(&mut self, build: BuildId) {
        let of_build = |(number, subscriber): (&scheduler::Subscriber, &Subscriber)| match subscriber {
            Subscriber::Question(asking, question) if *asking == build => Some((*number, checksum_key(question)?)),
            Subscriber::Question(..) | Subscriber::Build(..) | Subscriber::Delivery(..) => None,
        };
        let dropped: Vec<(scheduler::Subscriber, JobKey)> = self.subscribers.iter().filter_map(of_build).collect();
        dropped.iter().for_each(|(subscriber, key)| self.unsubscribe(build, *subscriber, key));
    }

    pub(super) fn unsubscribe(&mut self, build: BuildId, subscriber: scheduler::Subscriber, key: &JobKey) {
        self.subscribers.remove(&subscriber);
        self.rerouted();
        let key = self.builds.scheduler_key(build, key);
        self.traces.dropped(subscriber);
        self.schedule(scheduler::Event::Dropped { key: key.clone(), subscriber });
        // Who wants the job again may want it done otherwise, on another base.
        if !self.scheduler.knows(&key) {
            self.jobs.remove(&key);
            self.traces.forget(&key);
        }
    }

    pub(super) fn commit(&mut self, attempt: AttemptId, uploaded: slipway_protocol::Uploaded) {
        let Some(entry) = self.jobs.get(attempt.job.as_str()) else { return };
        let Job::Stage(plan) = &entry.job else { return };
        let plan = Arc::clone(plan);
        if self.ahead.is_below(&plan) {
            return self.ahead.park(attempt, uploaded);
        }
        let (outside, tasks, broken) = (Arc::clone(&entry.outside), self.tasks.clone(), attempt.clone());
        let doing = format!("publish stage {}", plan.digest);
        let mut span = self.traces.commit(&attempt);
        let commits = self.commits.of(entry.outside.push_to.as_ref());
        let work = async move {
            // Never closed. What waits here is small: the commit itself is made when its turn comes.
            let _turn = commits.acquire().await;
            let published = Box::pin(effect::publish(&outside, &tasks, &plan, &attempt, uploaded)).await;
            traces::published(&mut span, &published);
            drop(span);
            Message::Published(attempt, published)
        };
        self.later(work, move |why| {
            let why = format!("{doing}: {why}");
            let failure = Failure { retryable: false, why, exit: None, line: None, tail: Vec::new(), lost: None };
            Message::Published(broken, Published::Failed(failure))
        });
    }

    pub(super) fn published(&mut self, attempt: AttemptId, published: Published) {
        match published {
            Published::Settled(outcome) => self.schedule(scheduler::Event::Settled(attempt, outcome)),
            Published::Ahead(record, rising) => self.committed(attempt, record, rising),
            Published::Failed(failure) => self.schedule(scheduler::Event::Unpublished(attempt, failure)),
            Published::Vanished(failure) => {
                tracing::warn!("what attempt {attempt} had uploaded has vanished: {}", failure.why);
                self.schedule(scheduler::Event::Vanished(attempt, failure));
            }
        }
    }

    /// A job is over: those who wanted it are told.
    pub(super) fn deliver(
        &mut self,
        subscribers: &[scheduler::Subscriber],
        key: &scheduler::Key,
        end: &scheduler::End,
    ) {
        let entry = self.jobs.remove(key);
        self.traces.ended(subscribers, key, end);
        self.rerouted();
        let stored = match end {
            scheduler::End::Settled(Outcome::Committed(record) | Outcome::Superseded(record), _) => Some(record),
            _ => None,
        };
        if let Some(record) = stored {
            self.settled.note(key, record, self.clock.monotonic());
        }
        for number in subscribers {
            match self.subscribers.remove(number) {
                Some(Subscriber::Build(build, of_build)) => {
                    self.builds.forget_stage(build, key);
                    let stands = stored.is_none_or(|record| self.ahead.leans(build, &record.at));
                    self.build(build, BuildEvent::JobEnded(of_build, effect::job_end(end, stands)));
                }
                Some(Subscriber::Question(build, question)) => match (end, &entry) {
                    (scheduler::End::Summed(sum), Some(entry)) => {
                        self.remember_import(build, question, *sum, &entry.outside);
                    }
                    _ => self.build(build, effect::summed(question, end)),
                },
                Some(Subscriber::Delivery(build, of_build, image)) => self.delivered(build, &of_build, image, end),
                None => {}
            }
        }
    }

    /// Records the checksum of an import; its question is answered then, so that no build ends before.
    fn remember_import(
        &self,
        build: BuildId,
        question: Question,
        sum: slipway_digest::Checksum,
        outside: &Arc<Outside>,
    ) {
        let (outside, asked) = (Arc::clone(outside), question.clone());
        let work = async move {
            if let Question::Imported { stage, content: Some(content), input } = &question
                && let Err(error) = outside.records.add_import(ImportKey::new(*content, input), *stage, sum).await
            {
                // Without the record the files are read again next time.
                tracing::warn!("the checksum of an import is not recorded: {error}");
            }
            Message::Answered(build, question, Ok(Answer::Imported(sum)))
        };
        self.later(work, move |_| Message::Answered(build, asked, Ok(Answer::Imported(sum))));
    }

    pub(super) fn desired(&self, worker: &str) -> Desired {
        let orders = self.scheduler.orders(worker);
        let options = self.scheduler.options();
        let assignment = |attempt: AttemptId| {
            let entry = self.jobs.get(attempt.job.as_str())?;
            let (job, push_to) = (entry.job.clone(), entry.outside.push_to.clone());
            let (again, traceparent) = (self.scheduler.again(&attempt), self.traces.parent_of(&attempt));
            let deadline = options.deadline;
            let (secrets, ssh_keys) = (entry.secrets.clone(), entry.ssh_keys.clone());
            let caches = entry.outside.beside.caches.iter().map(|cache| cache.repo().clone()).collect();
            Some(Assignment { attempt, job, push_to, deadline, again, traceparent, secrets, ssh_keys, caches })
        };
        Desired {
            run: orders.run.into_iter().filter_map(assignment).collect(),
            keep: orders.keep,
            settled: orders.settled,
            drain: orders.drain,
            lease: options.lease.unwrap_or_default(),
            hold: options.hold,
        }
    }

    /// Every build that waits for the job of an attempt: they share its output. `None` = an earlier coordinator gave
    /// the attempt out, and the builds that will want its job may not have asked for it yet.
    pub(super) fn log_routes(&self, attempt: &AttemptId) -> Option<Vec<LogRoute>> {
        let subscribers = self.scheduler.subscribers(&attempt.job);
        let adopting = self.started + 2 * self.scheduler.options().adopt;
        if subscribers.is_empty() && self.scheduler.is_foreign(attempt) && self.clock.monotonic() < adopting {
            return None;
        }
        let route = |number: &scheduler::Subscriber| match self.subscribers.get(number)? {
            Subscriber::Build(build, _) => self.builds.log_route(*build, &attempt.job),
            Subscriber::Question(..) | Subscriber::Delivery(..) => None,
        };
        Some(subscribers.iter().filter_map(route).collect())
    }
}

/// What a stage needs of the worker that builds it, beside what its build has asked for.
fn requirements(plan: &StagePlan, asked: Requirements) -> Requirements {
    // Where nothing runs, it does not matter whose programs a stage has.
    let platform = plan.body.runs_on_target().then(|| plan.platform.to_string());
    let usual = || Some(DEFAULT_NETWORK.to_owned());
    match &plan.body {
        // A worker that keeps commands off its network must be able to give them one of their own.
        StageBody::Shell { .. } => {
            let network = plan.network.clone().or_else(usual);
            Requirements { platform, network, ..asked }
        }
        StageBody::Dockerfile(input) => {
            let network = input.network.clone().filter(|network| !network.is_empty()).or_else(usual);
            Requirements { platform, network, ..asked }
        }
        StageBody::Instruction(input) => {
            let network = input.file.network.clone().filter(|network| !network.is_empty()).or_else(usual);
            let network = network.filter(|_| input.has_commands);
            Requirements { platform, network, instructions: true, ..asked }
        }
        StageBody::Nothing | StageBody::Git(_) | StageBody::Imports(_) | StageBody::Respec(_) | StageBody::Copy(_) => {
            Requirements { platform, ..asked }
        }
    }
}

/// Images that a stage is made from. Of those that are not ours nobody knows the size: no job waits for a worker that
/// has one, but it is preferred.
pub(super) fn near(plan: &StagePlan, base_size: u64) -> Vec<Near> {
    let near = |at: &ImageAt, bytes: u64| Near { image: at.digest.clone(), bytes };
    let base = match &plan.base {
        PlanBase::Stage { at, .. } => Some(near(at, base_size)),
        PlanBase::External(image) => image.at.as_ref().map(|at| near(at, 0)),
        PlanBase::None => None,
    };
    let bases = match &plan.body {
        StageBody::Dockerfile(input) => input.bases.as_slice(),
        StageBody::Instruction(input) => input.file.bases.as_slice(),
        StageBody::Nothing
        | StageBody::Git(_)
        | StageBody::Shell { .. }
        | StageBody::Respec(_)
        | StageBody::Imports(_)
        | StageBody::Copy(_) => &[],
    };
    let bases = bases.iter().filter_map(|base| base.at.as_ref()).map(|at| near(at, 0));
    let imported = match &plan.body {
        StageBody::Imports(inputs) => inputs.as_slice(),
        StageBody::Nothing
        | StageBody::Git(_)
        | StageBody::Shell { .. }
        | StageBody::Respec(_)
        | StageBody::Dockerfile(_)
        | StageBody::Instruction(_)
        | StageBody::Copy(_) => &[],
    };
    let parts = match &plan.body {
        StageBody::Instruction(input) => input.parts.as_slice(),
        _ => &[],
    };
    let parts = parts.iter().map(|(_, stage)| near(&stage.at, 0));
    let imported = imported.iter().filter_map(|input| Some(near(input.image.at()?, 0)));
    base.into_iter().chain(bases).chain(parts).chain(imported).collect()
}

/// The key of the job that answers a question about imported content.
pub(super) fn checksum_key(question: &Question) -> Option<JobKey> {
    match question {
        Question::Imported { content: Some(content), input, .. } => {
            Some(JobKey(format!("import-{:?}", ImportKey::new(*content, input)).into()))
        }
        Question::Imported { content: None, input, .. } => {
            let name = Encoder::new("local image").text(&format!("{:?}", input.image)).finish();
            Some(JobKey(format!("import-local-{:?}", ImportKey::new(name, input)).into()))
        }
        Question::Foreseen { .. }
        | Question::File { .. }
        | Question::Tree { .. }
        | Question::Changes { .. }
        | Question::Ancestor { .. }
        | Question::Stored { .. }
        | Question::Base { .. } => None,
    }
}
