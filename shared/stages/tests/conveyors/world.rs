//! A scripted world for builds: commits in a line or in branches, files by name, stages that were stored.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use slipway_config::{Config, ImageName};
use slipway_digest::{Checksum, CommitId, Encoder, Millis, StageDigest, StageId};
use slipway_oci::{BlobDigest, ImageAt, Platform, Repo};
use slipway_paths::{Scope, TreePath};
use slipway_stages::{
    Answer, BaseImage, Build, BuildEvent, BuildOptions, Graph, Place, PlanBase, Progress, Question, Settings,
    StageBody, StagePlan, StageRecord, Wish,
    build::{BuildFailure, BuiltImage, Effort, Fall, JobEnd, JobKey, StageFailure},
    facts::{ChangesFact, Foreseen, TreeFact},
};

/// Files of a commit: path → (content, size).
pub(crate) type Files = BTreeMap<String, (String, u64)>;

/// What a build can ask.
#[derive(Clone, Default)]
pub(crate) struct World {
    commits: BTreeMap<u8, (Option<u8>, Files)>,
    pub(crate) stored: Vec<StageRecord>,
    clock: u64,
    /// Places that answer that they have nothing.
    pub(crate) empty: Vec<Place>,
    /// What the registry has under every name of a base.
    pub(crate) registry: Option<ImageAt>,
    /// Commits that the contexts of images come from.
    pub(crate) contexts: BTreeMap<ImageName, CommitId>,
    /// Stages whose images are lost: who needs one of them fails.
    pub lost: Vec<ImageAt>,
    /// Stages are visible to others only some time after they are stored, in this order: those that do not become so say why.
    pub(crate) ahead: Option<Vec<Option<Fall>>>,
    /// Whether images are looked for by their keys first.
    foresees: bool,
    /// Which stages images of a key had.
    pub(crate) noted: BTreeMap<Checksum, Vec<StageId>>,
}

/// What came of a build.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) built: Vec<String>,
    pub(crate) reused: Vec<String>,
    pub(crate) plans: Vec<StagePlan>,
    pub(crate) questions: Vec<Question>,
    pub(crate) result: Result<Vec<BuiltImage>, BuildFailure>,
}

impl Outcome {
    pub(crate) fn last(&self, image: &str) -> StageRecord {
        let images = self.result.as_ref().expect("the build succeeded");
        let image = images.iter().find(|built| built.names.iter().any(|name| name.0 == image)).expect("the image");
        image.lasts().next().expect("a stage").record.as_ref().clone()
    }
}

pub(crate) fn commit(number: u8) -> CommitId {
    CommitId([number; 20])
}

impl World {
    pub(crate) fn new() -> Self {
        Self { clock: 1_700_000_000_000, ..Self::default() }
    }

    pub(crate) fn foreseeing(self, foresees: bool) -> Self {
        Self { foresees, ..self }
    }

    pub(crate) fn with_empty_commit(mut self) -> Self {
        self.commit(1, None, &[]);
        self
    }

    /// Adds a commit whose files are its parent's with `changes` (an empty content deletes).
    pub(crate) fn commit(&mut self, number: u8, parent: Option<u8>, changes: &[(&str, &str, u64)]) {
        let mut files = parent.map(|parent| self.commits[&parent].1.clone()).unwrap_or_default();
        for (path, content, size) in changes {
            if content.is_empty() {
                files.remove(*path);
            } else {
                files.insert((*path).to_owned(), ((*content).to_owned(), *size));
            }
        }
        self.commits.insert(number, (parent, files));
    }

    /// Builds every image of a configuration, with a meta section or without, at a commit, to its end.
    pub(crate) fn build(&mut self, config: &str, at: u8) -> Outcome {
        self.build_with(config, at, BuildOptions::default(), &[])
    }

    pub(crate) fn build_with(&mut self, config: &str, at: u8, options: BuildOptions, sources: &[Place]) -> Outcome {
        let meta = if config.contains("configVersion") { "" } else { "project: p\nconfigVersion: 1\n---\n" };
        let text = format!("{meta}{config}");
        let config: Config = slipway_config::parse("werf.yaml", &text).expect("a valid configuration");
        let settings = Settings {
            project: "p".to_owned(),
            commit: commit(at),
            context_commits: self.contexts.clone(),
            commit_time: 0,
            commit_time_human: "1970-01-01 00:00:00 +0000 +0000".to_owned(),
            project_dir: TreePath::root(),
            run: "run".to_owned(),
            platform: Platform { os: "linux".to_owned(), arch: "amd64".to_owned(), variant: None },
            dev: false,
            virtual_merge: None,
            sources: sources.to_vec(),
            foresees: self.foresees,
        };
        let graph = Graph::new(config.images).with_parts(&settings.platform, |image, dockerfile| {
            let path = dockerfile.dockerfile.to_string();
            let text = self.files(&settings.context_commit(image)).get(&path).map(|(text, _)| text.clone());
            text.map(|text| (path, text)).ok_or_else(|| "it is not there".to_owned())
        });
        let graph = graph.unwrap_or_else(|error| panic!("{error}"));
        let mut build = Build::new(graph, &Arc::new(settings), options);
        let outcome = self.drive(&mut build);
        for image in outcome.result.iter().flatten() {
            let stages = image.stages().map(|stage| stage.record.id).collect();
            self.noted.extend(image.platforms[0].key.map(|key| (key, stages)));
        }
        outcome
    }

    fn drive(&mut self, build: &mut Build) -> Outcome {
        let mut outcome = Outcome {
            built: Vec::new(),
            reused: Vec::new(),
            plans: Vec::new(),
            questions: Vec::new(),
            result: Err(BuildFailure::Cancelled),
        };
        let mut events = vec![BuildEvent::Started];
        while let Some(event) = events.pop() {
            for wish in build.apply(event) {
                match wish {
                    Wish::Ask(question) => {
                        assert!(!outcome.questions.contains(&question) || matches!(question, Question::Stored { .. }));
                        outcome.questions.push(question.clone());
                        let lost = match &question {
                            Question::Imported { input, .. } => {
                                self.lost.iter().find(|at| Some(*at) == input.image.at())
                            }
                            _ => None,
                        };
                        events.push(match lost {
                            Some(at) => BuildEvent::SourceLost(question, at.clone(), "lost".to_owned()),
                            None => BuildEvent::Answered(question.clone(), self.answer(&question)),
                        });
                    }
                    Wish::Run { key, plan, .. } => {
                        let end = self.run_or_lose(key, &plan);
                        let later = self.stands_or_falls(&end);
                        // Last of all: whatever can be done without it is done before.
                        let place = if stands_on_what_is_ahead(&plan, &events) { 0 } else { events.len() };
                        events.insert(place, end);
                        events.splice(0..0, later);
                        outcome.plans.push(plan.as_ref().clone());
                    }
                    Wish::Reject { record, .. } => {
                        self.stored.retain(|stored| stored.at != record.at);
                        events.push(BuildEvent::Rejected(record.at.clone(), Ok(())));
                    }
                    Wish::Tell(Progress::StageStarted { image, kind, .. }) => {
                        outcome.built.push(format!("{image}/{kind}"));
                    }
                    Wish::Tell(Progress::StageFound { image, kind, .. }) => {
                        outcome.reused.push(format!("{image}/{kind}"));
                    }
                    Wish::Drop(key) => {
                        events.retain(|event| !matches!(event, BuildEvent::JobEnded(ended, _) if *ended == key));
                    }
                    Wish::Tell(_) => {}
                    Wish::Finished(result) => {
                        let ahead = events.iter().any(|event| matches!(event, BuildEvent::Stands(_)));
                        assert!(result.is_err() || !ahead, "the build ended before its stages stood");
                        outcome.result = result;
                    }
                }
            }
        }
        outcome
    }

    /// What is said later of a stage that has just been stored.
    fn stands_or_falls(&mut self, end: &BuildEvent) -> Option<BuildEvent> {
        let BuildEvent::JobEnded(_, JobEnd::Stored { record, stands: false, .. }) = end else { return None };
        let fall = self.ahead.as_mut().and_then(|falls| (!falls.is_empty()).then(|| falls.remove(0))).flatten();
        let Some(fall) = fall else { return Some(BuildEvent::Stands(record.at.clone())) };
        self.stored.retain(|stored| stored.at != record.at);
        Some(BuildEvent::Fell(record.at.clone(), fall))
    }

    fn run_or_lose(&mut self, key: JobKey, plan: &StagePlan) -> BuildEvent {
        let read = match &plan.body {
            StageBody::Copy(original) => Some(&original.record.at),
            StageBody::Instruction(input) => {
                input.parts.iter().map(|(_, part)| &part.at).find(|at| self.lost.contains(at))
            }
            _ => None,
        };
        let below = match &plan.base {
            PlanBase::Stage { at, .. } => Some(at),
            PlanBase::None | PlanBase::External(_) => None,
        };
        match read.or(below) {
            Some(at) if self.lost.contains(at) => {
                let failure = StageFailure {
                    why: "the stage below is lost".to_owned(),
                    exit: None,
                    line: None,
                    tail: Vec::new(),
                };
                BuildEvent::JobEnded(key, JobEnd::Lost(at.clone(), failure))
            }
            Some(_) | None => self.run(key, plan),
        }
    }

    fn run(&mut self, key: JobKey, plan: &StagePlan) -> BuildEvent {
        self.clock = self.clock.max(plan.not_before.0) + 1;
        let image_id = BlobDigest::of(format!("{}-{}", plan.digest, self.clock).as_bytes());
        let repo = Repo { host: String::new(), path: "p".to_owned() };
        let record = StageRecord {
            id: StageId { digest: plan.digest, stamp: Millis(self.clock) },
            platform: plan.platform.clone(),
            at: ImageAt { repo, digest: image_id.clone() },
            image_id,
            commits: plan.commits.clone(),
            content: plan.content,
            parent: plan.parent,
            size: 1,
        };
        self.stored.push(record.clone());
        let end = JobEnd::Stored {
            record: Arc::new(record),
            stands: self.ahead.is_none(),
            adopted: false,
            effort: Effort { took: Duration::from_secs(1), base_pulled: false },
        };
        BuildEvent::JobEnded(key, end)
    }

    fn answer(&self, question: &Question) -> Result<Answer, String> {
        Ok(match question {
            Question::File { commit, path } => {
                Answer::File(self.files(commit).get(&path.to_string()).map(|(text, _)| Arc::from(text.as_bytes())))
            }
            Question::Tree { commit, scope, .. } => {
                let kept = kept(self.files(commit), scope);
                let encoder = kept.iter().fold(Encoder::new("t"), |e, (path, (content, _))| e.text(path).text(content));
                let base_is_file = self.files(commit).contains_key(&scope.base().to_string());
                Answer::Tree(TreeFact { base_is_file, files: kept.len() as u64, checksum: encoder.finish() })
            }
            Question::Changes { from, to, scope, .. } => {
                let (old, new) = (kept(self.files(from), scope), kept(self.files(to), scope));
                let differs = |(p, c): &(&String, &(String, u64))| old.get(*p) != Some(c) || new.get(*p) != Some(c);
                let changed = old.iter().chain(&new).filter(differs);
                Answer::Changes(changes(changed, &new))
            }
            Question::Ancestor { old, new, .. } => Answer::Ancestor(Some(self.is_ancestor(old.0[0], new.0[0]))),
            Question::Stored { place, .. } if self.empty.contains(place) => Answer::Stored(Vec::new()),
            Question::Stored { place, digest, not_before, .. } => {
                let suits = |r: &&StageRecord| r.id.stamp > *not_before || *place != Place::Primary;
                let found = self.stored.iter().filter(|r| r.id.digest == *digest).filter(suits);
                Answer::Stored(found.cloned().collect())
            }
            Question::Foreseen { key, .. } => {
                let stages = self.noted.get(key).cloned().unwrap_or_default();
                let all = |digest: StageDigest| self.stored.iter().filter(|r| r.id.digest == digest).cloned().collect();
                let stored = stages.iter().map(|id| (id.digest, all(id.digest))).collect();
                Answer::Foreseen(Foreseen { stages, stored })
            }
            Question::Base { reference, .. } => {
                Answer::Base(BaseImage { reference: reference.clone(), at: self.registry.clone() })
            }
            Question::Imported { content, .. } => {
                Answer::Imported(content.unwrap_or_else(|| Encoder::new("read anew").finish()))
            }
        })
    }

    fn files(&self, commit: &CommitId) -> &Files {
        &self.commits[&commit.0[0]].1
    }

    fn is_ancestor(&self, old: u8, new: u8) -> bool {
        let mut at = Some(new);
        while let Some(commit) = at {
            if commit == old {
                return true;
            }
            at = self.commits[&commit].0;
        }
        false
    }
}

fn kept(files: &Files, scope: &Scope) -> Files {
    let is_kept = |path: &str| {
        let path = TreePath::new(path).expect("a path");
        path.below(scope.base()).is_some_and(|relative| relative.is_root() || scope.keeps(&relative))
    };
    files.iter().filter(|(path, _)| is_kept(path)).map(|(path, content)| (path.clone(), content.clone())).collect()
}

fn changes<'a>(changed: impl IntoIterator<Item = (&'a String, &'a (String, u64))>, new: &Files) -> ChangesFact {
    let mut all: BTreeMap<&String, u64> = BTreeMap::new();
    for (path, (_, size)) in changed {
        all.insert(path, new.get(path).map_or(*size, |(_, size)| *size));
    }
    let checksum: Checksum =
        all.keys().fold(Encoder::new("c"), |e, path| e.text(path).text(new.get(*path).map_or("", |(c, _)| c))).finish();
    ChangesFact { base_is_file: false, files: all.len() as u64, bytes: all.values().sum(), checksum }
}

/// The commands of a plan.
pub(crate) fn commands(plan: &StagePlan) -> Vec<&str> {
    match &plan.body {
        StageBody::Shell { commands, .. } => commands.iter().map(|command| command.text.as_str()).collect(),
        StageBody::Nothing
        | StageBody::Git(_)
        | StageBody::Imports(_)
        | StageBody::Respec(_)
        | StageBody::Dockerfile(_)
        | StageBody::Instruction(_)
        | StageBody::Copy(_) => Vec::new(),
    }
}

/// Whether a stage is made of one of which is still to be said whether it stands: it is not published before.
fn stands_on_what_is_ahead(plan: &StagePlan, events: &[BuildEvent]) -> bool {
    let base = match &plan.base {
        PlanBase::Stage { at, .. } => Some(at),
        PlanBase::None | PlanBase::External(_) => None,
    };
    let imported = match &plan.body {
        StageBody::Imports(inputs) => inputs.iter().filter_map(|input| input.image.at()).collect(),
        _ => Vec::new(),
    };
    let ahead = |of: &ImageAt| {
        events.iter().any(|event| matches!(event, BuildEvent::Stands(at) | BuildEvent::Fell(at, _) if at == of))
    };
    base.into_iter().chain(imported).any(ahead)
}
