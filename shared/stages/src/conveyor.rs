//! One image on its way through its stages.
//!
//! A conveyor is a restartable function over facts: [`Conveyor::step`] looks at what is placed and what is known and
//! says what comes next. It changes only when a stage is placed.

use std::sync::Arc;

use slipway_config::{Base, Image, ImageKind};
use slipway_digest::{Checksum, Millis, StageDigest, StageId};
use slipway_oci::base::SCRATCH;

use crate::{
    digest::{self, Below},
    facts::{Answer, Asked, Facts, Invalid, Question, Stop},
    key,
    kind::StageKind,
    labels::{self, StageLabels},
    plan::{Commits, Original, Place, PlanBase, StageBody, StagePlan, StageRecord},
    rules::{self, Recipe},
    scene::{Finished, Placed, Scene},
    select,
    settings::Settings,
};

/// What comes next.
#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    /// These must be answered first.
    Ask(Vec<Question>),
    /// This stage is stored already: place it and step again.
    Found(StageKind, Arc<StageRecord>),
    /// This stage must be built (or copied from another place), then placed.
    Want(Arc<StagePlan>),
    /// The image is this stage.
    Done(Arc<StageRecord>),
    /// The project is wrong.
    Invalid(Invalid),
}

/// One image on one platform.
#[derive(Clone, Debug)]
pub struct Conveyor {
    /// All images of the build.
    images: Arc<[Image]>,
    /// Which of them it is for.
    number: usize,
    settings: Arc<Settings>,
    placed: Vec<Placed>,
}

impl Conveyor {
    /// A conveyor for image `number` of `images`, with nothing placed.
    pub fn new(images: Arc<[Image]>, number: usize, settings: Arc<Settings>) -> Self {
        Self { images, number, settings, placed: Vec::new() }
    }

    /// The stages placed so far, lowest first.
    pub fn placed(&self) -> &[Placed] {
        &self.placed
    }

    /// Says what comes next. `finished` holds the images that this one needs.
    pub fn step(&self, facts: &Facts, finished: &Finished) -> Step {
        match self.next(facts, finished) {
            Ok(step) => step,
            Err(Stop::Need(questions)) => Step::Ask(questions),
            Err(Stop::Invalid(invalid)) => Step::Invalid(invalid),
        }
    }

    /// What the image is made of, as far as that can be told before any of its stages is known: under this its stages are
    /// noted, and foreseen by the next build of the same. `None` when it has only one stage to look for, or nothing is noted.
    pub fn key(&self, facts: &Facts, finished: &Finished) -> Option<Checksum> {
        let scene = Scene { settings: &self.settings, image: self.image(), placed: &[], finished, facts };
        key::of(scene).ok().flatten()
    }

    /// Takes away all but the lowest `count` stages.
    pub fn truncate(&mut self, count: usize) {
        self.placed.truncate(count);
    }

    /// Puts a stored stage on top.
    pub fn place(&mut self, kind: StageKind, record: Arc<StageRecord>) {
        self.placed.push(Placed { kind, record });
    }

    fn image(&self) -> &Image {
        &self.images[self.number]
    }

    fn next(&self, facts: &Facts, finished: &Finished) -> Asked<Step> {
        let scene = Scene { settings: &self.settings, image: self.image(), placed: &self.placed, finished, facts };
        if self.placed.is_empty()
            && let Some(key) = key::of(scene)?
        {
            // Answered or not, and whatever the answer is, it goes on the same way.
            scene.facts.one(Question::Foreseen { key, platform: self.settings.platform.clone() })?;
        }
        let last = self.placed.last().map(|placed| placed.kind);
        let rest = rules::order(&self.image().kind).into_iter().filter(|kind| last.is_none_or(|last| *kind > last));
        for kind in rest {
            if let Some(dependencies) = rules::dependencies(kind, scene)? {
                let stage = Stage::new(kind, scene, &dependencies)?;
                return stage.find_or_want(scene);
            }
        }
        match self.placed.last() {
            Some(top) => Ok(Step::Done(Arc::clone(&top.record))),
            None => scene.invalid(self.image().position.line, "the image has no stage"),
        }
    }
}

/// The stage that comes next: what it is called and what it stands on.
struct Stage {
    kind: StageKind,
    digest: StageDigest,
    parent: Option<StageId>,
    commits: Commits,
}

impl Stage {
    fn new(kind: StageKind, scene: Scene<'_>, dependencies: &Checksum) -> Asked<Self> {
        let none = Commits::new();
        let below = scene.placed.last().map(|placed| Below {
            digest: &placed.record.id.digest,
            commits: if placed.kind.is_git() { &placed.record.commits } else { &none },
        });
        let digest = digest::stage(&scene.settings.platform, kind, dependencies, below.as_ref());
        let parent = match scene.placed.last() {
            Some(placed) => Some(placed.record.id),
            None => rules::base(scene)?.map(|record| record.id),
        };
        Ok(Self { kind, digest, parent, commits: rules::commits(kind, scene)? })
    }

    /// Looks where stages are kept, in order: the primary storage, then what may be copied from.
    fn find_or_want(&self, scene: Scene<'_>) -> Asked<Step> {
        if let Some(found) = self.suitable(scene, &Place::Primary)? {
            return Ok(Step::Found(self.kind, Arc::new(found)));
        }
        for place in &scene.settings.sources {
            if let Some(record) = self.suitable(scene, place)? {
                return Ok(Step::Want(Arc::new(self.copy(scene, place, record)?)));
            }
        }
        let base = self.base(scene)?;
        let recipe = rules::recipe(self.kind, scene)?;
        Ok(Step::Want(Arc::new(self.plan(scene, recipe, base)?)))
    }

    /// A copy holds what its original holds: the sources of commits that may be older than those that are built.
    fn copy(&self, scene: Scene<'_>, place: &Place, record: StageRecord) -> Asked<StagePlan> {
        let (commits, content) = (record.commits.clone(), record.content);
        let original = Original { place: place.clone(), record };
        let plan = self.plan(scene, StageBody::Copy(Box::new(original)).into(), PlanBase::None)?;
        Ok(StagePlan { commits, content, ..plan })
    }

    fn suitable(&self, scene: Scene<'_>, place: &Place) -> Asked<Option<StageRecord>> {
        let question = Question::Stored {
            place: place.clone(),
            digest: self.digest,
            platform: scene.settings.platform.clone(),
            not_before: self.not_before(),
        };
        let Answer::Stored(candidates) = scene.facts.one(question)? else { return Ok(None) };
        let chosen = select::oldest_suitable(candidates, &self.commits, scene.facts)?;
        // A stage's labels also hold commits that it inherited from an image below: only its own count.
        Ok(chosen.map(|record| StageRecord {
            commits: record.commits.iter().filter(|(key, _)| self.commits.contains_key(*key)).map(owned).collect(),
            ..record.clone()
        }))
    }

    fn base(&self, scene: Scene<'_>) -> Asked<PlanBase> {
        let of = |record: &StageRecord| PlanBase::Stage {
            id: record.id,
            at: record.at.clone(),
            image_id: record.image_id.clone(),
        };
        if let Some(placed) = scene.placed.last() {
            return Ok(of(&placed.record));
        }
        if let Some(record) = rules::base(scene)? {
            return Ok(of(record));
        }
        match &scene.image.kind {
            // It names its own bases.
            ImageKind::Dockerfile(_) => Ok(PlanBase::None),
            ImageKind::Stapel(stapel) => match &stapel.base {
                Base::Image(_) => Ok(PlanBase::None),
                Base::Reference(reference) if reference == SCRATCH => Ok(PlanBase::None),
                Base::Reference(reference) => {
                    let platform = scene.settings.platform.clone();
                    match scene.facts.one(Question::Base { reference: reference.clone(), platform })? {
                        Answer::Base(image) => Ok(PlanBase::External(image.clone())),
                        _ => Ok(PlanBase::None),
                    }
                }
            },
        }
    }

    fn plan(&self, scene: Scene<'_>, recipe: Recipe, base: PlanBase) -> Asked<StagePlan> {
        let Recipe { body, mut change } = recipe;
        let settings = scene.settings;
        let content = digest::content(&settings.platform, self.kind, &self.digest, &self.commits);
        let labels = labels::write(&StageLabels {
            project: settings.project.clone(),
            digest: self.digest,
            content,
            parent: self.parent,
            base_image: match &base {
                PlanBase::Stage { image_id, .. } => Some(image_id.clone()),
                PlanBase::None | PlanBase::External(_) => None,
            },
            uses: rules::uses(self.kind, scene)?,
            commits: self.commits.clone(),
            virtual_merges: rules::virtual_merges(self.kind, scene)?,
            single_files: rules::single_files(scene, &body)?,
            repo_commit: Some(settings.commit),
            scheme: slipway_digest::SCHEME,
            dev: settings.dev,
            platform: settings.platform.clone(),
        });
        change.labels.extend(labels);
        change.labels.extend(rules::mount_labels(scene.image, self.kind));
        let secrets = rules::secrets(scene.image, &body);
        let (mounts, network) = (rules::mounts(scene, self.kind), network(scene.image));
        Ok(StagePlan {
            project: settings.project.clone(),
            kind: self.kind,
            digest: self.digest,
            platform: settings.platform.clone(),
            not_before: self.not_before(),
            parent: self.parent,
            base,
            body,
            mounts,
            network,
            change,
            commits: self.commits.clone(),
            content,
            secrets,
        })
    }

    /// A child cannot be older than its parent.
    fn not_before(&self) -> Millis {
        self.parent.map(|parent| parent.stamp).unwrap_or_default()
    }
}

/// The network that commands of a Stapel image see; of a Dockerfile it stands in what is done.
fn network(image: &Image) -> Option<String> {
    match &image.kind {
        ImageKind::Dockerfile(_) => None,
        ImageKind::Stapel(stapel) => stapel.network.clone(),
    }
}

fn owned((key, commit): (&String, &slipway_digest::CommitId)) -> (String, slipway_digest::CommitId) {
    (key.clone(), *commit)
}
