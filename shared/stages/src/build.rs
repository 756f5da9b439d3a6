//! All images of one build: which may start, which wait for what, and what is wished for next.
//!
//! Pure: [`Build::apply`] takes what happened and answers with what should happen. It owns the conveyors and the
//! facts; it does no IO and never waits.

mod lost;
mod report;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use lost::Lost;
pub use report::{BuiltImage, BuiltStage, Source};
use slipway_config::ImageName;
use slipway_oci::ImageAt;

use crate::{
    conveyor::{Conveyor, Step},
    facts::{Answer, Facts, Invalid, Question},
    graph::Graph,
    kind::StageKind,
    plan::{StageBody, StagePlan, StageRecord},
    scene::Finished,
    settings::Settings,
};

/// How a build is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BuildOptions {
    /// How many images may be under way at once; `None` = no limit.
    pub parallel: Option<usize>,
    /// A stage that would have to be built is an error.
    pub require_built: bool,
}

/// Equal jobs have equal keys: two images that want the same stage share one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, serde::Serialize, serde::Deserialize)]
pub struct JobKey(pub String);

impl JobKey {
    fn of(plan: &StagePlan) -> Self {
        // Equal digests are one stage only when the commits are equal too, and when it may be as old.
        Self(format!("{}@{} {} after {}", plan.digest, plan.platform, plan.content, plan.not_before.0))
    }
}

/// How a job ended.
#[derive(Clone, PartialEq, Debug)]
pub enum JobEnd {
    /// The stage is stored and tagged.
    Stored {
        /// What is stored.
        record: Box<StageRecord>,
        /// Whether another build was first and its stage was taken instead.
        adopted: bool,
        /// How long the job ran.
        took: Duration,
    },
    /// It could not be built.
    Failed(StageFailure),
    /// It could not be built because a stored stage that it needs is not there any more.
    Lost(ImageAt, StageFailure),
}

/// Why a stage could not be built.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct StageFailure {
    /// What was being done and what went wrong.
    pub why: String,
    /// Exit code of the user's command.
    pub exit: Option<i64>,
    /// Line of `werf.yaml` (or of the Dockerfile) that was running.
    pub line: Option<u32>,
    /// Last lines of output.
    pub tail: Vec<String>,
}

/// What happened.
#[derive(Clone, PartialEq, Debug)]
pub enum BuildEvent {
    /// The build begins.
    Started,
    /// A question was answered, or could not be.
    Answered(Question, Result<Answer, String>),
    /// A question could not be answered because a stored stage is not there any more; says what was being done.
    SourceLost(Question, ImageAt, String),
    /// A stage that was wished away is marked as not to be used; or why that failed.
    Rejected(ImageAt, Result<(), String>),
    /// A job ended.
    JobEnded(JobKey, JobEnd),
    /// The user gives up.
    Cancelled,
}

/// What should happen.
#[derive(Clone, PartialEq, Debug)]
pub enum Wish {
    /// Find this out.
    Ask(Question),
    /// Build this stage; the higher the rank, the sooner.
    Run {
        /// Its key.
        key: JobKey,
        /// What to do.
        plan: Box<StagePlan>,
        /// Length of the longest chain of images that waits for it.
        rank: usize,
    },
    /// Nobody waits for this job any more.
    Drop(JobKey),
    /// Mark this stored stage as not to be used: its image is lost. To be answered with [`BuildEvent::Rejected`].
    Reject {
        /// Of which image.
        image: ImageName,
        /// What is lost.
        record: Box<StageRecord>,
        /// How that was noticed.
        why: String,
    },
    /// Tell whoever watches.
    Tell(Progress),
    /// The build is over.
    Finished(Result<Vec<BuiltImage>, BuildFailure>),
}

/// Why a build ended without a result.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub enum BuildFailure {
    /// A stage could not be built.
    Stage {
        /// Of which image.
        image: ImageName,
        /// Which stage.
        kind: StageKind,
        /// Why.
        failure: StageFailure,
    },
    /// The project is wrong.
    Invalid {
        /// In which image.
        image: ImageName,
        /// What is wrong.
        invalid: Invalid,
    },
    /// Something could not be found out.
    Unanswered {
        /// For which image.
        image: ImageName,
        /// What was being done and what went wrong.
        why: String,
    },
    /// A stage is missing, and none may be built.
    StageRequired {
        /// Of which image.
        image: ImageName,
        /// Which stage.
        kind: StageKind,
        /// Its digest.
        digest: String,
    },
    /// The user gave up.
    Cancelled,
}

/// What there is to tell.
#[derive(Clone, PartialEq, Debug, serde::Serialize, serde::Deserialize)]
pub enum Progress {
    /// An image's conveyor starts.
    ImageStarted(ImageName),
    /// A stage is stored already.
    StageFound {
        /// Of which image.
        image: ImageName,
        /// Which stage.
        kind: StageKind,
        /// What is stored.
        record: Box<StageRecord>,
    },
    /// A stage is to be built, or copied from the local storage.
    StageStarted {
        /// Of which image.
        image: ImageName,
        /// Which stage.
        kind: StageKind,
        /// The job that does it.
        key: JobKey,
        /// Whether it is only copied.
        copy: bool,
    },
    /// A stage is stored.
    StageStored {
        /// Of which image.
        image: ImageName,
        /// Which stage.
        kind: StageKind,
        /// What is stored.
        record: Box<StageRecord>,
        /// Where it came from.
        source: Source,
        /// How long it took.
        took: Duration,
    },
    /// An image is done.
    ImageDone(ImageName),
}

/// How far an image is.
#[derive(Clone, PartialEq, Debug)]
enum State {
    /// Its needs are not done, or there is no room for it.
    Waiting,
    /// It waits for answers; how many are missing.
    Asking,
    /// It waits for a job.
    InJob(JobKey, StageKind),
    /// It is done.
    Done,
}

#[derive(Debug)]
struct Node {
    conveyor: Conveyor,
    state: State,
    stages: Vec<BuiltStage>,
}

/// A job under way.
#[derive(Debug)]
struct JobState {
    waiting: Vec<usize>,
    /// What is copied, if nothing is built.
    copy_of: Option<ImageAt>,
}

/// All images of one build.
#[derive(Debug)]
pub struct Build {
    graph: Graph,
    options: BuildOptions,
    nodes: Vec<Node>,
    facts: Facts,
    finished: Finished,
    /// Questions under way, with the images that wait for them.
    asked: HashMap<Question, Vec<usize>>,
    jobs: BTreeMap<JobKey, JobState>,
    lost: Lost,
    over: bool,
}

impl Build {
    /// A build of all images of `graph`.
    pub fn new(graph: Graph, settings: &Arc<Settings>, options: BuildOptions) -> Self {
        let node = |image: &slipway_config::Image| Node {
            conveyor: Conveyor::new(Arc::new(image.clone()), Arc::clone(settings)),
            state: State::Waiting,
            stages: Vec::new(),
        };
        let nodes = graph.images().iter().map(node).collect();
        Self {
            graph,
            options,
            nodes,
            facts: Facts::default(),
            finished: Finished::new(),
            asked: HashMap::new(),
            jobs: BTreeMap::new(),
            lost: Lost::default(),
            over: false,
        }
    }

    /// Takes what happened, answers what should happen. After [`Wish::Finished`] nothing more is wished for.
    pub fn apply(&mut self, event: BuildEvent) -> Vec<Wish> {
        let mut wishes = Vec::new();
        if self.over {
            return wishes;
        }
        match event {
            BuildEvent::Started => {}
            BuildEvent::Answered(question, Ok(answer)) => self.answered(question, answer, &mut wishes),
            BuildEvent::Answered(question, Err(why)) => self.unanswered(&question, why, &mut wishes),
            BuildEvent::SourceLost(question, at, why) => self.source_lost(&question, &at, why, &mut wishes),
            BuildEvent::Rejected(at, result) => self.rejected(&at, result, &mut wishes),
            BuildEvent::JobEnded(key, end) => self.job_ended(&key, end, &mut wishes),
            BuildEvent::Cancelled => self.end(Err(BuildFailure::Cancelled), &mut wishes),
        }
        self.start_ready(&mut wishes);
        self.finish_if_done(&mut wishes);
        wishes
    }

    fn answered(&mut self, question: Question, answer: Answer, wishes: &mut Vec<Wish>) {
        let waiting = self.asked.remove(&question).unwrap_or_default();
        self.facts.learn(question, self.lost.without(answer));
        for node in waiting {
            // An image may wait for several answers: it is stepped when the last of them is there.
            if self.nodes[node].state == State::Asking && !self.asked.values().any(|nodes| nodes.contains(&node)) {
                self.advance(node, wishes);
            }
        }
    }

    fn unanswered(&mut self, question: &Question, why: String, wishes: &mut Vec<Wish>) {
        let waiting = self.asked.remove(question).unwrap_or_default();
        if let Some(node) = waiting.first() {
            let image = self.name(*node);
            self.end(Err(BuildFailure::Unanswered { image, why }), wishes);
        }
    }

    fn job_ended(&mut self, key: &JobKey, end: JobEnd, wishes: &mut Vec<Wish>) {
        let Some(job) = self.jobs.remove(key) else { return };
        let (record, adopted, took) = match end {
            JobEnd::Stored { record, adopted, took } => (record, adopted, took),
            JobEnd::Failed(failure) => return self.job_failed(key, &job, failure, wishes),
            JobEnd::Lost(at, failure) => return self.job_lost(key, job, &at, failure, wishes),
        };
        self.facts.forget_stored(record.id.digest);
        for (position, node) in job.waiting.iter().copied().enumerate() {
            let Some(kind) = self.kind_in(node, key) else { continue };
            let source = match (position, adopted, job.copy_of.is_some()) {
                (0, false, false) => Source::Built,
                (0, false, true) => Source::Copied,
                _ => Source::Reused,
            };
            let stored = Progress::StageStored { image: self.name(node), kind, record: record.clone(), source, took };
            wishes.push(Wish::Tell(stored));
            self.place(node, kind, &record, source, if position == 0 { took } else { Duration::ZERO });
            self.advance(node, wishes);
        }
    }

    fn job_failed(&mut self, key: &JobKey, job: &JobState, failure: StageFailure, wishes: &mut Vec<Wish>) {
        let first = job.waiting.iter().find_map(|node| Some((*node, self.kind_in(*node, key)?)));
        if let Some((node, kind)) = first {
            let image = self.name(node);
            self.end(Err(BuildFailure::Stage { image, kind, failure }), wishes);
        }
    }

    /// Which stage of an image a job builds, if the image waits for that job.
    fn kind_in(&self, node: usize, key: &JobKey) -> Option<StageKind> {
        match &self.nodes[node].state {
            State::InJob(waited, kind) if waited == key => Some(*kind),
            State::InJob(..) | State::Waiting | State::Asking | State::Done => None,
        }
    }

    /// Starts images whose needs are done while there is room: the longest remaining chain first, else in the order
    /// of declaration.
    fn start_ready(&mut self, wishes: &mut Vec<Wish>) {
        while !self.over && !self.lost.is_pending() && self.has_room() {
            let ready = (0..self.nodes.len()).filter(|node| self.is_ready(*node));
            let Some(node) = ready.min_by_key(|node| (std::cmp::Reverse(self.graph.rank(*node)), *node)) else {
                return;
            };
            wishes.push(Wish::Tell(Progress::ImageStarted(self.name(node))));
            self.advance(node, wishes);
        }
    }

    fn has_room(&self) -> bool {
        let under_way = self.nodes.iter().filter(|node| !matches!(node.state, State::Waiting | State::Done)).count();
        self.options.parallel.is_none_or(|limit| under_way < limit)
    }

    fn is_ready(&self, node: usize) -> bool {
        self.nodes[node].state == State::Waiting && self.has_its_needs(node)
    }

    fn has_its_needs(&self, node: usize) -> bool {
        self.graph.needs(node).iter().all(|need| self.nodes[*need].state == State::Done)
    }

    /// Steps an image until it must wait.
    fn advance(&mut self, node: usize, wishes: &mut Vec<Wish>) {
        // An image that this one needs may have been lost meanwhile.
        if !self.has_its_needs(node) {
            self.nodes[node].state = State::Waiting;
            return;
        }
        while !self.over {
            match self.nodes[node].conveyor.step(&self.facts, &self.finished) {
                Step::Ask(questions) => return self.ask(node, questions, wishes),
                Step::Found(kind, record) => {
                    let image = self.name(node);
                    wishes.push(Wish::Tell(Progress::StageFound { image, kind, record: record.clone() }));
                    self.place(node, kind, &record, Source::Reused, Duration::ZERO);
                }
                Step::Want(plan) => return self.want(node, plan, wishes),
                Step::Done(record) => return self.done(node, *record, wishes),
                Step::Invalid(invalid) => {
                    let image = self.name(node);
                    return self.end(Err(BuildFailure::Invalid { image, invalid }), wishes);
                }
            }
        }
    }

    fn ask(&mut self, node: usize, questions: Vec<Question>, wishes: &mut Vec<Wish>) {
        self.nodes[node].state = State::Asking;
        for question in questions {
            match self.asked.get_mut(&question) {
                Some(waiting) if waiting.contains(&node) => {}
                Some(waiting) => waiting.push(node),
                None => {
                    self.asked.insert(question.clone(), vec![node]);
                    wishes.push(Wish::Ask(question));
                }
            }
        }
    }

    fn want(&mut self, node: usize, plan: Box<StagePlan>, wishes: &mut Vec<Wish>) {
        let copy = matches!(plan.body, StageBody::Copy(_));
        let (kind, image) = (plan.kind, self.name(node));
        if self.options.require_built && !copy {
            let digest = plan.digest.to_string();
            return self.end(Err(BuildFailure::StageRequired { image, kind, digest }), wishes);
        }
        let key = JobKey::of(&plan);
        self.nodes[node].state = State::InJob(key.clone(), kind);
        if let Some(job) = self.jobs.get_mut(&key) {
            job.waiting.push(node);
            return;
        }
        let copy_of = match &plan.body {
            StageBody::Copy(record) => Some(record.at.clone()),
            StageBody::Nothing
            | StageBody::Git(_)
            | StageBody::Shell { .. }
            | StageBody::Imports(_)
            | StageBody::Respec(_)
            | StageBody::Dockerfile(_) => None,
        };
        self.jobs.insert(key.clone(), JobState { waiting: vec![node], copy_of });
        wishes.push(Wish::Tell(Progress::StageStarted { image, kind, key: key.clone(), copy }));
        wishes.push(Wish::Run { key, plan, rank: self.graph.rank(node) });
    }

    fn done(&mut self, node: usize, record: StageRecord, wishes: &mut Vec<Wish>) {
        self.nodes[node].state = State::Done;
        let record = Arc::new(record);
        for name in &self.graph.images()[node].names {
            self.finished.insert(name.clone(), Arc::clone(&record));
        }
        wishes.push(Wish::Tell(Progress::ImageDone(self.name(node))));
    }

    fn place(&mut self, node: usize, kind: StageKind, record: &StageRecord, source: Source, took: Duration) {
        self.nodes[node].conveyor.place(kind, record.clone());
        self.nodes[node].stages.push(BuiltStage { kind, record: record.clone(), source, took });
    }

    fn finish_if_done(&mut self, wishes: &mut Vec<Wish>) {
        if !self.over && self.nodes.iter().all(|node| node.state == State::Done) {
            let images = self.graph.images().iter().zip(&self.nodes);
            let built = images.map(|(image, node)| BuiltImage::new(image, node.stages.clone())).collect();
            self.end(Ok(built), wishes);
        }
    }

    fn end(&mut self, result: Result<Vec<BuiltImage>, BuildFailure>, wishes: &mut Vec<Wish>) {
        self.over = true;
        wishes.extend(std::mem::take(&mut self.jobs).into_keys().map(Wish::Drop));
        wishes.push(Wish::Finished(result));
    }

    fn name(&self, node: usize) -> ImageName {
        self.graph.images()[node].name().clone()
    }
}
