//! All images of one build: which may start, which wait for what, and what is wished for next.
//!
//! Pure: [`Build::apply`] takes what happened and answers with what should happen. It owns the conveyors and the
//! facts; it does no IO and never waits.

mod ahead;
mod job;
mod lost;
mod node;
mod ranks;
mod report;
mod turns;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use ahead::Ahead;
pub use job::{Fall, JobEnd, JobKey, StageFailure};
use lost::Lost;
use node::{Node, State, nodes};
pub use ranks::Durations;
use ranks::Ranks;
pub use report::{BuiltImage, BuiltStage, BuiltTarget, Effort, ImageIndex, Origin, Source};
use slipway_config::ImageName;
use slipway_digest::{Checksum, CommitId};
use slipway_oci::{ImageAt, Platform};
pub use turns::Schedule;
use turns::{Part, Turns};

use crate::{
    conveyor::Step,
    facts::{Answer, Facts, Invalid, Question},
    graph::Graph,
    kind::StageKind,
    plan::{Original, StageBody, StagePlan, StageRecord},
    scene::{Finished, FinishedImage},
    settings::Settings,
};

/// How a build is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BuildOptions {
    /// How many images may be under way at once; `None` = no limit.
    pub parallel: Option<usize>,
    /// A stage that would have to be built is an error.
    pub require_built: bool,
    /// In which order images are started.
    pub schedule: Schedule,
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
    /// A stage that a job has stored is visible to others.
    Stands(ImageAt),
    /// A stage that a job has stored is not the stored one after all.
    Fell(ImageAt, Fall),
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
        /// Of which image.
        image: ImageName,
        /// What to do.
        plan: Arc<StagePlan>,
        /// How long everything that waits for it is expected to take, itself included.
        rank: Duration,
        /// Size of the stage that it stands on, in bytes; 0 when it is not known.
        base_size: u64,
    },
    /// Nobody waits for this job any more.
    Drop(JobKey),
    /// Mark this stored stage as not to be used: its image is lost. To be answered with [`BuildEvent::Rejected`].
    Reject {
        /// Of which image.
        image: ImageName,
        /// What is lost.
        record: Arc<StageRecord>,
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

/// What there is to tell. Images are called as [`Graph::shown`] says.
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
        record: Arc<StageRecord>,
    },
    /// Sources start from an archive although one is stored: its commit is not in the history of the one that is built.
    BeginsAnew {
        /// Of which image.
        image: ImageName,
        /// Which stage.
        kind: StageKind,
        /// The commit of what is stored.
        commit: CommitId,
    },
    /// A stage is to be built, or copied from another place.
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
        record: Arc<StageRecord>,
        /// Where it came from.
        source: Source,
        /// How long it took.
        took: Duration,
    },
    /// An image is done.
    ImageDone(ImageName),
}

/// A job under way.
#[derive(Debug)]
struct JobState {
    waiting: Vec<usize>,
    /// What is copied, if nothing is built.
    copy_of: Option<(ImageAt, Origin)>,
}

/// All images of one build.
#[derive(Debug)]
pub struct Build {
    graph: Graph,
    project: String,
    options: BuildOptions,
    nodes: Vec<Node>,
    ranks: Ranks,
    turns: Turns,
    facts: Facts,
    /// Images that are done, by platform.
    finished: HashMap<Platform, Finished>,
    /// Questions under way, with the images that wait for them.
    asked: HashMap<Question, Vec<usize>>,
    jobs: BTreeMap<JobKey, JobState>,
    ahead: Ahead,
    lost: Lost,
    over: bool,
}

impl Build {
    /// A build of all images of `graph`.
    pub fn new(graph: Graph, settings: &Arc<Settings>, options: BuildOptions) -> Self {
        let nodes = nodes(&graph, settings);
        let turns = Turns::new(&graph, options.schedule, options.parallel);
        let ranks = Ranks::new(&graph, &|_, _| Duration::from_secs(1));
        let mut build = Self {
            graph,
            project: settings.project.clone(),
            options,
            nodes,
            ranks,
            turns,
            facts: Facts::default(),
            finished: HashMap::new(),
            asked: HashMap::new(),
            jobs: BTreeMap::new(),
            ahead: Ahead::default(),
            lost: Lost::default(),
            over: false,
        };
        build.order();
        build
    }

    /// The name of the project.
    pub fn project(&self) -> &str {
        &self.project
    }

    /// Whether a stage that would have to be built is an error.
    pub fn requires_built(&self) -> bool {
        self.options.require_built
    }

    /// Says how long stages are expected to take; before it is said, each of them takes as long as any other.
    pub fn expect(&mut self, durations: Durations<'_>) {
        self.ranks = Ranks::new(&self.graph, durations);
        self.order();
    }

    /// Within a set nothing goes before anything else.
    fn order(&mut self) {
        match self.options.schedule {
            Schedule::Ready => self.turns.rank(&self.ranks),
            Schedule::Sets => {}
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
            BuildEvent::Stands(at) => self.ahead.stands(&at),
            BuildEvent::Fell(at, fall) => self.fell(&at, fall, &mut wishes),
            BuildEvent::Cancelled => self.end(Err(BuildFailure::Cancelled), &mut wishes),
        }
        self.start_ready(&mut wishes);
        self.finish_if_done(&mut wishes);
        wishes
    }

    fn answered(&mut self, question: Question, answer: Answer, wishes: &mut Vec<Wish>) {
        let waiting = self.no_longer_asked(&question);
        self.facts.learn(question, self.lost.without(answer));
        for node in waiting {
            // An image may wait for several answers: it is stepped when the last of them is there.
            if self.nodes[node].state == State::Asking && self.nodes[node].asks == 0 {
                self.advance(node, wishes);
            }
        }
    }

    /// A question is asked no more: who waited for the answer.
    fn no_longer_asked(&mut self, question: &Question) -> Vec<usize> {
        let waiting = self.asked.remove(question).unwrap_or_default();
        waiting.iter().for_each(|node| self.nodes[*node].asks -= 1);
        waiting
    }

    fn unanswered(&mut self, question: &Question, why: String, wishes: &mut Vec<Wish>) {
        let waiting = self.no_longer_asked(question);
        if let Some(node) = waiting.first() {
            let image = self.name(*node);
            self.end(Err(BuildFailure::Unanswered { image, why }), wishes);
        }
    }

    fn job_ended(&mut self, key: &JobKey, end: JobEnd, wishes: &mut Vec<Wish>) {
        let Some(job) = self.jobs.remove(key) else { return };
        let (record, adopted, effort) = match end {
            JobEnd::Stored { record, stands, adopted, effort } => {
                self.ahead.note(&record, stands);
                (record, adopted, effort)
            }
            JobEnd::Failed(failure) => return self.job_failed(key, &job, failure, wishes),
            JobEnd::Lost(at, failure) => return self.job_lost(key, job, &at, failure, wishes),
        };
        self.facts.forget_stored(record.id.digest);
        for (position, node) in job.waiting.iter().copied().enumerate() {
            let Some(kind) = self.kind_in(node, key) else { continue };
            let source = match (position, adopted, &job.copy_of) {
                (0, false, None) => Source::Built,
                (0, false, Some((_, origin))) => Source::Copied(*origin),
                _ => Source::Reused,
            };
            let (image, took) = (self.name(node), effort.took);
            wishes.push(Wish::Tell(Progress::StageStored { image, kind, record: record.clone(), source, took }));
            self.place(node, kind, Arc::clone(&record), source, if position == 0 { effort } else { Effort::default() });
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

    /// Starts images whose turn it is while there is room.
    fn start_ready(&mut self, wishes: &mut Vec<Wish>) {
        while !self.over && !self.lost.is_pending() && self.has_room() {
            let Some(node) = self.turns.next() else { return };
            wishes.push(Wish::Tell(Progress::ImageStarted(self.name(node))));
            self.advance(node, wishes);
        }
    }

    fn has_room(&self) -> bool {
        self.options.parallel.is_none_or(|limit| self.turns.running() < limit)
    }

    fn set_state(&mut self, node: usize, state: State) -> State {
        let part = match &state {
            State::Waiting => Part::Waits,
            State::Asking | State::InJob(..) => Part::Runs,
            State::Done => Part::Done,
        };
        self.turns.set(node, part);
        std::mem::replace(&mut self.nodes[node].state, state)
    }

    /// Steps an image until it must wait.
    fn advance(&mut self, node: usize, wishes: &mut Vec<Wish>) {
        // An image that this one needs may have been lost meanwhile.
        if !self.turns.has_its_needs(node) {
            self.set_state(node, State::Waiting);
            return;
        }
        while !self.over {
            let none = Finished::new();
            let finished = self.finished.get(&self.nodes[node].platform).unwrap_or(&none);
            match self.nodes[node].conveyor.step(&self.facts, finished) {
                Step::Ask(questions) if self.facts.learn_foreseen(&questions) => {}
                Step::Ask(questions) => return self.ask(node, questions, wishes),
                Step::Found(kind, record) => {
                    let image = self.name(node);
                    wishes.push(Wish::Tell(Progress::StageFound { image, kind, record: record.clone() }));
                    self.place(node, kind, record, Source::Reused, Effort::default());
                }
                Step::Want(plan) => return self.want(node, plan, wishes),
                Step::Done(record) => return self.done(node, record, wishes),
                Step::Invalid(invalid) => {
                    let image = self.name(node);
                    return self.end(Err(BuildFailure::Invalid { image, invalid }), wishes);
                }
            }
        }
    }

    fn ask(&mut self, node: usize, questions: Vec<Question>, wishes: &mut Vec<Wish>) {
        self.set_state(node, State::Asking);
        for question in questions {
            match self.asked.get_mut(&question) {
                Some(waiting) if waiting.contains(&node) => continue,
                Some(waiting) => waiting.push(node),
                None => {
                    self.asked.insert(question.clone(), vec![node]);
                    wishes.push(Wish::Ask(question));
                }
            }
            self.nodes[node].asks += 1;
        }
    }

    fn want(&mut self, node: usize, plan: Arc<StagePlan>, wishes: &mut Vec<Wish>) {
        let copy_of = original(&plan).map(|original| (original.record.at.clone(), Origin::of(&original.place)));
        let copy = copy_of.is_some();
        let (kind, image) = (plan.kind, self.name(node));
        if self.options.require_built && !copy {
            let digest = plan.digest.to_string();
            return self.end(Err(BuildFailure::StageRequired { image, kind, digest }), wishes);
        }
        let key = JobKey::of(&plan);
        self.set_state(node, State::InJob(key.clone(), kind));
        if let Some(job) = self.jobs.get_mut(&key) {
            job.waiting.push(node);
            return;
        }
        self.jobs.insert(key.clone(), JobState { waiting: vec![node], copy_of });
        if kind == StageKind::GitArchive
            && !copy
            && let Some(commit) = self.facts.other_commit(&plan)
        {
            wishes.push(Wish::Tell(Progress::BeginsAnew { image: image.clone(), kind, commit }));
        }
        wishes.push(Wish::Tell(Progress::StageStarted { image: image.clone(), kind, key: key.clone(), copy }));
        let (rank, base_size) = (self.rank(node, kind), self.base_size(node));
        wishes.push(Wish::Run { key, image, plan, rank, base_size });
    }

    fn rank(&self, node: usize, kind: StageKind) -> Duration {
        match self.options.schedule {
            Schedule::Ready => self.ranks.stage(node, kind),
            Schedule::Sets => Duration::ZERO,
        }
    }

    /// The size of the stage on which the next one of an image stands.
    fn base_size(&self, node: usize) -> u64 {
        if let Some(placed) = self.nodes[node].conveyor.placed().last() {
            return placed.record.size;
        }
        let finished = self.finished.get(&self.nodes[node].platform);
        let base = self.graph.image(node).base().and_then(|base| finished?.get(base));
        base.map(|image| image.last.size).unwrap_or_default()
    }

    fn done(&mut self, node: usize, record: Arc<StageRecord>, wishes: &mut Vec<Wish>) {
        self.set_state(node, State::Done);
        let stages = self.nodes[node].conveyor.placed().to_vec();
        let image = Arc::new(FinishedImage { last: record, stages });
        let finished = self.finished.entry(self.nodes[node].platform.clone()).or_default();
        for name in &self.graph.image(node).names {
            finished.insert(name.clone(), Arc::clone(&image));
        }
        wishes.push(Wish::Tell(Progress::ImageDone(self.name(node))));
    }

    fn place(&mut self, node: usize, kind: StageKind, record: Arc<StageRecord>, source: Source, effort: Effort) {
        self.nodes[node].conveyor.place(kind, Arc::clone(&record));
        self.nodes[node].stages.push(BuiltStage {
            kind,
            record,
            source,
            took: effort.took,
            base_pulled: effort.base_pulled,
        });
    }

    fn finish_if_done(&mut self, wishes: &mut Vec<Wish>) {
        if !self.over && self.turns.all_done() && self.ahead.is_empty() {
            let keys: Vec<_> = (0..self.nodes.len()).map(|node| self.unforeseen(node)).collect();
            let mut built: Vec<BuiltImage> = self.graph.images().iter().map(BuiltImage::new).collect();
            for ((target, node), key) in self.graph.targets().iter().zip(&mut self.nodes).zip(keys) {
                let (platform, stages) = (node.platform.clone(), std::mem::take(&mut node.stages));
                built[target.image].platforms.push(BuiltTarget { platform, stages, key });
            }
            self.end(Ok(built), wishes);
        }
    }

    /// The key of an image whose stages were not foreseen as they are.
    fn unforeseen(&self, node: usize) -> Option<Checksum> {
        let node = &self.nodes[node];
        let none = Finished::new();
        let finished = self.finished.get(&node.platform).unwrap_or(&none);
        let key = node.conveyor.key(&self.facts, finished)?;
        let stages = node.stages.iter().map(|stage| stage.record.id);
        (!self.facts.foresaw(&key, stages)).then_some(key)
    }

    fn end(&mut self, result: Result<Vec<BuiltImage>, BuildFailure>, wishes: &mut Vec<Wish>) {
        self.over = true;
        wishes.extend(std::mem::take(&mut self.jobs).into_keys().map(Wish::Drop));
        wishes.push(Wish::Finished(result));
    }

    fn name(&self, node: usize) -> ImageName {
        self.graph.shown(node)
    }
}

/// What a job copies, if it builds nothing.
fn original(plan: &StagePlan) -> Option<&Original> {
    match &plan.body {
        StageBody::Copy(original) => Some(original),
        StageBody::Nothing
        | StageBody::Git(_)
        | StageBody::Shell { .. }
        | StageBody::Imports(_)
        | StageBody::Respec(_)
        | StageBody::Dockerfile(_)
        | StageBody::Instruction(_) => None,
    }
}
